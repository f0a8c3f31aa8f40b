"""Counts requests, and refuses those above the `limits`.

Discord: Rate Limits. A window starts with its first request and lasts its period. Nothing here waits; times are
monotonic seconds of the sandbox's clock.
"""

from __future__ import annotations

import enum
import hashlib
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botctl.core.clock import Clock
from botctl.sandbox.model.api_error import RateLimited
from botctl.sandbox.model.limits import Limits, Rate

Json = dict[str, Any]
Headers = dict[str, str]
_WINDOWS_FIRST_MAX = 1024  # windows; from this number on, old ones are removed
_UNKNOWN_ADDRESS = ""

# Route to a name of `Limits`; every other route has a bucket of its own, with the limit "other_routes".
_MESSAGE, _REACTIONS = "/channels/{}/messages/{}", "/channels/{}/messages/{}/reactions"
_LIMIT_OF_ROUTE: dict[str, str] = {
    "POST /channels/{}/messages": "create_message",
    f"PATCH {_MESSAGE}": "edit_message",
    f"DELETE {_MESSAGE}": "delete_message",
    "POST /channels/{}/messages/bulk-delete": "bulk_delete",
    f"DELETE {_REACTIONS}": "reactions",
    f"DELETE {_REACTIONS}/{{}}": "reactions",
    f"PUT {_REACTIONS}/{{}}/@me": "reactions",
    f"DELETE {_REACTIONS}/{{}}/@me": "reactions",
    f"DELETE {_REACTIONS}/{{}}/{{}}": "reactions",
    "POST /channels/{}/typing": "typing",
    "PATCH /channels/{}": "edit_channel",
    "POST /guilds/{}/emojis": "emojis",
    "PATCH /guilds/{}/emojis/{}": "emojis",
    "DELETE /guilds/{}/emojis/{}": "emojis",
}
_LIMIT_OF_RESOURCE = {"webhooks": "webhooks"}
_COMMAND_ROUTES = re.compile(r"(POST|PUT|PATCH|DELETE) /applications/\{}(/guilds/\{})?/commands(/\{})?")
_SHARED_LIMITS = frozenset({"emojis"})  # all bots share it: X-RateLimit-Scope: shared
_MAJOR_PARAMETER_COUNT = {"channels": 1, "guilds": 1, "webhooks": 2}  # ids in a path with own buckets
_FIELD_LIMITS = {"PATCH /channels/{}": ("rename_channel", frozenset({"name", "topic"}))}
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """The rate limit bucket of a route."""

    limit_name: str | None  # a name of `Limits`; None: not counted
    hash: str  # X-RateLimit-Bucket
    major_parameters: tuple[str, ...]  # parameters of the path; each value has its own bucket
    exempt: bool  # not counted for the global limit
    field_limit: str = ""  # a second name of `Limits`, for bodies with one of ``fields``
    fields: frozenset[str] = frozenset()  # names in a JSON body


def bucket_of(method: str, path: str) -> Bucket:
    """The bucket of a route; ``path``: such as ``/channels/{channel_id}``."""
    route = f"{method} {_PARAMETER.sub('{}', path)}"
    top = path.split("/")[1]
    limit_name = (
        _LIMIT_OF_ROUTE.get(route)
        or _LIMIT_OF_RESOURCE.get(top)
        or ("commands" if _COMMAND_ROUTES.fullmatch(route) else "other_routes")
    )
    counted = route if limit_name in ("other_routes", "commands", "webhooks") else limit_name
    parts = re.match(rf"/{top}((?:/\{{\w+\}})*)", path)
    major_parameters = tuple(_PARAMETER.findall(parts[1]))[: _MAJOR_PARAMETER_COUNT.get(top, 0)] if parts else ()
    is_callback = top == "interactions"
    return Bucket(
        None if is_callback else limit_name,
        hashlib.blake2b(counted.encode(), digest_size=16).hexdigest(),
        major_parameters,
        is_callback or len(major_parameters) > 1,
        *_FIELD_LIMITS.get(route, ("", frozenset())),
    )


class IdentifyDecision(enum.Enum):
    """Whether an IDENTIFY may start a session."""

    ALLOWED = enum.auto()
    TOO_SOON = enum.auto()
    EXHAUSTED = enum.auto()  # the number per day is used up: Discord resets the token


@dataclass(slots=True)
class _Window:
    """A period in which ``remaining`` more requests are allowed."""

    ends_s: float
    remaining: int

    def left_s(self, now_s: float) -> float:
        """Seconds until it ends, or 0. In microseconds: sums of floats would let it outlive its own Retry-After."""
        return max(0.0, round(self.ends_s - now_s, 6))


@dataclass(eq=False)
class RateLimiter:
    """Counts requests per bucket. New ``limits`` apply to windows that start later."""

    limits: Limits
    windows: dict[Hashable, _Window] = field(default_factory=dict)
    banned_until: dict[str, float] = field(default_factory=dict)  # by address
    _windows_max: int = _WINDOWS_FIRST_MAX

    def admit(self, bucket: Bucket, client: str, path: Mapping[str, str], clock: Clock) -> Headers:
        """Count a request of a bot or address; returns headers. ``path``: parameter to value. Raises RateLimited."""
        limits = self.limits
        if bucket.limit_name is None or not limits.enforced:
            return {}
        now_s = clock.monotonic()
        if not bucket.exempt and (wait_s := self._consume(("global", client), limits.requests, now_s)):
            raise RateLimited(wait_s, "global", {})
        rate: Rate = getattr(limits, bucket.limit_name)
        shared = bucket.limit_name in _SHARED_LIMITS
        owner = None if shared or bucket.exempt else client
        window = self._open_window((bucket.hash, owner, *[path[name] for name in bucket.major_parameters]), rate, now_s)
        admitted = window.remaining > 0
        if admitted:
            window.remaining -= 1
        reset_after_s = _round_up_to_ms(window.left_s(now_s))
        headers = {
            "X-RateLimit-Limit": str(rate.count),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Reset": f"{clock.now().timestamp() + reset_after_s:.3f}",
            "X-RateLimit-Reset-After": f"{reset_after_s:.3f}",
            "X-RateLimit-Bucket": bucket.hash,
        }
        if not admitted:
            raise RateLimited(reset_after_s, "shared" if shared else "user", headers)
        return headers

    def admit_fields(self, bucket: Bucket, path: Mapping[str, str], body: object, now_s: float) -> None:
        """Count a request whose body has one of ``bucket.fields`` (for example a rename). Raises RateLimited."""
        if not self.limits.enforced or not isinstance(body, dict) or bucket.fields.isdisjoint(body):
            return
        rate: Rate = getattr(self.limits, bucket.field_limit)
        wait_s = self._consume((bucket.field_limit, *[path[name] for name in bucket.major_parameters]), rate, now_s)
        if wait_s:
            raise RateLimited(wait_s, "shared", {})

    def count_invalid(self, address: str | None, now_s: float) -> None:
        """Count a 401, 403 or 429 (but not of the scope "shared"); ban the address when no more are allowed."""
        if not self.limits.enforced:
            return
        window = self._open_window(("invalid", address), self.limits.invalid_requests, now_s)
        window.remaining -= 1
        if window.remaining <= 0:
            self.ban(address, now_s)

    def ban(self, address: str | None, now_s: float, for_s: float | None = None) -> None:
        """Ban ``address`` for ``for_s`` or the limit ``ban_s``: every request gets Cloudflare's error 1015."""
        self.banned_until[address or _UNKNOWN_ADDRESS] = now_s + (self.limits.ban_s if for_s is None else for_s)

    def ban_remaining_s(self, address: str | None, now_s: float) -> float:
        """Seconds until the ban of ``address`` ends; 0 when there is none."""
        until_s = self.banned_until.get(address or _UNKNOWN_ADDRESS)
        if until_s is None or until_s > now_s:
            return until_s - now_s if until_s else 0.0
        del self.banned_until[address or _UNKNOWN_ADDRESS]
        self.windows.pop(("invalid", address), None)
        return 0.0

    def consume(self, limit_name: str, *key: str, now_s: float) -> float:
        """Count a request of ``key`` for the limit ``limit_name``; returns 0, or if refused the seconds to wait."""
        return self._consume((limit_name, *key), getattr(self.limits, limit_name), now_s)

    def admit_identify(self, bot: str, shard: int, now_s: float) -> IdentifyDecision:
        """Count an IDENTIFY (Discord: Gateway > Session Start Limit, Sharding > Max Concurrency)."""
        if self._consume(("identifies", bot), self.limits.identifies, now_s):
            return IdentifyDecision.EXHAUSTED
        key = shard % max(self.limits.max_concurrency, 1)
        if self._consume(("concurrency", bot, key), Rate(1, self.limits.concurrency_s), now_s):
            return IdentifyDecision.TOO_SOON
        return IdentifyDecision.ALLOWED

    def session_start_limit(self, bot: str, now_s: float) -> Json:
        """``session_start_limit`` of GET /gateway/bot; its ``reset_after`` is in ms."""
        total = self.limits.identifies.count
        window = self.windows.get(("identifies", bot))
        open_ = window is not None and window.left_s(now_s) > 0
        return {
            "total": total,
            "remaining": max(window.remaining, 0) if window and open_ else total,
            "reset_after": round(_round_up_to_ms(window.left_s(now_s)) * 1000) if window and open_ else 0,
            "max_concurrency": self.limits.max_concurrency,
        }

    def reset_identifies(self, bot: str) -> None:
        """Start a new day of IDENTIFYs, for a new token."""
        self.windows.pop(("identifies", bot), None)

    def _consume(self, key: Hashable, rate: Rate, now_s: float) -> float:
        window = self._open_window(key, rate, now_s)
        if window.remaining <= 0:
            return _round_up_to_ms(window.left_s(now_s))
        window.remaining -= 1
        return 0.0

    def _open_window(self, key: Hashable, rate: Rate, now_s: float) -> _Window:
        window = self.windows.get(key)
        if window is not None and window.left_s(now_s) > 0:
            return window
        if window is None and len(self.windows) >= self._windows_max:
            self.windows = {key: window for key, window in self.windows.items() if window.left_s(now_s) > 0}
            self._windows_max = max(_WINDOWS_FIRST_MAX, 2 * len(self.windows))
        new = self.windows[key] = _Window(now_s + rate.per_s, rate.count)
        return new


def _round_up_to_ms(seconds: float) -> float:
    """Rounded up, so that a client that waits this long is admitted."""
    return math.ceil(round(seconds * 1000, 3)) / 1000
