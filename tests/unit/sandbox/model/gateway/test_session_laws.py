"""The rules of a session, tested with clients and a network that do anything in any order.

No dispatch is lost, doubled or reordered in a session: what a client has read is always a prefix of what the sandbox
sent, by the test's own ledger. Discord: Gateway > Resuming, Sharding, Gateway Intents.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from botctl.sandbox.gateway.connection import GatewayConnection
from botctl.sandbox.model.gateway.session import GatewaySession, Sessions, request_reconnect
from botctl.sandbox.model.limits import LENIENT
from botctl.sandbox.model.world import Application, Channel, Guild, Member, Role, User, World
from botctl.sandbox.sandbox import Access, Sandbox

TOKEN, BOT = "t", "10"
GUILD_IDS = [str(number << 22) for number in range(1, 6)]
BUFFER, WINDOW_S = 6, 100.0
# The intents of each event, written down again here; an event without a guild goes to shard 0 only.
REQUIRED_INTENTS = {"GUILD_UPDATE": 1 << 0, "MESSAGE_DELETE": 1 << 9, "GUILD_BAN_ADD": 1 << 2, "USER_UPDATE": 0}
INTENTS = [0, 1 << 0, 1 << 9, 1 << 0 | 1 << 9, 1 << 0 | 1 << 2 | 1 << 9]
SHARDS = [None, (0, 2), (1, 2), (0, 3), (2, 3)]


def sandbox() -> Sandbox:
    """A world of five guilds with the bot in each."""
    world = World()
    world.add_user(User(BOT, "bot", bot=True))
    world.add_user(User("11", "ann"))
    world.applications[BOT] = Application(BOT, "bot", owner_id="11")
    for number, guild_id in enumerate(GUILD_IDS):
        roles = {guild_id: Role(guild_id, "@everyone", position=0)}
        channels = {f"3{number}": Channel(f"3{number}", guild_id, "general")}
        members = {user_id: Member(user_id) for user_id in (BOT, "11")}
        world.add_guild(Guild(guild_id, f"guild {number}", "11", roles=roles, channels=channels, members=members))
    return Sandbox(
        world, Access({TOKEN: BOT}, "secret"), limits=LENIENT.replace({"buffer": BUFFER, "resume_window_s": WINDOW_S})
    )


class Wire:
    """One connection: the frames that were sent, and how many of them the client has read."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.read = 0
        self.closed: int | None = None

    def send(self, text: str, *, after_s: float = 0.0) -> None:
        if self.closed is None:
            self.frames.append(json.loads(text))

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or code

    def abort(self) -> None:
        self.closed = self.closed or 1006

    def mute(self) -> None:
        raise AssertionError("no test asks for it")


class Client:
    """One session as the client knows it. ``ledger`` is what the sandbox must have sent: (event, mark) in order."""

    def __init__(self, shard: tuple[int, int] | None, intents: int) -> None:
        self.shard, self.intents = shard or (0, 1), intents
        self.ledger: list[tuple[str, Any]] = [("READY", None)]
        if intents & 1:
            self.ledger += [("GUILD_CREATE", guild_id) for guild_id in GUILD_IDS if self._of_shard(guild_id)]
        self.seq = 0
        self.id = ""
        self.resume_url = ""
        self.alive = True
        self.lost_s: float | None = None
        self.wire = Wire()
        self.link: GatewayConnection | None = None

    def receives(self, event: str, guild_id: str | None) -> bool:
        return (not REQUIRED_INTENTS[event] or bool(self.intents & REQUIRED_INTENTS[event])) and self._of_shard(
            guild_id
        )

    def _of_shard(self, guild_id: str | None) -> bool:
        number, count = self.shard
        return (int(guild_id or 0) >> 22) % count == number

    def read(self, most: int) -> list[dict[str, Any]]:
        """Read up to ``most`` frames and check each against the ledger; returns the frames without a number."""
        fresh = self.wire.frames[self.wire.read :][:most]
        self.wire.read += len(fresh)
        for frame in fresh:
            if frame["op"] != 0:
                assert frame["s"] is None
                continue
            assert frame["s"] == self.seq + 1
            self.seq += 1
            assert [(frame["t"], _mark(frame))] == self.ledger[self.seq - 1 : self.seq]
            if frame["t"] == "READY":
                self.id = frame["d"]["session_id"]
        return [frame for frame in fresh if frame["op"] != 0]


def _mark(frame: dict[str, Any]) -> Any:
    match frame["t"]:
        case "READY" | "RESUMED":
            return None
        case "GUILD_CREATE":
            return frame["d"]["id"]
    return frame["d"]["mark"]


class Gateway(RuleBasedStateMachine):
    """Sessions of several shards. Each rule is something that a client, the network or an incident can do."""

    def __init__(self) -> None:
        super().__init__()
        self.sandbox = sandbox()
        self.clients: list[Client] = []
        self.now_s = 1000.0
        self.marks = 0

    # What clients do

    @initialize(shard=st.sampled_from(SHARDS))
    def begin(self, shard: tuple[int, int] | None) -> None:
        self._identify(shard, INTENTS[-1])

    @precondition(lambda self: len(self.clients) < 4)
    @rule(shard=st.sampled_from(SHARDS), intents=st.sampled_from(INTENTS))
    def identify(self, shard: tuple[int, int] | None, intents: int) -> None:
        self._identify(shard, intents)

    def _identify(self, shard: tuple[int, int] | None, intents: int) -> None:
        self.now_s += 10  # the sandbox lets a shard identify every 5 s only
        client = Client(shard, intents)
        self._connect(client, 2, {"token": TOKEN, "intents": intents, "properties": {}, "shard": shard})
        assert [frame["op"] for frame in client.wire.frames] == [10] + [0] * len(client.ledger)
        assert client.link
        assert client.link.session
        client.id = client.link.session.id
        self.clients.append(client)

    @rule(data=st.data(), most=st.integers(1, 6))
    def read(self, data: st.DataObject, most: int) -> None:
        self._draw_client(data).read(most)

    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        client = self._draw_client(data)
        if client.alive and client.wire.closed is None and client.link:
            client.link.receive('{"op":1,"d":null}', self.now_s)
            assert client.wire.frames[-1]["op"] == 11

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """From the client's own position, on a new connection; the older one may still be open."""
        client = self._draw_client(data)
        self._resume(client, client.seq)

    @rule(data=st.data(), back=st.integers(1, 4))
    def resume_from_earlier(self, data: st.DataObject, back: int) -> None:
        """The client has forgotten the newest frames: it receives them again."""
        client = self._draw_client(data)
        self._resume(client, max(client.seq - back, 0))

    @rule(data=st.data(), ahead=st.integers(1, 3))
    def resume_from_the_future(self, data: st.DataObject, ahead: int) -> None:
        """Close code 4007, which ends a session without another connection; without a session it is op 9."""
        client = self._draw_client(data)
        wire, link = self._open()
        link.receive(_frame(6, self._resume_data(client, len(client.ledger) + ahead)), self.now_s)
        if self._can_resume(client):
            assert wire.closed == 4007
            client.alive = client.lost_s is None
        else:
            assert wire.frames[-1] == {"op": 9, "d": False, "s": None, "t": None}

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """The client closes with 1000: its session is over."""
        client = self._draw_client(data)
        if self._connected(client):
            self._lose(client, ended=True)
            client.alive = False

    # What the network does

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        """Frames under way are lost."""
        client = self._draw_client(data)
        if self._connected(client):
            self._lose(client, ended=False)

    @rule(passed_s=st.sampled_from([1.0, 30.0, WINDOW_S + 1]))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s

    # What Discord does

    @rule(event=st.sampled_from(sorted(REQUIRED_INTENTS)), guild_id=st.sampled_from(GUILD_IDS), times=st.integers(1, 4))
    def dispatch(self, event: str, guild_id: str, times: int) -> None:
        place = None if event == "USER_UPDATE" else guild_id
        for _ in range(times):
            self.marks += 1
            receivers = [client for client in self.clients if client.alive and client.receives(event, place)]
            for client in receivers:
                client.ledger.append((event, self.marks))
            self.sandbox.emit(event, {"mark": self.marks}, place, application_id=BOT)

    @rule(data=st.data())
    def ask_to_reconnect(self, data: st.DataObject) -> None:
        """Op 7 changes nothing by itself."""
        client = self._draw_client(data)
        if self._connected(client):
            request_reconnect(self._session(client))
            assert client.wire.frames[-1]["op"] == 7

    @rule(data=st.data(), resumable=st.booleans())
    def invalidate(self, data: st.DataObject, resumable: bool) -> None:
        """Op 9, after which the client disconnects; with false the session is over."""
        client = self._draw_client(data)
        if self._connected(client):
            session = self._session(client)
            self.sandbox.sessions.invalidate(session, self.now_s, resumable=resumable)
            assert client.wire.frames[-1]["d"] is resumable
            client.wire.abort()
            client.lost_s = self.now_s
            client.alive = resumable

    # What must always be so

    @invariant()
    def no_client_is_sent_more_than_the_ledger_has(self) -> None:
        for client in self.clients:
            if client.alive and client.id in self.sandbox.sessions.by_id:
                assert self._session(client).seq == len(client.ledger)

    def teardown(self) -> None:
        """Every client that can still resume receives everything."""
        for client in self.clients:
            if self._connected(client):
                client.read(10_000)
            elif self._can_resume(client):
                self._resume(client, client.seq)
                client.read(10_000)
            if self._connected(client):
                assert client.seq == len(client.ledger)

    def _draw_client(self, data: st.DataObject) -> Client:
        return data.draw(st.sampled_from(self.clients))

    def _session(self, client: Client) -> GatewaySession:
        return self.sandbox.sessions.by_id[client.id]

    def _connected(self, client: Client) -> bool:
        return client.alive and client.wire.closed is None and client.lost_s is None

    def _can_resume(self, client: Client) -> bool:
        return client.alive and (client.lost_s is None or self.now_s - client.lost_s <= WINDOW_S)

    def _open(self) -> tuple[Wire, GatewayConnection]:
        wire = Wire()
        link = GatewayConnection(self.sandbox.sessions, wire)
        link.send_hello(self.now_s)
        return wire, link

    def _connect(self, client: Client, op: int, d: dict[str, Any]) -> None:
        client.wire, client.link = self._open()
        client.lost_s = None
        client.link.receive(_frame(op, d), self.now_s)

    def _lose(self, client: Client, *, ended: bool) -> None:
        client.lost_s = self.now_s
        client.wire.abort()
        assert client.link
        self.sandbox.sessions.disconnect(self._session(client), client.link.transport, self.now_s, ended=ended)

    def _resume_data(self, client: Client, seq: int) -> dict[str, Any]:
        return {"token": TOKEN, "session_id": client.id, "seq": seq}

    def _resume(self, client: Client, seq: int) -> None:
        missed = len(client.ledger) - seq
        resumable, buffered, older = self._can_resume(client), missed <= BUFFER, client.wire
        before = client.wire, client.link, client.lost_s
        if resumable and buffered:
            client.ledger.append(("RESUMED", None))
        self._connect(client, 6, self._resume_data(client, seq))
        if resumable and buffered:
            client.seq = seq
            assert older.closed is not None
            assert [frame["op"] for frame in client.wire.frames] == [10] + [0] * (missed + 1)
            return
        assert client.wire.frames[-1] == {"op": 9, "d": False, "s": None, "t": None}
        if client.alive and resumable:
            client.wire, client.link, client.lost_s = before  # refused, and the session is as it was
        client.alive = client.alive and resumable


def _frame(op: int, d: dict[str, Any]) -> str:
    return json.dumps({"op": op, "d": d})


def run(examples: int, steps: int, **fields: Any) -> None:
    """Run the state machine; raises AssertionError when a rule is broken."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        **fields,
    )
    run_state_machine_as_test(Gateway, settings=chosen)


def test_no_dispatch_is_lost_doubled_or_reordered() -> None:
    run(100, 30, derandomize=True, database=None)


@pytest.mark.soak
def test_no_dispatch_is_lost_doubled_or_reordered_in_long_runs() -> None:
    run(3000, 80)


_frames_after, _create, _dispatch = GatewaySession.frames_after, Sessions.create, GatewaySession.dispatch


def _one_too_few(self: GatewaySession, seq: int) -> list[str] | None:
    frames = _frames_after(self, seq)
    return frames and frames[1:]


def _one_too_many(self: GatewaySession, seq: int) -> list[str] | None:
    frames = _frames_after(self, seq)
    return frames if frames is None else [frame for number, frame in self.sent if number >= seq]


def _reordered(self: GatewaySession, seq: int) -> list[str] | None:
    frames = _frames_after(self, seq)
    return frames and frames[::-1]


def _all_buffered(self: GatewaySession, seq: int) -> list[str] | None:
    return [frame for number, frame in self.sent if number > seq]


def _continued_numbers(self: Sessions, *args: Any, **kwargs: Any) -> GatewaySession:
    highest = max((session.seq for session in self.by_id.values()), default=0)
    session = _create(self, *args, **kwargs)
    session.seq = highest
    return session


def _only_to_the_connected(self: GatewaySession, event: str, body: str) -> None:
    if self.transport is not None:
        _dispatch(self, event, body)


def _doubled(self: GatewaySession, event: str, body: str) -> None:
    _dispatch(self, event, body)
    if event == "USER_UPDATE":
        _dispatch(self, event, body)


BUGS: list[tuple[type, str, Callable[..., Any]]] = [
    (GatewaySession, "frames_after", _one_too_few),
    (GatewaySession, "frames_after", _one_too_many),
    (GatewaySession, "frames_after", _reordered),
    (GatewaySession, "frames_after", _all_buffered),
    (Sessions, "create", _continued_numbers),
    (GatewaySession, "dispatch", _only_to_the_connected),
    (GatewaySession, "dispatch", _doubled),
    (GatewaySession, "receives", lambda *_: True),
    (Sessions, "remove", lambda *_: None),
]


@pytest.mark.parametrize(("owner", "name", "bug"), BUGS, ids=[f"{name} {n}" for n, (_, name, _) in enumerate(BUGS)])
def test_rules_detect_a_planted_bug(
    owner: type, name: str, bug: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these bugs breaks a rule."""
    monkeypatch.setattr(owner, name, bug)
    with pytest.raises(AssertionError):
        run(200, 30, derandomize=True, database=None, phases=[Phase.generate])
