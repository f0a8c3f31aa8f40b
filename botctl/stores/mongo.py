"""MongoDB: the client and the service."""

from __future__ import annotations

import re
import secrets
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pymongo
from pymongo import AsyncMongoClient, lock
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError

from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.driver_errors.mongo import sort
from botctl.core.errors import ConfigError
from botctl.core.escape import safe
from botctl.core.processes.embedded import embedded, find_running
from botctl.core.processes.runtime import Runtime
from botctl.core.redact import redact
from botctl.core.services.tasks import Tasks
from botctl.stores import embedded_mongo
from botctl.stores.cancellation import keep_cancellations
from botctl.stores.first_call import FirstCall

Database = AsyncDatabase[dict[str, Any]]
"""The service: the database of the bot."""

CONNECTIONS: Final = 50
_WRITE_CHECK: Final = "botctl_write_check"
_EMBEDDED: Final = "nx_27017"
CLOSE_S: Final = 0.5  # to end sessions; a server that does not answer ends them later by itself


def connect(url: str, *, timeout_s: float) -> AsyncMongoClient[dict[str, Any]]:
    """Create a client for the server at ``url``. Sends nothing yet. Datetimes are aware, in UTC.

    ``timeout_s`` limits a whole call, with server selection and retries; `pymongo.timeout` sets another limit. An
    acknowledged write is on a majority of the servers, so that a failover does not lose it; for those that must survive
    a power failure see `journal`. On a replica set the driver retries a write once. Reads go to the primary, whatever
    ``url`` says: leases, ledger, jobs, keys and the settings of guilds must not be those of a secondary that is behind.

    Raises ConfigError if ``url`` is not valid.
    """
    keep_cancellations(lock)
    limit_ms = round(timeout_s * 1000)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # the driver would ignore an unknown option
            return _new_client(url, limit_ms)
    except (PyMongoError, ValueError, TypeError, OSError, UserWarning) as error:  # OSError: a file of a TLS option
        sentence = f"mongo.url is not the address of a MongoDB: {error_text(error)}."
        hint = "The form is mongodb://[user:password@]host[:port][/?options]."
        if isinstance(error, OSError):
            sentence = f"A file that an option of mongo.url names cannot be used: {error_text(error)}."
            hint = "Correct tlsCAFile, tlsCertificateKeyFile or tlsCRLFile in mongo.url."
        raise ConfigError(sentence, hint=hint) from error


def _new_client(url: str, limit_ms: int) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(
        url,
        timeoutMS=limit_ms,
        serverSelectionTimeoutMS=limit_ms,
        connectTimeoutMS=limit_ms,
        w="majority",
        readPreference="primary",
        tz_aware=True,
        uuidRepresentation="standard",
        maxPoolSize=CONNECTIONS,
        appname="botctl",
    )


@asynccontextmanager
async def mongo_store(settings: Settings, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[Database]:
    """Factory of the service: the bot's database, on the MongoDB of the settings or in the embedded store.

    Raises Unreachable if the server does not answer, ConfigError if address, password or certificate are wrong.
    """
    if settings.mongo.url is not None:
        async with _client(settings.mongo.url.get_secret_value(), settings.mongo.timeout_s) as client:
            yield client[settings.database]
    else:
        async with (
            embedded(embedded_mongo.PART, runtime, bus, tasks) as find_running,
            _client(find_running.address, settings.mongo.timeout_s) as client,
        ):
            yield client[settings.database]


@asynccontextmanager
async def running_mongo(settings: Settings, runtime: Runtime) -> AsyncIterator[Database]:
    """The bot's database on the MongoDB that processes of the bot use now. Starts none.

    Raises Unreachable if no `botctl run` has an embedded one or the server in the settings does not answer, and
    ConfigError if the address or the password is wrong.
    """
    url = (
        settings.mongo.url.get_secret_value()
        if settings.mongo.url
        else find_running(embedded_mongo.PART, runtime).address
    )
    async with _client(url, settings.mongo.timeout_s) as client:
        yield client[settings.database]


@asynccontextmanager
async def _client(url: str, timeout_s: float) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with _close_at_end(connect(url, timeout_s=timeout_s)) as client:
        with _FIRST_CALL.at(url):
            await client.admin.command("ping")
        yield client


@asynccontextmanager
async def _close_at_end(client: AsyncMongoClient[dict[str, Any]]) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    try:
        yield client
    finally:
        with pymongo.timeout(CLOSE_S):
            await client.close()


def error_text(error: Exception) -> str:
    """The driver's message without its list of servers and timeouts."""
    text = re.sub(r" \(configured timeouts:[^)]*\)|, Timeout: .*", "", str(error), flags=re.DOTALL)
    return safe(redact(text)).rstrip(".")


_FIRST_CALL: Final = FirstCall(
    store="MongoDB",
    setting="mongo.url",
    drivers=(PyMongoError, OSError),
    answers=(OperationFailure,),
    sort=sort,
    text=error_text,
)


async def is_embedded(client: AsyncMongoClient[dict[str, Any]]) -> bool:
    """Whether the server is the embedded document store, of this project or of another one."""
    return bool((await client.admin.command("buildInfo")).get("process") == _EMBEDDED)


async def server_version(client: AsyncMongoClient[dict[str, Any]]) -> str:
    """The name and version of the server: ``MongoDB 8.0.4``, ``nx-27017 0.8.1``."""
    info: dict[str, Any] = await client.admin.command("buildInfo")
    if info.get("process") == _EMBEDDED:  # its version says MongoDB 7.0.0
        from importlib.metadata import version as installed  # noqa: PLC0415  only for the embedded store

        return f"nx-27017 {installed('nx-27017')}"
    return f"MongoDB {safe(info.get('version', '?'))}"


async def prove_write(database: Database) -> None:
    """Write one document and remove it, with its collection. Raises PyMongoError if the server takes no write."""
    collection = database[_WRITE_CHECK]
    try:
        await collection.insert_one({"_id": secrets.token_hex(8)})
    finally:
        await collection.drop()
