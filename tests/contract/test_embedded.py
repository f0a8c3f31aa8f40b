"""Who runs an embedded store, who joins it, and what happens when its owner goes."""

import asyncio
import gc
import json
import os
import ssl
import tempfile
import time
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import psutil
import pymongo
import pytest
from pymongo.errors import PyMongoError
from redis.exceptions import ConnectionError  # noqa: A004

from botctl.core.config.settings import MongoSettings, RedisSettings, Settings
from botctl.core.contracts.bus import Bus
from botctl.core.errors import ConfigError, ExitCode, Held, ServiceFailed, Unreachable
from botctl.core.processes import embedded as module
from botctl.core.processes.embedded import embedded, find_running
from botctl.core.processes.process import start_time
from botctl.core.processes.runtime import Runtime
from botctl.stores import address, embedded_mongo
from botctl.stores.address import display_url
from botctl.stores.embedded_redis import PART
from botctl.stores.mongo import connect as connect_mongo
from botctl.stores.mongo import mongo_store
from botctl.stores.mongo_ping import MongoPing
from botctl.stores.redis import connect, redis_store
from botctl.stores.redis_ping import RedisPing
from botctl.stores.report import StoreState, report
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until


@pytest.fixture
def process(tmp_path):
    """Opens the embedded Redis as a process of its own would: its own `Runtime`, its own locks."""

    @asynccontextmanager
    async def use(*, long_lived, exclusive=False):
        runtime = Runtime(tmp_path, long_lived=long_lived, exclusive=exclusive)
        async with (
            tasks_for("redis") as (tasks, watcher),
            embedded(PART, runtime, Bus(), tasks) as found,
        ):
            yield found.address, watcher, runtime

    return use


@pytest.fixture
def another_owner(tmp_path):
    """Makes the listed store that of a process which has died."""

    def change():
        path = tmp_path / ".botctl" / "runtime.json"
        [part] = json.loads(path.read_text())
        path.write_text(json.dumps([part | {"owner_pid": 1, "owner_started": "another boot:1"}]))

    return change


@pytest.fixture
def forgiving():
    """pymongo leaves a socket to the garbage when it is closed while it connects; it is taken out here."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def test_second_process_joins_the_first(process):
    async with process(long_lived=True) as (first, _, runtime), process(long_lived=True) as (second, watcher, _):
        assert first == second
        assert runtime.live()["redis"].owner_pid == os.getpid()
        async with connect(second, timeout_s=LIMIT_S) as client:
            assert await client.ping()
        assert not watcher.failures
    assert runtime.parts() == {}


async def test_exclusive_process_waits_until_the_owner_ends(process, monkeypatch, caplog):
    """However long that takes. Two PM2 apps may start at once, one with the role `stores`: neither fails."""
    monkeypatch.setattr(module, "_ACQUIRE_S", 0.0)
    owner = process(long_lived=True)
    await owner.__aenter__()
    waiting = process(long_lived=True, exclusive=True)
    starting = asyncio.create_task(waiting.__aenter__())
    await until(lambda: "this process takes over" in caplog.text, what="the log line")
    assert not starting.done()
    monkeypatch.setattr(module, "_ACQUIRE_S", LIMIT_S)  # the owner holds the lock until its server has ended
    await owner.__aexit__(None, None, None)
    _, _, runtime = await starting
    async with process(long_lived=True) as (joined, *_):
        assert joined == runtime.live()["redis"].address
    await waiting.__aexit__(None, None, None)
    assert caplog.text.count("this process takes over") == 1


def names(folder: str) -> list[Path]:
    return list(Path(folder).iterdir())


async def test_temporary_socket_folder_is_removed_at_stop(process, monkeypatch):
    """Sockets have short paths, so this one is in the folder for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # pytest's own would be too long for a socket
        monkeypatch.setattr(tempfile, "gettempdir", lambda: short)
        monkeypatch.setattr(address, "SOCKET_BYTES", 1)
        async with process(long_lived=True) as (found, _, _):
            assert short in found
            assert names(short)
        assert not names(short)


async def test_simultaneous_starts_create_one_store(process, tmp_path):
    everybody = asyncio.Barrier(4)

    async def use():
        async with process(long_lived=False) as (address, *_):
            await everybody.wait()
            return address

    assert len(set(await asyncio.gather(*(use() for _ in range(4))))) == 1
    assert (tmp_path / ".botctl" / "logs" / "redis.log").read_text().count("Ready to accept connections") == 1


async def test_data_survives_a_restart(process):
    async with process(long_lived=True) as (address, *_), connect(address, timeout_s=LIMIT_S) as client:
        await client.set("k", "v")
    async with process(long_lived=False) as (address, *_), connect(address, timeout_s=LIMIT_S) as client:
        assert await client.get("k") == b"v"


@pytest.mark.parametrize("how", ["stops", "dies"])
async def test_joined_process_is_notified_when_the_owner_ends(process, another_owner, how):
    owner = process(long_lived=True)
    await owner.__aenter__()
    async with process(long_lived=True) as (_, watcher, _):
        if how == "stops":
            await owner.__aexit__(None, None, None)
        else:
            another_owner()
        await until(lambda: bool(watcher.failures))
        [(_, error)] = watcher.failures
        assert isinstance(error, Unreachable)
        assert error.exit_code is ExitCode.UNREACHABLE
    if how == "dies":
        await owner.__aexit__(None, None, None)


async def test_store_of_dead_owner_is_terminated_before_next_start(process, another_owner, tmp_path):
    """Two servers on the same files would destroy them."""
    runtime = Runtime(tmp_path)
    launch = PART.launch(runtime, PART.new_address(runtime))
    left = await asyncio.create_subprocess_exec(*launch.command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await until(lambda: module._is_ready(PART, module.Endpoint(PART.new_address(runtime))))
        runtime.publish("redis", pid=left.pid, address=PART.new_address(runtime))
        another_owner()
        async with process(long_lived=True) as (*_, mine):
            assert start_time(left.pid) is None
            assert mine.live()["redis"].pid != left.pid
    finally:
        if left.returncode is None:
            left.kill()
        await left.wait()


async def test_short_command_waits_for_its_users(process):
    """Two short commands at once: the one that started the store is done first, and the other still finishes."""
    owner = process(long_lived=False)
    address, _, runtime = await owner.__aenter__()
    async with process(long_lived=False) as (_, watcher, _), connect(address, timeout_s=LIMIT_S) as client:
        leaving = asyncio.create_task(owner.__aexit__(None, None, None))
        for _ in range(50):
            await asyncio.sleep(0)
            assert await client.ping()
        assert set(runtime.live()) == {"redis"}
        assert not leaving.done()
        assert not watcher.failures
    await leaving
    assert runtime.parts() == {}


async def test_store_unpublished_during_join_is_not_joined(process, tmp_path, monkeypatch):
    class Late(Runtime):
        def lock_shared(self, name):
            self.unpublish("redis")
            return super().lock_shared(name)

    monkeypatch.setattr(module, "_ACQUIRE_S", 0.1)
    async with process(long_lived=True), tasks_for("redis") as (tasks, _):
        with pytest.raises(
            Unreachable, match=f"^The embedded Redis is not running, .* but process {os.getpid()} is up"
        ):
            await embedded(PART, Late(tmp_path), Bus(), tasks).__aenter__()


@pytest.mark.parametrize("listed", [True, False])
async def test_store_that_died_is_reported_though_its_owner_runs(process, tmp_path, monkeypatch, listed):
    """On a full disk it cannot start again, and perhaps it cannot be listed. Nothing says that no process runs."""
    monkeypatch.setattr(module, "_ACQUIRE_S", 0.1)
    path = tmp_path / ".botctl" / "runtime.json"
    true = f"^The embedded Redis is not running, as far as .* says, but process {os.getpid()}"
    async with process(long_lived=True) as (*_, runtime), tasks_for("redis") as (tasks, _):
        with runtime.lock("bot"):
            [part] = json.loads(content := path.read_text())
            path.write_text(json.dumps([part | {"started": "another boot:1"}] if listed else []))
            with pytest.raises(Unreachable, match=true) as caught:
                find_running(PART, Runtime(tmp_path))
            assert "redis.log" in caught.value.hint
            with monkeypatch.context() as patch:
                patch.setattr(module, "full_disk", lambda folder: f"the disk of {folder} is full")
                with pytest.raises(Unreachable, match=r"the disk of .* is full") as caught:
                    find_running(PART, Runtime(tmp_path))
                assert "Free space" in caught.value.hint
            with pytest.raises(Unreachable, match=true):
                await embedded(PART, Runtime(tmp_path), Bus(), tasks).__aenter__()
            if not listed:
                redis, _ = await report(Settings(), Runtime(tmp_path))
                assert (redis.state, redis.owner_pid) == (StoreState.DOWN, os.getpid())
            path.write_text(content)
        assert find_running(PART, Runtime(tmp_path)).address
    with pytest.raises(Unreachable, match="No `botctl run` of this project is up"):
        find_running(PART, Runtime(tmp_path))


async def test_caller_waits_for_a_restarting_redis(tmp_path):
    """Connecting is tried again; only a command that was sent is not."""
    with server(PART, tmp_path) as own:
        async with connect(own.url, timeout_s=LIMIT_S) as client:
            await client.set("k", "v")
            own.kill()
            with pytest.raises(ConnectionError):
                async with connect(own.url, timeout_s=expires(0.05)) as hasty:
                    await hasty.get("k")
            call = asyncio.create_task(client.get("k"))
            await asyncio.to_thread(own.start)
            assert await call == b"v"


@pytest.mark.parametrize("depth", [1, 60])
async def test_document_store_is_closed_to_other_users(tmp_path, depth):
    """It knows no passwords. Where the path is too long for a socket, it is in a private temporary folder."""
    root = tmp_path.joinpath(*["a b"] * depth)
    root.mkdir(parents=True)
    runtime = Runtime(root)
    async with tasks_for("mongo") as (tasks, _), mongo_store(Settings(), runtime, Bus(), tasks) as database:
        assert await database.client.admin.command("ping")
        address = runtime.live()["mongo"].address
        assert "%2F" in address
        assert address == display_url(address)
        path = Path(unquote(address.removeprefix("mongodb://")))
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)
        assert path.is_relative_to(tmp_path) is (depth == 1)
        assert {mode(file) for file in embedded_mongo.folder(runtime).iterdir()} == {0o600}
        assert psutil.Process(runtime.live()["mongo"].pid).net_connections("inet") == []
    assert list(path.parent.glob("mongo.sock")) == []
    assert list(path.parent.parent.glob(path.parent.name)) == ([path.parent] if depth == 1 else [])


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
async def test_client_of_stopped_store_closes_quickly(tmp_path, forgiving):
    """However long its calls may take: there is nothing to be told to the store that it would not find out itself."""
    with server(embedded_mongo.PART, tmp_path) as own:
        settings = Settings(mongo=MongoSettings(url=own.url, timeout_s=60))
        async with (
            asyncio.timeout(40),  # a call may take 60 s
            tasks_for("mongo") as (tasks, _),
            mongo_store(settings, Runtime(tmp_path), Bus(), tasks) as database,
        ):
            things = database["things"]
            await asyncio.gather(*(things.insert_one({"of": "a session of its own"}) for _ in range(5)))
            own.kill()
            with pymongo.timeout(expires(0.1)), pytest.raises(PyMongoError):
                await things.find_one()


async def test_run_waits_for_a_short_command_to_end(process):
    short_command = process(long_lived=False)
    await short_command.__aenter__()
    run = process(long_lived=True)
    starting = asyncio.create_task(run.__aenter__())
    await asyncio.sleep(0.05)
    assert not starting.done()
    await short_command.__aexit__(None, None, None)
    *_, runtime = await starting
    assert runtime.live()["redis"].lasting
    await run.__aexit__(None, None, None)


async def test_run_waits_a_limited_time_for_a_short_command(process, monkeypatch):
    monkeypatch.setattr(module, "_ACQUIRE_S", 0.1)
    async with process(long_lived=False):
        with pytest.raises(Held, match=f"^Process {os.getpid()} already runs redis"):
            await process(long_lived=True).__aenter__()


async def test_store_that_cannot_start_leaves_no_entry(process, tmp_path):
    blocked = Runtime(tmp_path).folder / "valkey"
    blocked.mkdir(parents=True)
    (blocked / "appendonlydir").write_text("not a folder")
    with pytest.raises(ServiceFailed, match="The embedded Redis ended with status 1 while it was starting"):
        await process(long_lived=True).__aenter__()
    assert Runtime(tmp_path).parts() == {}


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
async def test_unreachable_server_error_hides_the_password(tmp_path, forgiving):
    redis = RedisSettings(url="redis://ann:hunter22@127.0.0.1:1/0", timeout_s=expires(0.1))
    mongo = MongoSettings(url="mongodb://ann:hunter22@127.0.0.1:1/?appName=x", timeout_s=expires(0.1))
    settings = Settings(redis=redis, mongo=mongo)
    for factory, name in (
        (redis_store, "Redis at redis://127.0.0.1:1/0"),
        (mongo_store, "MongoDB at mongodb://127.0.0.1"),
    ):
        async with tasks_for("x") as (tasks, _):
            with pytest.raises(Unreachable, match=f"^{name}.* does not answer") as caught:
                await factory(settings, Runtime(tmp_path), Bus(), tasks).__aenter__()
        assert "hunter22" not in str(caught.value)
        assert "embedded" in caught.value.hint
    reports = await report(settings, Runtime(tmp_path))
    assert [(r.state, r.embedded) for r in reports] == [(StoreState.DOWN, False)] * 2
    assert "hunter22" not in repr(reports)


async def test_wrong_password_is_a_config_error(redis_server, tmp_path):
    """Trying again does not help, so the supervisor must not."""
    url = redis_server.replace("unix://", "unix://ann:hunter22@")
    async with tasks_for("x") as (tasks, _):
        with pytest.raises(ConfigError, match=r"Redis at unix:///.* rejects the connection") as caught:
            await redis_store(Settings(redis=RedisSettings(url=url)), Runtime(tmp_path), Bus(), tasks).__aenter__()
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("redis", "rediss://127.0.0.1:1/0?nonsense=1"),
        ("redis", "redis://127.0.0.1:1/0?retry=3"),
        ("redis", "redis://127.0.0.1:1/0?protocol=7"),
        ("redis", "rediss://127.0.0.1:1/0?ssl_cert_reqs=perhaps"),
        ("redis", "rediss://127.0.0.1:1/0?ssl_ca_certs=/nope"),
        ("mongo", "mongodb://127.0.0.1:1/?nonsense=1"),
        ("mongo", "mongodb://127.0.0.1:1/?maxPoolSize=many"),
        ("mongo", "mongodb://127.0.0.1:1/?tls=true&tlsCAFile=/nope"),
        ("mongo", "mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFile=/nope"),
    ],
)
async def test_wrong_option_of_an_address_is_a_config_error(store, url):
    make = connect if store == "redis" else connect_mongo
    with pytest.raises(ConfigError, match=f"{store}.url ") as told:
        make(url, timeout_s=expires(1))
    assert told.value.hint


# Made for this test: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgeoDgmz/AfZMZEUey
QBCDQijzMxSiRTqBJnucLNtSdVGhRANCAARdTLpD+C2mYWBp2SldB9r1zjdmDo8m
UzvWPKRMg+1GPZDN33WaxsX3QG+4eyT7Mo8P8VzzEbQHsECH/ERO0vt2
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUTi42Iz8mpg4t/CrVQAkj6TWoRGcwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDAxNTAwOFoYDzIxMjYxMTA2
MDE1MDA4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARdTLpD+C2mYWBp2SldB9r1zjdmDo8mUzvWPKRMg+1GPZDN33WaxsX3
QG+4eyT7Mo8P8VzzEbQHsECH/ERO0vt2o1MwUTAdBgNVHQ4EFgQUc6b0apcSzGhi
abwSApd0wbygBoYwHwYDVR0jBBgwFoAUc6b0apcSzGhiabwSApd0wbygBoYwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiA8Y7WWgEKxx1kBmlZO6Yt9
D97Za63BNTEnP9jQ5m8cnwIhANNjeVRLyYKsEtHPQX6EuXFDT6GXVMh6JrP9W1qe
ZpPv
-----END CERTIFICATE-----
"""


@pytest.fixture
async def untrusted(tmp_path):
    """The port of a server whose certificate was signed by itself."""
    file = tmp_path / "self-signed.pem"
    file.write_text(SELF_SIGNED)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    served = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with served:
        yield served.sockets[0].getsockname()[1]


@pytest.mark.parametrize("store", ["redis", "mongo"])
async def test_untrusted_certificate_is_a_config_error_about_certificates(untrusted, store, tmp_path, forgiving):
    urls = {"redis": f"rediss://127.0.0.1:{untrusted}/0", "mongo": f"mongodb://127.0.0.1:{untrusted}/?tls=true"}
    await _is_told_about_tls(store, urls[store], tmp_path)


@pytest.mark.parametrize("store", ["redis", "mongo"])
async def test_server_without_tls_is_a_config_error(store, tmp_path, forgiving):
    async def answer(reader, writer):
        await reader.read(100)
        writer.write(b"-ERR Protocol error\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as served:
        port = served.sockets[0].getsockname()[1]
        urls = {"redis": f"rediss://127.0.0.1:{port}/0", "mongo": f"mongodb://127.0.0.1:{port}/?tls=true"}
        await _is_told_about_tls(store, urls[store], tmp_path)


async def _is_told_about_tls(store, url, tmp_path):
    settings = (
        Settings(redis=RedisSettings(url=url))
        if store == "redis"
        else Settings(mongo=MongoSettings(url=url, timeout_s=expires(1)))
    )
    factory = redis_store if store == "redis" else mongo_store
    async with tasks_for("x") as (tasks, _):
        with pytest.raises(ConfigError, match="There is no trusted connection to") as told:
            await factory(settings, Runtime(tmp_path), Bus(), tasks).__aenter__()
    assert "TLS" in told.value.hint
    assert "Start that server" not in told.value.hint


async def test_frozen_redis_times_out(process):
    """SIGSTOP: it takes connections and answers none."""
    async with process(long_lived=True) as (address, _, runtime), connect(address, timeout_s=expires(0.1)) as client:
        await until(lambda: _answers(client))
        pid = runtime.live()["redis"].pid
        os.kill(pid, 19)
        try:
            began_at = time.monotonic()
            results = await asyncio.gather(*(client.get("k") for _ in range(200)), return_exceptions=True)
            assert time.monotonic() - began_at < 15, "one after the other they would take 20 s"
            assert all(isinstance(result, Exception) for result in results)
        finally:
            os.kill(pid, 18)
        await until(lambda: _answers(client))


async def test_redis_call_never_swallows_a_cancellation(redis):
    """Whenever it arrives: while a connection is awaited, while sending, while the answer is awaited."""
    await _cancelled_at_every_turn(lambda: redis.incr("n"))
    before = int(await redis.get("n"))
    assert await redis.incr("n") == before + 1  # no answer was left behind for the next command


async def test_mongo_call_never_swallows_a_cancellation(mongo_db):
    """Not while it connects: pymongo may leave that socket behind."""

    def ping():
        return mongo_db.command("ping")

    await _cancelled_at_every_turn(ping, before=ping)


async def _cancelled_at_every_turn(call, before=None):
    given_up = asyncio.Event()

    async def work():
        while not given_up.is_set():
            await call()

    for turns in range(40):
        if before is not None:
            await before()
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=LIMIT_S)
        given_up.set()
        assert done, f"after {turns} turns of the loop"
        given_up.clear()
        assert task.cancelled()


async def _answers(client):
    return await client.ping()


async def test_report_shows_the_state_of_each_store(tmp_path, mongo_server):
    runtime, settings = Runtime(tmp_path, long_lived=True), Settings(mongo=MongoSettings(url=mongo_server))
    redis, mongo = await report(settings, runtime)
    assert (redis.state, redis.embedded, redis.owner_pid) == (StoreState.IDLE, True, None)
    assert (mongo.state, mongo.embedded, mongo.version) == (StoreState.UP, False, "nx-27017 0.8.1")
    async with (
        tasks_for("redis") as (tasks, _),
        redis_store(settings, runtime, Bus(), tasks) as client,
        mongo_store(settings, runtime, Bus(), tasks) as database,
    ):
        assert database.name == "botctl_bot"
        assert (await MongoPing()(database)).startswith("nx-27017")
        assert (await RedisPing("dice")(client)).startswith("Valkey")
        redis, _ = await report(settings, runtime)
    assert (redis.state, redis.owner_pid) == (StoreState.UP, os.getpid())
    assert redis.version.startswith("Valkey")
    assert redis.size_bytes > 0
    assert redis.latency_ms > 0


async def test_joined_store_that_does_not_answer_is_unreachable(process, monkeypatch, caplog):
    """Frozen (SIGSTOP): who joins is told that it waits, and then which process runs the store."""
    monkeypatch.setattr(module, "START_S", expires(0.3))
    monkeypatch.setattr(module, "_NOTIFY_AFTER_S", 0.0)
    async with process(long_lived=True) as (_, _, runtime):
        pid = runtime.live()["redis"].pid
        os.kill(pid, 19)
        try:
            with pytest.raises(Unreachable, match=f"which process {os.getpid()} runs, does not answer"):
                await process(long_lived=False).__aenter__()
        finally:
            os.kill(pid, 18)
    assert "does not answer. Waiting for it" in caplog.text
