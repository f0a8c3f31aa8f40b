"""What any parser could cut out of a secret address is a secret, and an error says which character to encode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, unquote, urlsplit

import pytest
from pymongo.uri_parser import parse_uri
from redis.asyncio.connection import parse_url

from botctl.core.redact import Redactor
from botctl.core.secret_parts import has_secrets, misread, parts, recognisable, without_secrets

HOST = "127.0.0.1:1"
SECRETS = ("s3cr3t9", "w0rd77x")


def cuts(url: str) -> Iterator[str]:
    """What parsers make of ``url``, and what they say when they refuse it."""
    for parse in (urlsplit, parse_url, parse_uri):
        try:
            parsed = parse(url)
        except ValueError as error:
            yield str(error)
        except Exception as error:  # noqa: BLE001  pymongo's InvalidURI
            yield str(error)
        else:
            yield repr(parsed)
    with suppress(ValueError):
        split = urlsplit(url)
        yield from (f"cannot connect to {split.hostname}", split.path, split.fragment, split.query, split.netloc)
        with suppress(ValueError):
            yield f"port {split.port}"
    yield from re.split("[@/:?#]", url)
    for char in "@/:?#":
        yield from (*url.partition(char), *url.rpartition(char))


@pytest.mark.parametrize("char", [*"#?/@:%'\"<>[] \\", "\t", "ä", "aa@", "%23", "//", "#@"])
@pytest.mark.parametrize("start", ["redis://:", "redis://ann:", "mongodb://ann:", "rediss://", "http://:", ":", ""])
def test_every_cut_of_an_address_is_redacted(start: str, char: str) -> None:
    first, second = ("ann", SECRETS[1]) if (start, char) == ("rediss://", ":") else SECRETS  # a user name is public
    url = f"{start}{first}{char}{second}@{HOST}/0"
    redactor = Redactor()
    redactor.register(url)
    for text in (url, unquote(url), *cuts(url)):
        for shown in (text, f"cannot connect to {text!r}", quote(text), text.lower()):
            redacted = redactor.redact(shown)
            assert not any(secret in redacted for secret in SECRETS), (shown, redacted)


@pytest.mark.parametrize("password", ["s3cr3t9#word", "s3cr3t9?word", "s3cr3t9/word", "aa@s3cr3t9/word"])
def test_short_part_is_redacted_beside_its_neighbours(password: str) -> None:
    redactor = Redactor()
    redactor.register(f"redis://:{password}@{HOST}/0")
    for text in (f"redis://:{password}@{HOST}", f"{password}@{HOST}", f"word@{HOST}", password):
        redacted = redactor.redact(text)
        assert not re.search("word|aa", redacted), redacted


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://:s3cr3t9#word@h:1/0", "has # in its user or password, which must be percent-encoded: # as %23"),
        ("redis://:s3cr3t9?word@h:1/0", "has ? in its user or password, which must be percent-encoded: ? as %3F"),
        ("redis://:a/b?c@h", "has / and ? in its user or password, which must be percent-encoded: / as %2F, ? as %3F"),
        (
            "redis://:aa@s3/w@h",
            "has / and @ in its user or password, which must be percent-encoded: / as %2F, @ as %40",
        ),
        ("redis://:a[b@h", "has [ in its user or password, which must be percent-encoded: [ as %5B"),
        ("redis://:a\tb@h", "has \\t in its user or password, which must be percent-encoded: \\t as %09"),
        ("mongodb://ann:a@b@h", "has @ in its user or password, which must be percent-encoded: @ as %40"),
        ("mongodb://ann:50%off@h", "has % in its user or password, which must be percent-encoded: % as %25"),
        ("redis://:s3cr3t9word", "has no @ between password and host, or what follows the host is not a port"),
    ],
)
def test_misread_address_says_what_to_encode(url: str, problem: str) -> None:
    assert misread(url) == problem
    redactor = Redactor()
    redactor.register(url)
    assert (
        redactor.redact(f"In BOTCTL_REDIS__URL, redis.url {problem}.") == f"In BOTCTL_REDIS__URL, redis.url {problem}."
    )


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:a'b@h", "redis://:a<b c@h", "redis://:a@b@h", "redis://ann:p%40ss@h:1/0", "unix:///run/a@b.sock"),
        *("mongodb://ann:a%2Fb@h1:1,h2:2/x?replicaSet=rs", "mongodb://a:k@acc:1/?ssl=true&appName=@acc@"),
        *(
            "redis://localhost",
            "mongodb+srv://ann:a#b@c.example/x",
            "redis://[::1]:6379/0",
            "mongodb://%2Ftmp%2Fm.sock",
        ),
    ],
)
def test_address_that_its_driver_reads_right_is_accepted(url: str) -> None:
    assert misread(url) == ""


def test_address_without_credentials_is_no_secret() -> None:
    assert not any(map(has_secrets, ("redis://localhost:6379/0", "mongodb://a,b:2/x", "unix:///run/r.sock")))
    assert has_secrets("redis://h/0?password=s3cr3t9")
    assert "s3cr3t9" in parts("redis://h/0?password=s3cr3t9")


def test_shown_address_has_neither_credentials_nor_options() -> None:
    assert without_secrets("redis://:aa@s3/w@h:1/0?x=y", "[redacted]") == "redis://[redacted]@h:1/0"
    assert without_secrets("redis://h:1/0?password=s3cr3t9", "[redacted]") == "redis://h:1/0"


@pytest.mark.parametrize("text", ["bot", "a", "", "      ", "------", "123456", "default", "Password", "ababab"])
def test_short_or_common_value_redacts_no_ordinary_text(text: str) -> None:
    assert not recognisable(text)
    redactor = Redactor()
    redactor.register(text, f"redis://:{text}@h:6379/0", f"redis://default:{text}@h:6379/0")
    ordinary = f"the bot is a default bot, {text} times ------ ababab 123456789 password"
    assert redactor.redact_values(ordinary) == ordinary
    assert not text.strip() or text not in redactor.redact(f"redis://:{text}@h:6379/0").replace("[redacted]", "")
