"""The settings of a guild, and the validation of their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from botctl.core.contracts.invocation import Kind

CLEAR_WORDS = ("", "none", "-")
"""The texts that reset a setting to its default."""

MAX_DISABLED = 100  # Discord: an application has at most 100 global slash commands
ALWAYS_ENABLED = frozenset({"settings"})
"""Without these commands a guild could not enable anything again."""

LOCALES = frozenset(
    {
        "bg", "cs", "da", "de", "el", "en-GB", "en-US", "es-419", "es-ES", "fi", "fr", "hi", "hr", "hu", "id", "it",
        "ja", "ko", "lt", "nl", "no", "pl", "pt-BR", "ro", "ru", "sv-SE", "th", "tr", "uk", "vi", "zh-CN", "zh-TW",
    }
)  # fmt: skip
"""Discord: Reference > Locales."""

_COMMAND = re.compile(r"[-_'\w]{1,32}( [-_'\w]{1,32}){0,2}")  # Discord: Application Command Naming, with sub-commands
_MENU_COMMAND = re.compile(r"\S(.{0,30}\S)?")  # a context menu command; Discord allows any characters
_COMMAND_KINDS = frozenset({Kind.SLASH, Kind.USER, Kind.MESSAGE})
_CHANNEL = re.compile(r"(?:<#)?(\d{15,20})>?", re.ASCII)


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """The settings of one guild. The defaults hold for a guild that has set nothing."""

    locale: str | None = None  # None: the user's own
    disabled: frozenset[str] = frozenset()  # names of commands, see `allows`
    log_channel: str | None = None  # an id
    revision: int = 0  # number of changes

    def allows(self, kind: Kind, command: str) -> bool:
        """Whether ``command`` (``ops status`` for a sub-command) is enabled.

        ``ban`` in `disabled` is every command of that name, ``user/ban`` only the one of that kind. ``ops`` includes
        the sub-commands of the slash command; the name of a context menu command is one name, even if it has blanks.
        """
        if not self.disabled:
            return True
        words = command.lower().split(" ")
        first = 0 if kind is Kind.SLASH else len(words) - 1
        names = (" ".join(words[: n + 1]) for n in range(first, len(words)))
        return not any(name in self.disabled or f"{kind}/{name}" in self.disabled for name in names)


DEFAULTS = GuildSettings()


def with_change(settings: GuildSettings, key: str, raw: str | Iterable[str] | None) -> GuildSettings:
    """``settings`` with ``key`` set to the text ``raw``. The store updates the revision.

    ``locale``: a locale of Discord. ``disabled``: command names, comma separated or a list; ``+name`` adds one and
    ``-name`` removes one; ``user/name`` and ``message/name`` are context menu commands.
    ``log_channel``: an id or a mention. ``none`` or None resets any of them.

    Raises:
        ValueError: ``key`` or ``raw`` is not valid.
    """
    setter = _SETTERS.get(key)
    if setter is None:
        raise ValueError(f"there is no guild setting {key[:40]!r}; there are {', '.join(KEYS)}")
    words = (raw,) if isinstance(raw, str) else sorted(raw or ())
    return setter(settings, ", ".join(words).strip())


def diff(old: GuildSettings, new: GuildSettings) -> dict[str, tuple[object, object]]:
    """The changes from ``old`` to ``new``: key -> (old value, new value), as JSON types."""
    before, after = plain(old), plain(new)
    return {key: (before[key], after[key]) for key in KEYS if before[key] != after[key]}


def unknown(settings: GuildSettings, commands: Iterable[str]) -> list[str]:
    """The disabled names that match no command or group of ``commands``, so may be misspelt.

    ``commands``: as `invocation.policy_name` writes them: ``ops status``, ``user/Ban``.
    """
    known = [_split_kind(command) for command in commands]
    return sorted(
        name
        for name in settings.disabled
        if all(GuildSettings(disabled=frozenset({name})).allows(kind, command) for kind, command in known)
    )


def plain(settings: GuildSettings) -> dict[str, object]:
    """``settings`` as JSON types, without the revision."""
    return {
        "locale": settings.locale,
        "disabled": sorted(settings.disabled),
        "log_channel": settings.log_channel,
    }


def _set_locale(settings: GuildSettings, raw: str) -> GuildSettings:
    if raw.lower() in CLEAR_WORDS:
        return replace(settings, locale=None)
    match = {locale.lower(): locale for locale in LOCALES}.get(raw.lower().replace("_", "-"))
    if match is None:
        raise ValueError(f"{raw[:40]!r} is not a locale of Discord; write for example 'en-US' or 'de', or 'none'")
    return replace(settings, locale=match)


def _set_disabled(settings: GuildSettings, raw: str) -> GuildSettings:
    if raw.lower() in CLEAR_WORDS:
        return replace(settings, disabled=frozenset())
    words = [" ".join(word.lower().split()) for word in raw.split(",")]
    steps = [word for word in words if word.startswith(("+", "-"))]
    if steps and len(steps) != len(words):
        raise ValueError(f"{raw[:60]!r} mixes names with '+name' and '-name'; use either a full list or steps")
    added = frozenset(_parse_command_name(word.removeprefix("+")) for word in words if not word.startswith("-"))
    removed = frozenset(_parse_command_name(word[1:]) for word in words if word.startswith("-"))
    disabled = ((settings.disabled if steps else frozenset()) | added) - removed
    if len(disabled) > MAX_DISABLED:
        raise ValueError(f"at most {MAX_DISABLED} commands can be disabled, this would be {len(disabled)}")
    return replace(settings, disabled=disabled)


def _split_kind(name: str) -> tuple[Kind, str]:
    """``user/Ban`` as kind and name; without a kind it is a slash command."""
    kind, separator, command = name.partition("/")
    return (Kind(kind), command) if separator and kind in _COMMAND_KINDS else (Kind.SLASH, name)


def _parse_command_name(word: str) -> str:
    name = word.strip().removeprefix("/")
    kind, command = _split_kind(name)
    pattern = _COMMAND if kind is Kind.SLASH else _MENU_COMMAND
    if not pattern.fullmatch(command):
        raise ValueError(f"{name[:40]!r} is not the name of a command; write for example 'roll, ops status, user/ban'")
    if kind is Kind.SLASH and command.split(" ")[0] in ALWAYS_ENABLED:
        raise ValueError(f"{name[:40]!r} cannot be disabled: without it no command could be enabled again")
    return name


def _set_log_channel(settings: GuildSettings, raw: str) -> GuildSettings:
    if raw.lower() in CLEAR_WORDS:
        return replace(settings, log_channel=None)
    channel = _CHANNEL.fullmatch(raw)
    if channel is None:
        raise ValueError(f"{raw[:40]!r} is not a channel; write its id, for example '123456789012345678', or 'none'")
    return replace(settings, log_channel=channel[1])


_SETTERS: dict[str, Callable[[GuildSettings, str], GuildSettings]] = {
    "locale": _set_locale,
    "disabled": _set_disabled,
    "log_channel": _set_log_channel,
}
KEYS = tuple(_SETTERS)
