"""The roles that commands ask for, and why someone may use one or not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from botctl.core.contracts.access import AccessControl, AnyRole, Requester
from botctl.core.contracts.access_text import Explanation, explain
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Kind, policy_name
from botctl.core.contracts.permissions import PERMISSIONS, is_permission
from botctl.core.errors import UsageError
from botctl.core.suggest import suggest

CommandRoles = Mapping[tuple[Kind, str], tuple[str, ...]]
"""The roles of each command (one is enough; none: it is for everyone), by its kind and full name."""


@dataclass(frozen=True, slots=True)
class KnownCommands:
    """The commands of this process. ``roles`` None: it has loaded none, since its roles do not need them."""

    roles: CommandRoles | None = None


def explain_need(
    what: str,
    commands: CommandRoles,
    requester: Requester,
    access: AccessControl,
    *,
    guild: str | None,
    settings: GuildSettings,
    who: str,
) -> Explanation:
    """Whether ``who`` may use the command ``what`` (``/ops status``) in ``guild``, or has that permission there.

    ``settings``: of ``guild``. Raises UsageError if there is neither such a command nor such a permission. Limits, and
    checks of the author's own, are not part of the answer.
    """
    name = command_name(what)
    if is_permission(name):
        return explain(access.decide(requester, name, guild), who=who)
    by_name = {policy_name(*key): key for key in commands}
    if name not in by_name:
        raise UsageError(f"there is no command or permission {name[:60]!r}{suggest(name, questions(commands))}")
    if not settings.allows(*by_name[name]):
        step = "no: the settings of this guild switch it off"
        return Explanation(
            f"{who} may not use {name} here.", (step,), "`botctl settings set GUILD disabled -NAME` switches it on."
        )
    roles = commands[by_name[name]]
    if not roles:
        return Explanation(f"{who} may use {name}.", ("yes: it asks for no role",))
    decision = access.decide(requester, need := AnyRole(roles), guild)
    return explain(decision, who=who, what=f"use {name}, which needs {need},")


def command_name(what: str) -> str:
    """``what`` as a name: ``/ops  status`` is ``ops status``."""
    return " ".join(what.split()).removeprefix("/")


def questions(commands: Iterable[tuple[Kind, str]]) -> list[str]:
    """What can be asked about, sorted: commands, then permissions."""
    return sorted(policy_name(*key) for key in commands) + list(PERMISSIONS)
