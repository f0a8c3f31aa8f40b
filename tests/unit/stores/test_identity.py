"""Whether a database is still the one that a process has found at first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import StoreDamaged
from botctl.stores.identity import TRUSTED_AFTER_S, KnownDatabase, new_identity

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PING_S = 5.0


def after(*found: str | None, known: KnownDatabase | None = None, every_s: float = PING_S) -> KnownDatabase:
    """What a process knows after pings that have ``found`` these ids."""
    known = known or KnownDatabase()
    start_s = known.found_s + every_s
    for number, identity in enumerate(found):
        elapsed_s = start_s + number * every_s
        known = known.after(identity, at_s=elapsed_s, at=AT + timedelta(seconds=elapsed_s))
    return known


def test_identity_is_trusted_when_a_later_ping_finds_it_again() -> None:
    assert not after("a").trusted
    assert after("a", "a").trusted
    assert not after("a", "a", every_s=TRUSTED_AFTER_S / 2).trusted
    assert after("a", "a", "a", every_s=TRUSTED_AFTER_S / 2).trusted


def test_identity_that_was_just_written_may_be_lost() -> None:
    """A Redis that syncs its disk once a second was killed: the next ping writes another one."""
    known = after("a", "b")
    known.check()
    assert (known.identity, known.trusted) == ("b", False)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ((None,), "the database was emptied, noticed at 03:04:15 UTC"),
        ((None, "b"), "the database was emptied, noticed at 03:04:15 UTC"),  # another process started again
        (("b",), "another database answers at this address since 03:04:15 UTC"),
        (("b", "b"), "another database answers at this address since 03:04:15 UTC"),
    ],
)
def test_other_database_is_told_since_when_until_botctl_starts_again(found: tuple[str | None, ...], told: str) -> None:
    known = after(*found, known=KnownDatabase(identity="a", trusted=True, found_s=PING_S))
    with pytest.raises(StoreDamaged) as caught:
        known.check()
    assert str(caught.value) == told
    assert "restart botctl" in caught.value.hint
    after(found[-1]).check()  # a process that starts then


def test_database_that_comes_back_is_well() -> None:
    """A failover to an empty replica and back; a backup was restored."""
    known = after("a", "a", None, "b", "a")
    known.check()
    assert known == after("a", "a")


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=12))
def test_trusted_identity_is_never_forgotten(found: list[str | None]) -> None:
    known = after("a", "a", *found)
    assert (known.identity, known.trusted) == ("a", True)
    assert (known.lost_at is None) == ([*found, "a"][-1 if not found else len(found) - 1] == "a")


def test_identities_differ() -> None:
    assert new_identity() != new_identity()
