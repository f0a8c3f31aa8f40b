"""Discord's REST v10: the route table, and what all routes share. A route is one plain function with `@route`.

A function gets a `ApiCall` and returns what Discord would answer: JSON data (200), None (204) or a `ApiReply`.
Importing `register_all` fills the table.
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
from botctl.sandbox.server import Sandbox
from botctl.sandbox.web.keys import BODY, SANDBOX
from botctl.sandbox.web.responses import page, respond

_log = logging.getLogger(__name__)
Json = dict[str, Any]
PREFIX = "/api/v10"
_MALFORMED = (ValueError, RuntimeError, EOFError, zlib.error, HttpProcessingError)  # what aiohttp raises of a form
BODY_MAX_BYTES = 32 * 1024 * 1024

_INVALID = frozenset({401, 403, 429})  # Discord: Rate Limits > Invalid Request Limit


@dataclass(slots=True)
class ApiCall:
    """One request: its path's parts, query, body as JSON, files, and the application whose token it carried."""

    sandbox: Sandbox
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    uploads: list[Upload]
    caller: Application | None
    reason: str | None = None  # for the guild's audit log
    grant: Grant | None = None  # with the token of a person's, where the route has a scope
    authorization: str | None = None

    @property
    def user_id(self) -> str:
        """The person or the bot whose token it is."""
        return self.grant.user_id if self.grant else self.app.id

    @property
    def app(self) -> Application:
        """The calling application; routes that need it are registered with its token required."""
        if self.caller is None:
            raise unauthorized()
        return self.caller

    @property
    def form(self) -> Json:
        """The body where it must be an object; raises 50035 otherwise."""
        if isinstance(self.body, dict):
            return self.body
        wrong = {"code": "MODEL_TYPE_CONVERT", "message": "Only dictionaries may be used in a ModelType"}
        raise ApiError(400, 50035, "Invalid Form Body", {"_errors": [wrong]})

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("true", "1")

    def limit(self, default: int, most: int) -> int:
        """``?limit=``, between 1 and ``most``; raises 50035."""
        said = self.query.get("limit", str(default))
        if said.isdecimal() and 1 <= int(said) <= most:
            return int(said)
        wrong = {"code": "NUMBER_TYPE_MAX", "message": f"int value should be between 1 and {most}."}
        raise ApiError(400, 50035, "Invalid Form Body", {"limit": {"_errors": [wrong]}})


@dataclass(frozen=True)
class ApiReply:
    """An answer with a status other than 200 or 204."""

    status: int
    data: Any


Function = Callable[[ApiCall], Any]


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    function: Function
    token: bool = field(default=True)  # is the bot's token required?
    scope: str | None = None  # of OAuth2, with which a person's token will do as well; "" is any


ROUTES: list[Route] = []


def route(method: str, path: str, *, token: bool = True, scope: str | None = None) -> Callable[[Function], Function]:
    """Register a function as ``method path``; ``{names}`` in the path become ``ApiCall.path``."""

    def register(function: Function) -> Function:
        ROUTES.append(Route(method, path, function, token, scope))
        return function

    return register


def install(app: web.Application) -> None:
    """Put every registered route, and the answer to those that do not exist, on ``app``; literal paths win."""
    for one in sorted(ROUTES, key=lambda one: one.path.count("{")):
        app.router.add_route(one.method, PREFIX + one.path, _handler(one))
        if one.path.startswith("/oauth2/"):  # where no library says a version
            app.router.add_route(one.method, "/api" + one.path, _handler(one))
    app.router.add_route("*", "/api/{rest:.*}", _no_route)


def _handler(one: Route) -> Callable[[web.Request], Any]:
    bucket = bucket_of(one.method, one.path)

    async def answer(request: web.Request) -> web.Response:
        sandbox = request.app[SANDBOX]
        if sandbox.limiter.banned_until and (banned := _banned(request, sandbox)):
            return banned
        headers: Mapping[str, str] = {}
        try:
            if sandbox.faults.overrides and (instead := _spoiled(request, sandbox)):
                return instead
            authorization = request.headers.get("Authorization")
            caller, grant = _caller(sandbox, authorization), _grant(sandbox, authorization, one.scope)
            if (one.token or one.scope is not None) and caller is None and grant is None:
                raise unauthorized()
            who = caller.id if caller else grant.user_id if grant else request.remote or ""
            headers = sandbox.limiter.admit(bucket, who, request.match_info, sandbox.clock)
            call = await _call(request, sandbox, caller, grant)
            if bucket.fields:
                sandbox.limiter.admit_fields(bucket, call.path, call.body, sandbox.clock.monotonic())
            response = _answer(one.function(call))
        except ApiError as refusal:
            response = _refused(request, sandbox, refusal)
        response.headers.update(headers)
        return response

    async def handle(request: web.Request) -> web.StreamResponse:
        trouble = request.app[SANDBOX].faults
        return await (response_faults.through(trouble, request, answer) if trouble.affects_rest else answer(request))

    return handle


def _refused(request: web.Request, sandbox: Sandbox, refusal: ApiError) -> web.Response:
    """The answer; what Discord counts as an invalid request is counted."""
    if refusal.status in _INVALID and not (isinstance(refusal, RateLimited) and refusal.scope == "shared"):
        sandbox.limiter.count_invalid(request.remote, sandbox.clock.monotonic())
    response = respond(refusal.status, refusal.body())
    response.headers.update(refusal.headers)
    return response


def _spoiled(request: web.Request, sandbox: Sandbox) -> web.Response | None:
    """What an incident has put in the place of the answer; raises it where it is a Refusal."""
    instead = sandbox.faults.override_for(request.path)
    if isinstance(instead, ApiError):
        raise instead
    return page(instead) if instead else None


def _banned(request: web.Request, sandbox: Sandbox) -> web.Response | None:
    left_s = sandbox.limiter.ban_remaining_s(request.remote, sandbox.clock.monotonic())
    return page(ban_page(left_s)) if left_s else None


def _answer(result: Any) -> web.Response:
    if isinstance(result, ApiReply):
        return respond(result.status, result.data)
    return respond(200, result)


async def _call(request: web.Request, sandbox: Sandbox, caller: Application | None, grant: Grant | None) -> ApiCall:
    body, uploads = await _body(request) if request.can_read_body else (None, [])
    request[BODY] = body
    reason, authorization = _reason(request), request.headers.get("Authorization")
    return ApiCall(sandbox, request.match_info, request.query, body, uploads, caller, reason, grant, authorization)


def _reason(request: web.Request) -> str | None:
    """Discord: Audit Logs resource: the header is URL-encoded, and may have 512 characters."""
    said = request.headers.get("X-Audit-Log-Reason")
    return unquote(said)[:512] if said else None


def _caller(sandbox: Sandbox, authorization: str | None) -> Application | None:
    kind, _, token = (authorization or "").partition(" ")
    if kind != "Bot":
        return None
    return sandbox.world.applications.get(sandbox.access.tokens.get(token, ""))


def _grant(sandbox: Sandbox, authorization: str | None, scope: str | None) -> Grant | None:
    """What the token of a person's allows, where the route takes one; raises 50026 where ``scope`` is not in it."""
    kind, _, token = (authorization or "").partition(" ")
    found = sandbox.grants.find(token, sandbox.clock.monotonic()) if kind == "Bearer" and scope is not None else None
    if found and scope and scope not in found.scopes:
        raise ApiError(403, 50026, "Missing required OAuth2 scope")
    return found


async def _body(request: web.Request) -> tuple[Any, list[Upload]]:
    """The JSON of the body, and its files (Discord: Reference > Uploading Files)."""
    try:
        if request.content_type == "multipart/form-data":
            return await _multipart(request)
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    if request.content_type == "application/x-www-form-urlencoded":
        return _form(dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))), []
    return (_json(raw) if raw else None), []


async def _multipart(request: web.Request) -> tuple[Any, list[Upload]]:
    fields: dict[str, str] = {}
    uploads: list[Upload] = []
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            data = bytes(await part.read(decode=True))
            if part.filename is None:
                fields[str(part.name)] = data.decode(errors="replace")
            else:
                slot = (part.name or "").removeprefix("files[").removesuffix("]")
                kind = part.headers.get("Content-Type", "application/octet-stream")
                uploads.append(Upload(slot, part.filename, kind, data))
    except _MALFORMED:
        raise ApiError(400, 50035, "Invalid Form Body") from None
    return _form(fields), uploads


def _form(fields: dict[str, str]) -> Any:
    """A form as JSON: what its ``payload_json`` says, and its other fields as texts."""
    said = _json(fields.pop("payload_json", "{}").encode())
    return {**fields, **said} if isinstance(said, dict) else said


def _json(raw: bytes) -> Any:
    try:
        return loads(raw)
    except (ValueError, RecursionError):
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None


async def _no_route(request: web.Request) -> web.Response:
    _log.warning("The sandbox has no route %s %s", request.method, safe(request.path))
    sandbox = request.app[SANDBOX]
    if sandbox.limiter.banned_until and (banned := _banned(request, sandbox)):
        return banned
    refusal = not_found()
    return respond(refusal.status, refusal.body())
