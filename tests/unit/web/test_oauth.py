"""The messages of OAuth2: what is asked for, and which answers are not accepted."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from botctl.sandbox.model.oauth import s256_challenge
from botctl.web.oauth import (
    OAuthApplication,
    OAuthRefused,
    authorize_query,
    new_verifier,
    parse_callback,
    parse_token,
    revocation_body,
    token_body,
)

APP = OAuthApplication("100000000000000001", "s&cret", "https://bot.example/auth/callback")


def fields(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}


def test_consent_is_asked_for_the_name_only_and_with_pkce() -> None:
    verifier = new_verifier()
    assert fields(authorize_query(APP, "state", verifier)) == {
        "response_type": "code",
        "client_id": APP.client_id,
        "redirect_uri": APP.redirect_uri,
        "scope": "identify",
        "state": "state",
        "code_challenge": s256_challenge(verifier),
        "code_challenge_method": "S256",
    }


def test_verifiers_are_long_and_different() -> None:
    assert len({new_verifier() for _ in range(20)}) == 20
    assert len(new_verifier()) >= 43


def test_code_is_taken_from_the_answer() -> None:
    assert parse_callback(APP, {"code": "c&1", "state": "s"}, "s") == "c&1"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"error": "access_denied", "state": "s"}, "declined the sign-in"),
        ({"error": "server_error", "state": "s"}, "usable answer"),
        ({"state": "s"}, "usable answer"),
        ({"code": "c", "state": "other"}, "usable answer"),
        ({"code": "c"}, "usable answer"),
    ],
)
def test_answer_without_a_code_is_refused(query: dict[str, str], words: str) -> None:
    with pytest.raises(OAuthRefused, match=words):
        parse_callback(APP, query, "s")


def test_code_is_exchanged_with_verifier_and_secret() -> None:
    sent = fields(token_body(APP, "code", "verifier"))
    assert sent == {
        "grant_type": "authorization_code",
        "client_id": APP.client_id,
        "client_secret": "s&cret",
        "code": "code",
        "code_verifier": "verifier",
        "redirect_uri": APP.redirect_uri,
    }


def answer(**changes: Any) -> str:
    values = {"access_token": "t", "token_type": "Bearer", "expires_in": 604800, "scope": "identify"}
    return json.dumps({name: value for name, value in (values | changes).items() if value is not None})


def test_token_is_taken_from_the_answer() -> None:
    assert parse_token(APP, answer()) == "t"


@pytest.mark.parametrize(
    "body",
    [
        answer(scope="identify email"),
        answer(scope="guilds"),
        answer(access_token=None),
        json.dumps({"error": "invalid_grant", "error_description": 'Invalid "code" in request.'}),
        "<html>busy</html>",
        "",
        "[]",
    ],
)
def test_other_answers_are_refused(body: str) -> None:
    with pytest.raises(OAuthRefused):
        parse_token(APP, body)


def test_token_is_revoked_as_the_application() -> None:
    sent = fields(revocation_body(APP, "t"))
    assert sent["token"] == "t"
    assert (sent["client_id"], sent["client_secret"]) == (APP.client_id, APP.client_secret)
