"""At least one call of every route of the sandbox, in an order in which each call succeeds.

``{names}`` in a path or a body stand for ids that earlier calls saved; ``save`` takes them from the response, like
``{"message": "id"}`` or ``{"thread": "threads.0.id"}``. The method ASK stands for a user who uses the command in
``path``: it saves ``interaction`` and ``token``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from botctl.sandbox.rest import routing
from tests.support.discord import ANN, BOB, BOT, CAT, GENERAL, GUILD, STAFF, Discord, Wire
from tests.support.waiting import NO_WAIT_S

NAMES = {
    "app": BOT,
    "guild": GUILD,
    "channel": GENERAL,
    "staff": STAFF,
    "ann": ANN,
    "bob": BOB,
    "cat": CAT,
    "role": "900000000000000202",
    "unknown": "1",
}


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    body: Any = None
    status: int = 200
    save: Mapping[str, str] = field(default_factory=dict)
    file: bool = False  # send a multipart form with one file


COMMAND = {
    "name": "ops",
    "description": "Ops",
    "options": [
        {
            "type": 1,
            "name": "say",
            "description": "Say",
            "options": [
                {"type": 3, "name": "text", "description": "Text", "required": True, "max_length": 5},
                {"type": 4, "name": "n", "description": "N", "choices": [{"name": "one", "value": 1}]},
                {"type": 7, "name": "where", "description": "Where", "channel_types": [0]},
            ],
        }
    ],
}
MESSAGE = {
    "content": "hi <@{ann}>",
    "embeds": [
        {
            "title": "T",
            "description": "D",
            "color": 255,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "fields": [{"name": "a", "value": "b"}],
            "image": {"url": "https://example.org/a.png"},
            "author": {"name": "A"},
            "footer": {"text": "F"},
        }
    ],
    "components": [
        {"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}]},
        {"type": 1, "components": [{"type": 3, "custom_id": "pick", "options": [{"label": "A", "value": "a"}]}]},
    ],
}

IDENTITY = (
    Call("GET", "/users/@me"),
    Call("GET", "/oauth2/applications/@me"),
    Call("GET", "/applications/@me"),
    Call("GET", "/gateway"),
    Call("GET", "/gateway/bot"),
    Call("GET", "/soundboard-default-sounds"),
    Call("GET", "/users/{ann}"),
    Call("GET", "/users/{unknown}", status=404),
)
GUILDS = (
    Call("GET", "/guilds/{guild}"),
    Call("GET", "/guilds/{guild}?with_counts=true"),
    Call("GET", "/guilds/{guild}/channels"),
    Call("GET", "/guilds/{guild}/roles"),
    Call("GET", "/guilds/{guild}/members?limit=10"),
    Call("GET", "/guilds/{guild}/members/{ann}"),
    Call("PUT", "/guilds/{guild}/members/{cat}/roles/{role}", status=204),
    Call("DELETE", "/guilds/{guild}/members/{cat}/roles/{role}", status=204),
)
MESSAGES = (
    Call("GET", "/channels/{channel}"),
    Call("POST", "/channels/{channel}/typing", status=204),
    Call("POST", "/channels/{channel}/messages", MESSAGE, save={"message": "id"}),
    Call("POST", "/channels/{channel}/messages", {"content": "re", "message_reference": {"message_id": "{message}"}}),
    Call("POST", "/channels/{channel}/messages", {"content": "f", "attachments": [{"id": 0}]}, file=True),
    Call("POST", "/channels/{channel}/messages", {}, status=400),
    Call("GET", "/channels/{channel}/messages?limit=2"),
    Call("GET", "/channels/{channel}/messages/{message}"),
    Call("PATCH", "/channels/{channel}/messages/{message}", {"content": "new", "embeds": []}),
    Call("DELETE", "/channels/{channel}/messages/{message}", status=204),
    Call("GET", "/channels/{channel}/messages/{message}", status=404),
)


def commands(scope: str) -> tuple[Call, ...]:
    return (
        Call("PUT", scope, [COMMAND, {"name": "Who", "type": 2}]),
        Call("PUT", scope, []),
        Call("POST", scope, COMMAND, status=201, save={"command": "id"}),
        Call("POST", scope, COMMAND),
        Call("GET", scope + "?with_localizations=1"),
        Call("PATCH", scope + "/{command}", {"description": "New"}),
        Call("GET", scope + "/{command}"),
    )


COMMANDS = (
    *commands("/applications/{app}/commands"),
    Call("DELETE", "/applications/{app}/commands/{command}", status=204),
    Call("GET", "/applications/{app}/commands/{command}", status=404),
    *commands("/applications/{app}/guilds/{guild}/commands"),
    Call("GET", "/applications/{app}/guilds/{guild}/commands/permissions"),
    Call("GET", "/applications/{app}/guilds/{guild}/commands/{command}/permissions", status=404),
    Call("DELETE", "/applications/{app}/guilds/{guild}/commands/{command}", status=204),
)
_WEBHOOK = "/webhooks/{app}/{token}"
INTERACTIONS = (
    Call("PUT", "/applications/{app}/commands", [COMMAND]),
    Call("ASK", "ops say"),
    Call("POST", "/interactions/{interaction}/{token}/callback?with_response=true", {"type": 4, "data": MESSAGE}),
    Call("POST", "/interactions/{interaction}/{token}/callback", {"type": 4, "data": MESSAGE}, status=400),
    Call("GET", _WEBHOOK + "/messages/@original"),
    Call("PATCH", _WEBHOOK + "/messages/@original", {"content": "edited"}),
    Call("POST", _WEBHOOK + "?wait=1&with_components=1", MESSAGE, save={"follow_up": "id"}),
    Call("PATCH", _WEBHOOK + "/messages/{follow_up}", {"content": "more"}),
    Call("DELETE", _WEBHOOK + "/messages/{follow_up}", status=204),
    Call("GET", _WEBHOOK + "/messages/{follow_up}", status=404),
    Call("ASK", "ops say"),
    Call("POST", "/interactions/{interaction}/{token}/callback", {"type": 5, "data": {"flags": 64}}, status=204),
    Call("POST", _WEBHOOK, {"content": "late"}),
    Call("DELETE", _WEBHOOK + "/messages/@original", status=204),
)
CALLS = (*IDENTITY, *GUILDS, *MESSAGES, *COMMANDS, *INTERACTIONS)


@dataclass(frozen=True)
class CallResult:
    """The response to a call. ``path`` has its names filled in, and no query."""

    call: Call
    path: str
    status: int
    body: Any

    @property
    def route(self) -> tuple[str, str]:
        return self.call.method, matching_route(self.call.method, self.path)


def matching_route(method: str, path: str) -> str:
    """The sandbox's route that matches ``path``, literal routes first. Raises LookupError."""
    for route in sorted(routing.ROUTES, key=lambda route: route.path.count("{")):
        if route.method == method and re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", route.path), path):
            return route.path
    raise LookupError(f"{method} {path}")


class Caller:
    """Makes calls with the ids that earlier calls saved."""

    def __init__(self, discord: Discord, wire: Wire) -> None:
        self.discord, self.wire = discord, wire
        self.names = dict(NAMES)

    async def __call__(self, call: Call) -> CallResult | None:
        """Raises AssertionError when the status is not the expected one. None for ASK."""
        if call.method == "ASK":
            return await self._ask(call.path)
        path, body = self.fill(call.path), self.fill(call.body)
        status, response = await self.discord.rest(call.method, path, **_request_arguments(call, body))
        assert status == call.status, (call.method, path, status, response)
        for name, field_path in call.save.items():
            self.names[name] = _value_at(response, field_path)
        return CallResult(call, path.partition("?")[0], status, response)

    def fill(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda match: str(self.names[match[1]]), value)
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return [self.fill(item) for item in value] if isinstance(value, list | tuple) else value

    async def _ask(self, command: str) -> None:
        await self.discord.act("send", name=command, options={"text": "x"}, timeout_s=NO_WAIT_S)
        event = (await self.wire.hear_until("INTERACTION_CREATE"))["d"]
        self.names |= {"interaction": event["id"], "token": event["token"]}


def _request_arguments(call: Call, body: Any) -> dict[str, Any]:
    if not call.file:
        return {} if body is None else {"json": body}
    form = aiohttp.FormData({"payload_json": aiohttp.payload.JsonPayload(body)})
    form.add_field("files[0]", b"abc", filename="a.txt", content_type="text/plain")
    return {"data": form}


def _value_at(data: Any, field_path: str) -> Any:
    for key in field_path.split("."):
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data
