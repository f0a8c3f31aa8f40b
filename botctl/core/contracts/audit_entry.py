"""The audit entry: who did what, to what, and with which outcome; and its canonical encoding.

Its line is JSON with sorted keys, no spaces and no floats, so that any language can compute the same hash over it.
Values are strings, integers below 2**53, booleans, null, lists and objects; Discord ids are strings, times are ISO 8601
in UTC with milliseconds.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import os
import pwd
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from botctl.core.clock import iso_ms
from botctl.core.contracts.invocation import Invocation, Kind, Outcome, Result
from botctl.core.escape import without_surrogates
from botctl.core.ids import event_id
from botctl.core.redact import MARK, redact, redact_json
from botctl.core.version import __version__

VERSION = 1
MAX_LINE_BYTES = 16_384
MAX_REASON = 200  # characters of a reason that someone gives
_MAX_EXACT_INTEGER = 2**53 - 1
_SECRET_NAME = re.compile(r"token|secret|passw|authorization|cookie|credential|private_?key|api_?key", re.IGNORECASE)
_REPEATED = "done more than once"
_TEXT_LIMITS_BYTES = (4096, 1024, 256, 64)  # tried in this order until the line fits


class Stage(enum.StrEnum):
    """Whether the entry marks the beginning of an action, its end, or (``POINT``) all of it."""

    BEGIN = "begin"
    END = "end"
    POINT = "point"


class AuditOutcome(enum.StrEnum):
    """The outcome of an action. ``UNKNOWN``: it was interrupted, or its end was not seen."""

    SUCCESS = "success"
    DENIED = "denied"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acted. ``type``: ``user``, ``cli``, ``job``, ``key`` (an API key), ``session``, ``address`` or ``system``."""

    type: str
    id: str
    name: str | None = None
    auth: str | None = None  # who became the actor, and how: ``sudo:ann``, as the environment says


@dataclass(frozen=True, slots=True)
class Via:
    """Where it was done. ``iface``: ``discord``, ``cli``, ``api``, ``system``. ``ver``: botctl's. ``cmd``: as typed."""

    iface: str
    host: str
    pid: int
    ver: str
    cmd: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The object of the action. ``type``: ``channel``, ``guild``, ``user``, ``policy``, ``job``, ``key``, …"""

    type: str
    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A value that changed from ``old`` to ``new``. ``k`` is its name."""

    k: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit log. A field that is None is not written."""

    id: str
    at: datetime
    action: str  # dotted: ``command.ops.status``, ``guild.settings.set``
    actor: Principal
    outcome: AuditOutcome = AuditOutcome.SUCCESS
    stage: Stage = Stage.POINT
    op: str | None = None  # the id that the entries of one action share
    via: Via | None = None
    target: Target | None = None
    guild: str | None = None
    shard: int | None = None
    reason: str | None = None  # for people
    changes: tuple[Change, ...] | None = None
    ms: int | None = None  # how long it took
    error: str | None = None  # the error id, which the log has too
    req: str | None = None  # id of the interaction or of the HTTP request
    v: int = VERSION  # the version of this format


@functools.cache
def via(iface: str, cmd: str | None = None) -> Via:
    """The `Via` of an action in this process."""
    return Via(iface, socket.gethostname(), os.getpid(), __version__, cmd)


def current_operator() -> Principal:
    """The operating system's user that runs this process, and who became that user."""
    name = _user_name(os.getuid())
    return Principal("cli", f"uid:{os.getuid()}", name, _caller_before(os.environ, name))


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):  # the user of a container may have no entry
        return None


def _caller_before(environment: Mapping[str, str], name: str | None) -> str | None:
    """Who became the user ``name``, and how, from the variables that sudo, doas and pkexec set; None without them.

    Any process can set them: only the user id is sure.
    """
    for variable, method in _CALLER_VARIABLES.items():
        caller = environment.get(variable, "")
        if variable.endswith("_UID") and caller.isascii() and caller.isdecimal():
            caller = _user_name(int(caller)) or f"uid:{caller}"
        if caller and caller != name:
            return f"{method}:{caller}"
    return None


def make_entry(
    action: str,
    actor: Principal,
    *,
    at: datetime,
    iface: str,
    target: Target | None = None,
    guild: str | None = None,
    outcome: AuditOutcome = AuditOutcome.SUCCESS,
    reason: str | None = None,
    changes: Sequence[Change] = (),
    ms: float | None = None,
    error: str | None = None,
    op: str | None = None,
    stage: Stage = Stage.POINT,
) -> AuditEntry:
    """The entry of an action that is not an interaction. ``iface`` as in `Via`, the others as in `AuditEntry`."""
    return AuditEntry(
        id=event_id(),
        at=at,
        stage=stage,
        action=action,
        actor=actor,
        via=via(iface),
        target=target,
        guild=guild,
        outcome=outcome,
        reason=reason,
        changes=tuple(changes) or None,
        ms=None if ms is None else round(ms),
        error=error,
        op=op,
    )


def entry_for(invocation: Invocation, outcome: Outcome) -> AuditEntry:
    """The entry of a finished invocation. Its id depends on the invocation only, so writing it twice is harmless.

    If the invocation was handled twice, see `repeated_line`.
    """
    return AuditEntry(
        id=f"{invocation.id}.{Stage.END}",
        at=invocation.at + timedelta(milliseconds=outcome.took_ms),
        stage=Stage.END,
        op=invocation.id,
        action=action_of(invocation),
        outcome=_OUTCOMES[outcome.result],
        actor=Principal("user", invocation.actor.id, invocation.actor.name),
        via=via("discord"),
        target=Target("channel", invocation.channel) if invocation.channel else None,
        guild=invocation.guild,
        shard=invocation.shard,
        reason=outcome.reason or outcome.error_type,
        ms=round(outcome.took_ms),
        error=outcome.error_id,
        req=invocation.id,
    )


def action_of(invocation: Invocation) -> str:
    """The name of its action: ``command.ops.status``, ``component.poll:vote``, ``modal.feedback``."""
    kind = invocation.kind if invocation.kind in (Kind.COMPONENT, Kind.MODAL) else "command"
    return f"{kind}.{invocation.name.replace(' ', '.')}"


def encode_line(entry: AuditEntry) -> bytes:
    """The canonical line of ``entry``: redacted, without a newline, at most `MAX_LINE_BYTES` long.

    A value that is too long becomes ``{cut, len, sha256}``: its beginning, its length in bytes, and the hash of all of
    it, which proves what it was.
    """
    if entry.changes is None:
        text = _encode_fast(entry)
        whole = text.encode()
        if len(whole) <= MAX_LINE_BYTES and redact(text) == text:  # the usual case
            return whole
    return _encode_slow(entry)


def repeated_line(line: bytes) -> bytes:
    """The canonical ``line`` of an entry whose id another entry has: with an id of its own, and the reason for it.

    The id depends on the line only, so writing it twice is harmless.
    """
    value = json.loads(line)
    value["id"] = f"{value['id']}.{hashlib.sha256(line).hexdigest()[:16]}"
    if isinstance(reason := value.get("reason", ""), str):
        value["reason"] = f"{reason}; {_REPEATED}" if reason else _REPEATED
    return _encode_json(value)


def _encode_fast(entry: AuditEntry) -> str:
    """The same JSON as `_encode_slow`, for an entry without changes, with nothing to redact or to cut."""
    parts = []
    for name in _SORTED_FIELDS:
        value = getattr(entry, name)
        if value is not None:
            encode = _encode_cached if isinstance(value, (Principal, Via, Target)) else _encode_value
            parts.append(f'"{name}":{encode(value)}')
    return f"{{{','.join(parts)}}}"


@functools.lru_cache(maxsize=1024)
def _encode_cached(value: Principal | Via | Target) -> str:
    """The JSON of ``value``. Cached, because the same few values recur."""
    return _ENCODER.encode(_fields_to_json(value, _FIELD_NAMES[type(value)]))


def _encode_value(value: str | float | datetime) -> str:
    plain = without_surrogates(value) if type(value) is str else _scalar_to_json(value)
    return _quote(plain) if isinstance(plain, str) else str(plain)


def _encode_slow(entry: AuditEntry) -> bytes:
    """`encode_line` for any entry."""
    value = _fields_to_json(entry, _FIELD_NAMES[AuditEntry])
    if "changes" in value:  # the only field with keys from outside
        value["changes"] = _mask_secrets(value["changes"])
    value, text = redact_json(value, _ENCODER.encode)
    whole = text.encode()
    for limit in _TEXT_LIMITS_BYTES:
        if len(whole) <= MAX_LINE_BYTES:
            return whole
        whole = _encode_json(_shorten(value, limit))
    if len(whole) > MAX_LINE_BYTES:
        changes = _cut_text(_encode_json(value.get("changes")), 1024)
        whole = _encode_json(_shorten(value | {"changes": changes}, _TEXT_LIMITS_BYTES[-1]))
    return whole


def _to_json(value: Any) -> Any:
    """``value`` as the JSON types of the module's docstring."""
    if value is None or isinstance(value, (str, int, float, datetime)):
        return _scalar_to_json(value)
    if isinstance(value, (Principal, Via, Target, Change)):
        return _fields_to_json(value, _FIELD_NAMES[type(value)])
    if isinstance(value, Mapping):
        return {without_surrogates(str(key)): _to_json(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_to_json(item) for item in value), key=_encode_json)
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return without_surrogates(str(value))


def _scalar_to_json(value: str | float | datetime | None) -> str | int | None:
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) <= _MAX_EXACT_INTEGER):
        return value
    if isinstance(value, (Stage, AuditOutcome)):
        return value.value
    return iso_ms(value) if isinstance(value, datetime) else without_surrogates(str(value))


def _fields_to_json(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields ``names`` of ``value``; those that are None are left out, except in a `Change`."""
    always = isinstance(value, Change)  # None is a value of a change
    result: dict[str, Any] = {}
    for name in names:
        item = getattr(value, name)
        if type(item) is str:
            result[name] = without_surrogates(item)
        elif item is not None or always:
            result[name] = _to_json(item)
    return result


def _mask_secrets(value: Any) -> Any:
    """``value`` with secrets masked, by their name: the key of an object, or the ``k`` of a change."""
    if isinstance(value, list):
        return [_mask_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    change = _SECRET_NAME.search(str(value.get("k", ""))) is not None
    return {
        key: MARK if item and (_SECRET_NAME.search(key) or (change and key in ("old", "new"))) else _mask_secrets(item)
        for key, item in value.items()
    }


def _encode_json(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def _shorten(value: Any, limit_bytes: int) -> Any:
    """The JSON ``value`` with every longer text in it replaced by its `_cut_text`."""
    if isinstance(value, str):
        whole = value.encode()
        return value if len(whole) <= limit_bytes else _cut_text(whole, limit_bytes)
    if isinstance(value, dict):
        return {key: _shorten(item, limit_bytes) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item, limit_bytes) for item in value]
    return value


def _cut_text(whole: bytes, limit_bytes: int) -> dict[str, Any]:
    """``{cut, len, sha256}``, as in `encode_line`."""
    beginning = whole[:limit_bytes].decode("utf-8", "ignore")
    return {"cut": beginning, "len": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_quote = json.encoder.encode_basestring  # quotes a string as _ENCODER does; written in C
_SORTED_FIELDS = sorted(field.name for field in fields(AuditEntry) if field.name != "changes")
_CALLER_VARIABLES = {"SUDO_USER": "sudo", "DOAS_USER": "doas", "PKEXEC_UID": "pkexec"}
_FIELD_NAMES = {cls: tuple(field.name for field in fields(cls)) for cls in (AuditEntry, Principal, Via, Target, Change)}
_OUTCOMES = {
    Result.OK: AuditOutcome.SUCCESS,
    Result.DENIED: AuditOutcome.DENIED,
    Result.THROTTLED: AuditOutcome.DENIED,
    Result.INVALID: AuditOutcome.ERROR,
    Result.FAILED: AuditOutcome.ERROR,
    Result.CANCELLED: AuditOutcome.UNKNOWN,
}
