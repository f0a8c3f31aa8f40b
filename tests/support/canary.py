"""A secret in every form in which it may try to leave the process, and the search for it in what has left."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock
from urllib.parse import quote, quote_plus, unquote

from botctl.core import redact as module
from botctl.core.redact import Redactor, register

PASSWORD = "C4n4ry's-s3cr3t"
TAIL = "w0rd+t41l"
URL = f"redis://:{PASSWORD}#{TAIL}@127.0.0.1:1/0"
TOKEN = "MTA5OTk5OTk5OTk5OTk5OTk5.GcAn4r.c4n4ryTOKENxyzw0123456789ABcdefghijklm"
_NEEDLES = (PASSWORD, TAIL, TOKEN, TOKEN.rpartition(".")[2])


def carriers() -> Iterator[str]:
    """Texts that carry a secret: whole, cut by a parser, encoded, and on two lines."""
    for secret in (URL, PASSWORD, TAIL, TOKEN):
        half = len(secret) // 2
        yield f"cannot connect to {secret}"
        yield f"{ConnectionError(secret)!r} and {secret.encode()!r}"
        yield f"quoted {quote(secret, safe='')} and {quote_plus(secret)}, {quote(secret)}"
        yield "every character " + "".join(f"%{byte:02x}" for byte in secret.encode())
        yield json.dumps({"url": secret})
        yield json.dumps(json.dumps({"url": secret}))
        for before in ("", "a", "ab"):
            yield "base64 " + base64.b64encode(f"{before}{secret}zz".encode()).decode()
            yield "base64 " + base64.urlsafe_b64encode(f"{before}{secret}".encode()).decode()
        yield f"hex {secret.encode().hex()}"
        yield f"wrapped {secret[:half]}\n  {secret[half:]}"
    yield "Port could not be cast to integer value as " + repr(PASSWORD)


def leaks(text: str) -> list[str]:
    """What of the secrets is in ``text``, also after decoding it."""
    views = {text, unquote(text), html.unescape(text), text.replace("\\\\", "\\").replace("\\'", "'")}
    views |= {re.sub(r"[\s|]*(?:\n|\\n)[\s|]*", "", view) for view in views}
    views |= {_decoded(word[start:]) for word in re.findall(r"[\w+/-]{12,}=*", text) for start in range(4)}
    return [needle for needle in _NEEDLES if any(needle in view for view in views)]


def _decoded(word: str) -> str:
    if re.fullmatch("(?:[0-9a-f]{2})+", word):
        return bytes.fromhex(word).decode("utf-8", "replace")
    whole = word.rstrip("=").translate(str.maketrans("-_", "+/"))
    whole = whole[:-1] if len(whole) % 4 == 1 else whole
    return base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("utf-8", "replace")


@contextmanager
def registered() -> Iterator[None]:
    """Register the secrets for the block only."""
    redactor = module._process_redactor
    with mock.patch.object(redactor, "_known", Redactor()._known):
        register(URL, TOKEN)
        yield
