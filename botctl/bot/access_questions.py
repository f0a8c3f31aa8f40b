"""What a person asks about themselves: may I use this command, do I have this permission, and why."""

from __future__ import annotations

from collections.abc import Mapping

from botctl.bot.decisions import CommandPolicy
from botctl.core.contracts.access import AccessControl, AnyRole, user_requester
from botctl.core.contracts.access_text import Explanation, explain
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Invocation, Kind, policy_name
from botctl.core.contracts.permissions import PERMISSIONS, is_permission
from botctl.core.errors import UsageError
from botctl.core.suggest import suggest

Policies = Mapping[tuple[Kind, str], CommandPolicy]
"""The commands of the bot, without components, and the roles that they ask for."""


def explain_access(
    what: str, invocation: Invocation, policies: Policies, settings: GuildSettings, access: AccessControl
) -> Explanation:
    """Whether the user of ``invocation`` may use the command ``what`` (``/ops status``) or has that permission.

    Raises UsageError if there is neither such a command nor such a permission. Limits, and checks of the author's own,
    are not part of the answer.
    """
    requester, name = user_requester(invocation), " ".join(what.split()).removeprefix("/")
    if is_permission(name):
        return explain(access.decide(requester, name, invocation.guild), who="You")
    commands = {policy_name(*key): key for key in policies}
    if name not in commands:
        raise UsageError(f"there is no command or permission {name[:60]!r}{suggest(name, questions(policies))}")
    if not settings.allows(*commands[name]):
        step = "no: the settings of this guild switch it off"
        return Explanation(
            f"You may not use {name} here.", (step,), "`botctl settings set GUILD disabled -NAME` switches it on."
        )
    roles = policies[commands[name]].roles
    if not roles:
        return Explanation(f"You may use {name}.", ("yes: it asks for no role",))
    decision = access.decide(requester, need := AnyRole(roles), invocation.guild)
    return explain(decision, who="You", what=f"use {name}, which needs {need},")


def questions(policies: Policies) -> list[str]:
    """What can be asked about, sorted: commands, then permissions."""
    return sorted(policy_name(*key) for key in policies) + list(PERMISSIONS)


def matching_questions(typed: str, policies: Policies) -> list[str]:
    """Suggestions for an option that holds a question: at most 25 (Discord's limit) that contain ``typed``."""
    typed = typed.lower().removeprefix("/")
    return [question for question in questions(policies) if typed in question.lower()][:25]
