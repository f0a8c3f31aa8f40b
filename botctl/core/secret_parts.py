"""The parts of a secret: every text that a parser could cut out of it and show in an error.

A parser that meets an unescaped ``#`` in a password takes it for the end of the address, and says that
``s3cr3t9`` is no port. So each part between two delimiters is a secret too, and so is each sequence of parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, unquote_plus

from botctl.core.escape import escape_unprintable

MIN_LENGTH: Final = 6
_MIN_DIGITS: Final = 10  # ids and counts are digits: a short number would be found in them
_MIN_DIFFERENT: Final = 3  # different characters: "------" is no secret
_MAX_RUNS: Final = 10  # parts of which every sequence is a secret; of more, only each part, beginning and end

# Words of botctl's own output. As a secret they protect nothing, and without them no sentence could be read.
_COMMON_WORDS: Final = frozenset(
    [
        "account",
        "address",
        "answer",
        "botctl",
        "client",
        "cluster",
        "command",
        "commands",
        "config",
        "connect",
        "database",
        "default",
        "discord",
        "document",
        "example",
        "localhost",
        "lookup",
        "master",
        "memory",
        "migrate",
        "mongodb",
        "monitor",
        "network",
        "password",
        "primary",
        "production",
        "project",
        "provider",
        "public",
        "readonly",
        "realtime",
        "replica",
        "runtime",
        "sandbox",
        "secret",
        "server",
        "service",
        "services",
        "session",
        "settings",
        "sharding",
        "sqlite",
        "status",
        "stores",
        "string",
        "system",
        "timeout",
        "unknown",
        "username",
        "valkey",
    ]
)

SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:token|secret|password|passwd|credentials?|(?:api|access|private|secret)_?key)$", re.IGNORECASE
)
"""The end of a name (of a variable, of a setting) whose value is a secret."""

DELIMITERS: Final = "@/:?#\\"
"""What a parser of addresses may cut a secret at."""

_TOKEN: Final = re.compile(rf"[^{re.escape(DELIMITERS)}]+")
_PIECE_OF_TOKEN: Final = re.compile(r"[^.]{20,}")  # Discord's tokens: the signature is as secret as the whole
_PLAIN_HOST: Final = re.compile(r"(?:[\w.~%-]+|\[[0-9a-fA-F:.%\w]+\])(?::\d*)?")
_USER: Final = re.compile(r"[\w.~%+-]*")
_OPTIONS: Final = re.compile(r"(?:[A-Za-z_]\w*=[^&=?]*)(?:&[A-Za-z_]\w*=[^&=?]*)*&?")
_SECRET_OPTION: Final = re.compile(r"[?&;](\w*(?:pass|secret|token|key|cred|propert)\w*)=([^&;]*)", re.IGNORECASE)
_BROKEN_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DROPPED_BY_URLLIB: Final = dict.fromkeys(map(ord, "\t\r\n"))
_RANDOM: Final = re.compile(
    r"(?=.*(?:[0-9]|[a-z][A-Z]))[A-Za-z0-9_]{10,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
_FOR_REDIS: Final = "/?#[]"  # what urllib takes for the end of user and password, or refuses there
_FOR_MONGO: Final = "/?@:"  # pymongo


class SplitAddress(NamedTuple):
    """``scheme://credentials@rest``. ``credentials`` is None if there are none; it may hold unescaped characters."""

    scheme: str
    credentials: str | None
    rest: str


def split_address(url: str) -> SplitAddress:
    """``url`` cut at the *last* ``@`` that can end the credentials, so that no part of a password is in ``rest``."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    if scheme == "unix":  # a path may hold any character
        credentials, at, path = rest.rpartition("@/")
        return SplitAddress(scheme, credentials, f"/{path}") if at else SplitAddress(scheme, None, rest)
    credentials, at, host = rest.rpartition("@")
    if at:
        return SplitAddress(scheme, credentials, host)
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if all(_PLAIN_HOST.fullmatch(host) for host in place.split(",")) and "#" not in rest:
        return SplitAddress(scheme, None, rest)
    return SplitAddress(scheme, rest, "")  # the @ was forgotten, or it is no address


def without_secrets(url: str, mark: str = "") -> str:
    """``url`` without user, password and options. ``mark`` is shown in their place."""
    address = split_address(url)
    rest = re.split(r"[?#]", address.rest, maxsplit=1)[0]
    start = f"{address.scheme}://" if address.scheme or "://" in url else ""
    if address.credentials is None or not mark:
        return start + rest
    return f"{start}{mark}@{rest}"


def has_secrets(url: str) -> bool:
    """Whether an address holds a user, a password, or an option with a secret."""
    return split_address(url).credentials is not None or _SECRET_OPTION.search(url) is not None


def secrets_of_url(url: str) -> Iterator[str]:
    """What is secret of an address that is a secret as a whole: itself, without its options, and the keys in it.

    A key is a part of the path, or the value of an option, that looks random. A name is none: it stands in other texts.
    """
    place = url.partition("?")[0]
    yield from (url, place)
    yield from (part for part in re.split(r"[/?&=#]", url.partition("://")[2])[1:] if _RANDOM.fullmatch(part))


def misread(url: str) -> str:
    """Why a parser misreads the address, without its text; empty if none does.

    ``has # before its last @, where they must be percent-encoded: # as %23``
    """
    address = split_address(url)
    if address.credentials is None or _at_is_in_options(url):
        return ""
    if "@" not in url:
        return "has no @ between password and host, or what follows the host is not a port"
    user, colon, password = address.credentials.partition(":")
    mongo = address.scheme.startswith("mongodb")
    text = user + password if colon else user
    found = [char for char in text if char in (_FOR_MONGO if mongo else _FOR_REDIS) or not char.isprintable()]
    if mongo and _BROKEN_PERCENT.search(text):
        found.append("%")
    elif found and "@" in text:
        found.append("@")
    if not found:
        return ""
    chars = tuple(dict.fromkeys(found))
    shown = " and ".join(filter(None, (", ".join(map(escape_unprintable, chars[:-1])), escape_unprintable(chars[-1]))))
    encoded = ", ".join(f"{escape_unprintable(char)} as {quote(char, safe='')}" for char in chars)
    return f"has {shown} in its user or password, which must be percent-encoded: {encoded}"


def _at_is_in_options(url: str) -> bool:
    """Whether the last @ belongs to the options of an address that is right: ``…host/?appName=@account@``."""
    rest = url.partition("://")[2]
    place, mark, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    if not mark or "#" in rest or "@" in path or not _OPTIONS.fullmatch(query):
        return False
    credentials, _, hosts = netloc.rpartition("@")
    return "@" not in credentials and all(_PLAIN_HOST.fullmatch(host) for host in hosts.split(","))


def recognisable(text: str) -> bool:
    """Whether ``text`` is long and unusual enough to be removed from all output. docs/configuration.md promises it."""
    core = text.strip()
    if len(core) < MIN_LENGTH or core.lower() in _COMMON_WORDS:
        return False
    return len(set(core)) >= _MIN_DIFFERENT and not (core.isdigit() and len(core) < _MIN_DIGITS)


def parts(secret: str) -> set[str]:
    """``secret`` and every part of it that is `recognisable`."""
    found = {secret, secret.strip()}
    if "@" in secret or ":" in secret:
        for text in {secret, secret.translate(_DROPPED_BY_URLLIB)}:
            found.update((text, *_address_parts(text)))
    else:
        found.update(_sequences(secret), _PIECE_OF_TOKEN.findall(secret))
    return {part for part in found if recognisable(part)}


def _address_parts(url: str) -> Iterator[str]:
    """The credentials and options of ``url``, and their parts. A user name alone is no secret."""
    for _, value in _SECRET_OPTION.findall(url):
        yield from (value, unquote(value), unquote_plus(value))
        yield from _sequences(value)
    address = split_address(url)
    if address.credentials is None:
        return
    user, colon, password = address.credentials.partition(":")
    known_user = user if address.scheme and colon and _USER.fullmatch(user) else None
    for text in {address.credentials, unquote(address.credentials), unquote_plus(address.credentials)}:
        for part in _sequences(text):
            if part != known_user:
                yield part
                yield part.lower()  # a parser that takes it for a host
    yield from (password, unquote(password), unquote_plus(password)) if colon else ()
    yield from _ends_at_host(address)


def _sequences(text: str) -> Iterator[str]:
    """Each sequence of the parts of ``text`` between delimiters, with the delimiters inside it."""
    spans = [match.span() for match in _TOKEN.finditer(text)]
    last = len(spans) - 1
    yield text
    for i, (start, _) in enumerate(spans):
        for j in range(i, last + 1):
            if last < _MAX_RUNS or i in (0, j) or j == last:
                yield text[start : spans[j][1]]
    for i, char in enumerate(text):  # with the delimiter, as a path (/word) or a fragment (#word)
        if char in DELIMITERS and (last < _MAX_RUNS or i == 0):
            yield text[i:]


def _ends_at_host(address: SplitAddress) -> Iterator[str]:
    """The end of the credentials with the host: a part that is too short alone is recognised there."""
    host = re.split(r"[/?#]", address.rest, maxsplit=1)[0]
    text = address.credentials or ""
    if host:
        yield from (f"{text[match.start() :]}@{host}" for match in _TOKEN.finditer(text))
