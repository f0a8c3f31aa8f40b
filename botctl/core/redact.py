"""Remove secrets from text before it is written anywhere, by value and by pattern.

By value: each secret given to `register`, in each of the forms plain, ``repr``, JSON and URL. By pattern: text that
looks like a secret, registered or not. The registered secrets are global to the process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

MARK: Final = "[redacted]"
MIN_LENGTH: Final = 6  # shorter secrets would remove ordinary words; the patterns still match them

_MIN_PATTERN_LENGTH: Final = 32

# Text that matches a pattern contains one of these, in lower case. Searching for them first takes a microsecond.
_CLUES: Final = (
    *("token", "secret", "passw", "authorization", "bearer ", "api_key", "apikey", "api-key"),
    *("://", "webhooks/", "interactions/", "aw50zxjhy3rpb246", "botctl_"),
)
_TOKEN_TAIL: Final = re.compile(r"\.[\w-]{6,7}\.[\w-]{27}")  # the end of a bot token, which contains none of them

_QUOTE: Final = r"""(?:b(?=["']))?\\{0,8}["']?"""  # before a value: in a repr, in bytes, in JSON inside a string
_VALUE: Final = r"""(?:(?<=")[^"\\]+|(?<=')[^'\\]+|[^\s"'\\,;&<>(){}\[\]]+)"""  # a quoted value may have spaces
_PATTERNS: Final = re.compile(
    rf"""
      (?P<uri>://)[^\s/?\#"'<>]+(?=@)                                           # credentials of a URI
    | (?P<url>/(?:webhooks|interactions)/\d+/)[^\s/?\#"'<>]+                    # Discord: webhook, interaction tokens
    | (?P<auth>authorization[\\"']*\s*[:=,]\s*{_QUOTE}(?:(?:bot|bearer|basic)\s+)?)[^\s\\"',;<>(){{}}]+
    | (?P<bearer>\bbearer\s+)[\w.~+/=-]{{8,}}
    | (?P<key>(?:token|secret|passw(?:or)?d|api[_-]?key)\w{{0,32}}[\\"']*\s*(?:[:=]|%3d)\s*{_QUOTE}){_VALUE}
    | \b[\w-]{{22,30}}\.[\w-]{{6,7}}\.[\w-]{{27,}}                              # Discord: bot tokens
    | (?P<botctl>\bbotctl_[a-z0-9]{{12}}_)[A-Za-z0-9]{{20,}}                      # our own API keys
    | \baW50ZXJhY3Rpb246[\w-]{{16,}}                                            # Discord: interaction tokens, in base64
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def _replace(match: re.Match[str]) -> str:
    kept = match.group(match.lastgroup) if match.lastgroup else ""
    return kept + MARK


def redact_patterns(text: str) -> str:
    """``text`` with `MARK` instead of text that looks like a secret."""
    if len(text) < _MIN_PATTERN_LENGTH and text.isalnum():
        return text  # an id or a name: no pattern matches so short a text without punctuation
    lower = text.lower()
    for clue in _CLUES:
        if clue in lower:
            return _PATTERNS.sub(_replace, text)
    return _PATTERNS.sub(_replace, text) if _TOKEN_TAIL.search(text) else text


def _lower_hex(encoded: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), encoded)


def _forms(secret: str) -> set[str]:
    """Every form of ``secret`` in text: plain, repr, JSON, URL. Most tokens look the same in all of them."""
    raw = secret.encode("utf-8", "surrogatepass")
    # The text around the secret decides which quotes repr() uses, and so what it escapes.
    reprs = {f(quotes + secret)[len(f(quotes)) - 1 : -1] for f in (repr, ascii) for quotes in ("'", '"', "'\"")}
    reprs |= {repr(quotes + raw)[len(repr(quotes)) - 1 : -1] for quotes in (b"'", b'"', b"'\"")}
    jsons = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    urls = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    return {secret} | reprs | jsons | urls | set(map(_lower_hex, urls))


class Redactor:
    """Removes secrets from text. The module's `register` and `redact` use one instance for the process."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._forms: tuple[str, ...] = ()

    def register(self, *secrets: str) -> None:
        """Remember ``secrets`` of at least `MIN_LENGTH` characters.

        The password of a URL is registered with it, percent-encoded and plain.
        """
        for secret in secrets:
            self._secrets.update(part for part in (secret, *_passwords(secret)) if len(part.strip()) >= MIN_LENGTH)
        # The longest first: a secret may contain another one.
        forms = {form for secret in self._secrets for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def redact(self, text: str) -> str:
        """``text`` with `MARK` instead of registered secrets and of text that looks like a secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return redact_patterns(text)


def _passwords(secret: str) -> tuple[str, ...]:
    """The password in ``secret`` if that is a URL: percent-encoded, and decoded."""
    if "://" not in secret:
        return ()
    try:
        password = urlsplit(secret).password or ""
    except ValueError:  # not a URL
        return ()
    return (password, unquote(password))


_process_redactor = Redactor()
register = _process_redactor.register
redact = _process_redactor.redact


def redact_json(value: Any, dump: Callable[[Any], str]) -> tuple[Any, str]:
    """The JSON ``value`` without secrets, and its text as ``dump`` encodes it.

    ``dump(value)`` is searched first, since it rarely holds a secret. If it does, each string is redacted by itself, so
    that the JSON stays valid.
    """
    text = dump(value)
    if redact(text) == text:
        return value, text
    clean = _redact_strings(value)
    return clean, dump(clean)


def _redact_strings(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redact_strings(item) for key, item in value.items()}
    return [_redact_strings(item) for item in value] if isinstance(value, list | tuple) else value
