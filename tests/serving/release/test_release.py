"""Canary, promotion and rollback at servers that follow TensorFlow Serving's rules, while traffic runs."""

import pytest

from serving.client.model_config import ModelConfig, read_model_config, write_model_config
from serving.release.errors import ReleaseError
from serving.release.state import State


def states(release):
    return [(entry.action, entry.phase, str(entry.after)) for entry in release.journal.moves()]


def test_a_version_comes_and_goes_without_a_failed_request(shop):
    release = shop.started(3, 5)
    (server,) = shop.servers
    assert (server.labels(), server.loaded()) == ({"stable": 3, "canary": 3}, [3])
    shop.ask()
    assert release.canary(5) == State(3, 5)
    assert (server.labels(), server.loaded()) == ({"stable": 3, "canary": 5}, [3, 5])
    assert release.promote() == State(5, 5)
    assert (server.labels(), server.loaded()) == ({"stable": 5, "canary": 5}, [5])
    assert release.rollback() == State(3, 3)
    assert (server.labels(), server.loaded()) == ({"stable": 3, "canary": 3}, [3])
    failures, versions = shop.answered()
    assert failures == []
    assert versions == {"stable": [3, 5, 3], "canary": [3, 5, 3]}
    assert read_model_config(shop.config) == [
        ModelConfig("ranker", str(shop.folder), (3,), labels={"stable": 3, "canary": 3})
    ]
    assert states(release)[-3:] == [("rollback", phase, "stable 3") for phase in ("begun", "labelled", "done")]


def test_a_canary_is_taken_back(shop):
    release = shop.started(3, 5)
    shop.ask()
    release.canary(5)
    assert release.rollback(reason="slow") == State(3, 3)
    failures, versions = shop.answered()
    assert failures == [] and versions["stable"] == [3] and versions["canary"] == [3, 5, 3]
    assert shop.servers[0].loaded() == [3]
    assert release.journal.read()[-1].reason == "slow"


@pytest.mark.parametrize("polls", [False, True], ids=["told", "polling"])
def test_every_server_follows(shop, polls):
    release = shop.started(3, 5, servers=3, polls=polls)
    shop.ask()
    release.canary(5)
    release.promote()
    assert [(server.labels(), server.loaded()) for server in shop.servers] == [({"stable": 5, "canary": 5}, [5])] * 3
    assert shop.answered()[0] == []
    assert all(bool(server.reloads) != polls for server in shop.servers)


def test_the_experiment_shares_users_out(shop):
    shop.experimented()
    release = shop.started(3, 5)
    arms = release.steps.experiment
    assert release.canary(5, 0.05) == State(3, 5, 0.05) == release.steps.state()
    started = arms.read().start
    assert release.canary(share=0.2) == State(3, 5, 0.2)  # the same one for more users
    assert [arm.share for arm in arms.read().arms] == [0.8, 0.2]
    assert arms.read().start > started > "2024-06-04"
    assert release.promote() == State(5, 5) == release.steps.state()
    assert [arm.share for arm in arms.read().arms] == [1.0, 0.0]


def test_a_version_that_cannot_be_loaded_changes_nothing(shop):
    shop.experimented()
    release = shop.started(3, 5, 6)
    before = shop.config.read_text(), shop.experiment.read_text()
    (shop.folder / "6" / "saved_model.pb").write_bytes(b"\xff")
    with pytest.raises(ReleaseError, match=r"6/saved_model.pb: is corrupt"):
        release.canary(6, 0.1)
    shop.servers[0].failing[5] = "no memory"
    shop.ask()
    with pytest.raises(ReleaseError, match=r"127.0.0.1:\d+ cannot load version 5 of `ranker`: no memory"):
        release.canary(5, 0.1)
    assert (shop.config.read_text(), shop.experiment.read_text()) == before
    assert shop.answered()[0] == []
    assert release.unfinished() is None
    last = release.journal.read()[-1]
    assert (last.phase, last.after) == ("failed", State(3, 3)) and "cannot load" in last.details["error"]
    assert release.rollback(3) == State(3, 3)


def test_a_server_that_is_away_stops_a_canary_and_not_a_rollback(shop):
    release = shop.started(3, 5, servers=2, early_labels=True)
    away = shop.servers[1]
    away.close()
    with pytest.raises(ReleaseError, match=rf"model `ranker` on {away.address} failed with UNAVAILABLE"):
        release.canary(5)
    assert shop.servers[0].labels() == {"stable": 3, "canary": 3} and release.unfinished() is None
    shop.servers[1] = type(away)(shop.config, early_labels=True, port=away.port)
    release.canary(5)
    shop.servers[1].close()
    with pytest.raises(ReleaseError, match="the rest is rolled back; expected `rollback` again"):
        release.rollback()
    assert shop.servers[0].labels() == {"stable": 3, "canary": 3}
    # It comes back with what is on the disk, and the same command finishes.
    shop.servers[1] = type(away)(shop.config, early_labels=True, port=away.port)
    assert release.rollback() == State(3, 3)
    assert [server.loaded() for server in shop.servers] == [[3], [3]] and release.unfinished() is None


def test_a_server_that_forgot_its_labels_is_put_right(shop):
    release = shop.started(3)
    shop.servers[0]._labels = {}
    assert release.promote() == State(3, 3)
    assert shop.servers[0].labels() == {"stable": 3, "canary": 3}


def test_other_models_and_labels_stay(shop):
    shop.version(3)
    shop.version(5)
    other = ModelConfig("tagger", str(shop.folder), latest=1)
    write_model_config(shop.config, [other, ModelConfig("ranker", str(shop.folder), (3,))])
    shop.serve()
    release = shop.release()
    release.promote(3)
    release.steps.config.write([3], {"stable": 3, "canary": 3, "last_year": 3})
    release.canary(5)
    release.promote()
    assert shop.servers[0].labels() == {"stable": 5, "canary": 5, "last_year": 3}
    assert shop.servers[0].loaded() == [3, 5]
    assert read_model_config(shop.config)[0] == other


def test_servers_of_the_newest_version_are_taken_over(shop):
    shop.version(3)
    write_model_config(shop.config, [ModelConfig("ranker", str(shop.folder))])
    shop.serve()
    release = shop.release()
    with pytest.raises(ReleaseError, match="by the policy `latest`, so that a version would serve as soon as it is"):
        release.stage(shop.folder / "3")
    assert release.promote(3) == State(3, 3)
    shop.version(9)
    assert shop.servers[0].loaded() == [3]


def test_rolling_back_goes_one_promotion_back(shop):
    release = shop.started(3, 5, 7)
    for number in (5, 7):
        release.promote(number)
    assert release.rollback() == State(5, 5)
    assert release.rollback() == State(5, 5)  # the same again, after a crash perhaps
    assert [line for line in shop.said if line.endswith("is done; --version goes back further")]
    assert release.rollback(3) == State(3, 3)
    release.promote(3)
    with pytest.raises(ReleaseError, match="no version served as stable before version 3"):
        release.rollback()  # not to 5, which was rolled back


def test_what_is_refused(shop):
    for number in (3, 5):
        shop.version(number)
    shop.serve()
    release = shop.release()
    with pytest.raises(ReleaseError, match="no version serves as stable yet; expected `promote`"):
        release.canary(5)
    with pytest.raises(ReleaseError, match="there is no canary to promote; expected --version"):
        release.promote()
    with pytest.raises(ReleaseError, match="no version served as stable before version 0"):
        release.rollback()
    release.promote(3)
    with pytest.raises(ReleaseError, match="version 3 serves as stable; expected another one as canary"):
        release.canary(3)
    with pytest.raises(ReleaseError, match="has no version 4; expected it to be staged"):
        release.canary(4)
    with pytest.raises(ReleaseError, match="settings name no `experiment`"):
        release.canary(5, 0.1)
    with pytest.raises(ReleaseError, match="no version served as stable before version 3; expected --version"):
        release.rollback()
    shop.experimented()
    with pytest.raises(ReleaseError, match=r"--share is 1; expected a number from 0 to below 1"):
        shop.release().canary(5, 1.0)
    shop.version(8, made={})
    with pytest.raises(ReleaseError, match="8: has no signature"):
        release.canary(8)


def test_a_rollback_may_come_while_the_old_version_is_waited_for(shop):
    release = shop.started(3, 5)
    shop.ask()

    def meanwhile(line):
        if "stays loaded" in line:
            shop.release(by="ben").rollback()

    release = shop.release(grace_seconds=1)
    release._say = meanwhile
    assert release.promote(5) == State(3, 3)
    assert (shop.servers[0].labels(), shop.servers[0].loaded()) == ({"stable": 3, "canary": 3}, [3])
    failures, versions = shop.answered()
    assert failures == [] and versions["stable"] == [3, 5, 3]
    assert release.journal.read()[-1].by == "ben"
