"""Every route's response matches Discord's OpenAPI description, and the check detects mismatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from botctl.sandbox.rest import routing
from tests.support import openapi
from tests.support.calls import CALLS, Caller, CallResult
from tests.support.discord import TOKEN, local_discord
from tests.support.message_calls import TALK
from tests.support.moderation_calls import MODERATION

_answers: list[CallResult] = []


@pytest.fixture
async def answers() -> list[CallResult]:
    """The responses to all calls."""
    if not _answers:
        async with local_discord() as discord, discord.wire() as wire:
            await wire.identify()
            caller = Caller(discord, wire)
            calls = (*CALLS, *TALK, *MODERATION)  # the last call leaves the guild
            _answers.extend([answer for call in calls if (answer := await caller(call)) is not None])
    return _answers


async def test_every_route_matches_the_openapi_description(answers: list[CallResult]) -> None:
    description = openapi.description()
    for answer in answers:
        assert description.mismatches(answer.call.method, answer.path, answer.status, answer.body) == [], (
            answer.call,
            answer.body,
        )


async def test_every_route_is_called(answers: list[CallResult]) -> None:
    """A new route needs a call in tests/support/calls.py, with the status of its success."""
    succeeded = {answer.route for answer in answers if answer.status < 300}
    command = "/applications/{application}/guilds/{guild}/commands/{command}/permissions"
    never_good = {("GET", command), ("PUT", command)}
    of_people = {  # tested with their tokens in tests/system/test_sandbox_oauth.py
        *(("GET", "/oauth2/@me"), ("GET", "/users/@me/guilds/{guild}/member")),
        *(("POST", "/oauth2/token"), ("POST", "/oauth2/token/revoke")),
    }
    assert {(route.method, route.path) for route in routing.ROUTES} - succeeded - never_good - of_people == set()


async def test_mutated_response_is_a_mismatch(answers: list[CallResult]) -> None:
    """In every response: a missing required field and a field of the wrong type."""
    description = openapi.description()
    detected = {"missing": 0, "wrong": 0}
    tried = dict(detected)
    for answer in answers:
        detected_keys = {kind: [] for kind in tried}
        for kind, key, mutant in _mutate(answer.body):
            tried[kind] += 1
            if description.mismatches(answer.call.method, answer.path, answer.status, mutant):
                detected[kind] += 1
                detected_keys[kind].append(key)
        if isinstance(answer.body, dict) and not answer.path.endswith("/member-counts"):  # its keys are ids
            assert all(detected_keys.values()), (answer.call, detected_keys)
    assert detected["wrong"] > 0.95 * tried["wrong"], (detected, tried)
    assert detected["missing"] > 0.5 * tried["missing"], (detected, tried)


def _mutate(body: Any) -> Iterator[tuple[str, str, Any]]:
    """Variants of ``body`` with one field (of the first object in a list) missing or of a wrong type."""
    item = body[0] if isinstance(body, list) and body else body
    for key, value in item.items() if isinstance(item, dict) else ():
        without = {name: field for name, field in item.items() if name != key}
        yield "missing", key, [without] if isinstance(body, list) else without
        broken = {**item, key: 7.5 if isinstance(value, dict | str | list | None) else {"a": 1}}
        yield "wrong", key, [broken] if isinstance(body, list) else broken


@pytest.mark.parametrize(("status", "body"), [(200, None), (204, {}), (299, {}), (200, [])])
def test_wrong_status_or_body_is_a_mismatch(status: int, body: Any) -> None:
    assert openapi.description().mismatches("GET", "/users/@me", status, body)


async def test_unknown_route_and_missing_token_are_errors() -> None:
    async with local_discord() as discord:
        assert await discord.rest("GET", "/nowhere") == (404, {"message": "404: Not Found", "code": 0})
        async with discord.http.get(f"{discord.url}/api/v10/users/@me", headers={"Authorization": TOKEN}) as answer:
            assert (answer.status, await answer.json()) == (401, {"message": "401: Unauthorized", "code": 0})
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Via"]
