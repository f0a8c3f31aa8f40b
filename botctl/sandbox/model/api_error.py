"""Discord's error responses: an HTTP status and ``{code, message, errors?}`` (Discord: Reference > Error Messages)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit


class ApiError(Exception):
    """An error response. ``errors``: what is wrong with each field, for code 50035 (invalid body)."""

    headers: Mapping[str, str] = {}

    def __init__(self, status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors or {}

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"message": self.message, "code": self.code}
        return {**body, "errors": self.errors} if self.errors else body


class RateLimited(ApiError):
    """Status 429 (Discord: Rate Limits > Exceeding a Rate Limit). ``headers``: those with the bucket's limits."""

    def __init__(
        self, retry_after_s: float, scope: Literal["user", "global", "shared"], headers: Mapping[str, str]
    ) -> None:
        shared = "The resource is being rate limited."
        super().__init__(429, 0, shared if scope == "shared" else "You are being rate limited.")
        self.retry_after_s = retry_after_s
        self.scope = scope
        extra = {"X-RateLimit-Global": "true"} if scope == "global" else {}
        self.headers = {
            **headers,
            **extra,
            "X-RateLimit-Scope": scope,
            "Retry-After": str(math.ceil(retry_after_s)),
        }

    def body(self) -> dict[str, Any]:
        return {"message": self.message, "retry_after": self.retry_after_s, "global": self.scope == "global"}


def not_found() -> ApiError:
    return ApiError(404, 0, "404: Not Found")


def unauthorized() -> ApiError:
    return ApiError(401, 0, "401: Unauthorized")


def missing_access() -> ApiError:
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    return ApiError(403, 50013, "Missing Permissions")


def dm_not_allowed() -> ApiError:
    return ApiError(403, 50003, "Cannot execute action on a DM channel")


def wrong_channel_type() -> ApiError:
    return ApiError(400, 50024, "Cannot execute action on this channel type")


def system_message_not_allowed() -> ApiError:
    return ApiError(403, 50021, "Cannot execute action on a system message")


def too_large() -> ApiError:
    return ApiError(413, 40005, "Request entity too large")


def unknown(resource: str) -> ApiError:
    """Status 404 for an id that does not exist. ``resource``: its kind, for example "Channel"."""
    codes = {
        "Channel": 10003,
        "Guild": 10004,
        "Member": 10007,
        "Message": 10008,
        "Role": 10011,
        "User": 10013,
        "Webhook": 10015,
        "Overwrite": 10009,
        "interaction": 10062,
        "application command": 10063,
        "Application": 10002,
        "Emoji": 10014,
        "Invite": 10006,
        "Ban": 10026,
        "Sticker": 10060,
        "Guild Welcome Screen": 10069,
        "Guild Scheduled Event": 10070,
    }
    return ApiError(404, codes[resource], f"Unknown {resource}")


# By the expected type: the error (code, message) for a value of another type
_WRONG_TYPE: dict[type, tuple[str, str]] = {
    str: ("STRING_TYPE_CONVERT", "Could not interpret the value as string."),
    int: ("NUMBER_TYPE_COERCE", "Value is not int."),
    bool: ("BOOLEAN_TYPE_CONVERT", "Must be either true or false."),
    dict: ("MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType"),
    list: ("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"),
}
_ID_DIGITS = 20  # at most: an id has 64 bits
Path = tuple[str | int, ...]
T = TypeVar("T", str, int, bool, dict[str, Any], list[Any])


class FormErrors:
    """Collects what is wrong in a JSON body. A ``path`` is the keys and list indexes that lead to a value."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}

    def add(self, path: Path, code: str, message: str) -> None:
        node = self.tree
        for part in path:
            if "_errors" in node:
                return  # its parent has an error: Discord's tree cannot hold both
            node = node.setdefault(str(part), {})
        if node.keys() - {"_errors"}:
            return
        node.setdefault("_errors", []).append({"code": code, "message": message})

    def is_a(self, path: Path, value: object, kind: type) -> bool:
        """Whether ``value`` is a ``kind`` (None is not); adds an error when it is not."""
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return True
        self.add(path, *_WRONG_TYPE[kind])
        return False

    def field(self, path: Path, body: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
        """The field ``name`` when it is a ``kind``; None when it is absent, null or invalid."""
        value = body.get(name)
        if value is None or (type(value) is not kind and not self.is_a((*path, name), value, kind)):
            return None
        return cast("T", value)

    def objects(self, path: Path, body: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """The objects in the list ``name``; adds an error for each other item."""
        items = self.field(path, body, name, list) or []
        return [
            item
            for index, item in enumerate(items)
            if type(item) is dict or self.is_a((*path, name, index), item, dict)
        ]

    def text(self, path: Path, body: Mapping[str, Any], name: str, low: int, high: int) -> str:
        """The string field ``name``, of ``low`` to ``high`` characters; required unless ``low`` is 0."""
        if low and body.get(name) in (None, ""):
            self.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
            return ""
        value = self.field(path, body, name, str) or ""
        if not low <= len(value) <= high and (value or low == 0):
            between, at_most = f"Must be between {low} and {high} in length.", f"Must be {high} or fewer in length."
            self.add(
                (*path, name), "BASE_TYPE_BAD_LENGTH" if low else "BASE_TYPE_MAX_LENGTH", between if low else at_most
            )
        return value

    def required(self, body: dict[str, Any], *names: str) -> None:
        """Add an error for each of ``names`` that is absent or null."""
        for name in names:
            if body.get(name) is None:
                self.add((name,), "BASE_TYPE_REQUIRED", "This field is required")

    def at_most(self, path: Path, items: list[Any], maximum: int) -> None:
        if len(items) > maximum:
            self.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {maximum} or fewer in length.")

    def number(self, path: Path, body: dict[str, Any], name: str, low: int, high: int) -> int | None:
        """The integer field ``name``, from ``low`` to ``high``; None when it is absent, null or invalid."""
        value = self.field(path, body, name, int)
        if value is None or low <= value <= high:
            return value
        bound, words = (low, "greater") if value < low else (high, "less")
        code = "NUMBER_TYPE_MIN" if value < low else "NUMBER_TYPE_MAX"
        self.add((*path, name), code, f"int value should be {words} than or equal to {bound}.")
        return None

    def choice(self, path: Path, body: dict[str, Any], name: str, offered: Collection[int | str]) -> Any:
        """The field ``name``, one of ``offered``; None when it is absent, null or invalid."""
        value = body.get(name)
        if value is None or (isinstance(value, int | str) and not isinstance(value, bool) and value in offered):
            return value
        choices = ", ".join(sorted(str(choice) for choice in offered))
        self.add((*path, name), "BASE_TYPE_CHOICES", f"Value must be one of {{{choices}}}.")
        return None

    def snowflake(self, path: Path, body: dict[str, Any], name: str) -> str | None:
        """An id, as text or as a number; None when it is absent, null or invalid."""
        return self._id((*path, name), body.get(name))

    def snowflakes(self, path: Path, body: dict[str, Any], name: str, maximum: int) -> list[str]:
        items = self.field(path, body, name, list) or []
        self.at_most((*path, name), items, maximum)
        ids = [self._id((*path, name, index), item) for index, item in enumerate(items)]
        return list(dict.fromkeys(id_ for id_ in ids if id_ is not None))

    def _id(self, path: Path, value: object) -> str | None:
        if value is None:
            return None
        text = str(value)
        if isinstance(value, int | str) and text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS:
            return str(int(text))
        self.add(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
        return None

    def time(self, path: Path, body: Mapping[str, Any], name: str) -> datetime | None:
        """An ISO 8601 time, UTC by default; None when it is absent or invalid."""
        text = body.get(name)
        if text is None:
            return None
        try:
            time = datetime.fromisoformat(str(text).replace(" ", "+"))  # an unquoted + in a query becomes a space
        except ValueError:
            self.add((*path, name), "DATE_TIME_TYPE_PARSE", f'Could not parse "{text}". Should be ISO8601.')
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    def url(self, path: Path, body: Mapping[str, Any], name: str, maximum: int, schemes: Collection[str]) -> str:
        """A URL with one of ``schemes``; "" when it is absent, null or invalid."""
        url = self.text(path, body, name, 0, maximum)
        if not url:
            return ""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme and parts.scheme not in schemes:
            allowed = ", ".join(f"'{scheme}'" for scheme in schemes)
            words = f'Scheme "{parts.scheme}" must be one of ({allowed}).'
            self.add((*path, name), "URL_TYPE_INVALID_SCHEME", words)
        elif not parts.netloc:
            self.add((*path, name), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
        else:
            return url
        return ""

    def check(self) -> None:
        """Raise one ApiError with all errors (50035, invalid body), if there are any."""
        if self.tree:
            raise ApiError(400, 50035, "Invalid Form Body", self.tree)
