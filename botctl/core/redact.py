"""Remove secrets from text before it is written anywhere, by value and by pattern.

By value: each secret given to `register` and each of its parts, plain and as ``repr``, JSON, URL, base64 and hex.
By pattern: text that looks like a secret, registered or not. The registered secrets are global to the process.

`redact` is for text that botctl makes: log lines, failures, events. `redact_values` is for text that an author or
operator asked for (what a command prints or answers): it removes only what is known to be a secret.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote

from botctl.core.secret_parts import DELIMITERS, parts

MARK: Final = "[redacted]"
MIN_BEGINNING: Final = 4  # characters; a shorter end of a line is not taken for the beginning of a secret

_MIN_PATTERN_LENGTH: Final = 32

# Text that matches a pattern contains one of these, in lower case. Searching for them first takes a microsecond.
_CLUES: Final = (
    *("token", "secret", "passw", "authorization", "bearer ", "api_key", "apikey", "api-key"),
    *("://", "webhooks/", "interactions/", "aw50zxjhy3rpb246", "botctl_"),
)
_URL_SAFE: Final = str.maketrans("+/", "-_")
# A wrapped line, also in JSON or a repr. "|" begins the later lines of a log message.
_BREAK: Final = r"(?:[ \t|]*(?:\r?\n|(?:\\+r)?\\+n)[ \t|]*)?"
_ESCAPED_BREAK: Final = re.compile(r"(?:\\+r)?\\+n")
_INDENTATION: Final = " \t|\r"
_PERCENT: Final = re.compile("%[0-9A-Fa-f]{2}")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*(?::|%3a)(?:/|%2f){2}", re.IGNORECASE)
_CONTROL: Final = re.compile(r"\x1b\[[0-?]*[@-~]\Z")  # of a terminal: the last letter is not shown
_TOKEN_TAIL: Final = re.compile(r"\.[\w-]{6,7}\.[\w-]{27}")  # the end of a bot token, which contains none of them

_QUOTE: Final = r"""(?:b(?=["']))?\\{0,8}["']?"""  # before a value: in a repr, in bytes, in JSON inside a string
_VALUE: Final = r"""(?:(?<=")[^"\\]+|(?<=')[^'\\]+|[^\s"'\\,;&<>(){}\[\]]+)"""  # a quoted value may have spaces
_NO_KEY: Final = r"""(?!\s*\\{0,8}["'][^"'\\]*\\{0,8}["']\s*:)"""  # in JSON, after a value: the next key is no secret
_PATTERNS: Final = re.compile(
    rf"""
      (?P<uri>://)(?!\[user:password@\])[^\s/?\#"'<>]+(?=@)                    # credentials of a URI
    | (?P<url>/(?:webhooks|interactions)/\d+/)[^\s/?\#"'<>]+                    # Discord: webhook, interaction tokens
    | (?P<auth>authorization[\\"']*\s*(?:[:=]|,{_NO_KEY})\s*{_QUOTE}(?:(?:bot|bearer|basic)\s+)?)[^\s\\"',;<>(){{}}]+
    | (?P<bearer>\bbearer\s+)[\w.~+/=-]{{8,}}
    | (?P<key>(?:token|secret|passw(?:or)?d|api[_-]?key)\w{{0,32}}[\\"']*\s*(?:[:=]|%3d)\s*{_QUOTE}){_VALUE}
    | \b[\w-]{{22,30}}\.[\w-]{{6,7}}\.[\w-]{{27,}}                              # Discord: bot tokens
    | (?P<botctl>\bbotctl_[a-z0-9]{{12}}_)[A-Za-z0-9]{{20,}}                      # our own API keys
    | \baW50ZXJhY3Rpb246[\w-]{{16,}}                                            # Discord: interaction tokens, in base64
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def _replace_match(match: re.Match[str]) -> str:
    kept = match.group(match.lastgroup) if match.lastgroup else ""
    return kept + MARK


def redact_patterns(text: str) -> str:
    """``text`` with `MARK` instead of text that looks like a secret."""
    if len(text) < _MIN_PATTERN_LENGTH and text.isalnum():
        return text  # an id or a name: no pattern matches so short a text without punctuation
    lower = text.lower()
    for clue in _CLUES:
        if clue in lower:
            return _PATTERNS.sub(_replace_match, text)
    return _PATTERNS.sub(_replace_match, text) if _TOKEN_TAIL.search(text) else text


def _lower_hex(encoded: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), encoded)


@functools.lru_cache(maxsize=4096)  # registering one more secret must not cost as much as all of them
def _forms(secret: str) -> frozenset[str]:
    """The usual forms of ``secret`` in text. `_replace_unusual` finds the others."""
    raw = secret.encode("utf-8", "surrogatepass")
    # The text around the secret decides which quotes repr() uses, and so what it escapes.
    reprs = {f(quotes + secret)[len(f(quotes)) - 1 : -1] for f in (repr, ascii) for quotes in ("'", '"', "'\"")}
    reprs |= {repr(quotes + raw)[len(repr(quotes)) - 1 : -1] for quotes in (b"'", b'"', b"'\"")}
    jsons = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    jsons |= {json.dumps(text)[1:-1] for text in jsons}  # JSON inside JSON
    urls = set()
    for text in {secret} | reprs | jsons:
        encoded = text.encode("utf-8", "surrogatepass")
        urls |= {quote(encoded, safe=""), quote(encoded), quote_plus(encoded)}
    urls |= set(map(_lower_hex, urls))
    return frozenset({secret, raw.hex(), raw.hex().upper()} | reprs | jsons | urls | _base64(raw))


def _base64(raw: bytes) -> set[str]:
    """The characters that encode only ``raw``, for each of the three places where it may begin in encoded data."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        core = encoded[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        found |= {core, core.translate(_URL_SAFE)}
    return found


def _tolerant(secret: str) -> re.Pattern[str]:
    """A pattern of ``secret`` with any character percent-encoded, and with line breaks in it."""
    chars = []
    for char in secret:
        encoded = "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
        chars.append(f"(?:{re.escape(char)}|(?i:{encoded}){'|[+]' if char == ' ' else ''})")
    return re.compile(_BREAK.join(chars))


class _Known(NamedTuple):
    """The registered secrets, and what is searched for. Made when one is registered, so that searching is cheap."""

    secrets: tuple[str, ...] = ()  # the longest first, like all of these: a secret may contain another one
    forms: tuple[str, ...] = ()
    shortest: tuple[str, ...] = ()  # of the forms: a text without these has none of them
    plain: tuple[str, ...] = ()  # the same of the secrets
    begun: tuple[str, ...] = ()  # the forms, and others whose beginning a text may end in
    beginnings: re.Pattern[str] | None = None  # of the length MIN_BEGINNING
    short_beginnings: frozenset[str] = frozenset()


def _know(secrets: Iterable[str]) -> _Known:
    ordered = _longest_first(secrets)
    forms = _longest_first({form for secret in ordered for form in _forms(secret)})
    encoded = {"".join(f"%{byte:02x}" for byte in secret.encode("utf-8", "surrogatepass")) for secret in ordered}
    begun = _longest_first(encoded.union(forms))
    beginnings = "|".join(sorted({re.escape(form[:MIN_BEGINNING]) for form in begun}))
    return _Known(
        ordered,
        forms,
        _without_longer(forms),
        _without_longer(ordered),
        begun,
        re.compile(beginnings),
        frozenset(_short_beginnings(begun, frozenset(forms))),
    )


def _short_beginnings(begun: Iterable[str], forms: frozenset[str]) -> Iterator[str]:
    """Not those that are a delimiter before another secret: else the colon of a question would wait for `:password`."""
    for form in begun:
        for start, rest in ((form[:length], form[length:]) for length in range(1, MIN_BEGINNING)):
            if start.strip(DELIMITERS) or rest not in forms:
                yield start


class Redactor:
    """Removes secrets from text. The module's functions use one instance for the process."""

    def __init__(self) -> None:
        self._known = _Known()

    def register(self, *secrets: str) -> None:
        """Remember ``secrets`` and their `secret_parts.parts`: of a URL, what any parser could cut out of it."""
        new = {part for secret in secrets for part in parts(secret)}.difference(self._known.secrets)
        if new:
            self._known = _know(new.union(self._known.secrets))

    def redact_values(self, text: str) -> str:
        """``text`` with `MARK` instead of registered secrets."""
        known = self._known
        has_breaks = "\n" in text or "\\n" in text
        if has_breaks:  # first whole secrets that have line breaks of their own, or a part of one would be found
            text = _replace_broken(_replace(text, (form for form in known.forms if "\n" in form)), known)
        for form in known.shortest:
            if form in text:
                text = _replace(text, known.forms)
                break
        if has_breaks or ("%" in text and _PERCENT.search(text)):
            text = _replace_unusual(text, known)
        return text

    def redact(self, text: str) -> str:
        """``text`` with `MARK` instead of registered secrets and of text that looks like a secret."""
        return redact_patterns(self.redact_values(text))

    def unfinished(self, text: str, *, across_lines: bool = True) -> int:
        """The length of the end of ``text`` that may be the beginning of a secret, with the line break after it.

        Before a line break a beginning has at least `MIN_BEGINNING` characters, and more than the scheme of a URL, or
        half of all lines would end in one. Without ``across_lines`` a secret may not go on after a line break, unless
        the break is in the secret itself.
        """
        known = self._known
        if known.beginnings is None:
            return 0
        starts = (_begun_at(text, known), _broken_at(text, known) if across_lines else None)
        if known_starts := [start for start in starts if start is not None]:
            return len(text) - min(known_starts)
        lengths = range(min(MIN_BEGINNING - 1, len(text)), 1 if _CONTROL.search(text) else 0, -1)
        return next((length for length in lengths if text[-length:] in known.short_beginnings), 0)


def _begun_at(text: str, known: _Known, *, is_broken: bool = False) -> int | None:
    """Where the longest beginning of a secret stands that ``text`` ends in. It has at least `MIN_BEGINNING` characters.

    Beginnings may overlap: of ``aaaaaB`` and the secret ``aaaaBc``, only the second one goes on.
    """
    assert known.beginnings is not None  # noqa: S101
    at = max(0, len(text) - len(known.begun[0]))
    while match := known.beginnings.search(text, at):
        end = text[match.start() :]
        if any(_goes_on(end, form, is_broken=is_broken) for form in known.begun):
            return match.start()
        at = match.start() + 1
    return None


def _goes_on(end: str, form: str, *, is_broken: bool) -> bool:
    """Whether ``form`` begins with ``end`` and is longer. On two lines, ``redis://`` alone begins no secret."""
    if len(form) <= len(end) or not form.startswith(end):
        return False
    scheme = _SCHEME.match(form) if is_broken else None
    return scheme is None or len(end) > scheme.end()


def _broken_at(text: str, known: _Known) -> int | None:
    """As `_begun_at`, of a beginning with a line break in or after it, even if the break itself is not whole."""
    core = _without_breaks(text)
    start = None if core == text else _begun_at(core, known, is_broken=True)
    if start is None:
        return None
    end = core[start:]
    places = range(len(text) - len(end), -1, -1)
    return next(at for at in places if _without_breaks(text[at:]).endswith(end))


def _without_breaks(text: str) -> str:
    """``text`` without its line breaks, and without the beginning of one at its end."""
    core = _join_lines(text).rstrip(_INDENTATION).rstrip("\\")
    return (core[:-1] if core.endswith("\\r") else core).rstrip("\\").rstrip(_INDENTATION)


def _replace(text: str, forms: Iterable[str]) -> str:
    for form in forms:
        if form in text:
            text = text.replace(form, MARK)
    return text


def _join_lines(text: str) -> str:
    """``text`` without its line breaks, plain or escaped, and the indentation after them."""
    broken = _ESCAPED_BREAK.sub("\n", text) if "\\n" in text else text
    return "".join([line.strip(_INDENTATION) for line in broken.split("\n")]) if "\n" in broken else text


def _replace_broken(text: str, known: _Known) -> str:
    """Remove secrets that a line break cuts in two. Before all others: a beginning may be a secret, the rest not."""
    joined = _join_lines(text)
    if joined == text or not any(form in joined for form in known.shortest):
        return text
    for form in known.forms:
        if joined.count(form) > text.count(form):
            text = re.sub(_BREAK.join(map(re.escape, form)), MARK, text)
            joined = _join_lines(text)
    return text


def _replace_unusual(text: str, known: _Known) -> str:
    """Remove secrets that are percent-encoded in an unusual way, also with a line break in them."""
    joined = _join_lines(text)
    decoded = unquote(joined) if "%" in joined else joined
    if decoded == text:
        return text
    if any(secret in decoded for secret in known.plain):
        for secret in known.secrets:
            text = _tolerant(secret).sub(MARK, text)
    return text


def _longest_first(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))


def _without_longer(longest_first: Sequence[str]) -> tuple[str, ...]:
    """Those texts that contain no other one: a string without these has none of them."""
    kept: list[str] = []
    for text in reversed(longest_first):
        if not any(short in text for short in kept):
            kept.append(text)
    return tuple(kept)


_process_redactor = Redactor()
register = _process_redactor.register
redact = _process_redactor.redact
redact_values = _process_redactor.redact_values
unfinished = _process_redactor.unfinished


def redact_json(
    value: Any, dump: Callable[[Any], str], clean: Callable[[str], str] = _process_redactor.redact
) -> tuple[Any, str]:
    """The JSON ``value`` without secrets, and its text as ``dump`` encodes it. ``clean``: `redact` or `redact_values`.

    ``dump(value)`` is searched first, since it rarely holds a secret. If it does, each string is redacted by itself, so
    that the JSON stays valid.
    """
    text = dump(value)
    if clean(text) == text:
        return value, text
    redacted = _redact_strings(value, clean)
    return redacted, dump(redacted)


def _redact_strings(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {_clean_key(key, clean): _redact_strings(item, clean) for key, item in value.items()}
    return [_redact_strings(item, clean) for item in value] if isinstance(value, list | tuple) else value


def _clean_key(key: Any, clean: Callable[[str], str]) -> Any:
    return clean(key) if isinstance(key, str) else key
