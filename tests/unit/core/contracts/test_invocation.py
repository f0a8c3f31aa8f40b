"""One Invocation, one Outcome."""

from datetime import UTC, datetime

import pytest

from botctl.core.contracts.invocation import (
    COMPONENT_KINDS,
    Actor,
    Invocation,
    Kind,
    Outcome,
    Result,
    command_of,
    policy_name,
    suggestions_policy,
)

MENU_NAMES = ("ban", "ops status", "ops.status", "user/ban", "ban:sure", "realtime.connect", "%3A")
RULES = [
    *((Kind.SLASH, name) for name in ("ban", "ops status", "user", "autocomplete", "message", "realtime connect")),
    *((kind, name) for kind in (Kind.USER, Kind.MESSAGE) for name in MENU_NAMES),
    *(
        (kind, name)
        for kind in (Kind.COMPONENT, Kind.MODAL)
        for name in ("ban:sure", "ban:?", "ban:*", "user/ban:sure", "user/ban:sure:*", "cog/ban:*", "class/ban:*")
    ),
    (Kind.COMPONENT, "message"),
    (Kind.MODAL, "message"),
]


def an_invocation():
    actor = Actor(id="80", name="ann")
    return Invocation(id="1", kind=Kind.SLASH, name="roll", actor=actor, at=datetime(2026, 1, 1, tzinfo=UTC), started=0)


def test_different_rules_have_different_policies():
    policies = [policy_name(*rule) for rule in RULES]
    policies += [suggestions_policy(name) for kind, name in RULES if kind is Kind.SLASH]
    policies += ["realtime.connect", "realtime.message"]  # of another part of botctl
    assert len(set(policies)) == len(policies)


@pytest.mark.parametrize(("kind", "name"), [rule for rule in RULES if rule[0] not in COMPONENT_KINDS])
def test_components_belong_to_the_command_of_their_kind(kind, name):
    assert command_of(kind, name) == (kind, name)
    assert command_of(Kind.COMPONENT, f"{policy_name(kind, name)}:vote") == (kind, name)
    assert command_of(Kind.MODAL, f"cog/{name}:*") is None


def test_first_outcome_is_kept():
    invocation = an_invocation()
    assert invocation.outcome is None
    first = Outcome(Result.OK, took_ms=3)
    assert invocation.finish(first)
    assert not invocation.finish(Outcome(Result.FAILED, took_ms=4))
    assert invocation.outcome is first


@pytest.mark.parametrize("result", Result)
def test_refused_means_handler_was_not_called(result):
    assert result.refused == (result in {Result.DENIED, Result.THROTTLED})


def test_invocations_are_compared_by_identity():
    one = an_invocation()
    assert one == one  # noqa: PLR0124
    assert one != an_invocation()
    assert len({one, an_invocation()}) == 2
