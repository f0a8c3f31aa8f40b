"""A sandbox in the test's own process, a client for its APIs, and real disnake bots."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import disnake
from backports import zstd
from disnake.ext import commands

from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.interactions import InteractionState
from botctl.sandbox.model.limits import LENIENT, Limits
from botctl.sandbox.model.world import World
from botctl.sandbox.process.serve import RunningSandbox, bind_loopback, serve_sandbox
from botctl.sandbox.sandbox import Access, Sandbox
from botctl.sandbox.web.openapi_check import OpenApiCheck
from tests.support import openapi
from tests.support.dispatches import DispatchRecorder
from tests.support.waiting import LIMIT_S, until

T = TypeVar("T")
TOKEN, SECRET = "sandbox-token", "sandbox-secret"
BOT, GUILD, GENERAL, STAFF = "900000000000000010", "900000000000000001", "900000000000000301", "900000000000000302"
ANN, BOB, CAT = "900000000000000101", "900000000000000102", "900000000000000103"
ADMIN, MODERATOR = "900000000000000201", "900000000000000202"
PATIENT = LENIENT.replace({"response_s": LIMIT_S})
"""Discord waits 3 s for the answer to an interaction. On a loaded machine a bot may need longer."""
INTENTS = disnake.Intents.all().value & ~disnake.Intents(presences=True).value


class Bot(commands.InteractionBot):
    """A bot without the waits that a sandbox does not need."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("intents", disnake.Intents.default())
        super().__init__(guild_ready_timeout=0.02, **options)
        self.resumed = asyncio.Event()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """disnake waits 5 s here to spare Discord."""

    async def on_resumed(self) -> None:
        self.resumed.set()

    async def on_slash_command_error(self, inter: Any, exception: Exception) -> None:
        raise exception


@dataclass
class Discord:
    """A running sandbox and an HTTP session for it."""

    running: RunningSandbox
    http: aiohttp.ClientSession
    recorder: DispatchRecorder

    @property
    def sandbox(self) -> Sandbox:
        return self.running.sandbox

    @property
    def url(self) -> str:
        return self.running.url

    async def act(self, verb: str, **body: Any) -> dict[str, Any]:
        """POST to the control API; raises AssertionError with the error message."""
        status, response = await self.control("POST", verb, body)
        assert status == 200, response
        return response

    async def look(self, verb: str, **query: str) -> dict[str, Any]:
        status, response = await self.control("GET", verb, query)
        assert status == 200, response
        return response

    async def control(self, method: str, verb: str, body: dict[str, Any], secret: str = SECRET) -> tuple[int, Any]:
        arguments = {"params": body} if method == "GET" else {"json": body}
        headers = {"Authorization": f"Bearer {secret}"}
        async with self.http.request(method, f"{self.url}/_control/{verb}", headers=headers, **arguments) as response:
            return response.status, await response.json()

    async def slash(self, name: str, /, as_: str = "ann", timeout_s: float = LIMIT_S, **options: str) -> dict[str, Any]:
        return await self.act("send", type="slash", name=name, options=options, **{"as": as_}, timeout_s=timeout_s)

    async def rest(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        """A REST call with the bot's token: the status and the JSON, or None."""
        headers = {"Authorization": f"Bot {TOKEN}"}
        async with self.http.request(method, f"{self.url}/api/v10{path}", headers=headers, **arguments) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    @contextlib.asynccontextmanager
    async def wire(self, query: str = "?v=10&encoding=json") -> AsyncIterator[Wire]:
        """A gateway connection without a client library."""
        async with self.http.ws_connect(self.url + "/" + query) as socket:
            stream = _STREAMS.get(query.rpartition("compress=")[2])
            yield Wire(socket, stream() if stream else None)

    @contextlib.asynccontextmanager
    async def bot(
        self, prepare: Callable[[Bot], None] = lambda _: None, *, kind: type[Bot] = Bot, **options: Any
    ) -> AsyncIterator[Any]:
        """A disnake bot, changed by ``prepare``, that is ready and has registered its commands."""
        bot = kind(**options)
        prepare(bot)
        running = asyncio.create_task(bot.start(TOKEN))
        try:
            async with asyncio.timeout(LIMIT_S):
                await bot.wait_until_ready()
                await bot._prepare_application_commands()  # waits for the sync that is under way
            yield bot
        finally:
            await bot.close()
            await asyncio.wait((running,), timeout=LIMIT_S)


@dataclass
class Wire:
    """The frames of one gateway connection."""

    socket: aiohttp.ClientWebSocketResponse
    inflate: Callable[[bytes], bytes] | None = None

    async def hear(self) -> dict[str, Any]:
        """The next payload; raises Closed when the server closes."""
        frame = await self.socket.receive(timeout=LIMIT_S)
        if frame.type is aiohttp.WSMsgType.BINARY:
            assert self.inflate is not None
            return json.loads(self.inflate(frame.data))
        if frame.type is aiohttp.WSMsgType.TEXT:
            return json.loads(frame.data)
        raise Closed(self.socket.close_code)

    async def hear_until(self, event: str) -> dict[str, Any]:
        while (payload := await self.hear())["t"] != event:
            pass
        return payload

    async def say(self, op: int, d: Any, *, binary: bool = False) -> None:
        text = json.dumps({"op": op, "d": d})
        await (self.socket.send_bytes(text.encode()) if binary else self.socket.send_str(text))

    async def identify(self, **fields: Any) -> dict[str, Any]:
        """Send IDENTIFY; returns the data of READY."""
        await self.hear()
        await self.say(2, {"token": TOKEN, "properties": {}, "intents": INTENTS, **fields})
        return (await self.hear_until("READY"))["d"]


def _zlib_stream() -> Callable[[bytes], bytes]:
    stream = zlib.decompressobj()

    def inflate(data: bytes) -> bytes:
        assert data.endswith(b"\x00\x00\xff\xff")
        return stream.decompress(data)

    return inflate


_STREAMS: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    "zlib-stream": _zlib_stream,
    "zstd-stream": lambda: zstd.ZstdDecompressor().decompress,
}


class Closed(Exception):
    """The server closed the connection with ``args[0]``."""


async def shown_so_far(sandbox: Sandbox, asking: Coroutine[Any, Any, T]) -> T:
    """The reply to ``asking`` of a person who gives up when the bot has acknowledged the interaction.

    For a reply that never becomes final. The sandbox's clock ends the wait for it, however fast the machine is.
    """
    store = sandbox.interactions
    known = set(store._by_token)

    def acknowledged() -> bool:
        new = [interaction for token, interaction in store._by_token.items() if token not in known]
        return any(interaction.state is not InteractionState.WAITING for interaction in new)

    task = asyncio.create_task(asking)
    await until(acknowledged, what="a response of the bot")
    sandbox.clock.advance(LIMIT_S)
    return await task


@contextlib.asynccontextmanager
async def served(
    make: Callable[[str], Sandbox], *, port: int = 0, judge: OpenApiCheck | None = None
) -> AsyncIterator[RunningSandbox]:
    """The sandbox that ``make`` returns for its URL, on ``port`` or a free one."""
    with bind_loopback(port) as listener:
        async with serve_sandbox(make(listener.url), listener, self_check=judge) as running:
            yield running


@contextlib.asynccontextmanager
async def local_discord(
    make_world: Callable[..., World] = default_world, *, limits: Limits = PATIENT
) -> AsyncIterator[Discord]:
    """A sandbox on a free port, which disnake uses in the meantime. ``make_world`` is called with its url.

    Raises AssertionError at the end when a response does not match Discord's OpenAPI description (if available), or a
    dispatch does not match the gateway's types.
    """

    def make(url: str) -> Sandbox:
        return Sandbox(make_world(url=url), Access({TOKEN: BOT}, SECRET), limits=limits)

    judge, base = openapi.make_check(), disnake.http.Route.BASE
    async with served(make, judge=judge) as running, aiohttp.ClientSession() as http:
        recorder = DispatchRecorder(running.sandbox)
        disnake.http.Route.BASE = f"{running.url}/api/v10"
        try:
            yield Discord(running, http, recorder)
        finally:
            disnake.http.Route.BASE = base
    assert judge is None or not judge.mismatches, judge.report()
    assert not (errors := recorder.schema_errors()), errors[:10]
