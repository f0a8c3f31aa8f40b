"""The self-check: which answers it finds wrong, which it leaves alone, and what stands in its way."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from botctl.core.errors import ConfigError
from botctl.sandbox.rest import routing
from botctl.sandbox.web import openapi_check
from botctl.sandbox.web.openapi_check import (
    ENVIRONMENT_VARIABLE,
    REPAIRS,
    UNDESCRIBED,
    Description,
    OpenApiCheck,
    apply_repairs,
    from_environment,
)
from tests.support import openapi
from tests.support.discord import local_discord

FORM_ERRORS = {
    "code": 50035,
    "message": "Invalid Form Body",
    "errors": {"name": {"_errors": [{"code": "BASE_TYPE_REQUIRED", "message": "This field is required"}]}},
}
USER = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
ERROR = {"type": "object", "properties": {"code": {"type": "integer"}}, "required": ["code"]}
SMALL = {
    "paths": {
        "/users/@me": {"get": {"responses": {"200": {"content": {"application/json": {"schema": USER}}}}}},
        "/users/{user_id}": {"delete": {"responses": {"204": {"description": "done"}}}},
    },
    "components": {"schemas": {"ErrorResponse": ERROR}},
}
HEADERS = {"Content-Type": "application/json", "Via": "here"}


@pytest.mark.parametrize("repair", REPAIRS, ids=lambda repair: repair.path[2])
def test_every_repair_is_still_needed(repair: openapi_check.Repair) -> None:
    """The day that the description is mended, its entry goes."""
    there: Any = openapi.raw()
    for key in repair.path:
        there = there[int(key)] if isinstance(there, list) else there[key]
    assert there == repair.wrong


def test_undescribed_routes_exist_and_are_still_undescribed() -> None:
    """Each with the reason for which it is a route all the same."""
    there = {(one.method, re.sub(r"{[^}]*}", "{}", one.path)) for one in routing.ROUTES}
    assert not set(UNDESCRIBED) - there
    described = openapi.description()
    for (method, path), why in UNDESCRIBED.items():
        assert why
        assert described.template(method, path.replace("{}", "1")) is None


def test_documented_errors_match_only_after_the_repairs() -> None:
    """A 429 without a code, and the tree of a 50035."""
    limited = {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
    described = openapi.raw()
    as_it_is = Description(described)
    as_it_is._document = described
    as_it_is._registry = openapi_check._import_validators()[1]([("urn:d", described)])
    mended = Description(described)
    for status, body in ((429, limited), (400, FORM_ERRORS)):
        assert as_it_is.mismatches("GET", "/users/@me", status, body)
        assert not mended.mismatches("GET", "/users/@me", status, body)
    assert mended.mismatches("GET", "/users/@me", 429, {"message": "no time to wait"})


def test_repairs_are_idempotent() -> None:
    described = openapi.raw()
    once = apply_repairs(described)
    assert apply_repairs(once) == once != described


@pytest.mark.parametrize("content", [None, "{", "[]", '{"paths": []}', "{}"], ids=repr)
def test_invalid_description_raises_config_error(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"openapi\.json (cannot be read|is not an OpenAPI description)") as caught:
        from_environment({ENVIRONMENT_VARIABLE: str(path)})
    assert ENVIRONMENT_VARIABLE in caught.value.hint


def test_missing_jsonschema_rs_raises_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ConfigError, match="needs the package jsonschema-rs") as caught:
        Description(SMALL)
    assert "botctl[judge]" in caught.value.hint


def test_check_is_off_without_the_environment_variable() -> None:
    assert from_environment({}) is None
    assert from_environment({ENVIRONMENT_VARIABLE: ""}) is None


def test_literal_path_wins_over_variables() -> None:
    small = Description(SMALL)
    assert small.template("GET", "/users/@me") == "/users/@me"
    assert small.template("DELETE", "/users/@me") == "/users/{user_id}"
    assert small.template("GET", "/users/1") is small.template("GET", "/users") is None


@pytest.fixture
async def watched() -> AsyncIterator[tuple[OpenApiCheck, Any]]:
    """A judge, and a function that has it look at one answer."""
    app = web.Application()
    watching = OpenApiCheck(Description(SMALL))
    watching.install(app)
    answer: list[web.Response | Exception] = []

    async def handle(_: web.Request) -> web.Response:
        if isinstance(answer[-1], Exception):
            raise answer[-1]
        return answer[-1]

    app.router.add_route("*", "/{rest:.*}", handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:

        async def show(given: web.Response | Exception, method: str = "GET", path: str = "/api/v10/users/@me") -> int:
            before = watching.count
            answer.append(given)
            async with http.request(method, server.make_url(path)) as got:
                await got.read()
            return watching.count - before

        yield watching, show


def answered(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, body=text.encode(), headers=HEADERS | headers)


async def test_matching_responses_are_only_counted(watched: tuple[OpenApiCheck, Any]) -> None:
    watching, show = watched
    assert await show(answered(200, '{"id": "1"}')) == 0
    assert await show(answered(404, '{"code": 0}'), path="/api/v10/nowhere") == 0
    assert await show(web.Response(status=204, headers={"Via": "here"}), "DELETE", "/api/users/1") == 0
    assert watching.checked == 3


async def test_mismatches_are_recorded(watched: tuple[OpenApiCheck, Any]) -> None:
    watching, show = watched
    assert await show(answered(200, '{"id": 1}')) == 1
    assert await show(answered(200, "{")) == 1
    assert await show(answered(201, '{"id": "1"}')) == 1
    assert await show(answered(200, '{"id": "1"}', **{"Content-Type": "application/json; charset=utf-8"})) == 1
    assert await show(answered(200, '{"id": "1"}'), path="/api/v10/nowhere") == 1
    assert await show(web.Response(status=204), "GET") == 1
    assert watching.report()["count"] == 6
    assert watching.report()["faults"][0] == {
        "method": "GET",
        "route": "/users/@me",
        "status": 200,
        "where": "$.id",
        "what": '1 is not of type "string"',
    }


async def test_server_crash_is_a_mismatch_but_incident_responses_are_not(watched: tuple[OpenApiCheck, Any]) -> None:
    """Incidents answer as Cloudflare does, in HTML, or as Discord does, with Via; aiohttp's own 500 has none."""
    _, show = watched
    assert await show(web.HTTPInternalServerError()) == 1
    assert await show(answered(502, "")) == 0
    assert await show(answered(429, "error 1015", **{"Content-Type": "text/html"})) == 0


async def test_paths_outside_the_api_are_not_checked(watched: tuple[OpenApiCheck, Any]) -> None:
    watching, show = watched
    assert await show(answered(200, "anything"), path="/cdn/attachments/1/2/a.txt") == 0
    assert watching.checked == 0


async def test_control_api_reports_mismatches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, and asked for by the control API; the client gets its answer all the same. Here a test fails by them."""
    description = openapi.description()
    monkeypatch.setattr("botctl.sandbox.model.payloads.current_user", lambda _: {"id": 7})
    with pytest.raises(AssertionError, match=r"\$\.id"):  # noqa: PT012
        async with local_discord() as discord:
            assert (await discord.look("faults"))["count"] == 0
            assert await discord.rest("GET", "/users/@me") == (200, {"id": 7})
            told = await discord.look("faults")
    assert (told["on"], told["judged"]) == (True, 1)
    assert {one["where"] for one in told["faults"]} >= {"$.id"}
    assert len(told["faults"]) == told["count"] > 1
    assert description.template("GET", "/users/@me") == told["faults"][0]["route"]
