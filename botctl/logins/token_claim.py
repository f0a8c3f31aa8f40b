"""One process has a token: on its host by a Unix socket, among hosts by a lease in Redis.

Two processes with one token would answer every command twice, and each would cost logins. Their names and projects do
not matter, so the claim goes by a fingerprint of the token. The kernel frees the socket of a process that dies; its
lease is taken over at once on the same host, and after `LEASE_S` elsewhere.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from botctl.core.clock import Clock, iso_ms
from botctl.core.contracts.discord_access import DiscordAccess, bot_id_of
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import STORE_FAULTS, Held
from botctl.core.escape import safe
from botctl.core.ids import event_id
from botctl.core.processes.process import is_running, process_space, start_time
from botctl.logins.shared import key_prefix

LEASE_S: Final = 15.0
RENEW_S: Final = 3.0
_ANSWER_S: Final = 2.0  # for the other process to say who it is
_MAX_ANSWER: Final = 4096
_POLL_S: Final = 0.5
_PURPOSE: Final = b"botctl: fingerprint of a bot token, version 1"
_reaching_redis: Final = reaching_redis("The token cannot be claimed: Redis fails ({error}).")
_log = logging.getLogger(__name__)

# KEYS: the lease. ARGV: our id, our claim as JSON, LEASE_S in ms, the claim of a dead process that may be replaced.
_TAKE: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[4] and cjson.decode(held).id ~= ARGV[1] then
  return held
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ''
"""
_RELEASE: Final = """
local held = redis.call('GET', KEYS[1])
if held and cjson.decode(held).id == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
"""


def fingerprint_of(access: DiscordAccess) -> str:
    """32 hex digits that tell bots apart by their tokens, and tell no token.

    The first part of a token is the id of the bot: a token that replaces it has the same, and the budget is the bot's.
    The address counts, too: each sandbox is its own Discord.
    """
    text = f"{bot_id_of(access.token) or access.token}\n{access.base_url or ''}"
    return hmac.digest(_PURPOSE, text.encode(), "sha256").hex()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """The process that has a token. ``space``: where its pid is valid. ``project``: the name of its folder."""

    id: str
    host: str
    pid: int
    pid_started: str
    space: str
    project: str
    since: str

    def __str__(self) -> str:
        """For people: ``process 12 on web-1 (project my-bot, since 2026-…)``."""
        project = f"project {safe(self.project, 80)}, since {safe(self.since, 40)}"
        return f"process {self.pid} on {safe(self.host, 80)} ({project})"

    @property
    def is_here(self) -> bool:
        return self.space == process_space()

    def is_dead(self) -> bool:
        """Whether it is known to have ended: that can only be seen on its own host."""
        return self.is_here and not is_running(self.pid, self.pid_started)

    def encode(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()


def this_process(project: Path, clock: Clock) -> Claimant:
    pid = os.getpid()
    return Claimant(
        id=event_id(),
        host=socket.gethostname(),
        pid=pid,
        pid_started=start_time(pid) or "",
        space=process_space(),
        project=project.resolve().name,
        since=iso_ms(clock.now()),
    )


def parse_claimant(text: bytes) -> Claimant | None:
    """The claim in ``text``, None if it is none."""
    try:
        values: dict[str, Any] = json.loads(text)
        claimant = Claimant(**values)
    except (ValueError, TypeError):
        return None
    texts = all(isinstance(value, str) for name, value in asdict(claimant).items() if name != "pid")
    return claimant if texts and isinstance(claimant.pid, int) else None


def taken(other: str) -> Held:
    hint = "Stop that process first. For a second bot, make an application with its own token at Discord."
    return Held(f"A bot with the same token runs already, in {other}.", hint=hint)


def host_address(fingerprint: str) -> str:
    """The address of the socket. On Linux it is in no file system: the kernel removes it with its process."""
    name = f"botctl-login-{fingerprint}"
    return f"\0{name}" if sys.platform == "linux" else str(Path(tempfile.gettempdir(), f"{name}.sock"))


@asynccontextmanager
async def host_claim(address: str, me: Claimant) -> AsyncIterator[None]:
    """Have the token on this host while the block runs. Raises Held if another process has it."""
    server_socket = await _bind(address)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(me.encode())
        with suppress(OSError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, sock=server_socket)
    try:
        yield
    finally:
        server.close()
        _remove(address)


async def _bind(address: str) -> socket.socket:
    for _ in range(2):
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(address)
            bound.listen(8)
            bound.setblocking(False)
        except OSError:
            bound.close()
            other = await asyncio.to_thread(_ask, address)
            if other is not None:
                raise taken(other) from None
            _remove(address)
        else:
            return bound
    raise taken("another process of this host")


def _remove(address: str) -> None:
    """Remove a socket that is a file."""
    if not address.startswith("\0"):
        Path(address).unlink(missing_ok=True)


def _ask(address: str) -> str | None:
    """Who listens at ``address``; None if no process does. It blocks: uvloop cannot connect to an abstract address."""
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_ANSWER_S)
            asking.connect(address)
            while len(answer) < _MAX_ANSWER and (part := asking.recv(_MAX_ANSWER)):
                answer += part
    except TimeoutError:  # it hangs, and has the token all the same
        return "a process of this host that does not answer"
    except OSError:
        return None
    claimant = parse_claimant(answer)
    return str(claimant) if claimant else "a process of this host"


@dataclass(frozen=True, eq=False)
class TokenLease:
    """The lease of the token with ``fingerprint`` in ``redis``, for the process ``me``."""

    redis: Redis
    fingerprint: str
    me: Claimant

    @property
    def _key(self) -> str:
        return f"{key_prefix(self.fingerprint)}:holder"

    async def take(self) -> None:
        """Take the lease; wait for one whose holder is silent on another host. Raises Held, Unreachable."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + LEASE_S + 2 * _POLL_S
        seen_ttl_ms: int | None = None
        while True:
            with _reaching_redis:
                held = await self._try_take()
                ttl_ms = int(await self.redis.pttl(self._key)) if held else 0
            if not held:
                return
            other = parse_claimant(held)
            if other is not None and other.is_dead():
                with _reaching_redis:
                    if not await self._try_take(instead_of=held):
                        return
                continue
            renewed = seen_ttl_ms is not None and ttl_ms > seen_ttl_ms
            if renewed or (other and other.is_here) or loop.time() > deadline_s:
                raise taken(str(other) if other else "a process that wrote no name")
            seen_ttl_ms = ttl_ms
            await asyncio.sleep(_POLL_S)

    async def renew(self) -> None:
        """Renew the lease until it is lost. Raises Held then. While Redis is away, it tries again."""
        away = False
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                with _reaching_redis:
                    held = await self._try_take()
            except STORE_FAULTS as error:  # the gate reports the outage; this goes on
                _log.log(logging.DEBUG if away else logging.INFO, "the token's lease is not renewed: %s", error)
                away = True
                continue
            away = False
            if held:
                other = parse_claimant(held)
                raise taken(str(other) if other else "a process that wrote no name")

    async def release(self) -> None:
        """Free the lease, if it is ours. A Redis that fails is no reason to wait: the lease expires."""
        with suppress(*STORE_FAULTS, TimeoutError), _reaching_redis:
            async with asyncio.timeout(_ANSWER_S):
                await self.redis.register_script(_RELEASE)([self._key], [self.me.id])

    async def holder(self) -> Claimant | None:
        """Who has the token. Raises Unreachable."""
        with _reaching_redis:
            held: Any = await self.redis.get(self._key)
        return parse_claimant(held) if held else None

    async def _try_take(self, *, instead_of: bytes = b"") -> bytes:
        """Take or renew it; returns the claim of another process, empty if it is ours."""
        values: list[str | bytes | int] = [self.me.id, self.me.encode(), round(LEASE_S * 1000), instead_of]
        reply = await self.redis.register_script(_TAKE)([self._key], values)
        return bytes(reply)
