"""Versions that are put into the served folder."""

import json

import pytest

from serving import contract
from serving.client.model_config import ModelConfig, read_model_config
from serving.release.errors import ReleaseError
from serving.release.placement import versions


@pytest.fixture
def pushed(shop, write_model):
    """Makes a SavedModel outside of the served folder."""
    return lambda name="model", **options: write_model(shop.home / "pushed" / str(name), **options)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_first_version_lets_a_server_start(shop, pushed):
    release = shop.release()
    source = pushed(1700)
    staged = release.stage(source, reason="nightly")
    assert (staged.version, staged.anew) == (1700, True)
    there = files(shop.folder / "1700")
    origin = json.loads(there.pop("assets.extra/release.json"))
    assert there == files(source) and origin["source"] == str(source) and origin["digest"] == staged.digest
    assert read_model_config(shop.config) == [ModelConfig("ranker", str(shop.folder), (1700,))]
    server = shop.serve()
    release = shop.release()
    release.promote()
    assert server.labels() == {"stable": 1700, "canary": 1700}
    assert release.journal.read()[0].details == {
        "version": 1700,
        "source": str(source),
        "digest": staged.digest,
    }


def test_numbers(shop, pushed):
    release = shop.started(3)
    assert release.stage(pushed()).version == 4
    assert release.stage(pushed("other", run="other")).version == 5
    assert release.stage(pushed(12, run="12")).version == 12
    assert release.stage(pushed("third", run="third"), version=9).version == 9
    assert release.stage(shop.home / "pushed").version == 12  # the newest of a folder of versions
    assert list(versions(shop.folder)) == [3, 4, 5, 9, 12]
    with pytest.raises(ReleaseError, match="4 is taken by something else; expected another --version"):
        release.stage(pushed("fourth", run="fourth"), version=4)
    with pytest.raises(ReleaseError, match=r"holds no saved_model\.pb and no version"):
        release.stage(shop.home)
    assert shop.servers[0].loaded() == [3]  # nobody is asked of any of them


def test_the_same_again_is_not_put_there_again(shop, pushed):
    release = shop.started(3)
    first = release.stage(pushed())
    again = release.stage(shop.home / "pushed" / "model")
    assert (again.version, again.path, again.anew) == (4, first.path, False)
    assert release.stage(shop.folder / "3").anew is False  # Pusher's own folder
    assert [entry.details["version"] for entry in release.journal.read() if entry.action == "stage"] == [4, 3]


def test_what_clients_could_not_ask_is_refused(shop, pushed, signatures):
    release = shop.started(3)
    columns = signatures(("country", "age"))
    with pytest.raises(ReleaseError, match=r"would break \(rank wants a new input age; recommend wants a new input a"):
        release.stage(pushed(4, made=columns))
    columns = {name: (inputs, outputs, ("age",)) for name, (inputs, outputs, _) in columns.items()}
    assert release.stage(pushed(5, made=columns)).version == 5
    assert list(versions(shop.folder)) == [3, 5]
    # Pusher may have put it there unasked; as canary it is refused, too.
    shop.version(6, made=signatures(names=(contract.RECOMMEND,)))
    with pytest.raises(ReleaseError, match="the signature rank is gone"):
        release.canary(6)
    with pytest.raises(ReleaseError, match="the signature rank is gone"):
        release.promote(6)


def test_what_is_not_whole_is_refused(shop, pushed):
    release = shop.started(3)
    source = pushed(4, assets=("words",))
    with pytest.raises(ReleaseError, match="lacks assets/words"):
        release.stage(source)
    assert list(versions(shop.folder)) == [3]
    (shop.folder / "3").rename(shop.home / "away")
    with pytest.raises(ReleaseError, match="lacks version 3, which serves as stable"):
        release.stage(pushed(5))


def test_a_source_that_changes_meanwhile_is_refused(shop, pushed, monkeypatch):
    release = shop.started(3)
    source = pushed(4)
    from serving.release import placement

    copy = placement.shutil.copytree

    def changing(old, new):
        copy(old, new)
        (new / "fingerprint.pb").write_text("changed")

    monkeypatch.setattr(placement.shutil, "copytree", changing)
    with pytest.raises(ReleaseError, match="4: changed while it was copied"):
        release.stage(source)
    assert list(versions(shop.folder)) == [3]
