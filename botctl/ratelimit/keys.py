"""The Redis keys of rate limits: make and parse their names. Pure functions: no I/O.

A policy is named as `botctl.core.contracts.invocation.policy_name` writes it (``ops status``, ``user/Ban``), or as the
part of botctl that declares it (``realtime.connect``). Different policies have different keys::

    botctl:{<bot>}:rl:<policy>:<scope>:<subject>   the state of one subject, see `gcra`; expires when the
                                                   all calls are available again
    botctl:{<bot>}:rl:policies                     hash, part of botctl -> JSON {policy: limits}
    botctl:{<bot>}:rl:resets                       counts the resets, so that processes clear their local counts
    botctl:{<bot>}:rl:hour:<n>                     hash, checks and denials by policy in the hour n since 1970
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from botctl.core.contracts.throttle import GLOBAL_SUBJECT, LOCAL_ADDRESS, Limit, Scope, address_subject

HOURS: Final = 24  # how long statistics are kept
_SPECIAL: Final = re.compile(r"([*?\[\]\\])")  # characters with a meaning in a pattern of SCAN


class IdForm(NamedTuple):
    """How a subject with an id of Discord is written."""

    pattern: re.Pattern[str]
    example: str


_ID_FORMS: Final = {
    Scope.USER: IdForm(re.compile("[0-9]{1,20}"), "user:80351110224678912"),
    Scope.GUILD: IdForm(re.compile("(dm-)?[0-9]{1,20}"), "guild:197038439483310086"),
    Scope.CHANNEL: IdForm(re.compile("(dm-)?[0-9]{1,20}"), "channel:41771983423143937"),
    Scope.MEMBER: IdForm(re.compile("(dm-)?[0-9]{1,20}-[0-9]{1,20}"), "member:197038439483310086-80351110224678912"),
}


class Key(NamedTuple):
    """The parts of a state's key. ``limit``: ``user`` for the first limit of the scope user, then ``user-2``, ..."""

    policy: str
    limit: str
    subject: str

    @property
    def scope(self) -> str:
        """The scope alone."""
        return self.limit.partition("-")[0]


class Subject(NamedTuple):
    """A user, guild, address or other subject whose limits are shown or reset."""

    scope: Scope
    id: str

    def __str__(self) -> str:
        return f"{self.scope}:{self.id}"

    def owns(self, key: Key) -> bool:
        """Whether ``key`` is of this subject. A user also owns ``<guild>-<user>`` (memberships) and ``dm-<user>``."""
        if key.scope == self.scope:
            return key.subject == self.id
        if self.scope is not Scope.USER:
            return False
        within = key.scope == Scope.MEMBER and key.subject.endswith(f"-{self.id}")
        return within or key.subject == f"dm-{self.id}"


def bot_prefix(bot: str) -> str:
    """The prefix of all keys of ``bot``. The braces in it put them into one slot of a Redis Cluster."""
    return f"botctl:{{{bot}}}:rl:"


def display_name(policy: str) -> str:
    """``policy`` for people, in one word: ``ops status`` becomes ``ops.status``. Names with a kind stay as they are."""
    command, colon, handler = policy.partition(":")
    return policy if "/" in command else f"{command.replace(' ', '.')}{colon}{handler}"


def is_command(policy: str) -> bool:
    """Whether ``policy`` is that of a command, and not of its components or suggestions."""
    kind, separator, _ = policy.partition("/")
    return kind in ("user", "message") if separator and ":" not in kind else ":" not in policy


def find_policies(text: str, known: Collection[str]) -> set[str]:
    """The policies of ``known`` that an operator means by ``text``; empty if there is none.

    It may be written as a command (``/ops status``), as shown (``ops.status``), or without its kind (``Ban`` for
    ``user/Ban``). A name that is exactly a policy means only that one.
    """
    text = text.removeprefix("/")
    for names in (_exact_names, _shown_names, _short_names):
        if found := {policy for policy in known if text in names(policy)}:
            return found
    return set()


def _exact_names(policy: str) -> set[str]:
    return {policy}


def _shown_names(policy: str) -> set[str]:
    return {display_name(policy)}


def _short_names(policy: str) -> set[str]:
    kind, separator, name = policy.partition("/")
    return {name, name.replace(" ", "."), display_name(name)} if separator and ":" not in kind else set()


def state_prefix(bot: str, policy: str, limit: str) -> str:
    """The key of a state up to the subject. A colon in the policy is escaped, since it is the separator."""
    return f"{bot_prefix(bot)}{policy.replace('%', '%25').replace(':', '%3A')}:{limit}:"


def parse_key(bot: str, key: bytes) -> Key | None:
    """The parts of ``key``; None if it is not the key of a state."""
    text = key.decode(errors="replace").removeprefix(bot_prefix(bot))
    policy, _, rest = text.partition(":")
    limit, _, subject = rest.partition(":")
    if not subject or limit.partition("-")[0] not in set(Scope):
        return None
    return Key(policy.replace("%3A", ":").replace("%25", "%"), limit, subject)


def scan_pattern(bot: str, part: str = "") -> str:
    """A SCAN pattern for the states whose subject ends with ``part``."""
    literal = _SPECIAL.sub(r"\\\1", part)
    return f"{bot_prefix(bot)}*{literal}"


def name_limits(limits: Sequence[Limit]) -> Iterator[tuple[str, Limit]]:
    """Each limit with its name, see `Key`.

    The name does not depend on the values, so that changed limits keep their counts.
    """
    seen: dict[Scope, int] = {}
    for limit in limits:
        nth = seen[limit.scope] = seen.get(limit.scope, 0) + 1
        yield (f"{limit.scope}" if nth == 1 else f"{limit.scope}-{nth}"), limit


def policies_key(bot: str) -> str:
    return f"{bot_prefix(bot)}policies"


def resets_key(bot: str) -> str:
    return f"{bot_prefix(bot)}resets"


def hour_key(bot: str, hour: int) -> str:
    """The key of the counts of one hour. ``hour``: hours since 1970."""
    return f"{bot_prefix(bot)}hour:{hour}"


def parse_subject(text: str) -> Subject:
    """Parse ``user:1234``, ``member:<guild>-<user>``, ``address:192.0.2.1`` or ``global``.

    Raises ValueError if nothing can be counted for ``text``: of a user, Discord tells a bot the id and not the name.
    """
    scope, _, subject = text.partition(":")
    if scope == Scope.GLOBAL and subject in ("", GLOBAL_SUBJECT):
        return Subject(Scope.GLOBAL, GLOBAL_SUBJECT)
    if scope not in set(Scope) - {Scope.GLOBAL} or not subject:
        names = ", ".join(f"{scope}:…" for scope in Scope if scope is not Scope.GLOBAL)
        raise ValueError(f"{text[:60]!r} is not a subject of rate limits; known are {names} and global")
    if scope == Scope.ADDRESS:
        counted = address_subject(subject.partition("/")[0])
        if counted == LOCAL_ADDRESS != subject:
            raise ValueError(f"{text[:60]!r} is not an IP address; write address:192.0.2.1 or address:{LOCAL_ADDRESS}")
        return Subject(Scope.ADDRESS, counted)
    if (form := _ID_FORMS.get(Scope(scope))) and not form.pattern.fullmatch(subject):
        raise ValueError(
            f"{text[:60]!r} cannot have limits: calls are counted by Discord's ids, so write {form.example}"
        )
    return Subject(Scope(scope), subject)
