"""No secret survives: registered secrets are found by value in any text, others by their pattern."""

import json
import logging
import traceback
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from botctl.core.redact import MARK, Redactor, redact_json, redact_patterns
from botctl.core.secret_parts import MIN_LENGTH, recognisable

BOT_TOKEN = "MTA5OTk5OTk5OTk5OTk5OTk5.GabcdE.abcdefghijklmnopqrstuvwxyz0123456789AB"
INTERACTION_TOKEN = "aW50ZXJhY3Rpb246MTIzNDU2Nzg5MDEyMzQ1Njc4OTA6abcdef"

# A secret made of pieces of the mark itself would be found again in what replaced it.
secrets = st.text(min_size=MIN_LENGTH, max_size=40).filter(
    lambda s: recognisable(s) and not set("[]") & set(s) and s not in MARK
)


def carriers(secret: str, around: str) -> list[str]:
    """Texts that carry ``secret`` in every way that botctl knows of."""
    try:
        raise ValueError(f"{around}{secret}")
    except ValueError as error:
        trace = "".join(traceback.format_exception(error))
    record = logging.LogRecord("x", 20, "f", 1, "%s then %r and %s", (around, secret, secret), None)
    return [
        secret,
        f"{around}{secret}{around}",
        secret + secret,
        repr(secret),
        repr(around + secret),
        ascii(around + secret),
        repr({"k": [secret]}),
        repr((around + secret).encode()),
        json.dumps({around: secret}),
        json.dumps({around: secret}, ensure_ascii=False),
        "http://localhost/?" + urlencode({"q": secret}),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret.islower() else secret,
        trace,
        record.getMessage(),
    ]


@given(secrets, st.text(max_size=20))
@example("abc'de\"fg", "'")
@example("päss wörd/?&", "\n")
@example("back\\slash", '"')
def test_no_registered_secret_survives_in_any_output(secret: str, around: str) -> None:
    assume(secret not in around + MARK + around)
    redactor = Redactor()
    redactor.register(secret)
    for text in carriers(secret, around):
        redacted = redactor.redact(text)
        for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe="")):
            # Forms of few characters may stand in the frame of the text itself.
            assert form not in redacted or form not in text, (text, redacted)


@given(st.lists(secrets, min_size=2, max_size=4, unique=True))
@example([":\r00002", "0000\n1"])
def test_secret_that_contains_another_is_redacted_whole(many: list[str]) -> None:
    redactor = Redactor()
    redactor.register(*many, many[0] + many[1])
    assert redactor.redact(many[0] + many[1]) == MARK


def test_a_url_is_registered_with_its_password_plain_and_encoded() -> None:
    redactor = Redactor()
    redactor.register("mongodb://ann:p%40ssw0rd@db.example/x")
    assert redactor.redact("it was p@ssw0rd or p%40ssw0rd") == f"it was {MARK} or {MARK}"


def test_short_values_are_redacted_by_pattern_only() -> None:
    redactor = Redactor()
    redactor.register("abc", "      ", "")
    assert redactor.redact("abc is a word") == "abc is a word"
    assert redactor.redact("password=abc") == f"password={MARK}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"login with {BOT_TOKEN} failed", f"login with {MARK} failed"),
        (
            "POST https://discord.com/api/webhooks/123456/s3cr3t-x_y ok",
            f"POST https://discord.com/api/webhooks/123456/{MARK} ok",
        ),
        ("PATCH /webhooks/1/tok/messages/@original", f"PATCH /webhooks/1/{MARK}/messages/@original"),
        ("POST /interactions/9/tok/callback?x=1", f"POST /interactions/9/{MARK}/callback?x=1"),
        (f"got {INTERACTION_TOKEN}", f"got {MARK}"),
        ("Authorization: Bot abc.def", f"Authorization: Bot {MARK}"),
        ("authorization=Basic dXNlcg==", f"authorization=Basic {MARK}"),
        ("{'Authorization': 'Bearer abc', 'n': 1}", f"{{'Authorization': 'Bearer {MARK}', 'n': 1}}"),
        ("(b'Authorization', b'Bot abc')", f"(b'Authorization', b'Bot {MARK}')"),
        ("sent Bearer abcdefgh1", f"sent Bearer {MARK}"),
        ("redis://:pa:ss@host:6379/0", f"redis://{MARK}@host:6379/0"),
        ("mongodb+srv://ann:x@y@host/db", f"mongodb+srv://{MARK}@host/db"),
        ("BOTCTL_DISCORD__TOKEN=abc rest", f"BOTCTL_DISCORD__TOKEN={MARK} rest"),
        ("?access_token=abc&x=1", f"?access_token={MARK}&x=1"),
        ('{"client_secret": "a b", "n": 1}', f'{{"client_secret": "{MARK}", "n": 1}}'),
        ('"{\\"token\\":\\"abc\\"}"', f'"{{\\"token\\":\\"{MARK}\\"}}"'),
        ("password='my pass word' next", f"password='{MARK}' next"),
        ("Passwd: hunter2", f"Passwd: {MARK}"),
    ],
)
def test_patterns_are_redacted_and_surrounding_text_stays(text: str, shown: str) -> None:
    assert redact_patterns(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "/roll by ann in Botctl Test Guild took 12.3 ms",
        "https://discord.com/developers/applications",
        "redis://localhost:6379 answers",
        "no token is set, so the sandbox is started",
        "botctl.core.config.settings.DiscordSettings",
        "ann@example.org wrote",
        "/interactions/ and /webhooks/",
        "The form is mongodb://[user:password@]host[:port][/?options].",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact_patterns(text) == text


@given(st.text(max_size=300))
def test_redaction_is_idempotent(text: str) -> None:
    once = redact_patterns(text)
    assert redact_patterns(once) == once


@given(st.dictionaries(st.sampled_from(["token", "password", "name"]), st.text(st.characters(categories=["L", "N"]))))
@example({"token": "", "name": "AUTHORIZATION", "password": ""})
def test_redacted_json_stays_json(data: dict[str, str]) -> None:
    assert json.loads(redact_patterns(json.dumps(data))).keys() == data.keys()


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_json_without_secrets_is_the_same_object_and_read_once() -> None:
    value = {"name": "ping", "users": ["ann"], "ms": 1.5}
    assert redact_json(value, compact) == (value, compact(value))
    assert redact_json(value, compact)[0] is value


@given(st.recursive(st.text(max_size=8), lambda v: st.lists(v) | st.dictionaries(st.text(max_size=8), v)), st.data())
def test_redacted_json_has_no_secret_and_is_valid(value: object, data: st.DataObject) -> None:
    around = data.draw(st.text(max_size=5))
    hidden = {"a": value, "deep": [{"reason": f"{around} {BOT_TOKEN} {around}"}]}
    clean, text = redact_json(hidden, compact)
    assert BOT_TOKEN not in text
    assert json.loads(text) == clean
    assert MARK in clean["deep"][0]["reason"]


def test_a_long_line_is_redacted_in_linear_time() -> None:
    """No quantifier of the shapes may run away on a text made to provoke it."""
    for piece in ("://", "token", "token=", "a.", "authorization:", "://a", "A" * 22 + ".", "\\\"'"):
        redact_patterns(piece * (200_000 // len(piece)))


@pytest.mark.parametrize("at", range(1, len("s3cr3tPw9#word")))
def test_secret_cut_at_any_place_leaves_no_rest(at: int) -> None:
    """Also between two of its parts, where its beginning is a secret of its own."""
    redactor = Redactor()
    redactor.register("redis://:s3cr3tPw9#word@127.0.0.1:1/0")
    secret = "s3cr3tPw9#word"
    assert redactor.redact(f"x {secret[:at]}\n{secret[at:]} y") == f"x {MARK} y"
