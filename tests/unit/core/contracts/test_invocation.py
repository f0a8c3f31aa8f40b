"""One Invocation, one Outcome."""

from datetime import UTC, datetime

import pytest

from botctl.core.contracts.invocation import Actor, Invocation, Kind, Outcome, Result


def an_invocation():
    actor = Actor(id="80", name="ann")
    return Invocation(id="1", kind=Kind.SLASH, name="roll", actor=actor, at=datetime(2026, 1, 1, tzinfo=UTC), started=0)


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


def test_actor_has_no_roles_by_default():
    assert an_invocation().actor.roles == frozenset()
