"""The example of Redis' users: the gateway may do what the store asks of it, and nothing else."""

import re

import pytest

from serving.requests import Event
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query
from serving.store.redis_commands import RedisCommands

#: Commands of redis-py's connection and transactions, and of `health`.
OF_THE_CONNECTION = {"ping", "select", "multi", "exec", "discard"}
#: Methods of redis-py -> the commands that they send, where the names differ.
COMMANDS = {"delete": "del"}


class Recorder:
    """A pipeline that remembers the names of what is put on it, and the keys."""

    def __init__(self):
        self.commands, self.keys = set(), set()

    def __getattr__(self, name):
        def record(*arguments, **_):
            self.commands.add(COMMANDS.get(name, name))
            self.keys.update(arguments if name == "delete" else arguments[:1])

        return record


@pytest.fixture
def users(configs):
    lines = (configs / "redis_users.example.acl").read_text(encoding="utf-8").splitlines()
    return {line.split()[1]: line.split()[2:] for line in lines}


@pytest.fixture
def asked():
    recorder, commands = Recorder(), RedisCommands(StoreOptions())
    commands.append_many(recorder, {"u": [Event("i", "click", 1)]}, {"u": [Query("boots", 1)]})
    commands.recent(recorder, "u", 5)
    commands.profile(recorder, "u")
    commands.set_profile(recorder, "u", Profile("text", {"country": "CA"}, (Query("boots", 1),)))
    commands.forget(recorder, "u")
    return recorder


def test_the_gateway_may_do_what_the_store_asks_for_and_no_more(users, asked):
    allowed = {rule[1:] for rule in users["gateway"] if rule.startswith("+")}
    assert allowed == asked.commands | OF_THE_CONNECTION
    assert "-@all" in users["gateway"] and users["gateway"].index("-@all") < users["gateway"].index("+ping")


def test_its_keys_are_those_of_the_store(users, asked):
    (pattern,) = [rule[1:] for rule in users["gateway"] if rule.startswith("~")]
    assert pattern == f"{StoreOptions().key_prefix}*"
    assert all(re.fullmatch(pattern.replace("*", ".*"), key.decode()) for key in asked.keys)


def test_nobody_else_may_do_anything_but_ping(users):
    assert users.keys() == {"default", "gateway"}
    assert users["default"] == ["on", "nopass", "resetkeys", "resetchannels", "-@all", "+ping"]
    assert ">PASSWORD" in users["gateway"], "the example holds no password"
