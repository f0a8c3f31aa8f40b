"""The route table of Discord's REST API v10, and what all routes share.

A route is a function with `@route`. It gets an `ApiCall` and returns the response: JSON data (200), None
(204) or an `ApiReply`. Importing `register_all` fills the table.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from botctl.core.escape import safe
from botctl.sandbox.model.api_error import ApiError, RateLimited, not_found, too_large, unauthorized
from botctl.sandbox.model.compact_json import loads
from botctl.sandbox.model.faults import ban_page
from botctl.sandbox.model.limiter import bucket_of
from botctl.sandbox.model.messages.drafts import Upload
from botctl.sandbox.model.oauth import Grant
from botctl.sandbox.model.world import Application
from botctl.sandbox.rest import response_faults
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.web.keys import BODY, SANDBOX
from botctl.sandbox.web.responses import edge_response, json_response

_log = logging.getLogger(__name__)
Json = dict[str, Any]
PREFIX = "/api/v10"
_FORM_ERRORS = (ValueError, RuntimeError, EOFError, zlib.error, HttpProcessingError)  # of aiohttp, for a bad form
BODY_MAX_BYTES = 32 * 1024 * 1024

_INVALID_STATUSES = frozenset({401, 403, 429})  # Discord: Rate Limits > Invalid Request Limit


@dataclass(slots=True)
class ApiCall:
    """One request to a route."""

    sandbox: Sandbox
    path: Mapping[str, str]  # the values of the path's variables
    query: Mapping[str, str]
    body: Any  # the JSON, or the fields of a form
    uploads: list[Upload]
    caller: Application | None  # the application whose bot token was sent
    reason: str | None = None  # for the audit log
    grant: Grant | None = None  # what a person's OAuth2 token allows, on routes with a scope
    authorization: str | None = None  # the header

    @property
    def user_id(self) -> str:
        """The person or bot whose token was sent."""
        return self.grant.user_id if self.grant else self.app.id

    @property
    def app(self) -> Application:
        """The calling application; raises 401 when no bot token was sent."""
        if self.caller is None:
            raise unauthorized()
        return self.caller

    @property
    def form(self) -> Json:
        """The body as a JSON object; raises 50035 (invalid body) when it is none."""
        if isinstance(self.body, dict):
            return self.body
        error = {"code": "MODEL_TYPE_CONVERT", "message": "Only dictionaries may be used in a ModelType"}
        raise ApiError(400, 50035, "Invalid Form Body", {"_errors": [error]})

    def flag(self, name: str) -> bool:
        """Whether the query parameter ``name`` is true."""
        return self.query.get(name, "").lower() in ("true", "1")

    def limit(self, default: int, maximum: int) -> int:
        """The query parameter ``limit``, 1 to ``maximum``; raises 50035 (invalid)."""
        value = self.query.get("limit", str(default))
        if value.isdecimal() and 1 <= int(value) <= maximum:
            return int(value)
        error = {"code": "NUMBER_TYPE_MAX", "message": f"int value should be between 1 and {maximum}."}
        raise ApiError(400, 50035, "Invalid Form Body", {"limit": {"_errors": [error]}})


@dataclass(frozen=True)
class ApiReply:
    """A response with a status other than 200 or 204."""

    status: int
    data: Any


RouteFunction = Callable[[ApiCall], Any]


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    function: RouteFunction
    token: bool = field(default=True)  # whether a bot token is required
    scope: str | None = None  # OAuth2 scope with which a person's token is accepted too; "" is any


ROUTES: list[Route] = []


def route(
    method: str, path: str, *, token: bool = True, scope: str | None = None
) -> Callable[[RouteFunction], RouteFunction]:
    """Register a function as ``method path``; ``{names}`` in the path become keys of ``ApiCall.path``."""

    def register(function: RouteFunction) -> RouteFunction:
        ROUTES.append(Route(method, path, function, token, scope))
        return function

    return register


def install(app: web.Application) -> None:
    """Add all routes to ``app``, and a 404 for other paths; a literal path goes before one with ``{names}``."""
    for entry in sorted(ROUTES, key=lambda entry: entry.path.count("{")):
        app.router.add_route(entry.method, PREFIX + entry.path, _make_handler(entry))
        if entry.path.startswith("/oauth2/"):  # libraries leave the version out here
            app.router.add_route(entry.method, "/api" + entry.path, _make_handler(entry))
    app.router.add_route("*", "/api/{rest:.*}", _handle_unknown)


def _make_handler(entry: Route) -> Callable[[web.Request], Any]:
    bucket = bucket_of(entry.method, entry.path)

    async def answer(request: web.Request) -> web.Response:
        sandbox = request.app[SANDBOX]
        if sandbox.limiter.banned_until and (banned := _ban_response(request, sandbox)):
            return banned
        headers: Mapping[str, str] = {}
        try:
            if sandbox.faults.overrides and (override := _overridden_response(request, sandbox)):
                return override
            authorization = request.headers.get("Authorization")
            caller, grant = _find_caller(sandbox, authorization), _find_grant(sandbox, authorization, entry.scope)
            if (entry.token or entry.scope is not None) and caller is None and grant is None:
                raise unauthorized()
            caller_id = caller.id if caller else grant.user_id if grant else request.remote or ""
            headers = sandbox.limiter.admit(bucket, caller_id, request.match_info, sandbox.clock)
            call = await _read_call(request, sandbox, caller, grant)
            if bucket.fields:
                sandbox.limiter.admit_fields(bucket, call.path, call.body, sandbox.clock.monotonic())
            response = _to_response(entry.function(call))
        except ApiError as error:
            response = _error_response(request, sandbox, error)
        response.headers.update(headers)
        return response

    async def handle(request: web.Request) -> web.StreamResponse:
        faults = request.app[SANDBOX].faults
        return await (response_faults.apply_faults(faults, request, answer) if faults.affects_rest else answer(request))

    return handle


def _error_response(request: web.Request, sandbox: Sandbox, error: ApiError) -> web.Response:
    """The response to ``error``; counts it when Discord would count an invalid request."""
    if error.status in _INVALID_STATUSES and not (isinstance(error, RateLimited) and error.scope == "shared"):
        sandbox.limiter.count_invalid(request.remote, sandbox.clock.monotonic())
    response = json_response(error.status, error.body())
    response.headers.update(error.headers)
    return response


def _overridden_response(request: web.Request, sandbox: Sandbox) -> web.Response | None:
    """The response that a simulated failure sets for this path, if any; an ApiError is raised."""
    override = sandbox.faults.override_for(request.path)
    if isinstance(override, ApiError):
        raise override
    return edge_response(override) if override else None


def _ban_response(request: web.Request, sandbox: Sandbox) -> web.Response | None:
    """Cloudflare's page when the client's address is banned for too many invalid requests, else None."""
    remaining_s = sandbox.limiter.ban_remaining_s(request.remote, sandbox.clock.monotonic())
    return edge_response(ban_page(remaining_s)) if remaining_s else None


def _to_response(result: Any) -> web.Response:
    if isinstance(result, ApiReply):
        return json_response(result.status, result.data)
    return json_response(200, result)


async def _read_call(
    request: web.Request, sandbox: Sandbox, caller: Application | None, grant: Grant | None
) -> ApiCall:
    body, uploads = await _read_body(request) if request.can_read_body else (None, [])
    request[BODY] = body
    reason, authorization = _audit_reason(request), request.headers.get("Authorization")
    return ApiCall(sandbox, request.match_info, request.query, body, uploads, caller, reason, grant, authorization)


def _audit_reason(request: web.Request) -> str | None:
    """Discord: Audit Logs resource: the header is URL-encoded and has at most 512 characters."""
    header = request.headers.get("X-Audit-Log-Reason")
    return unquote(_readable(header))[:512] if header else None


def _readable(header: str) -> str:
    """``header`` with a replacement character for each byte that is not UTF-8; aiohttp makes them surrogates."""
    return header.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _find_caller(sandbox: Sandbox, authorization: str | None) -> Application | None:
    kind, _, token = (authorization or "").partition(" ")
    if kind != "Bot":
        return None
    return sandbox.world.applications.get(sandbox.access.tokens.get(token, ""))


def _find_grant(sandbox: Sandbox, authorization: str | None, scope: str | None) -> Grant | None:
    """The grant of a person's token, on routes that accept one; raises 50026 when it lacks ``scope``."""
    kind, _, token = (authorization or "").partition(" ")
    grant = sandbox.grants.find(token, sandbox.clock.monotonic()) if kind == "Bearer" and scope is not None else None
    if grant and scope and scope not in grant.scopes:
        raise ApiError(403, 50026, "Missing required OAuth2 scope")
    return grant


async def _read_body(request: web.Request) -> tuple[Any, list[Upload]]:
    """The body as JSON, and its files (Discord: Reference > Uploading Files)."""
    try:
        if request.content_type == "multipart/form-data":
            return await _read_multipart(request)
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    if request.content_type == "application/x-www-form-urlencoded":
        return _merge_payload_json(dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))), []
    return (_parse_json(raw) if raw else None), []


async def _read_multipart(request: web.Request) -> tuple[Any, list[Upload]]:
    fields: dict[str, str] = {}
    uploads: list[Upload] = []
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            data = bytes(await part.read(decode=True))
            if part.filename is None:
                fields[_readable(str(part.name))] = data.decode(errors="replace")
            else:
                slot = (part.name or "").removeprefix("files[").removesuffix("]")
                kind = part.headers.get("Content-Type", "application/octet-stream")
                uploads.append(Upload(_readable(slot), _readable(part.filename), _readable(kind), data))
    except _FORM_ERRORS:
        raise ApiError(400, 50035, "Invalid Form Body") from None
    return _merge_payload_json(fields), uploads


def _merge_payload_json(fields: dict[str, str]) -> Any:
    """A form as JSON: its ``payload_json``, and the other fields as text."""
    payload = _parse_json(fields.pop("payload_json", "{}").encode())
    return {**fields, **payload} if isinstance(payload, dict) else payload


def _parse_json(raw: bytes) -> Any:
    try:
        return loads(raw)
    except (ValueError, RecursionError):
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None


async def _handle_unknown(request: web.Request) -> web.Response:
    _log.warning("The sandbox has no route %s %s", request.method, safe(request.path))
    sandbox = request.app[SANDBOX]
    if sandbox.limiter.banned_until and (banned := _ban_response(request, sandbox)):
        return banned
    error = not_found()
    return json_response(error.status, error.body())
