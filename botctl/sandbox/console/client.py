"""A client of a sandbox's control API, with typed results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from botctl.core.errors import BotctlError, ExitCode, Unreachable, UsageError
from botctl.core.escape import safe
from botctl.core.files.paths import working_folder
from botctl.sandbox.console.command_parser import MenuCall, SlashCall
from botctl.sandbox.console.schemas import Choice, Choices, Messages, MessageSchema, ReplySchema, StateSchema
from botctl.sandbox.console.suggest import AutocompleteQuery

REPLY_TIMEOUT_S = 5.0  # the default time to wait for the bot's reply
_TIMEOUT_MARGIN_S = 5.0  # after the limit of a wait, at which the sandbox answers: then it is unreachable

SchemaT = TypeVar("SchemaT", bound=BaseModel)


@dataclass(frozen=True)
class Identity:
    """The acting user and their place, by name or id. The defaults are the guild's owner, first channel and guild."""

    name: str | None = None
    channel: str | None = None
    guild: str | None = None
    dm: str | None = None  # the partner of a direct message; replaces the channel

    def json(self) -> dict[str, str | None]:
        return {"as": self.name, "channel": self.channel, "guild": self.guild, "dm": self.dm}


class SandboxLocator(Protocol):
    """Finds the running sandbox."""

    def locate(self) -> tuple[str, str]:
        """Return the sandbox's URL and control secret. Raises Unreachable when no sandbox runs."""
        ...

    def bot_pid(self) -> int | None:
        """Return the process id of the project's running bot, if any."""
        ...


class SandboxClient:
    """A client of the control API at ``url``. Use it as an async context manager.

    Every call raises Unreachable when the sandbox does not answer, and UsageError or BotctlError with the sandbox's
    message when it refuses. When the sandbox was restarted, ``locator`` gives its new URL and secret.
    """

    def __init__(self, url: str, secret: str, locator: SandboxLocator | None = None) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._locator = locator
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def state(self, identity: Identity | None = None) -> StateSchema:
        """Return guilds, bots and commands. Commands that ``identity`` cannot see have ``hidden`` set."""
        params = {key: value for key, value in (identity or Identity()).json().items() if value}
        return _validate(StateSchema, await self._call("GET", "state", params=params))

    async def send(
        self, invocation: SlashCall | MenuCall | str, identity: Identity, *, timeout_s: float = REPLY_TIMEOUT_S
    ) -> ReplySchema:
        """Use a command and return the reply of the bot. A text is posted, and that message is returned."""
        return await self._request_reply(
            "send", {**_invocation_body(invocation), **identity.json(), "folder": str(working_folder())}, timeout_s
        )

    async def click(
        self,
        component: str,
        identity: Identity,
        *,
        message: str | None = None,
        values: Sequence[str] | None = None,
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> ReplySchema:
        """Click a button or choose ``values`` in a select menu, by label or custom id."""
        body = {"component": component, "message": message, "values": values, **identity.json()}
        return await self._request_reply("click", body, timeout_s)

    async def submit(
        self,
        fields: Mapping[str, str],
        identity: Identity,
        *,
        modal: str | None = None,
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> ReplySchema:
        return await self._request_reply(
            "submit", {"fields": dict(fields), "modal": modal, **identity.json()}, timeout_s
        )

    async def complete(
        self, query: AutocompleteQuery, identity: Identity, *, timeout_s: float = REPLY_TIMEOUT_S
    ) -> Sequence[Choice]:
        body = {
            "name": query.name,
            "options": dict(query.options),
            "focused": query.focused,
            "value": query.value,
            **identity.json(),
        }
        return _validate(Choices, await self._post("complete", body, timeout_s)).choices

    async def messages(self, identity: Identity, *, limit: int = 20) -> Sequence[MessageSchema]:
        """Return the last messages of the channel that the user can see, oldest first."""
        params = {name: value for name, value in identity.json().items() if value is not None}
        response = await self._call("GET", "messages", params={**params, "limit": str(limit)})
        return _validate(Messages, response).messages

    async def reply(self, text: str, identity: Identity, *, to: str = "last") -> ReplySchema:
        """Reply to a message: ``to`` is its id, or "last"."""
        return await self._request_reply("send", {"text": text, "reply_to": to, **identity.json()}, REPLY_TIMEOUT_S)

    async def edit(self, text: str, identity: Identity) -> ReplySchema:
        return await self._request_reply("edit", {"text": text, **identity.json()}, REPLY_TIMEOUT_S)

    async def delete(self, identity: Identity) -> ReplySchema:
        """Delete the user's last message; the reply holds the deleted message."""
        return await self._request_reply("delete", identity.json(), REPLY_TIMEOUT_S)

    async def react(self, emoji: str, identity: Identity, *, remove: bool = False) -> ReplySchema:
        return await self._request_reply(
            "react", {"emoji": emoji, "remove": remove, **identity.json()}, REPLY_TIMEOUT_S
        )

    async def advance(self, seconds: float) -> str:
        """Advance the sandbox's clock; return its time, ISO 8601 in UTC."""
        return str((await self._call("POST", "clock", json={"advance_s": seconds}))["now"])

    async def incidents(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Start or stop an incident, or play a scenario (see `incident_args`); an empty ``body`` lists all."""
        response: dict[str, Any] = await self._call("POST", "incidents", json=dict(body))
        return response

    async def change_world(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change guilds, people or channels: ``{"add_member": {"name": "dora"}}``; return the result of each change."""
        response: dict[str, Any] = await self._call("POST", "world", json=dict(changes))
        return response

    async def token(self, application_id: str) -> str:
        response = await self._call("GET", "token", params={"application": application_id})
        return str(response["token"])

    async def dispatch_event(self, application_id: str, event: str, data: Mapping[str, Any]) -> int:
        """Dispatch a gateway event to a bot; return the number of sessions that received it."""
        body = {"application": application_id, "event": event, "data": dict(data)}
        return int((await self._call("POST", "tell", json=body))["told"])

    async def traffic(self) -> AsyncIterator[str]:
        """Yield the traffic of REST and gateway as lines of JSON, until the sandbox stops."""
        try:
            async with self._open_stream("traffic") as response:
                if response.status != HTTPStatus.OK:
                    raise _error_from_response(await response.json(content_type=None), response.status)
                async for line in response.content:
                    yield line.decode()
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"The sandbox at {self._url} does not answer.", hint=START_HINT) from error
        except aiohttp.ClientError:
            return  # the sandbox has stopped

    async def rest(self, method: str, path: str, token: str, **options: Any) -> tuple[int, Any]:
        """Send a REST request as a bot, with aiohttp's ``options``; return the status and the JSON body or None."""
        headers = {"Authorization": f"Bot {token}"}
        async with self._open_http.request(method, f"{self._url}{path}", headers=headers, **options) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if raw and response.content_type == "application/json" else None

    async def _request_reply(self, endpoint: str, body: dict[str, Any], timeout_s: float) -> ReplySchema:
        return _validate(ReplySchema, await self._post(endpoint, body, timeout_s))

    async def _post(self, endpoint: str, body: dict[str, Any], timeout_s: float) -> Any:
        return await self._call(
            "POST", endpoint, json={**body, "timeout_s": timeout_s}, limit_s=timeout_s + _TIMEOUT_MARGIN_S
        )

    async def _call(self, method: str, endpoint: str, *, limit_s: float = _TIMEOUT_MARGIN_S, **options: Any) -> Any:
        options["timeout"] = aiohttp.ClientTimeout(total=limit_s)
        try:
            status, body = await self._request(method, endpoint, options)
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise Unreachable(f"The sandbox at {self._url} does not answer.", hint=START_HINT) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise _unexpected_response(error) from error
        if status < HTTPStatus.BAD_REQUEST:
            return body
        alone = status == HTTPStatus.CONFLICT and not (isinstance(body, dict) and body.get("connected"))
        pid = self._locator.bot_pid() if self._locator and alone else None
        raise _error_from_response(body, status) if pid is None else _reconnecting_error(pid)

    async def _request(self, method: str, endpoint: str, options: dict[str, Any]) -> tuple[int, Any]:
        """Return status and body. If the sandbox has another URL or secret now, the request is sent there once more."""
        try:
            status, body = await self._request_once(method, endpoint, options)
        except aiohttp.ClientConnectorError:
            if not self._relocate():
                raise
        else:
            if status != HTTPStatus.UNAUTHORIZED or not self._relocate():
                return status, body
        return await self._request_once(method, endpoint, options)

    def _relocate(self) -> bool:
        """Look the sandbox up again; return whether its URL or secret has changed."""
        before = self._url, self._secret
        if self._locator is not None:
            self._url, self._secret = self._locator.locate()
        return before != (self._url, self._secret)

    @property
    def _open_http(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("SandboxClient must be entered with `async with` first")
        return self._http

    def _open_stream(self, endpoint: str) -> Any:
        """Send a GET request whose response does not end."""
        headers, timeout = {"Authorization": f"Bearer {self._secret}"}, aiohttp.ClientTimeout(total=None)
        url, max_line_bytes = f"{self._url}/_control/{endpoint}", 2**26  # a line may be a guild of 100,000 members
        return self._open_http.get(url, headers=headers, timeout=timeout, read_bufsize=max_line_bytes)

    async def _request_once(self, method: str, endpoint: str, options: dict[str, Any]) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._secret}"}
        async with self._open_http.request(
            method, f"{self._url}/_control/{endpoint}", headers=headers, **options
        ) as response:
            return response.status, await response.json(content_type=None)


START_HINT = (
    "Start it with: botctl run (if it has just started, try again in a second); for bots of any library: "
    "botctl sandbox serve"
)


def _invocation_body(invocation: SlashCall | MenuCall | str) -> dict[str, Any]:
    match invocation:
        case SlashCall():
            return {"type": "slash", "name": invocation.name, "options": dict(invocation.options)}
        case MenuCall():
            return {
                "type": "message" if invocation.on_message else "user",
                "name": invocation.name,
                "target": invocation.target,
            }
    return {"text": invocation}


def _validate(schema: type[SchemaT], data: Any) -> SchemaT:
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise _unexpected_response(error) from error


def _error_from_response(response: Any, status: int) -> BotctlError:
    body = response if isinstance(response, dict) else {}
    message = body.get("error") or f"The sandbox refused with status {status}."
    kinds: dict[object, type[BotctlError]] = {ExitCode.USAGE: UsageError, ExitCode.UNREACHABLE: Unreachable}
    kind = kinds.get(body.get("exit_code"), BotctlError)
    return kind(safe(message, limit=500), hint=safe(body.get("hint") or "", limit=500))


def _reconnecting_error(pid: int) -> Unreachable:
    """The error when the bot runs, but has not yet connected again: some seconds after the sandbox restarted."""
    return Unreachable(f"The bot (process {pid}) is reconnecting to the sandbox.", hint="Try again in a moment.")


def _unexpected_response(error: Exception) -> BotctlError:
    return BotctlError(
        f"botctl does not understand the sandbox's response: {safe(error)}",
        hint="If the sandbox has another version, restart it with: botctl run",
    )
