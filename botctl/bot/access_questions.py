"""What a person asks about themselves: may I use this command, do I have this permission, and why."""

from __future__ import annotations

from collections.abc import Mapping

from botctl.bot.commands.policy import CommandPolicy
from botctl.core.contracts.access import AccessControl, user_requester
from botctl.core.contracts.access_text import Explanation
from botctl.core.contracts.command_access import explain_need, questions
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Invocation, Kind

Policies = Mapping[tuple[Kind, str], CommandPolicy]
"""The commands of the bot, without components, and the roles that they ask for."""


def explain_access(
    what: str, invocation: Invocation, policies: Policies, settings: GuildSettings, access: AccessControl
) -> Explanation:
    """As `explain_need`, for the user of ``invocation`` in its guild."""
    roles = {key: policy.roles for key, policy in policies.items()}
    return explain_need(
        what, roles, user_requester(invocation), access, guild=invocation.guild, settings=settings, who="You"
    )


def matching_questions(typed: str, policies: Policies) -> list[str]:
    """Suggestions for an option that holds a question: at most 25 (Discord's limit) that contain ``typed``."""
    typed = typed.lower().removeprefix("/")
    return [question for question in questions(policies) if typed in question.lower()][:25]
