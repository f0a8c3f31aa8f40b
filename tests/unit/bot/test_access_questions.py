"""What the bot answers to people who ask what they may do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from botctl.auth.access_control import CurrentAccess
from botctl.auth.settings_grants import settings_grants
from botctl.bot.access_questions import explain_access, matching_questions
from botctl.bot.commands.policy import CommandPolicy
from botctl.bot.interactions.decisions import check_access
from botctl.core.clock import SystemClock
from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.access_text import Explanation
from botctl.core.contracts.guild_settings import DEFAULTS, GuildSettings
from botctl.core.contracts.invocation import Actor, Invocation, Kind
from botctl.core.contracts.permissions import PERMISSIONS
from botctl.core.errors import UsageError

STAFF = "900000000000000202"
ROLES = {"moderator": RoleSettings(roles=(STAFF,), permissions=("viewer",))}
POLICIES = {
    (Kind.SLASH, "ping"): CommandPolicy(),
    (Kind.SLASH, "ops status"): CommandPolicy(roles=("admin", "moderator")),
    (Kind.USER, "Ban"): CommandPolicy(roles=("admin",)),
}
ACCESS = CurrentAccess(settings_grants(ROLES), SystemClock())


def invoke(*roles: str, kind: Kind = Kind.SLASH, name: str = "ops why") -> Invocation:
    actor = Actor("1", "ann", roles.__contains__)
    return Invocation("1", kind, name, actor, datetime(2026, 1, 1, tzinfo=UTC), 0.0, guild="900000000000000001")


def ask(what: str, *roles: str, settings: GuildSettings = DEFAULTS) -> Explanation:
    return explain_access(what, invoke(*roles), POLICIES, settings, ACCESS)


def test_answer_names_the_role_that_opens_a_command() -> None:
    told = ask("/ops  status", STAFF)
    assert told.answer.startswith("You may use ops status, which needs the role admin or moderator, in guild")
    assert told.steps == (f"yes: moderator to members with the Discord role {STAFF}, by the settings",)
    assert told.change == ""


def test_answer_says_what_would_change_it() -> None:
    told = ask("user/Ban", STAFF)
    assert told.answer.startswith("You may not use user/Ban, which needs the role admin,")
    assert "does not include the role admin" in told.steps[0]
    assert "botctl auth grant admin user:1 --guild 900000000000000001" in told.change


def test_permission_is_explained_like_a_command() -> None:
    assert ask("jobs:read", STAFF).answer.startswith("You may do jobs:read")
    assert ask("jobs:run", STAFF).answer.startswith("You may not do jobs:run")
    assert ask("jobs:read").steps == ("no: user:1 has no role in guild 900000000000000001",)


def test_command_that_a_guild_switched_off_is_said_so() -> None:
    told = ask("ping", settings=GuildSettings(disabled=frozenset({"ping"})))
    assert told.answer == "You may not use ping here."
    assert "switch it off" in told.steps[0]
    assert ask("ping").answer == "You may use ping."


def test_unknown_question_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no command or permission 'ops stats'; did you mean ops status"):
        ask("ops stats")


@pytest.mark.parametrize("roles", [(), (STAFF,)])
@pytest.mark.parametrize("disabled", [frozenset(), frozenset({"ops", "user/ban"})])
def test_answer_agrees_with_the_pipeline(roles: tuple[str, ...], disabled: frozenset[str]) -> None:
    settings = GuildSettings(disabled=disabled)
    for (kind, name), policy in POLICIES.items():
        denied = check_access(invoke(*roles, kind=kind, name=name), policy, settings, ACCESS)
        text = name if kind is Kind.SLASH else f"{kind}/{name}"
        assert ask(text, *roles, settings=settings).answer.startswith("You may not" if denied else "You may use")


def test_suggestions_contain_what_was_typed() -> None:
    assert matching_questions("/ops", POLICIES) == ["ops status"]
    assert matching_questions("jobs:r", POLICIES) == ["jobs:read", "jobs:run"]
    assert matching_questions("", POLICIES)[:3] == ["ops status", "ping", "user/Ban"]
    assert len(matching_questions("", POLICIES)) <= min(25, len(PERMISSIONS) + 3)
