"""The realtime server protects itself: floods, foreign pages, proxies, TLS, file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from botctl.core.processes.runtime import Runtime
from botctl.realtime.protocol import CloseReason
from tests.support import ROOT
from tests.support.certificates import HOST, make_certificate
from tests.support.realtime import Rig, open_client, serving
from tests.support.waiting import LIMIT_S, until, wait_for

EMPTY_PONG = b"\x8a\x80\0\0\0\0"
NGINX = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "proxy.md").read_text(), re.DOTALL)


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botctl.realtime.server.CLOSE_GRACE_S", 0.2)


@pytest.fixture
async def rig(redis: Redis, tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(redis, tmp_path, hosts=["bot.example"], origins=["https://app.example"]) as running:
        yield running


def denied(rig: Rig) -> list[str]:
    """The addresses of which a key was refused, as the audit log has them."""
    return [entry.actor.id for entry in rig.auditor.entries if entry.outcome == "denied"]


async def refused(url: str, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of the answer to a WebSocket handshake that is refused."""
    with pytest.raises(InvalidStatus) as error:
        await connect(url, additional_headers=headers)
    response = error.value.response
    return response.status_code, json.loads(bytes(response.body)), dict(response.headers.raw_items())


class TestForeignPages:
    async def test_other_host_is_refused(self, rig: Rig) -> None:
        async with aiohttp.ClientSession() as http:
            for path in ("/healthz", "/metrics", "/realtime"):
                async with http.get(f"{rig.http}{path}", headers={"Host": "evil.example"}) as answer:
                    assert answer.status == 421
                    assert "realtime.hosts" in (await answer.json())["error"]
            async with http.get(f"{rig.http}/healthz", headers={"Host": "bot.example"}) as answer:
                assert answer.status == 200

    @pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1:1"])
    async def test_other_origin_is_refused(self, rig: Rig, origin: str) -> None:
        status, body, _ = await refused(rig.server.url, Origin=origin)
        assert status == 403
        assert "realtime.origins" in body["error"]

    async def test_own_and_listed_origin_may_connect(self, rig: Rig) -> None:
        for origin in (rig.http, "https://app.example"):
            async with connect(rig.server.url, additional_headers={"Origin": origin}) as client:
                assert json.loads(await client.recv())["type"] == "hello"

    async def test_own_web_page_may_connect_wherever_it_listens(self, rig: Rig) -> None:
        page = "http://127.0.0.1:8999"
        status, _, _ = await refused(rig.server.url, Origin=page)
        assert status == 403
        rig.running.get(Runtime).publish("web", pid=os.getpid(), address=page)

        async def may_connect() -> bool:
            with contextlib.suppress(InvalidStatus):
                async with connect(rig.server.url, additional_headers={"Origin": page}):
                    return True
            return False

        await until(may_connect, what="the server to look again")
        assert (await refused(rig.server.url, Origin="http://127.0.0.1:8998"))[0] == 403


class TestFloods:
    async def test_flood_without_a_key_is_closed_with_its_code(self, rig: Rig) -> None:
        async with open_client(rig.server.url) as client:
            with contextlib.suppress(ConnectionError):
                client.connection.transport.write(EMPTY_PONG * 2000)
                assert await client.wait_closed() == CloseReason.FLOOD
        await until(lambda: rig.server.connections.counts.disconnected == {"flood": 1})

    async def test_flood_with_a_key_is_closed_and_others_stay(self, rig: Rig) -> None:
        key = await rig.key()
        async with open_client(rig.server.url, key) as quiet, open_client(rig.server.url, key) as flood:
            flood.connection.transport.write(EMPTY_PONG * 20_000)
            assert await flood.wait_closed() == CloseReason.FLOOD
            assert (await quiet.request("ping"))["type"] == "pong"

    async def test_bad_text_costs_no_traceback(self, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
        text = r'{"type":"subscribe","id":1,"topics":["a"],"after":{"a":{"epoch":"\ud800","offset":1}}}'
        with caplog.at_level(logging.INFO):
            async with open_client(rig.server.url, await rig.key()) as client:
                await client.connection.send(text)
                assert await client.wait_closed() == CloseReason.BAD_MESSAGE
        assert not [record for record in caplog.records if record.exc_info]

    async def test_messages_over_the_limit_ask_redis_no_more(
        self, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botctl.realtime.session._MAX_PAUSE_S", 0)
        async with (
            serving(redis, tmp_path, message_throttle="2/1h per key") as rig,
            open_client(rig.server.url, await rig.key()) as client,
        ):
            await client.request("ping")
            await client.request("ping")
            before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
            assert [(await client.request("ping"))["code"] for _ in range(20)] == ["throttled"] * 20
            assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before < 20


class TestLimits:
    async def test_refusals_say_when_to_come_again(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connect_throttle="1/1h per address") as rig:
            async with open_client(rig.server.url):
                pass
            status, _, headers = await refused(rig.server.url)
            assert status == 429
            assert 3500 < int(headers["Retry-After"]) <= 3600
            assert headers["RateLimit-Policy"] == '"realtime.connect";q=1;w=3600'
            assert headers["RateLimit"] == f'"realtime.connect";r=0;t={headers["Retry-After"]}'

    async def test_too_many_connections_say_how_many(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections_per_address=1) as rig, open_client(rig.server.url):
            status, _, headers = await refused(rig.server.url)
            assert (status, headers["Retry-After"]) == (429, "10")
            assert headers["RateLimit-Policy"] == '"realtime.connections";q=1;qu="concurrent-requests"'


class TestProxies:
    async def test_clients_of_a_trusted_proxy_count_each(self, redis: Redis, tmp_path: Path) -> None:
        options: dict[str, Any] = {"trusted_proxies": [HOST], "connections_per_address": 1, "connections": 50}
        async with serving(redis, tmp_path, **options) as rig, contextlib.AsyncExitStack() as stack:
            for number in range(5):
                header = {"X-Forwarded-For": f"203.0.113.9, 192.0.2.{number}"}
                await stack.enter_async_context(connect(rig.server.url, additional_headers=header))
            status, _, _ = await refused(rig.server.url, **{"X-Forwarded-For": "192.0.2.1"})
            assert status == 429
            key = await rig.key()
            async with connect(rig.server.url, additional_headers={"X-Forwarded-For": "192.0.2.99"}) as client:
                await client.send(json.dumps({"type": "auth", "key": key[:-1]}))
                await until(lambda: denied(rig) == ["192.0.2.99"], what="the audit entry")
        assert rig.server.connections.admission.open == 0

    async def test_untrusted_header_changes_no_address(self, redis: Redis, tmp_path: Path) -> None:
        async with serving(redis, tmp_path, connections_per_address=1) as rig, open_client(rig.server.url):
            status, _, _ = await refused(rig.server.url, **{"X-Forwarded-For": "192.0.2.1"})
            assert status == 429

    async def test_request_through_a_proxy_is_not_local(self, rig: Rig) -> None:
        headers = {"X-Forwarded-For": HOST}
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.get(f"{rig.http}/metrics") as answer:
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="botctl"')
            async with http.get(f"{rig.http}/readyz") as answer:
                assert await answer.json() == {"ready": True, "verdict": "healthy"}
            _, prober = await rig.keys.create("prober", permissions=["status:read"])
            for key, status in ((await rig.key(), 403), (prober, 200)):
                bearer = {"Authorization": f"Bearer {key}"}
                async with http.get(f"{rig.http}/metrics", headers=bearer) as answer:
                    assert answer.status == status
            async with http.get(f"{rig.http}/metrics", headers={"Authorization": "Bearer botctl_x"}) as answer:
                assert answer.status == 401

    async def test_nginx_of_the_docs_passes_websocket_and_address(self, redis: Redis, tmp_path: Path) -> None:
        if shutil.which("nginx") is None:
            pytest.skip("nginx: it is not installed")
        tls = make_certificate(tmp_path / "tls")
        options: dict[str, Any] = {"trusted_proxies": [HOST], "hosts": ["bot.example"]}
        async with serving(redis, tmp_path, **options) as rig:
            with nginx(tmp_path / "nginx", rig, *tls) as port:
                context = ssl.create_default_context(cafile=tls[0])
                url = f"wss://bot.example:{port}/realtime"
                headers = {"Origin": f"https://bot.example:{port}", "Forwarded": "for=192.0.2.66"}
                headers |= {"X-Forwarded-For": "192.0.2.66"}
                there: dict[str, Any] = {"host": HOST, "port": port, "local_addr": ("127.0.0.2", 0), "ssl": context}
                async with connect(url, additional_headers=headers, **there) as client:
                    assert json.loads(await client.recv())["type"] == "hello"
                    await client.send(json.dumps({"type": "auth", "key": "nonsense"}))
                    await until(lambda: denied(rig) == ["127.0.0.2"], what="the audit entry")
                async with aiohttp.ClientSession() as http:
                    for path in ("healthz", "readyz", "verdict", "metrics", ""):
                        async with http.get(f"https://{HOST}:{port}/{path}", ssl=context) as answer:
                            assert answer.status == 404


@contextmanager
def nginx(folder: Path, rig: Rig, cert: Path, key: Path) -> Iterator[int]:
    """Run nginx with the configuration of docs/proxy.md on a port of its own; yields that port."""
    assert NGINX
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    site = NGINX[1].replace("listen 443 ssl", f"listen {HOST}:{port} ssl").replace("http://127.0.0.1:8750", rig.http)
    site = re.sub(r"/etc/letsencrypt/\S+fullchain.pem", str(cert), site)
    site = re.sub(r"/etc/letsencrypt/\S+privkey.pem", str(key), site)
    folder.mkdir()
    paths = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{site} }}\n"
    )
    command = ("nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log")
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: _listens(port) or process.poll() is not None, what="nginx")
        yield port
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class TestTls:
    async def test_clients_connect_by_tls_and_sockets_without_it_are_counted(
        self, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("botctl.realtime.server.OPEN_TIMEOUT_S", 0.3)
        cert, key = make_certificate(tmp_path / "tls")
        async with serving(redis, tmp_path, tls_cert=str(cert), tls_key=str(key)) as rig:
            assert rig.server.url.startswith("wss://127.0.0.1:")
            context = ssl.create_default_context(cafile=cert)
            async with connect(rig.server.url, ssl=context) as client:
                assert json.loads(await client.recv())["type"] == "hello"
                port = int(rig.server.url.split(":")[2].split("/")[0])
                _, silent = await asyncio.open_connection(HOST, port)
                admission = rig.server.connections.admission
                await until(lambda: admission.open == 2, what="the socket without a handshake")
                await until(lambda: admission.open == 1, what="its end")
                silent.close()
        assert rig.server.connections.admission.open == 0


class TestFileDescriptors:
    async def test_idle_sockets_leave_descriptors_to_the_process(self, redis: Redis, tmp_path: Path) -> None:
        """A process that may open 360 files, 400 idle sockets, and no limit per address: half of 160 may be idle."""
        connection = redis.connection_pool.connection_kwargs
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _LIMITED_SERVER,
            f"unix://{connection['path']}?db={connection.get('db', 0)}",
            tmp_path,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        sockets: list[socket.socket] = []
        try:
            async with asyncio.timeout(LIMIT_S):
                port = int(await process.stdout.readline())
                sockets += [socket.create_connection((HOST, port)) for _ in range(400)]
                process.stdin.write(b"\n")
                found = json.loads(await process.stdout.readline())
                for sock in sockets:
                    sock.close()
                process.stdin.close()
                code = await process.wait()
        finally:
            for sock in sockets:
                sock.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        assert code == 0
        assert found["sockets"] == 80
        assert found["files"] >= 200


_LIMITED_SERVER = """
import asyncio, json, resource, sys
from pathlib import Path
from botctl.stores.redis import connect
from tests.support.realtime import serving
from tests.support.waiting import until

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 360))
    redis = connect(sys.argv[1], timeout_s=60)
    async with serving(redis, Path(sys.argv[2]), connections_per_address=2000, connect_throttle="") as rig:
        connections = rig.server.connections
        connections.admission._sockets._refill = type(connections.admission._sockets._refill)(1e6, 1e6)
        print(rig.http.rpartition(":")[2], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await until(lambda: connections.counts.opened + connections.rejected >= 400)
        files = []
        try:
            while True:
                files.append(open("/dev/null"))
        except OSError:
            pass
        found = {"sockets": connections.admission.open, "files": len(files)}
        for file in files:
            file.close()
        print(json.dumps(found), flush=True)
    await redis.aclose()

asyncio.run(main())
"""
