"""Who may do what: one pure decision for commands, the realtime server, and everything else that asks.

A *holder* (a Discord user, the members with a Discord role, an API key, a job) has roles by *grants*. Each grant
carries the permissions of its role, and opens the commands that ask for the role by its name. Without a grant nothing
is allowed. A grant for one guild counts in that guild only; that of a Discord role counts only where the user has it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

from botctl.core.clock import iso_ms
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.permissions import OWNER, any_covers


class HolderType(enum.StrEnum):
    """What has a role.

    ``CLI``: the operator at the terminal, who has `OWNER` without a grant. ``SESSION``: a session that was opened with
    a one-time link, which has the role of the link and no grants.
    """

    USER = "user"
    ROLE = "role"
    KEY = "key"
    JOB = "job"
    CLI = "cli"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Holder:
    """``id``: of the Discord user, Discord role, API key or session; the name of the job; ``uid:<number>``."""

    type: HolderType
    id: str

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


class GrantSource(enum.StrEnum):
    """Where a grant comes from.

    ``KEY``: the key's own permissions. ``LINK``: the one-time link of a session. ``BUILT_IN``: no one granted it.
    """

    SETTINGS = "settings"
    STORE = "store"
    KEY = "key"
    LINK = "link"
    BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True)
class RoleGrant:
    """``role`` is granted to ``holder``, for the bot or for one guild.

    ``permissions``: what it carries, as patterns (`permissions.covers`). A role of the settings carries none unless the
    settings say so. ``guild``: None for the bot. The grant of a Discord role never counts for the bot: without a
    ``guild`` it counts in whichever guild has that role.
    """

    role: str
    holder: Holder
    permissions: frozenset[str] = frozenset()
    guild: str | None = None
    source: GrantSource = GrantSource.STORE
    reason: str = ""
    granted_by: str = ""
    granted_at: datetime | None = None  # None: by the settings, or built in
    expires_at: datetime | None = None

    def counts_in(self, guild: str | None) -> bool:
        """Whether it counts in ``guild`` (None: for the bot)."""
        if guild is None and self.holder.type is _ROLE:
            return False
        return self.guild is None or self.guild == guild

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {
            "role": self.role,
            "holder": str(self.holder),
            "guild": self.guild,
            "permissions": sorted(self.permissions),
            "source": self.source,
            "by": self.granted_by,
            "at": self.granted_at and iso_ms(self.granted_at),
            "expires_at": self.expires_at and iso_ms(self.expires_at),
            "reason": self.reason,
        }

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True)
class AnyRole:
    """A need: one of these roles, by name. Commands ask for it."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"the role {' or '.join(self.names)}"


Need = str | AnyRole
"""What a requester needs: a permission, or a role."""


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks.

    ``has_role``: looks up, by id, whether a user has a Discord role in the guild that is asked about; None where that
    is not known. ``own``: grants that come with the holder itself (the permissions of an API key).
    """

    holder: Holder
    has_role: Callable[[str], object] | None = None
    own: tuple[RoleGrant, ...] = ()


class StepResult(enum.StrEnum):
    """What a grant means for a decision."""

    ALLOWS = "allows"
    OTHER_GUILD = "other guild"  # it is for another guild, or for one guild and the question is about the bot
    EXPIRED = "expired"
    LACKS = "lacks"  # its role does not carry what is needed


# Looked up once: Python 3.11 takes as long for a member of an enum as for a call, and every decision needs them.
_ROLE: Final = HolderType.ROLE
_CLI: Final = HolderType.CLI
_ALLOWS: Final = StepResult.ALLOWS
_LACKS: Final = StepResult.LACKS


class Step(NamedTuple):  # faster to make than a frozen dataclass
    """A grant of the requester, and what it means."""

    grant: RoleGrant
    result: StepResult


class AccessDecision(NamedTuple):
    """The answer. ``steps``: every grant of the requester, which `access_text.explain` turns into sentences."""

    requester: Requester
    need: Need
    guild: str | None
    steps: tuple[Step, ...]

    @property
    def allowed(self) -> bool:
        return _ALLOWS in [step.result for step in self.steps]


@dataclass(frozen=True)
class AccessRules:
    """All grants, indexed by holder. Immutable: a change makes new rules."""

    grants: tuple[RoleGrant, ...] = ()
    _by_holder_id: Mapping[str, tuple[RoleGrant, ...]] = field(init=False, repr=False, compare=False)
    _by_guild_role: Mapping[str | None, Mapping[str, tuple[RoleGrant, ...]]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        by_holder_id: dict[str, tuple[RoleGrant, ...]] = {}  # ids hash faster than holders
        by_guild_role: dict[str | None, dict[str, tuple[RoleGrant, ...]]] = {}
        for grant in self.grants:
            by_holder_id[grant.holder.id] = (*by_holder_id.get(grant.holder.id, ()), grant)
            if grant.holder.type is HolderType.ROLE:
                roles = by_guild_role.setdefault(grant.guild, {})
                roles[grant.holder.id] = (*roles.get(grant.holder.id, ()), grant)
        object.__setattr__(self, "_by_holder_id", by_holder_id)
        object.__setattr__(self, "_by_guild_role", by_guild_role)

    def next_expiry(self, now: datetime) -> datetime | None:
        """When the next of these grants expires; None if none does."""
        ends = (grant.expires_at for grant in self.grants)
        return min((end for end in ends if end is not None and end > now), default=None)

    def guilds_of(self, holder: Holder) -> frozenset[str]:
        """The guilds for which ``holder`` itself has a grant; those of Discord roles are not looked at."""
        grants = self._by_holder_id.get(holder.id, ())
        return frozenset(grant.guild for grant in grants if grant.guild is not None and grant.holder == holder)

    def discord_roles(self) -> Mapping[str | None, frozenset[str]]:
        """The ids of the Discord roles that have grants, by the guild of the grant; None: by grants without one."""
        return {guild: frozenset(roles) for guild, roles in self._by_guild_role.items()}

    def has_grants(self, discord_role: str, guild: str) -> bool:
        """Whether a grant to ``discord_role`` could count in ``guild``."""
        return any(discord_role in self._by_guild_role.get(place, _NO_ROLES) for place in (None, guild))

    def grants_of(self, requester: Requester, guild: str | None) -> Iterator[RoleGrant]:
        """The grants of ``requester``; those of Discord roles only for roles that it has in ``guild``."""
        yield from requester.own
        holder, has_role = requester.holder, requester.has_role
        if holder.type is _CLI:
            yield _TERMINAL
        for grant in self._by_holder_id.get(holder.id, ()):
            if grant.holder.type is holder.type:
                yield grant
        if guild is not None and has_role is not None:
            for place in (None, guild):
                for role, grants in self._by_guild_role.get(place, _NO_ROLES).items():
                    if has_role(role):
                        yield from grants


_NO_ROLES: Final[Mapping[str, tuple[RoleGrant, ...]]] = {}
_TERMINAL: Final = RoleGrant(
    OWNER,
    Holder(HolderType.CLI, ""),
    frozenset({"*"}),
    source=GrantSource.BUILT_IN,
    reason="who runs botctl with the files of the project can read its secrets",
)


def decide(rules: AccessRules, requester: Requester, need: Need, guild: str | None, now: datetime) -> AccessDecision:
    """Decide whether ``requester`` may do what needs ``need`` in ``guild`` (None: for the bot).

    The order of the grants does not matter: one that allows is enough, and none takes away.
    """
    steps = tuple(Step(grant, _judge(grant, need, guild, now)) for grant in rules.grants_of(requester, guild))
    return AccessDecision(requester, need, guild, steps)


def discord_roles_that_allow(rules: AccessRules, need: Need, guild: str | None, now: datetime) -> tuple[RoleGrant, ...]:
    """The grants to Discord roles that would allow ``need`` in ``guild`` to a user who has the Discord role."""
    return tuple(
        grant
        for grant in rules.grants
        if grant.holder.type is _ROLE and _judge(grant, need, guild, now) is StepResult.ALLOWS
    )


def held_roles(rules: AccessRules, requester: Requester, guild: str | None, now: datetime) -> frozenset[str]:
    """The names of the roles that ``requester`` has in ``guild``."""
    return frozenset(
        grant.role
        for grant in rules.grants_of(requester, guild)
        if grant.role and grant.counts_in(guild) and not grant.has_expired(now)
    )


def held_permissions(rules: AccessRules, requester: Requester, guild: str | None, now: datetime) -> frozenset[str]:
    """The permissions that ``requester`` has in ``guild``, as patterns."""
    held: frozenset[str] = frozenset()
    for grant in rules.grants_of(requester, guild):
        if grant.counts_in(guild) and not grant.has_expired(now):
            held |= grant.permissions
    return held


def _judge(grant: RoleGrant, need: Need, guild: str | None, now: datetime) -> StepResult:
    if not _carries(grant, need):
        return _LACKS
    if not grant.counts_in(guild):
        return StepResult.OTHER_GUILD
    return StepResult.EXPIRED if grant.has_expired(now) else _ALLOWS


def _carries(grant: RoleGrant, need: Need) -> bool:
    return grant.role in need.names if isinstance(need, AnyRole) else any_covers(grant.permissions, need)


def user_requester(invocation: Invocation) -> Requester:
    """The user of ``invocation``, as who asks in its guild."""
    return Requester(Holder(HolderType.USER, invocation.actor.id), invocation.actor.has_role)


class AccessControl(Protocol):
    """The current grants of a bot, in memory: a decision waits for no store."""

    @property
    def rules(self) -> AccessRules: ...

    def decide(self, requester: Requester, need: Need, guild: str | None = None) -> AccessDecision:
        """`decide` by the current rules, now."""
        ...
