"""The HTTP routes of the control API: JSON under ``/_control``, with the control secret.

Errors are ``{"error": sentence, "hint": sentence, "exit_code"?, "connected"?}``: 400 for a wrong request or an error of
Discord, 401 without the secret, 409 when the bot is not connected (``connected`` counts the sessions of all bots).
When Discord's own client would not send the input, the response is 200 with the state ``refused``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from botctl.core.errors import BotctlError, Unreachable
from botctl.sandbox.control import body, identity_probe, operator, people, serializers
from botctl.sandbox.incidents.runner import RUNNER
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.commands.options import ClientRejected
from botctl.sandbox.model.tokens import is_same_secret
from botctl.sandbox.web.keys import SANDBOX
from botctl.sandbox.web.openapi_check import OPENAPI_CHECK
from botctl.sandbox.web.responses import json_response
from botctl.sandbox.web.traffic import TRAFFIC

Json = dict[str, Any]
Function = Callable[[Any, Json], Awaitable[Json]]  # arguments: what the app stores under the route's key; the body
_ROUTES: tuple[tuple[str, str, web.AppKey[Any], Function], ...] = (
    ("GET", "state", SANDBOX, operator.state),
    ("POST", "send", SANDBOX, people.send),
    ("POST", "edit", SANDBOX, people.edit),
    ("POST", "delete", SANDBOX, people.delete),
    ("POST", "react", SANDBOX, people.react),
    ("POST", "typing", SANDBOX, people.typing),
    ("POST", "click", SANDBOX, people.click),
    ("POST", "submit", SANDBOX, people.submit),
    ("POST", "complete", SANDBOX, people.complete),
    ("GET", "messages", SANDBOX, people.list_messages),
    ("POST", "gateway", SANDBOX, operator.gateway),
    ("POST", "world", SANDBOX, operator.change_world),
    ("POST", "tell", SANDBOX, operator.emit_event),
    ("GET", "faults", OPENAPI_CHECK, operator.openapi_faults),
    ("GET", "limits", SANDBOX, operator.limits),
    ("POST", "limits", SANDBOX, operator.limits),
    ("GET", "token", SANDBOX, operator.token),
    ("POST", "token", SANDBOX, operator.token),
    ("GET", "incidents", RUNNER, operator.incident),
    ("POST", "incidents", RUNNER, operator.incident),
    ("GET", "clock", SANDBOX, operator.clock),
    ("POST", "clock", SANDBOX, operator.clock),
)


def install(app: web.Application) -> None:
    app.router.add_get(identity_probe.PATH, _identity_probe)
    app.router.add_get("/_control/traffic", _stream_traffic)
    for method, name, key, function in _ROUTES:
        app.router.add_route(method, f"/_control/{name}", _make_handler(key, function))


async def _identity_probe(request: web.Request) -> web.Response:
    """Needs no secret: the response proves who the sandbox is, not who the client is."""
    return web.Response(
        text=identity_probe.compute_proof(request.app[SANDBOX].access.control_secret, request.query.get("nonce", ""))
    )


async def _stream_traffic(request: web.Request) -> web.StreamResponse:
    """Stream REST and gateway traffic as JSON lines until the client disconnects."""
    sandbox = request.app[SANDBOX]
    if not _is_authorized(request, sandbox.access.control_secret):
        return _unauthorized()
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    with request.app[TRAFFIC].subscribe() as queue:
        await response.prepare(request)
        await response.write(json.dumps({"at": sandbox.world.timestamp(), "traffic": 1}).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write((await queue.get()).encode() + b"\n")
    return response


def _unauthorized() -> web.Response:
    hint = "Look for the control secret in the output of the sandbox's start."
    return json_response(401, {"error": "The control secret is missing or wrong.", "hint": hint})


def _make_handler(key: web.AppKey[Any], function: Function) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        if not _is_authorized(request, request.app[SANDBOX].access.control_secret):
            return _unauthorized()
        try:
            return json_response(200, await function(request.app[key], await body.read(request)))
        except ClientRejected as error:
            return json_response(200, serializers.rejected_reply(str(error)))
        except BotctlError as error:
            status = 409 if isinstance(error, Unreachable) else 400
            answer = {"error": str(error), "hint": error.hint, "exit_code": int(error.exit_code)}
            return json_response(status, answer | {"connected": len(request.app[SANDBOX].sessions.connected())})
        except ApiError as error:
            return json_response(400, {"error": error.message, "hint": " ".join(_error_sentences(error.errors))})

    return handle


def _error_sentences(errors: Json, path: str = "") -> Iterator[str]:
    """Discord's error tree as sentences: ``content: Must be 2000 or fewer in length.``"""
    for name, inner in errors.items():
        if name == "_errors":
            yield from (f"{path}: {error['message']}" if path else str(error["message"]) for error in inner)
        else:
            yield from _error_sentences(inner, f"{path}.{name}" if path else name)


def _is_authorized(request: web.Request, secret: str) -> bool:
    return is_same_secret(request.headers.get("Authorization", ""), f"Bearer {secret}")
