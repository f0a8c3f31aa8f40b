"""A small bot without a library: it registers commands and answers them with scripted callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]
Script = Mapping[str, Json | list[Any] | Callable[[Json], Json | None] | None]

HELLO, HEARTBEAT, IDENTIFY, DISPATCH = 10, 1, 2, 0


@dataclass
class FakeBot:
    """``answers``: the callback by command name or custom id; None for no answer.

    A list is a callback and further requests: ``(method, path after the interaction's webhook, body)``.
    """

    url: str
    token: str
    answers: Script
    http: aiohttp.ClientSession
    application_id: str = ""
    interactions: list[Json] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bot {self.token}"}
        async with self.http.request(method, f"{self.url}/api/v10{path}", json=body, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json(content_type=None) if answer.status == 200 else None

    async def answer(self, interaction: Json) -> None:
        self.interactions.append(interaction)
        data = interaction["data"]
        scripted = self.answers.get(data.get("name") or data.get("custom_id"))
        body = scripted(interaction) if callable(scripted) else scripted
        first, *more = body if isinstance(body, list) else [body]
        if first is not None:
            await self.call("POST", f"/interactions/{interaction['id']}/{interaction['token']}/callback", first)
        for method, path, payload in more:
            await self.call(method, f"/webhooks/{self.application_id}/{interaction['token']}{path}", payload)


@contextlib.asynccontextmanager
async def fake_bot(url: str, token: str, commands: Sequence[Json], answers: Script) -> AsyncIterator[FakeBot]:
    """Connect to the sandbox and register ``commands``."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url.replace("http", "ws", 1) + "/?v=10&encoding=json") as ws,
    ):
        bot = FakeBot(url, token, answers, http)
        hello = await ws.receive_json()
        assert hello["op"] == HELLO
        properties = {"os": "linux", "browser": "fake", "device": "fake"}
        await ws.send_json({"op": IDENTIFY, "d": {"token": token, "intents": 1, "properties": properties}})
        ready = await ws.receive_json()
        bot.application_id = ready["d"]["application"]["id"]
        await bot.call("PUT", f"/applications/{bot.application_id}/commands", list(commands))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_listen(bot, ws, group)),
                group.create_task(_beat(ws, hello["d"]["heartbeat_interval"] / 1000)),
            ]
            yield bot
            for task in tasks:
                task.cancel()


async def _listen(bot: FakeBot, ws: aiohttp.ClientWebSocketResponse, group: asyncio.TaskGroup) -> None:
    async for frame in ws:
        event = json.loads(frame.data)
        if event["op"] == DISPATCH and event["t"] == "INTERACTION_CREATE":
            group.create_task(bot.answer(event["d"]))


async def _beat(ws: aiohttp.ClientWebSocketResponse, every_s: float) -> None:
    """Send heartbeats; the sandbox closes a session without them."""
    while True:
        await asyncio.sleep(every_s)
        await ws.send_json({"op": HEARTBEAT, "d": None})
