"""Random requests and frames: none causes a server error or stops the gateway."""

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

from botctl.sandbox.control import routes as control
from botctl.sandbox.rest import routing
from tests.support import fuzz
from tests.support.calls import CALLS, Call, Caller
from tests.support.discord import GENERAL, GUILD, TOKEN, Closed, Discord, Wire, local_discord
from tests.support.message_calls import TALK
from tests.support.moderation_calls import MODERATION

IDS = ["0", "1", "x", "-1", "%D9%A3", "9" * 30, "%00", "@me", "%F0%9F%91%8D", "a%3A1"]
EVERY = [call for call in (*CALLS, *TALK, *MODERATION) if call.method != "ASK"]
SHORT = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=5000, derandomize=False, phases=[Phase.generate, Phase.shrink])


async def run_examples(
    strategy: st.SearchStrategy[Any], config: settings, coroutine: Callable[[Any], Coroutine[Any, Any, None]]
) -> None:
    """Run the coroutine function ``coroutine`` with examples of ``strategy``."""
    loop = asyncio.get_running_loop()

    @config
    @given(strategy)
    def run(example: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine(example), loop).result(30)

    await asyncio.to_thread(run)  # hypothesis is synchronous


@dataclass(frozen=True)
class ChangedCall:
    """A call of the table with another body and query. ``ids`` replace the last placeholders of its path."""

    call: Call
    body: Any
    query: dict[str, str]
    ids: list[str]


@st.composite
def requests(draw: st.DrawFn) -> ChangedCall:
    """A DELETE gets at least one wrong id, so that the objects stay."""
    call = draw(st.sampled_from(EVERY))
    body = draw(fuzz.objects() if call.body is None else fuzz.mutated(call.body))
    at_least = 1 if call.method == "DELETE" else 0
    ids = draw(st.lists(st.sampled_from(IDS), min_size=at_least, max_size=max(at_least, draw(st.integers(0, 2)))))
    return ChangedCall(call, body, draw(fuzz.queries()), ids)


def _fill_path(request: ChangedCall, names: Mapping[str, str]) -> str:
    """Replace placeholders from the end: the last one is the route's own object."""
    placeholders = re.findall(r"{(\w+)}", request.call.path)
    replacements = dict(zip(reversed(placeholders), request.ids, strict=False))
    return request.call.path.partition("?")[0].format_map(defaultdict(lambda: "1", {**names, **replacements}))


async def _fuzz_requests(discord: Discord, config: settings) -> None:
    async with discord.wire() as wire:
        await wire.identify()
        caller = Caller(discord, wire)
        for call in (*CALLS, *TALK):
            await caller(call)
    caller.names = defaultdict(lambda: "1", caller.names)

    async def send(request: ChangedCall) -> None:
        raw = json.dumps(caller.fill(request.body)).encode("utf-8", "surrogatepass")
        url = URL(f"{discord.url}/api/v10{_fill_path(request, caller.names)}", encoded=True)
        headers = {"Authorization": f"Bot {TOKEN}", "Content-Type": "application/json"}
        query = {key: value.encode("utf-8", "replace").decode() for key, value in request.query.items()}
        async with discord.http.request(
            request.call.method, url.extend_query(query), data=raw, headers=headers
        ) as response:
            text = await response.read()
        assert response.status < 500, (request, text)

    await run_examples(requests(), config, send)
    assert (await discord.rest("GET", "/users/@me"))[0] == 200


async def test_no_request_causes_a_server_error() -> None:
    """The OpenAPI check sees every response, too."""
    async with local_discord() as discord:
        await _fuzz_requests(discord, SHORT)


@pytest.mark.soak
async def test_no_request_causes_a_server_error_in_long_run() -> None:
    async with local_discord() as discord:
        await _fuzz_requests(discord, LONG)


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
async def test_malformed_body_is_a_client_error(kind: str, raw: bytes) -> None:
    async with local_discord() as discord:
        url = f"{discord.url}/api/v10/channels/{GENERAL}/messages"
        headers = {"Content-Type": kind, "Authorization": f"Bot {TOKEN}"}
        async with discord.http.post(url, data=raw, headers=headers) as response:
            assert response.status == 400
            assert (await response.json())["code"] in (50006, 50035, 50109)


async def raw_status(discord: Discord, method: str, path: bytes, *headers: bytes, body: bytes = b"") -> int:
    """The status of a request whose bytes no HTTP client would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(discord.url).port)
    request = (method.encode() + b" " + path + b" HTTP/1.1", b"Host: x", b"Connection: close", *headers)
    writer.write(b"\r\n".join((*request, b"Content-Length: %d" % len(body), b"", body)))
    status = (await reader.readline()).split()[1]
    writer.close()
    return int(status)


ROUTES = [
    (entry.method, routing.PREFIX + re.sub(r"{\w+}", "1", entry.path), entry.token or entry.scope is not None)
    for entry in routing.ROUTES
]
CONTROL = [(method, f"/_control/{name}", True) for method, name, *_ in control._ROUTES]


async def test_malformed_authorization_is_401_on_every_route() -> None:
    async with local_discord() as discord:
        for number, (method, path, token) in enumerate((*ROUTES, *CONTROL, ("GET", "/_control/traffic", True))):
            header = (b"Bearer \xff", b"Bot \xff", b"Basic \xff", b"\xff", b"Bot \xc3\xa9")[number % 5]
            status = await raw_status(discord, method, path.encode(), b"Authorization: " + header)
            assert status == 401 if token else status < 500, (method, path, header)
        for header in (b"Basic \xff", b"Basic w6k=", b"Basic /zr/", b"Basic =", b"\xff"):
            path = b"/api/v10/oauth2/token"
            assert await raw_status(discord, "POST", path, b"Authorization: " + header) == 401, header


@pytest.mark.parametrize(
    ("path", "header"),
    [
        (b"/channels/%ff/messages", b""),
        (b"/channels/%/messages?limit=%", b""),
        (b"/channels/%s/messages?limit=%%ff&before=%%ed%%a0%%80" % GENERAL.encode(), b""),
        (b"/channels/\xff/messages?\xff=\xff", b""),
        (b"/users/@me?%zz=%", b'Cookie: \xff=\xfe; a=\x01; =; $Version="'),
        (b"/users/@me", b"X-Audit-Log-Reason: \xff%ff%zz"),
    ],
)
async def test_malformed_request_line_and_headers_are_no_server_error(path: bytes, header: bytes) -> None:
    async with local_discord() as discord:
        headers = (f"Authorization: Bot {TOKEN}".encode(), header or b"X-Nothing: 1")
        assert await raw_status(discord, "GET", routing.PREFIX.encode() + path, *headers) < 500
        secret = f"Authorization: Bearer {discord.sandbox.access.control_secret}".encode()
        assert await raw_status(discord, "GET", b"/_control/state?as=%ff&guild=%", secret, header or b"X-N: 1") < 500


@pytest.mark.parametrize(
    "body",
    [b"\xff", b'{"content": "\xed\xa0\x80"}', b"[" * 900 + b"]" * 900, b"[" * 100_000],
)
async def test_unreadable_json_is_a_client_error_while_recorded(body: bytes) -> None:
    """A recording looks at each level and writes every text."""
    async with local_discord() as discord:
        with discord.running.traffic.subscribe():
            status, answer = await discord.rest("POST", f"/channels/{GENERAL}/messages", data=body)
        assert (status, answer["code"]) == (400, 50109)
        secret = f"Authorization: Bearer {discord.sandbox.access.control_secret}".encode()
        assert await raw_status(discord, "POST", b"/_control/send", secret, body=body) == 400


async def test_oversized_body_returns_413() -> None:
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
    """A changed client payload, any JSON, any bytes, or something huge or deep."""
    kind = draw(st.sampled_from(["like", "like", "like", "json", "bytes", "huge", "deep"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    if kind == "huge":
        return draw(st.sampled_from([" ", "[", "1", "\x00"])) * draw(st.sampled_from([4096, 4097, 70_000]))
    if kind == "deep":
        depth = draw(st.sampled_from([500, 1500]))
        return '{"op":1,"d":' + "[" * depth + "]" * depth + "}"
    payload = draw(fuzz.mutated(draw(st.sampled_from(GOOD_FRAMES))) if kind == "like" else fuzz.JSON)
    text = json.dumps(payload).replace("\x00", "")
    return text.encode() if draw(st.booleans()) else text


async def _fuzz_frames(discord: Discord, config: settings) -> None:
    async def send(example: tuple[bool, list[str | bytes]]) -> None:
        """Send all frames on one connection: it then answers a heartbeat or is closed with Discord's code."""
        identified, sent = example
        async with discord.wire() as wire:
            if identified:
                await wire.identify()
            with contextlib.suppress(ConnectionError):
                for frame in sent:
                    await (wire.socket.send_bytes(frame) if isinstance(frame, bytes) else wire.socket.send_str(frame))
                await wire.say(1, None)
            assert await _close_code(wire) in CODES | {None}, example

    await run_examples(st.tuples(st.booleans(), st.lists(frames(), min_size=1, max_size=6)), config, send)
    async with discord.wire() as wire:
        assert (await wire.identify())["v"] == 10


async def _close_code(wire: Wire) -> int | None:
    """The server's close code; None when it acknowledges a heartbeat."""
    try:
        while (await wire.hear())["op"] != 11:
            pass
    except Closed as closed:
        return int(closed.args[0])
    return None


async def test_no_frame_crashes_the_gateway() -> None:
    async with local_discord() as discord:
        await _fuzz_frames(discord, SHORT)


@pytest.mark.soak
async def test_no_frame_crashes_the_gateway_in_long_run() -> None:
    async with local_discord() as discord:
        await _fuzz_frames(discord, LONG)
