"""The person's side and the test's: HTTP and JSON under ``/_control``, with the control secret.

Errors are ``{"error": sentence, "hint": sentence, "exit_code"?}``: 400 for a wrong call or what Discord refuses, 401
without the secret, 409 when no bot is connected. What Discord's own client would refuse to send is no error: its Reply
has the state ``refused``.
"""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from botctl.core.errors import BotctlError, Unreachable
from botctl.sandbox.control import body, identity_probe, operator, people, serializers
from botctl.sandbox.incidents.runner import RUNNER
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.commands.options import ClientRejected
from botctl.sandbox.web.keys import SANDBOX
from botctl.sandbox.web.openapi_check import JUDGE
from botctl.sandbox.web.responses import json_response
from botctl.sandbox.web.traffic import TRAFFIC

Json = dict[str, Any]
Function = Callable[[Any, Json], Awaitable[Json]]  # of what stands under the key, and the body
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
    ("POST", "tell", SANDBOX, operator.tell),
    ("GET", "faults", JUDGE, operator.faults),
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
    app.router.add_get(identity_probe.PATH, _hello)
    app.router.add_get("/_control/traffic", _traffic)
    for method, name, key, function in _ROUTES:
        app.router.add_route(method, f"/_control/{name}", _handler(key, function))


async def _hello(request: web.Request) -> web.Response:
    """Anybody may ask; only the sandbox that they mean knows the answer to their nonce."""
    return web.Response(
        text=identity_probe.proof(request.app[SANDBOX].access.control_secret, request.query.get("nonce", ""))
    )


async def _traffic(request: web.Request) -> web.StreamResponse:
    """What goes over REST and the gateway, a line of JSON each, for as long as somebody reads."""
    sandbox = request.app[SANDBOX]
    if not _authorized(request, sandbox.access.control_secret):
        return _not_authorized()
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    with request.app[TRAFFIC].listen() as lines:
        await answer.prepare(request)
        await answer.write(json.dumps({"at": sandbox.world.timestamp(), "traffic": 1}).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write((await lines.get()).encode() + b"\n")
    return answer


def _not_authorized() -> web.Response:
    hint = "The control secret is written where the sandbox was started."
    return json_response(401, {"error": "The control secret is missing or wrong.", "hint": hint})


def _handler(key: web.AppKey[Any], function: Function) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        if not _authorized(request, request.app[SANDBOX].access.control_secret):
            return _not_authorized()
        try:
            return json_response(200, await function(request.app[key], await body.read(request)))
        except ClientRejected as wrong:
            return json_response(200, serializers.refused(str(wrong)))
        except BotctlError as error:
            status = 409 if isinstance(error, Unreachable) else 400
            return json_response(status, {"error": str(error), "hint": error.hint, "exit_code": int(error.exit_code)})
        except ApiError as refusal:
            return json_response(400, {"error": refusal.message, "hint": " ".join(_told(refusal.errors))})

    return handle


def _told(errors: Json, where: str = "") -> Iterator[str]:
    """Discord's tree of errors as sentences: ``content: Must be 2000 or fewer in length.``"""
    for name, inner in errors.items():
        if name == "_errors":
            yield from (f"{where}: {one['message']}" if where else str(one["message"]) for one in inner)
        else:
            yield from _told(inner, f"{where}.{name}" if where else name)


def _authorized(request: web.Request, secret: str) -> bool:
    said = request.headers.get("Authorization", "").encode()
    return hmac.compare_digest(said, f"Bearer {secret}".encode())
