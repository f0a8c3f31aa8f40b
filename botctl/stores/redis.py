"""Redis: the client and the service."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from redis.asyncio import BlockingConnectionPool, Redis, connection
from redis.asyncio.connection import URL_QUERY_ARGUMENT_PARSERS, AbstractConnection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004
    NoPermissionError,
    RedisError,
    ResponseError,
)

from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.driver_errors.redis import sort
from botctl.core.errors import ConfigError, DriverFault
from botctl.core.escape import safe
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.processes.embedded import embedded, find_running
from botctl.core.processes.runtime import Runtime
from botctl.core.redact import redact
from botctl.core.services.tasks import Tasks
from botctl.core.suggest import suggest
from botctl.stores import embedded_redis
from botctl.stores.cancellation import keep_cancellations
from botctl.stores.first_call import FirstCall

CONNECTIONS: Final = 50
_REFUSALS: Final = (ValueError, TypeError, AttributeError, RedisError)  # the driver's, of an option that is wrong
_FIRST_WAIT_S: Final = 0.02  # after the first failed attempt to connect; doubled up to `_LAST_WAIT_S`
_LAST_WAIT_S: Final = 0.25


class Pool(BlockingConnectionPool):
    """The connections of one process. A caller waits for a free one, up to ``timeout``.

    *Connecting* is retried within ``timeout``, so that a restart of the server causes no error. A command is not
    retried after a ConnectionError, because the server may have run it; only after LOADING, when it has not.
    """

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        deadline = time.monotonic() + (self.timeout or 0)
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                await super().ensure_connection(connection)
                return
            except ConnectionError as error:
                if sort(error).fault is not DriverFault.TRANSIENT or time.monotonic() + wait_s > deadline:
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LAST_WAIT_S)


def connect(url: str, *, timeout_s: float) -> Redis:
    """Create a client for the server at ``url``. Sends nothing yet. Values are bytes.

    ``timeout_s`` limits each step of a call: waiting for a connection, connecting, the reply. A blocking read
    (XREAD BLOCK) must block for less.

    Raises ConfigError if ``url`` is not valid.
    """
    keep_cancellations()
    connection.async_timeout = LoopTimeout  # type: ignore[attr-defined,assignment]  # the driver waits for each reply with it
    try:
        pool = Pool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            client_name="botctl",
            retry=Retry(ExponentialBackoff(cap=_LAST_WAIT_S, base=_FIRST_WAIT_S), 10, (BusyLoadingError,)),
        )
        _check_options(pool)
    except _REFUSALS as error:
        raise _address_fault(url, error) from error
    except OSError as error:
        sentence = f"A file that an option of redis.url names cannot be used: {error_text(error)}."
        raise ConfigError(sentence, hint="Correct ssl_ca_certs, ssl_certfile or ssl_keyfile in redis.url.") from error
    return Redis.from_pool(pool)


def _address_fault(url: str, error: Exception) -> ConfigError:
    """The option of ``url`` that the driver refuses; if there is none, its words for the address."""
    form = "The form is redis://[user:password@]host[:port][/number]."
    address, _, query = url.partition("?")
    for name, value in parse_qsl(query) if _refusal(address) is None else ():
        if (refused := _refusal(f"{address}?{urlencode({name: value})}")) is not None:
            shown = safe(redact(name), 60)
            sentence = f"The option {shown} of redis.url has a value that is not valid."
            if isinstance(refused, TypeError):
                sentence = f"redis.url has an unknown option {shown}{suggest(name, sorted(URL_QUERY_ARGUMENT_PARSERS))}"
            return ConfigError(sentence, hint=f"Correct {shown} in redis.url, or remove it.")
    return ConfigError(f"redis.url is not the address of a Redis: {error_text(error)}.", hint=form)


def _refusal(url: str) -> Exception | None:
    """What the driver says to ``url``, apart from files that it cannot read."""
    try:
        _check_options(Pool.from_url(url))
    except _REFUSALS as error:
        return error
    except OSError:
        return None
    return None


def _check_options(pool: Pool) -> None:
    """Make a connection object, and load the files of its TLS options. The driver does both at the first call."""
    connection = pool.connection_class(**pool.connection_kwargs)
    if isinstance(connection, SSLConnection):
        connection.ssl_context.get()


def dedicated_client(client: Redis, *, connections: int) -> Redis:
    """A second client of the same server with its own ``connections``, for calls that block for long."""
    pool = client.connection_pool
    options = pool.connection_kwargs
    dedicated = Pool(
        connection_class=pool.connection_class,
        max_connections=connections,
        timeout=options["socket_timeout"],
        **options,
    )
    return Redis.from_pool(dedicated)


@asynccontextmanager
async def redis_store(settings: Settings, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[Redis]:
    """Factory of the service: the Redis of the settings, or the embedded one.

    Raises Unreachable if the server does not answer, ConfigError if address, password or certificate are wrong.
    """
    if settings.redis.url is not None:
        async with _client(settings.redis.url.get_secret_value(), settings.redis.timeout_s) as client:
            yield client
    else:
        async with (
            embedded(embedded_redis.PART, runtime, bus, tasks) as endpoint,
            _client(endpoint.address, settings.redis.timeout_s) as client,
        ):
            yield client


@asynccontextmanager
async def running_redis(settings: Settings, runtime: Runtime) -> AsyncIterator[Redis]:
    """The Redis that processes of the bot use now. Starts none.

    Raises Unreachable if the server in the settings does not answer, or none is set and no `botctl run` has an
    embedded one; ConfigError if the address or the password is wrong.
    """
    url = (
        settings.redis.url.get_secret_value()
        if settings.redis.url
        else find_running(embedded_redis.PART, runtime).address
    )
    async with _client(url, settings.redis.timeout_s) as client:
        yield client


@asynccontextmanager
async def _client(url: str, timeout_s: float) -> AsyncIterator[Redis]:
    async with connect(url, timeout_s=timeout_s) as client:
        with _FIRST_CALL.at(url):
            await client.ping()
        yield client


def error_text(error: Exception) -> str:
    """The driver's message, without secrets and full stop."""
    return safe(redact(str(error))).rstrip(".")


_FIRST_CALL: Final = FirstCall(
    store="Redis",
    setting="redis.url",
    drivers=(RedisError, OSError),
    answers=(ResponseError, BusyLoadingError),
    sort=sort,
    text=error_text,
)


async def server_version(client: Redis) -> str:
    """The name and version of the server, as of `version_of`."""
    try:
        info: dict[str, Any] = await client.info("server")
    except NoPermissionError as error:
        await client.ping()
        return version_of(error)
    return version_of(info)


def version_of(server: dict[str, Any] | Exception) -> str:
    """The name and version in a reply to INFO: ``Valkey 9.1.2``, ``Redis 7.4.0``.

    Just ``Redis`` if the user has no right to INFO, one of the commands that are often taken away (@dangerous). Raises
    any other error.
    """
    if isinstance(server, NoPermissionError):
        return "Redis"
    if isinstance(server, Exception):
        raise server
    if "valkey_version" in server:
        return f"Valkey {safe(server['valkey_version'])}"
    return f"Redis {safe(server.get('redis_version', '?'))}"


async def prove_write(client: Redis, bot: str) -> None:
    """Write a key of ``bot`` and delete it. Raises RedisError if the server takes no write."""
    key = f"botctl:{{{bot}}}:write-check:{secrets.token_hex(8)}"
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(key, 1, px=1000)
        pipe.delete(key)
        replies = await pipe.execute(raise_on_error=False)  # else the driver puts the command before the reason
    if refused := next((reply for reply in replies if isinstance(reply, Exception)), None):
        raise refused
