"""Which limit applies, as laws."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bot.jobs.limits import NAMES, NUMBERS, RANGES, Limits, effective

VALUES = st.none() | st.integers(0, 5)
LIMITS = st.builds(Limits, **dict.fromkeys(NUMBERS, VALUES), channels=st.none() | st.sets(st.integers(1, 5)).map(
    lambda channels: tuple(sorted(channels))))
ROLES = st.lists(st.integers(1, 3), unique=True)
SCOPED = st.dictionaries(st.sampled_from(["guild", "role:1", "role:2", "role:3", "channel:7", "channel:8"]), LIMITS)


@given(LIMITS, SCOPED, ROLES)
def test_the_most_generous_role_capped_by_channel_guild_and_machine(
        machine: Limits, scoped: dict[str, Limits], roles: list[int]) -> None:
    limits, rules = effective(machine, scoped, roles, 7)
    scopes = {**scoped, "machine": machine}
    for name in NUMBERS:
        theirs = [value for role in roles if (value := getattr(scoped.get(f"role:{role}", Limits()), name)) is not None]
        caps = [value for scope in ("channel:7", "guild", "machine")
                if (value := getattr(scopes.get(scope, Limits()), name)) is not None]
        expected = min([*([max(theirs)] if theirs else []), *caps], default=None)
        assert getattr(limits, name) == expected
        assert (name in rules) == (expected is not None)
        if expected is not None:
            assert getattr(scopes[rules[name]], name) == expected
            assert not rules[name].startswith("role:") or int(rules[name].removeprefix("role:")) in roles
            assert rules[name] != "channel:8"


@given(LIMITS, SCOPED, ROLES)
def test_allowed_channels_are_what_all_scopes_have_in_common(
        machine: Limits, scoped: dict[str, Limits], roles: list[int]) -> None:
    limits, rules = effective(machine, scoped, roles, 7)
    theirs = [found.channels for role in roles if (found := scoped.get(f"role:{role}")) and found.channels is not None]
    caps = [found.channels for scope in ("channel:7", "guild") if (found := scoped.get(scope)) and found.channels is not None]
    caps += [machine.channels] if machine.channels is not None else []
    for channel in range(1, 6):
        allowed = all(channel in cap for cap in caps) and (not theirs or any(channel in role for role in theirs))
        assert (limits.channels is None or channel in limits.channels) == allowed
    assert ("channels" in rules) == (limits.channels is not None) == bool(theirs or caps)


@given(LIMITS, SCOPED, ROLES, st.integers(1, 3))
def test_another_role_with_a_limit_never_takes_away_from_those_with_one(
        machine: Limits, scoped: dict[str, Limits], roles: list[int], extra: int) -> None:
    before, _ = effective(machine, scoped, roles, 7)
    after, _ = effective(machine, scoped, [*roles, extra], 7)
    for name in NUMBERS:
        if any(getattr(scoped.get(f"role:{role}", Limits()), name) is not None for role in roles):
            assert getattr(after, name) >= getattr(before, name)


def test_of_equal_limits_the_nearest_is_named() -> None:
    four = Limits(takes=4, channels=(1,))
    scopes = {"role:1": four, "channel:7": Limits(takes=4), "guild": four}
    assert effective(four, scopes, [2, 1], 7)[1] == {"takes": "role:1", "channels": "role:1"}
    assert effective(four, scopes, [], 7)[1] == {"takes": "channel:7", "channels": "guild"}
    assert effective(four, {}, [], 7) == (four, {"takes": "machine", "channels": "machine"})
    assert effective(Limits(), {}, [1], 7) == (Limits(), {})
    union = {"role:1": Limits(channels=(1,)), "role:2": Limits(channels=(2, 3))}
    assert effective(Limits(), union, [1, 2], 7) == (Limits(channels=(1, 2, 3)), {"channels": "role:2"})
    assert set(NAMES) == {*NUMBERS, "channels"}


def test_the_ranges_are_those_that_moderators_read() -> None:
    """Every number of the table in docs/moderators.md."""
    said = (Path(__file__).parents[2] / "docs" / "moderators.md").read_text(encoding="utf-8")
    for name, words in (("takes", "takes in one piece"), ("tokens", r"tokens \(length\)"), ("seconds", "seconds of sound"),
                        ("jobs_at_once", "pieces at a time"), ("jobs_a_day", "pieces a day"), ("takes_a_day", "takes a day")):
        found = re.search(rf"^\| {words} \| (\d+) to (\d+) ", said, re.MULTILINE)
        assert found, name
        assert (int(found[1]), int(found[2])) == (RANGES[name].start, RANGES[name].stop - 1)
