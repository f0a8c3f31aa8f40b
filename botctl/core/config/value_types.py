"""The types of values that settings have: patterns, ids, limits, URLs, lists. Each says in an error what is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from botctl.core.contracts.permissions import BUILT_IN_ROLES, PERMISSIONS, is_pattern
from botctl.core.contracts.throttle import API_SCOPES, COMMAND_SCOPES, Scope
from botctl.core.contracts.throttle import parse as parse_throttle
from botctl.core.secret_parts import misread
from botctl.core.suggest import suggest

MIN_SECRET: Final = 32  # characters


@dataclass(frozen=True, slots=True)
class Pattern:
    """A validator: the text must match ``pattern``. ``description`` is for the documentation and for errors."""

    description: str
    pattern: str

    def matches(self, text: str) -> bool:
        return re.fullmatch(self.pattern, text, re.ASCII) is not None

    def __call__(self, text: str) -> str:
        if not self.matches(text):
            raise ValueError(f"must be {self.description}")
        return text


@dataclass(frozen=True, slots=True)
class Address:
    """A validator: the secret URL must begin with one of ``schemes``. No error contains its text."""

    schemes: tuple[str, ...]

    @property
    def description(self) -> str:
        return f"a URL that begins with {' or '.join(self.schemes)}"

    def __call__(self, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(self.schemes):
            raise ValueError(f"must be {self.description}")
        if problem := misread(url.get_secret_value()):
            raise ValueError(problem)
        return url


def _id_from_number(value: object) -> object:
    """Turn a number (an id written without quotes) into text; other values are left to the validator."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _plain_text(value: object) -> object:
    """Turn a number or a boolean into text."""
    return str(value).lower() if isinstance(value, bool | int | float) else value


def _list_from_text(value: object) -> object:
    """Accept a list as text, as in an environment variable: ``a,b`` or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise ValueError("must be a list: a,b or JSON") from None
    return [part.strip() for part in value.split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class ThrottleText:
    """A validator: the text must be limits (`botctl.core.contracts.throttle`), and only for these ``scopes``."""

    description: str = "limits, as in the default"
    scopes: frozenset[Scope] = COMMAND_SCOPES

    def __call__(self, text: str) -> str:
        parse_throttle(text, scopes=self.scopes)
        return text


def _check_permission(text: str) -> str:
    """Accept a permission, a pattern or a built-in role."""
    if not (is_pattern(text) or text in BUILT_IN_ROLES):
        hint = suggest(text, [*PERMISSIONS, *BUILT_IN_ROLES]).removesuffix(".")
        raise ValueError(f"{text[:60]!r} is neither a permission nor a built-in role{hint}")
    return text


def _check_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < MIN_SECRET:
        raise ValueError(f"must have at least {MIN_SECRET} characters")
    return secret


def _check_network(text: str) -> str:
    """Accept an address or a network."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not an address or a network, like 192.0.2.1 or 10.0.0.0/8") from None
    return text


AsList = BeforeValidator(_list_from_text)
DISCORD_ID = Pattern("a Discord id of 15 to 20 digits", r"[0-9]{15,20}")
DiscordId = Annotated[str, BeforeValidator(_id_from_number), AfterValidator(DISCORD_ID)]
DiscordIds = Annotated[tuple[DiscordId, ...], NoDecode, AsList]
NAME = Pattern("1 to 32 of a-z, 0-9 and -", r"[a-z0-9-]{1,32}")
Name = Annotated[str, AfterValidator(NAME)]
RoleName = Annotated[
    str, AfterValidator(Pattern("a letter and up to 31 of a-z, 0-9, - and _", r"[a-z][a-z0-9_-]{0,31}"))
]
ShardCount = Annotated[
    str,
    BeforeValidator(_id_from_number),
    AfterValidator(Pattern('"auto", or a number up to 9999', r"auto|[1-9][0-9]{0,3}")),
]
LimitName = Annotated[str, AfterValidator(Pattern("a-z and _", r"[a-z_]{1,32}"))]
LimitValue = Annotated[
    str,
    BeforeValidator(_plain_text),
    AfterValidator(Pattern("a number, a rate like 5/2s, true or false", r"true|false|[0-9.]+(/[0-9.]*[smhd])?")),
]
PermissionNames = Annotated[tuple[Annotated[str, AfterValidator(_check_permission)], ...], NoDecode, AsList]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_check_network)], ...], NoDecode, AsList]
HOST_NAME = Pattern("a host name without a port, like bot.example", r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
HostNames = Annotated[tuple[Annotated[str, AfterValidator(HOST_NAME)], ...], NoDecode, AsList]
ORIGIN = Pattern("an origin, like https://app.example", r"(?i:https?)://[A-Za-z0-9_.\[\]:-]{1,260}")
Origins = Annotated[tuple[Annotated[str, AfterValidator(ORIGIN)], ...], NoDecode, AsList]
WEB_URL = Pattern(
    "an https:// address without a path, like https://bot.example, or an http:// one of loopback",
    r"(?i:https)://[A-Za-z0-9_.\[\]:-]{1,260}|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?",
)
WebUrl = Annotated[str, AfterValidator(WEB_URL)]
FactoryPath = Annotated[str, AfterValidator(Pattern("module:factory", r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"))]
DatabaseName = Annotated[str, AfterValidator(Pattern("1 to 63 of A-Z, a-z, 0-9, - and _", r"[\w-]{1,63}"))]
Throttle = Annotated[str, AfterValidator(ThrottleText())]
ApiThrottle = Annotated[str, AfterValidator(ThrottleText(scopes=API_SCOPES))]
AuthSecret = Annotated[SecretStr, AfterValidator(_check_secret)]
RedisUrl = Annotated[SecretStr, AfterValidator(Address(("redis://", "rediss://", "unix://")))]
MongoUrl = Annotated[SecretStr, AfterValidator(Address(("mongodb://", "mongodb+srv://")))]
StatusUrl = Annotated[
    str,
    AfterValidator(Pattern("a URL that begins with https:// or http://, or empty", r"((?i:https?)://[!-~]{1,500})?")),
]
PushUrl = Annotated[SecretStr, AfterValidator(Address(("https://", "http://")))]
