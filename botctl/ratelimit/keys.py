"""The names of everything that rate limits keep in Redis, and how to read them again. Pure.

::

    botctl:{<bot>}:rl:<policy>:<scope>:<subject>   the state of one subject, see ratelimit.gcra; expires when full
    botctl:{<bot>}:rl:policies                     hash, owner -> JSON {policy: limits}: what the processes declare
    botctl:{<bot>}:rl:resets                       counts the resets, so that processes forget what they know alone
    botctl:{<bot>}:rl:hour:<n>                     hash, checks and denials by policy in the hour n since 1970
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from botctl.core.contracts.throttle import GLOBAL_SUBJECT, Limit, Scope, address_subject

HOURS: Final = 24
"""For how many hours it is known how often a policy was asked."""
_SPECIAL: Final = re.compile(r"([*?\[\]\\])")  # in a pattern of SCAN


class Key(NamedTuple):
    """Whose state it is. ``limit`` is the scope; ``user-2`` is the second limit of a policy per user."""

    policy: str
    limit: str
    subject: str

    @property
    def scope(self) -> str:
        """The scope alone."""
        return self.limit.partition("-")[0]


class Subject(NamedTuple):
    """Whose limits are looked at or reset."""

    scope: Scope
    id: str

    def __str__(self) -> str:
        return f"{self.scope}:{self.id}"

    def has(self, key: Key) -> bool:
        """Whether ``key`` is about this subject; a user's are also those within guilds and direct messages."""
        if key.scope == self.scope:
            return key.subject == self.id
        if self.scope is not Scope.USER:
            return False
        within = key.scope == Scope.MEMBER and key.subject.endswith(f"-{self.id}")
        return within or key.subject == f"dm-{self.id}"


def base(bot: str) -> str:
    """What all keys of ``bot`` begin with; one hash tag, so they are one slot of a Cluster."""
    return f"botctl:{{{bot}}}:rl:"


def shown(policy: str) -> str:
    """The name of a policy as people read it: ``ops.status`` for the command ``ops status``."""
    return policy.replace(" ", ".")


def prefix(bot: str, policy: str, limit: str) -> str:
    """The key of a subject, without the subject. A colon within the policy is written otherwise: it parts the key."""
    return f"{base(bot)}{shown(policy).replace('%', '%25').replace(':', '%3A')}:{limit}:"


def read(bot: str, key: bytes) -> Key | None:
    """The inverse of `prefix` and a subject; None for a key of another kind."""
    text = key.decode(errors="replace").removeprefix(base(bot))
    policy, _, rest = text.partition(":")
    limit, _, subject = rest.partition(":")
    if not subject or limit.partition("-")[0] not in set(Scope):
        return None
    return Key(policy.replace("%3A", ":").replace("%25", "%"), limit, subject)


def pattern(bot: str, part: str = "") -> str:
    """A pattern for SCAN: the states whose subject ends with ``part``."""
    literal = _SPECIAL.sub(r"\\\1", part)
    return f"{base(bot)}*{literal}"


def named(limits: Sequence[Limit]) -> Iterator[tuple[str, Limit]]:
    """``limits`` with a name each: its scope, and a number from the second of the same scope on.

    What the limit says is no part of it: changed limits go on with the counts there are.
    """
    seen: dict[Scope, int] = {}
    for limit in limits:
        nth = seen[limit.scope] = seen.get(limit.scope, 0) + 1
        yield (f"{limit.scope}" if nth == 1 else f"{limit.scope}-{nth}"), limit


def policies_key(bot: str) -> str:
    """The table of policies."""
    return f"{base(bot)}policies"


def resets_key(bot: str) -> str:
    """The counter of resets."""
    return f"{base(bot)}resets"


def hour_key(bot: str, hour: int) -> str:
    """The counts of one hour."""
    return f"{base(bot)}hour:{hour}"


def subject_of(text: str) -> Subject:
    """The subject that a person names: ``user:1234``, ``member:<guild>-<user>``, ``address:192.0.2.1``, ``global``.

    Raises:
        ValueError: a sentence that says what is known.
    """
    scope, _, subject = text.partition(":")
    if scope == Scope.GLOBAL and subject in ("", GLOBAL_SUBJECT):
        return Subject(Scope.GLOBAL, GLOBAL_SUBJECT)
    if scope not in set(Scope) - {Scope.GLOBAL} or not subject:
        names = ", ".join(f"{scope}:…" for scope in Scope if scope is not Scope.GLOBAL)
        raise ValueError(f"{text[:60]!r} is nobody's limit; known are {names} and global")
    if scope == Scope.ADDRESS:
        return Subject(Scope.ADDRESS, address_subject(subject.partition("/")[0]))
    return Subject(Scope(scope), subject)
