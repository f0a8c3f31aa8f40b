"""Where a caller has a right: for the bot, or in some guilds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.access import (
    AccessRules,
    Holder,
    HolderType,
    RoleGrant,
)
from botctl.core.contracts.api_keys import ApiKey
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.callers import Caller, guilds_with, readable_guilds
from tests.support.people import FixedAccess, Person

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ApiKey("k", "name", ("events:jobs",), NOW, "ann")
GUILDS = ("1", "2", "3")


def granted(*grants: RoleGrant) -> FixedAccess:
    return FixedAccess(AccessRules(grants), NOW)


@pytest.mark.parametrize(
    ("caller", "where"),
    [(KEY, None), (replace(KEY, guild="1"), {"1"}), (replace(KEY, permissions=("jobs:read",)), set())],
    ids=["bot", "guild", "nowhere"],
)
def test_key_reads_by_its_own_permissions(caller: Caller, where: object) -> None:
    assert readable_guilds(granted(), caller, "jobs") == where


def test_key_is_an_actor() -> None:
    assert KEY.principal() == Principal("key", "k", "name")


def test_grant_for_one_guild_counts_without_a_role_there() -> None:
    carried = frozenset({"events:jobs"})
    mine = RoleGrant("viewer", Holder(HolderType.USER, "7"), carried, "3")
    other = RoleGrant("viewer", Holder(HolderType.KEY, "7"), carried, "2")
    assert readable_guilds(granted(mine, other), Person(), "jobs") == {"3"}


grants = st.builds(
    RoleGrant,
    role=st.just("viewer"),
    holder=st.sampled_from([Holder(HolderType.USER, "7"), Holder(HolderType.USER, "8"), Holder(HolderType.ROLE, "r")]),
    permissions=st.sampled_from([frozenset({"events:jobs"}), frozenset({"jobs:run"}), frozenset({"*"})]),
    guild=st.sampled_from([None, *GUILDS]),
)
people = st.builds(
    Person, st.dictionaries(st.sampled_from(GUILDS), st.sampled_from([frozenset({"r"}), frozenset({"s"}), frozenset()]))
)


@given(st.lists(grants, max_size=5), people)
def test_guilds_are_exactly_those_with_the_right(some: list[RoleGrant], person: Person) -> None:
    access = granted(*some)
    found = guilds_with(access, person, "events:jobs")
    allowed = {guild for guild in GUILDS if access.decide(person.requester(guild), "events:jobs", guild).allowed}
    if access.decide(person.requester(), "events:jobs").allowed:
        assert found is None
    else:
        assert found == allowed
