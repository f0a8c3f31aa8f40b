"""Whatever is sent to the sandbox, it answers as Discord does: no request fails it, and no frame stops it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from botctl.sandbox.rest import routing
from tests.support import fuzz
from tests.support.calls import CALLS, Call, Caller
from tests.support.discord import GENERAL, GUILD, TOKEN, Closed, Discord, Wire, local_discord
from tests.support.message_calls import TALK
from tests.support.moderation_calls import MODERATION

IDS = ["0", "1", "x", "-1", "%D9%A3", "9" * 30, "%00", "@me", "%F0%9F%91%8D", "a%3A1"]
EVERY = [one for one in (*CALLS, *TALK, *MODERATION) if one.method != "ASK"]
SHORT = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=5000, derandomize=False, phases=[Phase.generate, Phase.shrink])


async def drive(
    strategy: st.SearchStrategy[Any], chosen: settings, one: Callable[[Any], Coroutine[Any, Any, None]]
) -> None:
    """Run the coroutine function ``one`` with what ``strategy`` draws."""
    loop = asyncio.get_running_loop()

    @chosen
    @given(strategy)
    def run(drawn: Any) -> None:
        asyncio.run_coroutine_threadsafe(one(drawn), loop).result(30)

    await asyncio.to_thread(run)  # hypothesis itself does not wait


@dataclass(frozen=True)
class Spoiled:
    """A call of the table, with what is sent instead. ``ids`` take the place of names in its path, in their order."""

    call: Call
    body: Any
    query: dict[str, str]
    ids: list[str]


@st.composite
def requests(draw: st.DrawFn) -> Spoiled:
    """What would delete something has a wrong id, so that there is something left."""
    call = draw(st.sampled_from(EVERY))
    body = draw(fuzz.objects() if call.body is None else fuzz.mutated(call.body))
    at_least = 1 if call.method == "DELETE" else 0
    ids = draw(st.lists(st.sampled_from(IDS), min_size=at_least, max_size=max(at_least, draw(st.integers(0, 2)))))
    return Spoiled(call, body, draw(fuzz.queries()), ids)


def _path(one: Spoiled, names: Mapping[str, str]) -> str:
    """Those in the place of ids come last: the path's last name is what the route is about."""
    found = re.findall(r"{(\w+)}", one.call.path)
    instead = dict(zip(reversed(found), one.ids, strict=False))
    return one.call.path.partition("?")[0].format_map(defaultdict(lambda: "1", {**names, **instead}))


async def _requests(discord: Discord, chosen: settings) -> None:
    async with discord.wire() as wire:
        await wire.identify()
        caller = Caller(discord, wire)
        for call in (*CALLS, *TALK):
            await caller(call)
    caller.names = defaultdict(lambda: "1", caller.names)

    async def send(one: Spoiled) -> None:
        raw = json.dumps(caller.fill(one.body)).encode("utf-8", "surrogatepass")
        url = URL(f"{discord.url}/api/v10{_path(one, caller.names)}", encoded=True)
        headers = {"Authorization": f"Bot {TOKEN}", "Content-Type": "application/json"}
        query = {key: value.encode("utf-8", "replace").decode() for key, value in one.query.items()}
        async with discord.http.request(one.call.method, url.extend_query(query), data=raw, headers=headers) as answer:
            said = await answer.read()
        assert answer.status < 500, (one, said)

    await drive(requests(), chosen, send)
    assert (await discord.rest("GET", "/users/@me"))[0] == 200


async def test_no_request_fails_the_sandbox() -> None:
    """Every answer is judged, too."""
    async with local_discord() as discord:
        await _requests(discord, SHORT)


@pytest.mark.soak
async def test_no_request_fails_the_sandbox_in_the_long_run() -> None:
    async with local_discord() as discord:
        await _requests(discord, LONG)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="\x14"\r\n\r\nx\r\n--b--'),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Transfer-Encoding: odd\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Encoding: deflate\r\n\r\nx\r\n--b--"),
        ("application/json", b"{" * 100_000),
        ("application/json; charset=odd", b"\xff"),
        ("application/x-www-form-urlencoded", b"%FF=%ZZ&payload_json={"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(kind: str, raw: bytes) -> None:
    async with local_discord() as discord:
        url = f"{discord.url}/api/v10/channels/{GENERAL}/messages"
        headers = {"Content-Type": kind, "Authorization": f"Bot {TOKEN}"}
        async with discord.http.post(url, data=raw, headers=headers) as answer:
            assert answer.status == 400
            assert (await answer.json())["code"] in (50006, 50035, 50109)


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with local_discord() as discord:
        raw = io.BytesIO(b" " * (routing.BODY_MAX_BYTES + 1))
        assert await discord.rest("POST", f"/channels/{GENERAL}/messages", data=raw) == (
            413,
            {"code": 40005, "message": "Request entity too large"},
        )


CODES = {4000, 4001, 4002, 4003, 4004, 4005, 4007, 4008, 4010, 4011, 4012, 4013, 4014, 1009}
GOOD_FRAMES = [
    {"op": 1, "d": 3},
    {"op": 2, "d": {"token": TOKEN, "properties": {}, "intents": 513, "shard": [0, 1], "presence": {"status": "idle"}}},
    {"op": 3, "d": {"since": None, "activities": [{"name": "a", "type": 0}], "status": "online", "afk": False}},
    {"op": 4, "d": {"guild_id": GUILD, "channel_id": None, "self_mute": False, "self_deaf": False}},
    {"op": 6, "d": {"token": TOKEN, "session_id": "x" * 32, "seq": 1}},
    {"op": 8, "d": {"guild_id": GUILD, "query": "", "limit": 0, "nonce": "n", "user_ids": ["1"], "presences": True}},
    {"op": 31, "d": {"guild_ids": [GUILD]}},
    {"op": 43, "d": {"guild_id": GUILD, "fields": ["status"]}},
]


@st.composite
def frames(draw: st.DrawFn) -> str | bytes:
    """JSON like that of a client, any JSON, any bytes, or something huge or deep."""
    kind = draw(st.sampled_from(["like", "like", "like", "json", "bytes", "huge", "deep"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    if kind == "huge":
        return draw(st.sampled_from([" ", "[", "1", "\x00"])) * draw(st.sampled_from([4096, 4097, 70_000]))
    if kind == "deep":
        depth = draw(st.sampled_from([500, 1500]))
        return '{"op":1,"d":' + "[" * depth + "]" * depth + "}"
    told = draw(fuzz.mutated(draw(st.sampled_from(GOOD_FRAMES))) if kind == "like" else fuzz.JSON)
    text = json.dumps(told).replace("\x00", "")
    return text.encode() if draw(st.booleans()) else text


async def _frames(discord: Discord, chosen: settings) -> None:
    async def send(drawn: tuple[bool, list[str | bytes]]) -> None:
        """All of them on one connection: at its end it answers a heartbeat, or Discord's code has closed it."""
        identified, sent = drawn
        async with discord.wire() as wire:
            if identified:
                await wire.identify()
            with contextlib.suppress(ConnectionError):
                for one in sent:
                    await (wire.socket.send_bytes(one) if isinstance(one, bytes) else wire.socket.send_str(one))
                await wire.say(1, None)
            assert await _end(wire) in CODES | {None}, drawn

    await drive(st.tuples(st.booleans(), st.lists(frames(), min_size=1, max_size=6)), chosen, send)
    async with discord.wire() as wire:
        assert (await wire.identify())["v"] == 10


async def _end(wire: Wire) -> int | None:
    """The code that the server closed with; None when it answers a heartbeat instead."""
    try:
        while (await wire.hear())["op"] != 11:
            pass
    except Closed as closed:
        return int(closed.args[0])
    return None


async def test_no_frame_stops_the_gateway() -> None:
    async with local_discord() as discord:
        await _frames(discord, SHORT)


@pytest.mark.soak
async def test_no_frame_stops_the_gateway_in_the_long_run() -> None:
    async with local_discord() as discord:
        await _frames(discord, LONG)
