"""The state machine of a model's versions: whatever comes and goes on disk, one that serves is followed by another."""

import pathlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from serving.server.versions import Action, ModelVersions, State

NUMBERS = st.sets(st.integers(1, 5), max_size=4)


class Versions(RuleBasedStateMachine):
    """Loads and unloads end in any order, loads with or without success; at most two loads at a time."""

    def __init__(self):
        super().__init__()
        self.model = ModelVersions("m")
        self.wanted = set()
        self.served_since = False

    def states(self, *kinds):
        return [version for version in self.model.versions.values() if version.state in kinds]

    def act(self):
        """What the manager does each tick."""
        self.model.settle()
        for _ in range(20):
            action = self.model.next_action()
            if action is None or (action[0] == Action.LOAD and len(self.states(State.LOADING)) >= 2):
                return
            what, version = action
            version.state = State.LOADING if what == Action.LOAD else State.UNLOADING
        raise AssertionError("the actions do not end")

    @rule(numbers=NUMBERS)
    def want(self, numbers):
        self.wanted = numbers
        self.model.want({number: pathlib.Path(str(number)) for number in numbers})
        self.act()

    @rule(data=st.data(), fails=st.booleans())
    def end_a_load(self, data, fails):
        loading = self.states(State.LOADING)
        if loading:
            version = data.draw(st.sampled_from(loading))
            version.state = State.END if fails or not version.wanted else State.AVAILABLE
            self.act()

    @rule(data=st.data())
    def end_an_unload(self, data):
        unloading = self.states(State.UNLOADING)
        if unloading:
            data.draw(st.sampled_from(unloading)).state = State.END
            self.act()

    @rule()
    def everything_ends_well(self):
        """With loads that succeed, exactly what is wanted serves in the end, apart from what failed before."""
        for _ in range(50):
            for version in self.states(State.LOADING):
                version.state = State.AVAILABLE if version.wanted else State.END
            for version in self.states(State.UNLOADING):
                version.state = State.END
            self.act()
            if not self.model.pending and not self.states(State.START, State.LOADING, State.UNLOADING):
                break
        failed = {version.number for version in self.states(State.END) if version.wanted}
        serving = {version.number for version in self.states(State.AVAILABLE)}
        assert not self.states(State.LOADING, State.UNLOADING, State.START)
        if self.wanted - failed or not self.wanted:
            assert serving == self.wanted - failed
        else:
            assert len(serving) <= 1  # all that is wanted failed: the old one goes on

    @invariant()
    def one_that_serves_is_followed_by_another(self):
        serves = bool(self.states(State.AVAILABLE))
        if self.served_since and self.wanted:
            assert serves
        self.served_since = serves

    @invariant()
    def what_is_unloaded_is_not_wanted(self):
        assert not [version for version in self.states(State.UNLOADING) if version.wanted]


TestVersions = Versions.TestCase
TestVersions.settings = settings(stateful_step_count=30)
