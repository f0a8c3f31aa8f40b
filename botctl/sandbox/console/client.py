"""The person's side of a running sandbox: typed calls of its control port."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from botctl.core.errors import BotctlError, ExitCode, Unreachable, UsageError
from botctl.core.escape import safe
from botctl.sandbox.console.command_parser import MenuCall, SlashCall
from botctl.sandbox.console.schemas import Choice, Choices, Messages, MessageSchema, ReplySchema, StateSchema
from botctl.sandbox.console.suggest import AutocompleteQuery

REPLY_TIMEOUT_S = 5.0  # how long a person waits for the bot, unless they say otherwise
_TIMEOUT_MARGIN_S = 5.0  # the sandbox itself keeps the limit; this much later it must be dead

SchemaT = TypeVar("SchemaT", bound=BaseModel)


@dataclass(frozen=True)
class Identity:
    """Who acts, where: names or ids. None leaves it to the sandbox: the guild's owner, the first channel, guild."""

    name: str | None = None
    channel: str | None = None
    guild: str | None = None
    dm: str | None = None  # who one writes with, instead of in a channel

    def json(self) -> dict[str, str | None]:
        return {"as": self.name, "channel": self.channel, "guild": self.guild, "dm": self.dm}


class SandboxLocator(Protocol):
    """Where the sandbox is found: a project, or who told us."""

    def sandbox(self) -> tuple[str, str]:
        """The URL and the control secret of the sandbox that runs now. Raises Unreachable when none does."""
        ...

    def bot(self) -> int | None:
        """The process that is the bot, connected or not."""
        ...


class SandboxClient:
    """The control port at ``url``. Use it as an async context manager.

    Every call raises Unreachable when nothing answers there, UsageError and BotctlError with the sandbox's own sentence
    when it refuses. With ``locator``, a sandbox that is gone is looked for there: it may have been started anew.
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
        """The guilds with their channels and members, the bots and their commands: which of them ``identity`` does not see
        is marked by its ``hidden``.
        """
        where = {key: value for key, value in (identity or Identity()).json().items() if value}
        return _validate(StateSchema, await self._call("GET", "state", params=where))

    async def send(
        self, what: SlashCall | MenuCall | str, identity: Identity, *, timeout_s: float = REPLY_TIMEOUT_S
    ) -> ReplySchema:
        """Use a command and wait for what comes of it; or say a plain text, which is its own reply."""
        return await self._request_reply(
            "send", {**_invocation_body(what), **identity.json(), "folder": str(Path.cwd())}, timeout_s
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
        """Press a button, or choose ``values`` in a select, by its label or custom id; on the last message with any."""
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
        """Send the form that is open for this person, its fields by label or custom id."""
        return await self._request_reply(
            "submit", {"fields": dict(fields), "modal": modal, **identity.json()}, timeout_s
        )

    async def complete(
        self, query: AutocompleteQuery, identity: Identity, *, timeout_s: float = REPLY_TIMEOUT_S
    ) -> Sequence[Choice]:
        """What the bot suggests for the value of an option."""
        body = {
            "name": query.name,
            "options": dict(query.options),
            "focused": query.focused,
            "value": query.value,
            **identity.json(),
        }
        return _validate(Choices, await self._post("complete", body, timeout_s)).choices

    async def messages(self, identity: Identity, *, limit: int = 20) -> Sequence[MessageSchema]:
        """The last messages of the channel that this person may see, oldest first."""
        asked = {name: value for name, value in identity.json().items() if value is not None}
        said = await self._call("GET", "messages", params={**asked, "limit": str(limit)})
        return _validate(Messages, said).messages

    async def reply(self, text: str, identity: Identity, *, to: str = "last") -> ReplySchema:
        """Say ``text`` in answer to a message: its id, or the last one."""
        return await self._request_reply("send", {"text": text, "reply_to": to, **identity.json()}, REPLY_TIMEOUT_S)

    async def edit(self, text: str, identity: Identity) -> ReplySchema:
        """Change the last own message."""
        return await self._request_reply("edit", {"text": text, **identity.json()}, REPLY_TIMEOUT_S)

    async def delete(self, identity: Identity) -> ReplySchema:
        """Delete the last own message; it comes back as it was."""
        return await self._request_reply("delete", identity.json(), REPLY_TIMEOUT_S)

    async def react(self, emoji: str, identity: Identity, *, remove: bool = False) -> ReplySchema:
        """Give the last message a reaction, or take one's own back."""
        return await self._request_reply(
            "react", {"emoji": emoji, "remove": remove, **identity.json()}, REPLY_TIMEOUT_S
        )

    async def advance(self, seconds: float) -> str:
        """Move the sandbox's clock ahead; returns its time, ISO 8601 in UTC."""
        return str((await self._call("POST", "clock", json={"advance_s": seconds}))["now"])

    async def incidents(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Begin an incident, or end one, or play a scenario, as `control.incident` takes it; else what there is."""
        said: dict[str, Any] = await self._call("POST", "incidents", json=dict(body))
        return said

    async def token(self, application_id: str) -> str:
        """The token of a bot."""
        said = await self._call("GET", "token", params={"application": application_id})
        return str(said["token"])

    async def dispatch_event(self, application_id: str, event: str, data: Mapping[str, Any]) -> int:
        """Tell a bot an event as it is; how many of its sessions heard it."""
        body = {"application": application_id, "event": event, "data": dict(data)}
        return int((await self._call("POST", "tell", json=body))["told"])

    async def traffic(self) -> AsyncIterator[str]:
        """What goes over REST and the gateway, a line of JSON each, until the sandbox ends."""
        try:
            async with self._open_stream("traffic") as answer:
                if answer.status != HTTPStatus.OK:
                    raise _error_from_response(await answer.json(content_type=None), answer.status)
                async for line in answer.content:
                    yield line.decode()
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"The sandbox at {self._url} does not answer.", hint=START_HINT) from error
        except aiohttp.ClientError:
            return  # it has ended

    async def rest(self, method: str, path: str, token: str, **options: Any) -> tuple[int, Any]:
        """A request of a bot; its status and the JSON of the answer, or None."""
        headers = {"Authorization": f"Bot {token}"}
        async with self._open_http.request(method, f"{self._url}{path}", headers=headers, **options) as answer:
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw and answer.content_type == "application/json" else None

    async def _request_reply(self, endpoint: str, body: dict[str, Any], timeout_s: float) -> ReplySchema:
        return _validate(ReplySchema, await self._post(endpoint, body, timeout_s))

    async def _post(self, endpoint: str, body: dict[str, Any], timeout_s: float) -> Any:
        return await self._call(
            "POST", endpoint, json={**body, "timeout_s": timeout_s}, limit_s=timeout_s + _TIMEOUT_MARGIN_S
        )

    async def _call(self, method: str, endpoint: str, *, limit_s: float = _TIMEOUT_MARGIN_S, **options: Any) -> Any:
        options["timeout"] = aiohttp.ClientTimeout(total=limit_s)
        try:
            status, said = await self._request(method, endpoint, options)
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise Unreachable(f"The sandbox at {self._url} does not answer.", hint=START_HINT) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise _unexpected_response(error) from error
        if status < HTTPStatus.BAD_REQUEST:
            return said
        pid = self._locator.bot() if self._locator and status == HTTPStatus.CONFLICT else None
        raise _error_from_response(said, status) if pid is None else _reconnecting_error(pid)

    async def _request(self, method: str, endpoint: str, options: dict[str, Any]) -> tuple[int, Any]:
        """The status and what is said; asked again where the sandbox has moved, for nobody has heard the first time."""
        try:
            status, said = await self._request_once(method, endpoint, options)
        except aiohttp.ClientConnectorError:
            if not self._relocate():
                raise
        else:
            if status != HTTPStatus.UNAUTHORIZED or not self._relocate():
                return status, said
        return await self._request_once(method, endpoint, options)

    def _relocate(self) -> bool:
        before = self._url, self._secret
        if self._locator is not None:
            self._url, self._secret = self._locator.sandbox()
        return before != (self._url, self._secret)

    @property
    def _open_http(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("SandboxClient must be entered with `async with` first")
        return self._http

    def _open_stream(self, endpoint: str) -> Any:
        """A GET whose answer has no end."""
        headers, timeout = {"Authorization": f"Bearer {self._secret}"}, aiohttp.ClientTimeout(total=None)
        url, most = f"{self._url}/_control/{endpoint}", 2**26  # a line may be a guild of 100,000 members
        return self._open_http.get(url, headers=headers, timeout=timeout, read_bufsize=most)

    async def _request_once(self, method: str, endpoint: str, options: dict[str, Any]) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._secret}"}
        async with self._open_http.request(
            method, f"{self._url}/_control/{endpoint}", headers=headers, **options
        ) as answer:
            return answer.status, await answer.json(content_type=None)


START_HINT = "Start it with: botctl run; for bots of any library: botctl sandbox serve"


def _invocation_body(what: SlashCall | MenuCall | str) -> dict[str, Any]:
    match what:
        case SlashCall():
            return {"type": "slash", "name": what.name, "options": dict(what.options)}
        case MenuCall():
            return {"type": "message" if what.on_message else "user", "name": what.name, "target": what.target}
    return {"text": what}


def _validate(schema: type[SchemaT], said: Any) -> SchemaT:
    try:
        return schema.model_validate(said)
    except ValidationError as error:
        raise _unexpected_response(error) from error


def _error_from_response(said: Any, status: int) -> BotctlError:
    body = said if isinstance(said, dict) else {}
    sentence = body.get("error") or f"The sandbox refused with status {status}."
    kinds: dict[object, type[BotctlError]] = {ExitCode.USAGE: UsageError, ExitCode.UNREACHABLE: Unreachable}
    kind = kinds.get(body.get("exit_code"), BotctlError)
    return kind(safe(sentence, limit=500), hint=safe(body.get("hint") or "", limit=500))


def _reconnecting_error(pid: int) -> Unreachable:
    """Disnake takes its time: after a kill of the sandbox the bot is back within some seconds."""
    return Unreachable(f"The bot (process {pid}) is reconnecting to the sandbox.", hint="Try again in a moment.")


def _unexpected_response(error: Exception) -> BotctlError:
    return BotctlError(
        f"The sandbox answered something that this botctl does not understand: {safe(error)}",
        hint="Is it of another version? Restart it with: botctl run",
    )
