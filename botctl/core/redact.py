"""Secrets taken out of text, by value and by shape, before the text reaches any sink.

By value: what `register` was told when the settings were read, in each way that text can carry it (as it is, in a
``repr``, in JSON, in a URL). By shape: what looks like a secret although nobody registered it.

The register belongs to the process, as its secrets do: whoever writes text out asks `redact`, and nobody has to hand
a list of secrets about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

MARK: Final = "[redacted]"
MIN_LENGTH: Final = 6  # shorter ones would blank out ordinary words; their shapes still catch them

MIN_SHAPE_LENGTH: Final = 32

# What a shape needs to be there at all. Looking for these first keeps an ordinary line at about a microsecond.
_CLUES: Final = (
    *("token", "secret", "passw", "authorization", "bearer ", "api_key", "apikey", "api-key"),
    *("://", "webhooks/", "interactions/", "aw50zxjhy3rpb246", "botctl_"),
)
_TOKEN_TAIL: Final = re.compile(r"\.[\w-]{6,7}\.[\w-]{27}")

_QUOTE: Final = r"""(?:b(?=["']))?\\{0,8}["']?"""  # before a value: of a repr, of bytes, of JSON within a string
_VALUE: Final = r"""(?:(?<=")[^"\\]+|(?<=')[^'\\]+|[^\s"'\\,;&<>(){}\[\]]+)"""  # a quoted one may have spaces
_SHAPES: Final = re.compile(
    rf"""
      (?P<uri>://)[^\s/?\#"'<>]+(?=@)                                           # credentials of a URI
    | (?P<url>/(?:webhooks|interactions)/\d+/)[^\s/?\#"'<>]+                    # Discord: webhook, interaction tokens
    | (?P<auth>authorization[\\"']*\s*[:=,]\s*{_QUOTE}(?:(?:bot|bearer|basic)\s+)?)[^\s\\"',;<>(){{}}]+
    | (?P<bearer>\bbearer\s+)[\w.~+/=-]{{8,}}
    | (?P<key>(?:token|secret|passw(?:or)?d|api[_-]?key)\w{{0,32}}[\\"']*\s*(?:[:=]|%3d)\s*{_QUOTE}){_VALUE}
    | \b[\w-]{{22,30}}\.[\w-]{{6,7}}\.[\w-]{{27,}}                              # Discord: bot tokens
    | (?P<botctl>\bbotctl_[a-z0-9]{{12}}_)[A-Za-z0-9]{{20,}}                      # our own API keys
    | \baW50ZXJhY3Rpb246[\w-]{{16,}}                                            # Discord: interaction tokens
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def _replace(match: re.Match[str]) -> str:
    """Keep what says which secret stood there."""
    kept = match.group(match.lastgroup) if match.lastgroup else ""
    return kept + MARK


def redact_shapes(text: str) -> str:
    """``text`` without what looks like a secret."""
    if len(text) < MIN_SHAPE_LENGTH and text.isalnum():
        return text  # an id, a name: no shape is as short without punctuation
    lower = text.lower()
    for clue in _CLUES:
        if clue in lower:
            return _SHAPES.sub(_replace, text)
    return _SHAPES.sub(_replace, text) if _TOKEN_TAIL.search(text) else text


def _lower_hex(encoded: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), encoded)


def _forms(secret: str) -> set[str]:
    """Every way in which text may carry ``secret``; for the usual alphabet of tokens that is one."""
    raw = secret.encode("utf-8", "surrogatepass")
    # A longer text around the secret decides which quotes repr() takes, and with them what it escapes.
    reprs = {f(quotes + secret)[len(f(quotes)) - 1 : -1] for f in (repr, ascii) for quotes in ("'", '"', "'\"")}
    reprs |= {repr(quotes + raw)[len(repr(quotes)) - 1 : -1] for quotes in (b"'", b'"', b"'\"")}
    jsons = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    urls = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    return {secret} | reprs | jsons | urls | set(map(_lower_hex, urls))


class Redactor:
    """Takes secrets out of text. `register` and `redact` are those of the process; tests make their own."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._forms: tuple[str, ...] = ()

    def register(self, *secrets: str) -> None:
        """Remember ``secrets``; shorter ones than `MIN_LENGTH` are left to their shapes.

        The credentials of a URL are registered with it, percent-encoded and plain.
        """
        for secret in secrets:
            self._secrets.update(part for part in (secret, *_passwords(secret)) if len(part.strip()) >= MIN_LENGTH)
        # The longest first, so that no secret is cut in two by another one that it contains.
        forms = {form for secret in self._secrets for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def redact(self, text: str) -> str:
        """``text`` without any registered secret and without what looks like one."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return redact_shapes(text)


def _passwords(secret: str) -> tuple[str, ...]:
    """The password in ``secret``, if that is a URL: as it stands, and decoded."""
    if "://" not in secret:
        return ()
    try:
        password = urlsplit(secret).password or ""
    except ValueError:  # not a URL after all
        return ()
    return (password, unquote(password))


_of_this_process = Redactor()
register = _of_this_process.register
redact = _of_this_process.redact


def redact_json(value: Any, dump: Callable[[Any], str]) -> tuple[Any, str]:
    """``value``, which JSON knows, without secrets, and ``dump`` of that.

    Nearly always there is nothing to find, so the whole text is looked through first, once; only where something is
    found, each string of the value is redacted by itself, which cannot break the JSON.
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
