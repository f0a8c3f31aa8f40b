"""The self-check: mismatches, ignored responses, repairs and configuration errors."""

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
    """When this fails, Discord has fixed the description: delete the repair."""
    defect: Any = openapi.raw()
    for key in repair.path:
        defect = defect[int(key)] if isinstance(defect, list) else defect[key]
    assert defect == repair.wrong


def test_undescribed_routes_exist_and_are_still_undescribed() -> None:
    routes = {(route.method, re.sub(r"{[^}]*}", "{}", route.path)) for route in routing.ROUTES}
    assert not set(UNDESCRIBED) - routes
    description = openapi.description()
    for (method, path), why in UNDESCRIBED.items():
        assert why
        assert description.template(method, path.replace("{}", "1")) is None


def test_documented_errors_match_only_after_the_repairs() -> None:
    """A 429 without a code, and the error tree of a 50035."""
    rate_limited = {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
    document = openapi.raw()
    unrepaired = Description(document)
    unrepaired._document = document
    unrepaired._registry = openapi_check._import_validators()[1]([("urn:d", document)])
    repaired = Description(document)
    for status, body in ((429, rate_limited), (400, FORM_ERRORS)):
        assert unrepaired.mismatches("GET", "/users/@me", status, body)
        assert not repaired.mismatches("GET", "/users/@me", status, body)
    assert repaired.mismatches("GET", "/users/@me", 429, {"message": "no time to wait"})


def test_repairs_are_idempotent() -> None:
    document = openapi.raw()
    once = apply_repairs(document)
    assert apply_repairs(once) == once != document


@pytest.mark.parametrize("content", [None, "{", "[]", '{"paths": []}', "{}"], ids=repr)
def test_invalid_description_raises_config_error(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"openapi\.json (cannot be read|is not an OpenAPI description)") as error:
        from_environment({ENVIRONMENT_VARIABLE: str(path)})
    assert ENVIRONMENT_VARIABLE in error.value.hint


def test_missing_jsonschema_rs_raises_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ConfigError, match="needs the package jsonschema-rs") as error:
        Description(SMALL)
    assert "botctl[judge]" in error.value.hint


def test_check_is_off_without_the_environment_variable() -> None:
    assert from_environment({}) is None
    assert from_environment({ENVIRONMENT_VARIABLE: ""}) is None


def test_literal_path_wins_over_variables() -> None:
    small = Description(SMALL)
    assert small.template("GET", "/users/@me") == "/users/@me"
    assert small.template("DELETE", "/users/@me") == "/users/{user_id}"
    assert small.template("GET", "/users/1") is small.template("GET", "/users") is None


@pytest.fixture
async def checked_app() -> AsyncIterator[tuple[OpenApiCheck, Any]]:
    """A check, and a function that sends it one response and returns the number of new mismatches."""
    app = web.Application()
    check = OpenApiCheck(Description(SMALL))
    check.install(app)
    responses: list[web.Response | Exception] = []

    async def handle(_: web.Request) -> web.Response:
        if isinstance(responses[-1], Exception):
            raise responses[-1]
        return responses[-1]

    app.router.add_route("*", "/{rest:.*}", handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:

        async def show(
            response: web.Response | Exception, method: str = "GET", path: str = "/api/v10/users/@me"
        ) -> int:
            before = check.count
            responses.append(response)
            async with http.request(method, server.make_url(path)) as received:
                await received.read()
            return check.count - before

        yield check, show


def json_response(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, body=text.encode(), headers=HEADERS | headers)


async def test_matching_responses_are_only_counted(checked_app: tuple[OpenApiCheck, Any]) -> None:
    check, send = checked_app
    assert await send(json_response(200, '{"id": "1"}')) == 0
    assert await send(json_response(404, '{"code": 0}'), path="/api/v10/nowhere") == 0
    assert await send(web.Response(status=204, headers={"Via": "here"}), "DELETE", "/api/users/1") == 0
    assert check.checked == 3


async def test_mismatches_are_recorded(checked_app: tuple[OpenApiCheck, Any]) -> None:
    check, send = checked_app
    assert await send(json_response(200, '{"id": 1}')) == 1
    assert await send(json_response(200, "{")) == 1
    assert await send(json_response(201, '{"id": "1"}')) == 1
    assert await send(json_response(200, '{"id": "1"}', **{"Content-Type": "application/json; charset=utf-8"})) == 1
    assert await send(json_response(200, '{"id": "1"}'), path="/api/v10/nowhere") == 1
    assert await send(web.Response(status=204), "GET") == 1
    assert check.report()["count"] == 6
    assert check.report()["faults"][0] == {
        "method": "GET",
        "route": "/users/@me",
        "status": 200,
        "where": "$.id",
        "what": '1 is not of type "string"',
    }


async def test_server_crash_is_a_mismatch_but_incident_responses_are_not(checked_app: tuple[OpenApiCheck, Any]) -> None:
    """Incidents answer with HTML, like Cloudflare, or with Via, like Discord; aiohttp's own 500 has neither."""
    _, send = checked_app
    assert await send(web.HTTPInternalServerError()) == 1
    assert await send(json_response(502, "")) == 0
    assert await send(json_response(429, "error 1015", **{"Content-Type": "text/html"})) == 0


async def test_paths_outside_the_api_are_not_checked(checked_app: tuple[OpenApiCheck, Any]) -> None:
    check, send = checked_app
    assert await send(json_response(200, "anything"), path="/cdn/attachments/1/2/a.txt") == 0
    assert check.checked == 0


async def test_control_api_reports_mismatches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client still gets its response, and a test that uses `local_discord` fails."""
    description = openapi.description()
    monkeypatch.setattr("botctl.sandbox.model.payloads.current_user", lambda _: {"id": 7})
    with pytest.raises(AssertionError, match=r"\$\.id"):  # noqa: PT012
        async with local_discord() as discord:
            assert (await discord.look("faults"))["count"] == 0
            assert await discord.rest("GET", "/users/@me") == (200, {"id": 7})
            report = await discord.look("faults")
    assert (report["on"], report["judged"]) == (True, 1)
    assert {mismatch["where"] for mismatch in report["faults"]} >= {"$.id"}
    assert len(report["faults"]) == report["count"] > 1
    assert description.template("GET", "/users/@me") == report["faults"][0]["route"]
