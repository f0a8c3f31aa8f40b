"""No secret leaves the process: every place that writes is known here, and is tried with a secret in every form."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import logging
import re
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock
from urllib.parse import unquote

import pytest
import typer
from disnake.gateway import DiscordWebSocket
from disnake.http import HTTPClient, Route
from disnake.webhook.async_ import AsyncWebhookAdapter
from pymongo.errors import PyMongoError
from rich.console import Console
from websockets.datastructures import Headers
from websockets.http11 import Request

from botctl.bot.requests.outgoing import redact_outgoing
from botctl.cli.boundary import run_guarded
from botctl.cli.main import main
from botctl.cli.run.view import Progress
from botctl.core.clock import SystemClock
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import Change, Principal, encode_line, make_entry
from botctl.core.contracts.event_log import encode
from botctl.core.contracts.events import ServiceChanged
from botctl.core.contracts.health import Diagnosis, Health
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus
from botctl.core.errors import ServiceFailed, Unreachable, UsageError
from botctl.core.safe_streams import SafeStream, safe_streams
from botctl.core.services.registry import Registry, Tasks
from botctl.core.telemetry.logs import FILE_NAME, start_logs
from botctl.core.telemetry.metrics import Metrics
from botctl.jobs.store import MongoJobStore
from botctl.migrate.ledger import _reaching_mongo, _values
from botctl.migrate.plan import Direction, ProcessIdentity, Record, RecordState
from botctl.monitor import snapshot as snapshots
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.push import address_for
from botctl.monitor.writer import SnapshotWriter
from botctl.realtime import protocol
from botctl.realtime.http import StatusPages
from botctl.realtime.page_access import PageReader
from botctl.realtime.socket import _close_phrase
from botctl.run.process_manager import connect_supervisor
from botctl.web.responses import json_error, json_response, page
from tests.support import canary
from tests.support.health import FakeHealth

ROOT: Final = Path(__file__).parents[2] / "botctl"
AT: Final = datetime(2026, 1, 1, tzinfo=UTC)

Sink = Callable[[str, Path], Any]
SINKS: dict[str, Sink] = {}
CUT: Final = (
    "start_display",
    "realtime_message",
    "migration_error",
    "systemd_status",
    "push",
)  # these cut a long text, so that they get each form alone


def sink(function: Sink) -> Sink:
    """Registers a way out: it gets a text and an empty folder, and returns all that has left the process."""
    SINKS[function.__name__] = function
    return function


@sink
def terminal(text: str, _: Path) -> str:
    out, err = io.StringIO(), io.StringIO()
    half = len(text) // 2
    with mock.patch.multiple(sys, stdout=out, stderr=err), safe_streams():
        print(text)  # noqa: T201
        print(json.dumps({"text": text}))  # noqa: T201
        sys.stdout.write(text[:half])
        sys.stdout.flush()
        sys.stdout.write(f"{text[half:]}\n")
        sys.stdout.buffer.write(text.encode())  # type: ignore[union-attr]
        if "\n" not in text:
            print(text[:-6], text[-6:], sep="\n", file=sys.stderr)  # noqa: T201
        typer.echo(text, err=True)
        Console(stderr=True, width=200, highlight=False, markup=False).print(text)
    return out.getvalue() + "\n-\n" + err.getvalue()


@sink
def error_message(text: str, folder: Path) -> str:
    """Of an expected error, with --debug and with --json; and the crash file of an unexpected one."""

    def fail(error: Exception) -> Callable[[], object]:
        def call() -> object:
            raise error

        return call

    out = io.StringIO()
    with mock.patch.object(sys, "stderr", out), mock.patch.object(tempfile, "tempdir", str(folder)), safe_streams():
        for options in ({}, {"as_json": True}, {"debug": True}):
            run_guarded(fail(UsageError(text, hint=text)), **options)
            run_guarded(fail(ValueError(text)), **options)
    crashes = [file.read_text() for file in folder.glob("botctl-crash-*")]
    assert crashes
    return "\n-\n".join([out.getvalue(), *crashes])


@sink
def log(text: str, folder: Path) -> str:
    """The lines on stderr, for people and as JSON, and those in the file."""
    out = io.StringIO()
    for as_json in (True, False):
        with start_logs(Settings(), folder, json_stderr=as_json, stream=out):
            logger = logging.getLogger("some.library")
            logger.error("it said %s", text, extra={"command": text}, exc_info=ConnectionError(text))
            logger.error("%s and %r", text, text)
    return out.getvalue() + (folder / "logs" / FILE_NAME).read_text()


@sink
async def service(text: str, _: Path) -> str:
    """The statuses, health, events and error of services that fail, restart, are degraded, and answer a ping."""
    events: list[Any] = []

    @asynccontextmanager
    async def lost(tasks: Tasks) -> AsyncIterator[Settings]:
        async def fail() -> None:
            raise ConnectionError(text)

        tasks.degraded(text)
        yield Settings()
        tasks.spawn(fail, name=text)

    async def ping(_: Settings) -> str:
        return text

    @asynccontextmanager
    async def fails() -> AsyncIterator[None]:
        raise ConnectionError(text)
        yield

    registry = Registry(publish=events.append)
    registry.add(lost, ping=ping)
    async with registry.open() as running:
        seen = [*running.statuses(), *await running.health()]
    registry = Registry(publish=events.append)
    registry.add(fails)
    with pytest.raises(ServiceFailed) as caught:
        async with registry.open() as running:
            pass
    return "\n-\n".join(map(str, [*seen, *events, caught.value]))


class Status:
    """A service whose texts hold a secret, as if its own choke point had failed."""

    def __init__(self, text: str) -> None:
        self.text = text

    def statuses(self) -> list[ServiceStatus]:
        return [ServiceStatus("redis", ServiceState.FAILED, 1.0, self.text, 0)]

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        return [ServiceHealth("redis", False, timeout_s, self.text)]


@sink
async def http_page(text: str, _: Path) -> str:
    metrics = Metrics(bot=text)
    found = Diagnosis(verdict=Health.DEAF, why=text, action=text)
    pages = StatusPages(Status(text), metrics, FakeHealth(found, found), SystemClock(), draining=lambda: False)
    bodies = []
    for path in ("/readyz", "/verdict", "/healthz", "/metrics", "/none"):
        reader = PageReader(mock.Mock(), "127.0.0.1", is_local=True)
        response = await pages.respond(Request(path, Headers(), "GET"), reader)
        bodies.append(bytes(response.body).decode())
    json.loads(bodies[0])
    return "\n-\n".join(bodies)


@sink
def push(text: str, _: Path) -> str:
    """What an uptime service gets."""
    found = Diagnosis(verdict=Health.DEAF, why=text)
    return unquote(address_for("https://up.example/push?msg={message}", found) or "")


@sink
async def web_page(text: str, _: Path) -> str:
    """What the web server answers, as JSON and as a page."""
    responses = (json_response({"text": text}), json_error(400, text), page(text, text, link=(text, text)))
    bodies = [bytes(response.body).decode() for response in responses]  # type: ignore[arg-type]
    json.loads(bodies[0])
    return "\n-\n".join(bodies)


@sink
async def snapshot(text: str, _: Path) -> str:
    unused: Any = None
    writer = SnapshotWriter(unused, Metrics(bot="dice"), Status(text), mock.Mock(), ("bot",))
    written = snapshots.as_json(writer.make())
    assert snapshots.from_json(written)
    return written.decode()


@sink
async def health_answer(text: str, _: Path) -> str:
    unused: Any = None
    own = OwnHealth(("bot",))
    own.enter(Health.WAITING, text, text)
    waiting = own.answer_json().decode()
    own.post(SnapshotWriter(unused, Metrics(bot="dice"), Status(text), mock.Mock(), ("bot",)).make())
    given = own.answer_json().decode()
    assert json.loads(given)["diagnoses"]
    return f"{waiting}\n-\n{given}"


@sink
def start_display(text: str, _: Path) -> str:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=60, highlight=False), ["redis"])
    progress.update(ServiceChanged(service="redis", old="starting", new="failed", took_s=None, detail=text))
    return out.getvalue()


@sink
def event(text: str, _: Path) -> str:
    return encode({"type": "service", "data": {"detail": text, text: [text]}}).decode()


@sink
def audit_entry(text: str, _: Path) -> str:
    actor = Principal("user", "1", text)
    plain = make_entry("command.x", actor, at=AT, iface="cli", reason=text)
    changed = make_entry("x", actor, at=AT, iface="cli", changes=[Change("a", text, [text, {text: text}])])
    return encode_line(plain).decode() + "\n-\n" + encode_line(changed).decode()


@sink
def realtime_message(text: str, _: Path) -> str:
    sent = [protocol.encode_push("x", reason=text), protocol.encode_error(1, "bad", text)]
    return "\n-\n".join([*(data.decode() for data in sent), _close_phrase(text)])


@sink
def job_record(text: str, _: Path) -> str:
    collection = mock.Mock(update_one=mock.AsyncMock())
    run: Any = SimpleNamespace(job="j", id="r")
    asyncio.run(MongoJobStore(collection).add_detail(run, text))
    return str(collection.update_one.call_args)


@sink
def migration_error(text: str, _: Path) -> str:
    by = ProcessIdentity("host", 1, "1", "me", 1)
    record = Record(
        name="0001_x",
        n=1,
        checksum="",
        state=RecordState.FAILED,
        direction=Direction.UP,
        started=AT,
        ended=AT,
        took_ms=1,
        by=by,
        error=text,
    )
    with pytest.raises(Unreachable) as caught, _reaching_mongo("It fails"):
        raise PyMongoError(text)
    return f"{_values(record)}\n-\n{caught.value}"


@sink
async def discord_request(text: str, _: Path) -> str:
    """Requests of the bot and of an interaction, with files too, and the bot's presence."""
    sent: list[Any] = []

    class Session:
        def request(self, *_: Any, **options: Any) -> Any:
            sent.append((options.get("data"), options.get("headers")))
            fields = getattr(options.get("data"), "_fields", ())
            sent.extend(field[2] for field in fields)
            answer = mock.AsyncMock(status=204, headers={}, reason="")
            answer.text = mock.AsyncMock(return_value="")
            answer.__aenter__ = mock.AsyncMock(return_value=answer)
            return answer

    redact_outgoing()
    body = {"content": text, "embeds": [{"title": text}], "flags": 64}
    form = [{"name": "payload_json", "value": json.dumps(body)}, {"name": "note", "value": text}]
    http = HTTPClient(loop=asyncio.get_running_loop())
    http._HTTPClient__session = Session()  # type: ignore[attr-defined]
    route = Route("POST", "/channels/{channel_id}/messages", channel_id=1)
    await http.request(route, json=body, reason=text)
    await http.request(route, form=form)
    route = Route("POST", "/webhooks/{webhook_id}/{webhook_token}", webhook_id=1, webhook_token="t")
    session: Any = Session()
    await AsyncWebhookAdapter().request(route, session, payload=body, reason=text)
    await AsyncWebhookAdapter().request(route, session, multipart=form)
    socket: Any = SimpleNamespace(send=mock.AsyncMock(side_effect=sent.append))
    await DiscordWebSocket.send_as_json(socket, {"op": 3, "d": {"activities": [{"name": text}]}})
    assert len(sent) > 6
    return "\n-\n".join(map(str, sent))


@sink
async def systemd_status(text: str, folder: Path) -> str:
    """The datagram that `systemctl status` shows."""
    name = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        with connect_supervisor(lambda: None, {"NOTIFY_SOCKET": name}) as supervisor:
            supervisor.notify_status(text)
        return systemd.recv(65_536).decode()


WRITES: Final = frozenset(
    [
        "write",
        "write_text",
        "write_bytes",
        "writelines",
        "pwrite",
        "sendto",
        "sendall",
        "send",
        "send_message",
        "send_str",
        "send_bytes",
        "send_modal",
        "edit_original_response",
        "respond",
        "change_presence",
        "Response",
        "dump",
        "fdopen",
        "insert_one",
        "insert_many",
        "update_one",
        "update_many",
        "replace_one",
        "find_one_and_update",
        "bulk_write",
        "xadd",
        "lpush",
        "rpush",
        "hset",
        "publish",
        "setex",
        "evalsha",
        "register_script",
        "print",
        "echo",
        "secho",
    ]
)
"""Calls that let a text out of the process: to a stream, a file, a socket, Discord or a store."""

PLACES: Final = {
    "audit/spool.py": "audit_entry",
    "audit/writer.py": "audit_entry",
    "auth/api_keys.py": "no text: ids, hashes and the operator's names",
    "auth/grants.py": "no text: ids, roles and the operator's reasons",
    "auth/signatures.py": "no text: signatures of keys and grants, and the number of them",
    "auth/one_time.py": "no text: signed values under hashes of their tokens",
    "auth/sessions.py": "event",
    "auth/signing.py": "private: the secret that signs keys, in a file for the bot's own user",
    "bot/interactions/claims.py": "no text: ids",
    "bot/gateway/commands_under_way.py": "private: names of commands under way, in a file for the bot's own user",
    "bot/interactions/context.py": "discord_request",
    "bot/member_changes.py": "no text: ids",
    "bot/gateway/socket.py": "discord_request",
    "bot/gateway/session_file.py": "private: guilds as Discord sends them, in a file for the bot's own user",
    "bot/gateway/session_mirror.py": "private: the same in Redis",
    "bot/gateway/stored_sessions.py": "private: the same",
    "bot/interactions/responses.py": "discord_request",
    "cli/boundary.py": "error_message",
    "cli/init/scaffold.py": "no text: the files of a new project",
    "cli/sandbox/traffic.py": "sandbox: its own redaction, model/redaction.py",
    "cli/sandbox/transcript.py": "sandbox: what was typed and answered there",
    "client/client.py": "no text: the key, and the requests of the program that uses it",
    "core/files/private.py": "sandbox: its world and attachments; .gitignore",
    "core/processes/embedded.py": "event",
    "core/processes/runtime.py": "private: .botctl, for this user's processes, holds the sandbox's secret",
    "core/safe_streams.py": "terminal",
    "core/telemetry/log_file.py": "log",
    "core/telemetry/logs.py": "log",
    "events/log.py": "event",
    "events/relay.py": "event",
    "guilds/store.py": "no text: the guild's settings, as they were typed",
    "jobs/builtin.py": "no text: numbers",
    "jobs/runner.py": "event",
    "jobs/store.py": "job_record",
    "logins/requests.py": "no text: shard numbers and ids",
    "logins/shared.py": "no text: shard numbers, ids and times",
    "logins/token_claim.py": "no text: a process id, names of host and project, a fingerprint",
    "migrate/create.py": "no text: a new migration",
    "migrate/ledger.py": "migration_error",
    "migrate/session.py": "event",
    "monitor/health_socket.py": "health_answer",
    "monitor/health_watch.py": "event",
    "monitor/speaker.py": "no text: a process's random id, verdicts and a time",
    "monitor/writer.py": "snapshot",
    "ratelimit/limiter.py": "no text: keys and numbers",
    "ratelimit/statistics.py": "no text: keys and numbers",
    "realtime/gate.py": "http_page",
    "realtime/http.py": "http_page",
    "realtime/server.py": "http_page",
    "realtime/socket.py": "realtime_message",
    "run/lifecycle.py": "event",
    "run/oneshot/rehearsal_child.py": "sandbox: fixed messages to that of the rehearsal",
    "run/process_manager.py": "systemd_status",
    "run/signals.py": "no text: a fixed sentence",
    "stores/cache.py": "no text: the guild's settings, as they were typed",
    "stores/embedded_redis.py": "no text: PING",
    "stores/leases.py": "no text: ids and times",
    "stores/mongo.py": "no text: random ids, to prove a write",
    "stores/mongo_ping.py": "no text: a random id and a time, to prove a write",
    "stores/redis.py": "no text: a one, to prove a write",
    "stores/redis_ping.py": "no text: a random id and a one, to prove a write",
    "stores/redis_repair.py": "no text: the names of Redis's own files",
    "web/api.py": "web_page",
    "web/responses.py": "web_page",
    "web/server.py": "web_page",
    "web/static_files.py": "no text: the files of the page",
}
"""For each file that lets texts out: the sink that tries it, or why no secret can be in them."""


def places() -> set[str]:
    """The files with one of the `WRITES`, but the sandbox: a process of its own, which makes its own secrets."""
    maybe = re.compile(rf"\b(?:set|{'|'.join(WRITES)})\(")
    found = set()
    for path in ROOT.rglob("*.py"):
        name, text = str(path.relative_to(ROOT)), path.read_text()
        if name.startswith("sandbox/") or not maybe.search(text):
            continue
        calls = {_called(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}
        printed = {"print", "echo", "secho"} if name.startswith("cli/") else set()  # through safe_streams
        if (calls & WRITES) - printed:
            found.add(name)
    return found


def _called(call: ast.Call) -> str:
    """The last name of what is called; "" for a `set` of an event or a redaction's `dump`."""
    match call.func:
        case ast.Attribute(attr=name):
            return "publish" if name == "set" and len(call.args) > 1 else name
        case ast.Name(id=name) if name != "dump":
            return name
    return ""


def test_every_place_that_lets_text_out_is_known() -> None:
    """A new one gets a row in `PLACES` and, if its text may come from outside, a sink that passes the canary test."""
    assert places() == PLACES.keys()
    reasons = ("no text: ", "private: ", "sandbox: ")
    tried = {how for how in PLACES.values() if not how.startswith(reasons)}
    assert tried | {"service", "start_display", "push"} == SINKS.keys()


def test_all_of_the_command_line_prints_through_safe_streams() -> None:
    """Nothing writes to the streams that Python opened: they would bypass it."""
    bypasses = ("sys.__stdout__", "sys.__stderr__", "os.write(1", "os.write(2", "faulthandler.enable")
    assert not [path for path in ROOT.rglob("*.py") if any(bypass in path.read_text() for bypass in bypasses)]
    seen: list[object] = []

    def see(*_: object, **__: object) -> int:
        seen.extend((sys.stdout, sys.stderr))
        return 0

    with (
        mock.patch("botctl.cli.main.run_guarded", see),
        mock.patch.object(sys, "argv", ["botctl"]),
        pytest.raises(SystemExit),
    ):
        main()
    assert [type(stream) for stream in seen] == [SafeStream, SafeStream]


def emit(name: str, text: str, folder: Path) -> str:
    """All that left the process through the sink ``name``. Runs in the main thread, where signals can be handled."""
    function = SINKS[name]
    left = function(text, folder)
    return str(asyncio.run(left) if inspect.iscoroutine(left) else left)


@pytest.mark.parametrize("name", SINKS)
def test_no_form_of_a_secret_leaves_through_a_sink(name: str, tmp_path: Path) -> None:
    with canary.registered():
        carriers = list(canary.carriers())
        texts = carriers if name in CUT else [" ~ ".join(carriers[start::4]) for start in range(4)]
        for number, text in enumerate(texts):
            folder = tmp_path / str(number)
            folder.mkdir()
            left = emit(name, text, folder)
            assert not canary.leaks(left), (text, left)
            assert "redacted" in left, (text, left)


def test_the_canary_is_seen_in_each_form() -> None:
    """Else the test above would pass whatever leaves."""
    assert all(canary.leaks(text) for text in canary.carriers())
