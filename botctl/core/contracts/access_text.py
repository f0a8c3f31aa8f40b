"""A decision in sentences: why yes or why no, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from botctl.core.contracts.access import (
    AccessDecision,
    AnyRole,
    GrantSource,
    HolderType,
    Need,
    RoleGrant,
    Step,
    StepResult,
)
from botctl.core.contracts.permissions import BUILT_IN_ROLES, roles_with

_NOUNS = {
    HolderType.USER: "user",
    HolderType.ROLE: "members with the Discord role",
    HolderType.KEY: "key",
    HolderType.JOB: "job",
    HolderType.CLI: "operator at the terminal",
    HolderType.SESSION: "session",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """``answer``: one sentence. ``steps``: one for each grant. ``change``: what would allow it, else empty."""

    answer: str
    steps: tuple[str, ...]
    change: str = ""

    @property
    def allowed(self) -> bool:
        return not self.change


def explain(decision: AccessDecision, *, who: str = "", what: str = "") -> Explanation:
    """Say why ``decision`` is as it is. The answer is "``who`` may ``what`` …"; by default, the holder and the need."""
    word = "may" if decision.allowed else "may not"
    who, what = who or str(decision.requester.holder), what or describe_need(decision.need)
    answer = f"{who} {word} {what} {_describe_guild(decision.guild)}."
    steps = tuple(_describe_step(step, decision.need) for step in decision.steps) or (_no_grant(decision),)
    return Explanation(answer, steps, "" if decision.allowed else _describe_change(decision))


def explain_unknown(decision: AccessDecision, perhaps: Sequence[RoleGrant]) -> Explanation:
    """Say that ``decision``, a no, depends on the Discord roles of the user: each of ``perhaps`` would allow it."""
    holder, need = decision.requester.holder, describe_need(decision.need)
    answer = f"Whether {holder} may {need} {_describe_guild(decision.guild)} is not known without its Discord roles."
    known = explain(decision)
    steps = tuple(f"perhaps: {describe_grant(grant)}" for grant in perhaps)
    ids = ",".join(dict.fromkeys(grant.holder.id for grant in perhaps))
    ask = f'Name those of {ids} that it has with --has-role; --has-role "" says that it has none.'
    return Explanation(answer, known.steps + steps, f"{ask} {known.change}")


def describe_need(need: Need) -> str:
    """The need as the end of "may …": ``use what needs the role admin``, ``do jobs:run``."""
    return f"use what needs {need}" if isinstance(need, AnyRole) else f"do {need}"


def describe_grant(grant: RoleGrant) -> str:
    """``operator to user 123 in guild 456, by ann: on call``."""
    if grant.source is GrantSource.KEY:
        return f"the permissions of the key {grant.holder.id}{_describe_scope(grant)}"
    if grant.source is GrantSource.LINK:
        return f"{grant.role}, by a one-time link from {grant.granted_by}"
    if grant.source is GrantSource.BUILT_IN:
        return f"{grant.role}, built in: {grant.reason}"
    origin = "the settings" if grant.source is GrantSource.SETTINGS else grant.granted_by or "an unknown operator"
    reason = f": {grant.reason}" if grant.reason else ""
    return f"{grant.role} to {_NOUNS[grant.holder.type]} {grant.holder.id}{_describe_scope(grant)}, by {origin}{reason}"


def _describe_scope(grant: RoleGrant) -> str:
    return "" if grant.guild is None else f" in guild {grant.guild}"


def _describe_guild(guild: str | None) -> str:
    return "for the whole bot" if guild is None else f"in guild {guild}"


def _describe_step(step: Step, need: Need) -> str:
    grant = describe_grant(step.grant)
    match step.result:
        case StepResult.ALLOWS:
            return f"yes: {grant}"
        case StepResult.EXPIRED:
            return f"no: {grant} (it expired at {step.grant.expires_at:%Y-%m-%d %H:%M} UTC)"
        case StepResult.OTHER_GUILD:
            return f"no: {grant} ({_describe_reach(step.grant)})"
        case StepResult.LACKS:
            return f"no: {grant} (it does not include {need})"


def _describe_reach(grant: RoleGrant) -> str:
    return "it counts in a guild only" if grant.guild is None else f"it counts in guild {grant.guild} only"


def _no_grant(decision: AccessDecision) -> str:
    return f"no: {decision.requester.holder} has no role {_describe_guild(decision.guild)}"


def _describe_change(decision: AccessDecision) -> str:
    """What would allow it: the role to grant, and the command for it."""
    need, holder = decision.need, decision.requester.holder
    if holder.type is HolderType.SESSION:
        return "To allow it, sign in with Discord, or make a link with another role: `botctl auth link --role …`."
    if holder.type is HolderType.ROLE and decision.guild is None:
        return "A Discord role counts in its guild only. Name the guild."
    roles = _weakest_first(need.names) if isinstance(need, AnyRole) else roles_with(need)
    scope = "" if decision.guild is None else f" --guild {decision.guild}"
    grant = f'`botctl auth grant {roles[0]} {holder}{scope} --reason "…"`'
    others = f" ({' or '.join(roles[1:])} would do, too)" if len(roles) > 1 else ""
    return f"To allow it, grant {roles[0]}: {grant}{others}."


def _weakest_first(roles: Sequence[str]) -> list[str]:
    """Those of the settings, which carry only what the settings say, before the built-in ones, which grow."""
    strength = [*BUILT_IN_ROLES]
    return sorted(roles, key=lambda role: strength.index(role) if role in BUILT_IN_ROLES else -1)
