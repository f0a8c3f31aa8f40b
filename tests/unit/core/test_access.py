"""The decision who may do what, and its laws."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.access import (
    AccessRules,
    AnyRole,
    GrantSource,
    Holder,
    HolderType,
    Need,
    Requester,
    RoleGrant,
    decide,
    discord_roles_that_allow,
    held_permissions,
    held_roles,
)
from botctl.core.contracts.access_text import explain, explain_unknown
from botctl.core.contracts.permissions import (
    BUILT_IN_ROLES,
    PERMISSIONS,
    any_covers,
    covers,
    is_pattern,
    roles_with,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Holder(HolderType.USER, "1")
GUILDS = ("100", "200")
NEEDS: tuple[Need, ...] = (*sorted(PERMISSIONS), AnyRole(("admin",)), AnyRole(("moderator", "owner")))

holders = st.builds(Holder, st.sampled_from([HolderType.USER, HolderType.ROLE, HolderType.KEY]), st.sampled_from("12"))
grants = st.builds(
    RoleGrant,
    role=st.sampled_from([*BUILT_IN_ROLES, "moderator"]),
    holder=holders,
    permissions=st.sets(st.sampled_from([*PERMISSIONS, "jobs:*", "*"]), max_size=3).map(frozenset),
    guild=st.sampled_from([None, *GUILDS]),
    expires_at=st.sampled_from([None, NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)]),
)
needs = st.sampled_from(NEEDS)
places = st.sampled_from([None, *GUILDS])
requesters = st.builds(
    lambda holder, roles: Requester(holder, roles.__contains__ if holder.type is HolderType.USER else None),
    holders,
    st.sets(st.sampled_from("12")),
)


def ask(given_grants: list[RoleGrant], requester: Requester, need: Need, guild: str | None) -> bool:
    return decide(AccessRules(tuple(given_grants)), requester, need, guild, NOW).allowed


@given(requesters, needs, places)
def test_nothing_is_allowed_without_a_grant(requester: Requester, need: Need, guild: str | None) -> None:
    assert not ask([], requester, need, guild)


@given(st.lists(grants, max_size=6), requesters, needs, places, st.randoms())
def test_order_of_grants_does_not_matter(
    some: list[RoleGrant], requester: Requester, need: Need, guild: str | None, random: object
) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ask(some, requester, need, guild) == ask(shuffled, requester, need, guild)


@given(st.lists(grants, max_size=6), requesters, needs, places)
def test_revoking_every_grant_that_allows_closes(
    some: list[RoleGrant], requester: Requester, need: Need, guild: str | None
) -> None:
    decision = decide(AccessRules(tuple(some)), requester, need, guild, NOW)
    allowing = [step.grant for step in decision.steps if step.result == "allows"]
    assert decision.allowed == bool(allowing)
    assert not ask([grant for grant in some if grant not in allowing], requester, need, guild)
    for last in allowing:
        assert ask([last], requester, need, guild)


@given(st.lists(grants, max_size=6), grants, requesters, needs, places)
def test_another_grant_never_takes_away(
    some: list[RoleGrant], more: RoleGrant, requester: Requester, need: Need, guild: str | None
) -> None:
    assert ask([*some, more], requester, need, guild) >= ask(some, requester, need, guild)


@given(st.lists(grants.filter(lambda grant: grant.guild is not None), max_size=6), requesters, needs)
def test_grants_of_one_guild_never_leak(some: list[RoleGrant], requester: Requester, need: Need) -> None:
    assert not ask(some, requester, need, None)
    here = [grant for grant in some if grant.guild == GUILDS[0]]
    assert ask(some, requester, need, GUILDS[0]) == ask(here, requester, need, GUILDS[0])


@given(st.lists(grants, max_size=6), needs, places)
def test_grants_of_others_do_not_count(some: list[RoleGrant], need: Need, guild: str | None) -> None:
    others = [grant for grant in some if grant.holder != ANN]
    assert not ask(others, Requester(ANN, lambda _: False), need, guild)


@given(st.lists(grants, max_size=6), requesters, places)
def test_what_is_held_is_what_is_allowed(some: list[RoleGrant], requester: Requester, guild: str | None) -> None:
    rules = AccessRules(tuple(some))
    permissions, roles = (held(rules, requester, guild, NOW) for held in (held_permissions, held_roles))
    for permission in PERMISSIONS:
        assert any_covers(permissions, permission) == ask(some, requester, permission, guild)
    for role in (*BUILT_IN_ROLES, "moderator"):
        assert (role in roles) == ask(some, requester, AnyRole((role,)), guild)


@given(st.lists(grants, max_size=6), requesters, needs, places)
def test_advice_of_an_explanation_is_enough(
    some: list[RoleGrant], requester: Requester, need: Need, guild: str | None
) -> None:
    decision = decide(AccessRules(tuple(some)), requester, need, guild, NOW)
    told = explain(decision)
    assert (" may not " in told.answer) != decision.allowed
    assert len(told.steps) == max(1, len(decision.steps))
    assert bool(told.change) != decision.allowed
    if told.change:
        role = told.change.split()[4].rstrip(":")
        advised = RoleGrant(role, requester.holder, BUILT_IN_ROLES.get(role, frozenset()), guild)
        if requester.holder.type is not HolderType.ROLE:
            assert ask([*some, advised], requester, need, guild)


def test_discord_role_counts_only_where_it_is_held() -> None:
    here = RoleGrant("operator", Holder(HolderType.ROLE, "7"), frozenset({"jobs:run"}), guild="100")
    anywhere = replace(here, guild=None, source=GrantSource.SETTINGS)
    member = Requester(ANN, {"7"}.__contains__)
    assert ask([here], member, "jobs:run", "100")
    assert not ask([here], member, "jobs:run", "200")
    assert ask([anywhere], member, "jobs:run", "200")
    assert not ask([here, anywhere], member, "jobs:run", None)
    assert not ask([here, anywhere], Requester(ANN, lambda _: False), "jobs:run", "100")


def test_operator_at_the_terminal_may_do_everything() -> None:
    terminal = Requester(Holder(HolderType.CLI, "uid:1000"))
    assert all(ask([], terminal, permission, None) for permission in PERMISSIONS)


def test_key_has_its_own_permissions_in_its_guild() -> None:
    holder = Holder(HolderType.KEY, "abc")
    key = Requester(holder, own=(RoleGrant("", holder, frozenset({"events:*"}), "100", GrantSource.KEY),))
    assert ask([], key, "events:commands", "100")
    assert not ask([], key, "events:commands", None)
    assert not ask([], key, "jobs:run", "100")


@pytest.mark.parametrize(
    ("pattern", "permission", "expected"),
    [
        ("jobs:run", "jobs:run", True),
        ("jobs:*", "jobs:run", True),
        ("jobs:*", "jobstore:run", False),
        ("events:*", "events:my.own", True),
        ("*", "keys:admin", True),
        ("jobs", "jobs:run", False),
        ("jobs:ru", "jobs:run", False),
        ("*:run", "jobs:run", False),
    ],
)
def test_pattern_covers_its_area_only(pattern: str, permission: str, expected: bool) -> None:
    assert covers(pattern, permission) is expected


@given(st.sets(st.sampled_from([*PERMISSIONS, "jobs:*", "events:*", "*"]), max_size=3), st.sampled_from([*PERMISSIONS]))
def test_patterns_cover_what_one_of_them_covers(patterns: set[str], permission: str) -> None:
    assert any_covers(patterns, permission) == any(covers(pattern, permission) for pattern in patterns)


def test_built_in_roles_grow() -> None:
    for fewer, more in zip(BUILT_IN_ROLES.values(), list(BUILT_IN_ROLES.values())[1:], strict=False):
        assert all(any_covers(more, permission) for permission in fewer)
        assert not all(any_covers(fewer, permission) for permission in PERMISSIONS)
    assert all(map(is_pattern, frozenset().union(*BUILT_IN_ROLES.values())))
    assert roles_with("grants:admin") == ["owner"]
    assert roles_with("audit:read") == ["operator", "admin", "owner"]


@pytest.mark.parametrize("text", ["jobs", "jobs:walk", "job:run", "events:Bad Topic", "*:*", "", "events:"])
def test_unknown_permission_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)


def test_explanation_names_the_grants_and_what_would_help() -> None:
    rules = AccessRules(
        (
            RoleGrant("viewer", ANN, BUILT_IN_ROLES["viewer"], granted_by="bob", reason="new here"),
            RoleGrant("operator", ANN, BUILT_IN_ROLES["operator"], guild="200", source=GrantSource.SETTINGS),
            RoleGrant("owner", ANN, frozenset({"*"}), granted_by="bob", expires_at=NOW - timedelta(days=1)),
        )
    )
    told = explain(decide(rules, Requester(ANN), "jobs:run", "100", NOW))
    assert told.answer == "user:1 may not do jobs:run in guild 100."
    assert told.steps == (
        "no: viewer to user 1, by bob: new here (it does not include jobs:run)",
        "no: operator to user 1 in guild 200, by the settings (it counts in guild 200 only)",
        "no: owner to user 1, by bob (it expired at 2025-12-31 00:00 UTC)",
    )
    assert told.change.startswith(
        "To allow it, grant operator: `botctl auth grant operator user:1 --guild 100 --reason"
    )


def test_weakest_role_is_advised_first() -> None:
    need = AnyRole(("owner", "admin", "moderator", "operator"))
    told = explain(decide(AccessRules(), Requester(ANN), need, "100", NOW))
    assert told.change == (
        'To allow it, grant moderator: `botctl auth grant moderator user:1 --guild 100 --reason "…"`'
        " (operator or admin or owner would do, too)."
    )


def test_answer_that_depends_on_unknown_discord_roles_says_so() -> None:
    role = Holder(HolderType.ROLE, "7")
    rules = AccessRules((RoleGrant("admin", role, source=GrantSource.SETTINGS),))
    decision = decide(rules, Requester(ANN), need := AnyRole(("admin",)), "100", NOW)
    told = explain_unknown(decision, discord_roles_that_allow(rules, need, "100", NOW))
    assert told.answer == (
        "Whether user:1 may use what needs the role admin in guild 100 is not known without its Discord roles."
    )
    assert told.steps == (
        "no: user:1 has no role in guild 100",
        "perhaps: admin to members with the Discord role 7, by the settings",
    )
    assert "Name those of 7 that it has with --has-role" in told.change
    assert "--guild 100" in told.change


@given(st.lists(grants, max_size=6), needs, places)
def test_discord_roles_that_allow_are_those_that_change_a_no(
    given_grants: list[RoleGrant], need: Need, guild: str | None
) -> None:
    """Each of them allows it to a user who has that role, and no other Discord role does."""
    rules = AccessRules(tuple(given_grants))
    stranger = Holder(HolderType.USER, "3")
    allowing = {grant.holder.id for grant in discord_roles_that_allow(rules, need, guild, NOW)}
    for role in "12":
        requester = Requester(stranger, {role}.__contains__)
        assert decide(rules, requester, need, guild, NOW).allowed is (role in allowing)
