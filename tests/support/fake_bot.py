"""A bot of a few lines that speaks to the sandbox without any library: commands in, scripted callbacks out."""

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
    """``answers``: the name of a command or the custom id of a component or modal to its callback; None is silence.

    A list is a callback, and what comes after it: ``(method, path behind the interaction's webhook, body)``.
    """

    url: str
    token: str
    answers: Script
    http: aiohttp.ClientSession
    application_id: str = ""
    heard: list[Json] = field(default_factory=list)

    async def call(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bot {self.token}"}
        async with self.http.request(method, f"{self.url}/api/v10{path}", json=body, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json(content_type=None) if answer.status == 200 else None

    async def answer(self, interaction: Json) -> None:
        self.heard.append(interaction)
        data = interaction["data"]
        scripted = self.answers.get(data.get("name") or data.get("custom_id"))
        body = scripted(interaction) if callable(scripted) else scripted
        first, *more = body if isinstance(body, list) else [body]
        if first is not None:
            await self.call("POST", f"/interactions/{interaction['id']}/{interaction['token']}/callback", first)
        for method, path, said in more:
            await self.call(method, f"/webhooks/{self.application_id}/{interaction['token']}{path}", said)


@contextlib.asynccontextmanager
async def fake_bot(url: str, token: str, commands: Sequence[Json], answers: Script) -> AsyncIterator[FakeBot]:
    """A bot that is logged in at the sandbox and has registered ``commands``."""
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
    """Keep the session; the sandbox ends one that is silent."""
    while True:
        await asyncio.sleep(every_s)
        await ws.send_json({"op": HEARTBEAT, "d": None})
