"""All that disnake keeps of guilds, as plain data: to compare the caches of two processes."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final

_SKIPPED: Final = frozenset({"_state", "state", "_guild", "guild", "__weakref__", "parent"})
_PLAIN: Final = (str, int, float, bool, type(None), dt.datetime, dt.timedelta, enum.Enum)


def cache_of(client: Any) -> dict[str, Any]:
    """Every attribute, public or not, of every guild with all in it, of the bot's user, and of the tables of ids."""
    state = client._connection
    tables = {
        name: sorted(getattr(state, f"_{name}")) for name in ("guilds", "emojis", "stickers", "soundboard_sounds")
    }
    return {
        **flat({guild.id: _plain(guild, ()) for guild in client.guilds}),
        **flat(tables, "/tables"),
        **flat(_plain(client.user, ()), "/user"),
        "/application": client.application_id,
    }


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """``value`` as one dict, whose differences pytest can show."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {key: inner for name in value for key, inner in flat(value[name], f"{path}/{name}").items()}


def _plain(value: Any, parents: tuple[int, ...]) -> Any:
    """``parents``: the objects around it, in which it is only named."""
    if isinstance(value, _PLAIN):
        return value
    if type(value).__module__ == "disnake.enums":
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key], parents) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, parents) for item in value]
    if id(value) in parents:
        return f"{type(value).__name__} {getattr(value, 'id', '')}"
    inner = {name: _plain(item, (*parents, id(value))) for name, item in _attributes(value)}
    return {"class": type(value).__name__, **inner}


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    names = {name for cls in type(value).__mro__ for name in _slots(cls)} | _variables(value).keys()
    for name in sorted(names - _SKIPPED):
        if not name.startswith("_cs_") and hasattr(value, name):  # cached_slot_property
            yield name, getattr(value, name)


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _variables(value: Any) -> dict[str, Any]:
    return getattr(value, "__dict__", {})
