"""A realtime server in another process: `python -m tests.support.realtime_process REDIS_URL MONGO_URL DATABASE ROOT`.

It prints its address and serves until its standard input ends. The regular checks of keys and grants never run in it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

from botctl.stores import mongo, redis
from tests.support import ROOT
from tests.support.realtime import serving
from tests.support.waiting import LIMIT_S

NEVER_S = 1e6
REGULAR_CHECKS = ("botctl.realtime.ended_callers.RECHECK_S", "botctl.auth.access_control.RELOAD_S")
"""How often keys and grants are checked without an event."""


@asynccontextmanager
async def realtime_process(redis_url: str, mongo_url: str, database: str, root: Path) -> AsyncIterator[str]:
    """The address of a server in another process. ``root``: its project, with the key that signs documents."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        redis_url,
        mongo_url,
        database,
        str(root),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(LIMIT_S):
            url = (await process.stdout.readline()).decode().strip()
        assert url, "the process ended before it listened"
        yield url
    finally:
        process.stdin.close()
        async with asyncio.timeout(LIMIT_S):
            await process.wait()


async def main(redis_url: str, mongo_url: str, database: str, root: str) -> None:
    for name in REGULAR_CHECKS:
        mock.patch(name, NEVER_S).start()
    async with (
        redis.connect(redis_url, timeout_s=LIMIT_S) as client,
        mongo.connect(mongo_url, timeout_s=LIMIT_S) as documents,
        serving(client, Path(root), database=documents[database]) as rig,
    ):
        print(rig.server.url, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
