"""The sandbox of bench/sandbox.py, with the users in its process: ``sandbox_server.py GUILDS MEMBERS``.

Its first line on stdout is ``{"url", "pid"}``. Then it reads JSON lines from stdin and answers each with a line:
``{"ping": commands, "outstanding": n}`` runs a closed loop of users with /ping and returns ``{"seconds"}``. It stops
at the end of stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import uvloop

from botctl.sandbox.actions import user_interactions
from botctl.sandbox.model.acting_user import find_actor
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.limits import LENIENT
from botctl.sandbox.model.world import Application, Channel, Guild, Member, Role, User, World
from botctl.sandbox.process.serve import bind_loopback, serve_sandbox
from botctl.sandbox.sandbox import Access, Sandbox

Json = dict[str, Any]
_PING: Json = {"type": "slash", "name": "ping"}


def world(guilds: int, members: int, url: str) -> World:
    """Return the default world with additional guilds, spread evenly over the shards."""
    made = default_world(url=url)
    bot = next(iter(made.applications))
    users = [made.add_user(User(str(800_000_000_000_000_000 + n), f"person-{n}")) for n in range(members)]
    for number in range(guilds):
        guild_id = str((number + 1) << 22)
        channel = Channel(str((number + 1 << 22) + 1), guild_id, "general")
        members_by_id = {user.id: Member(user.id) for user in users} | {bot: Member(bot)}
        roles = {guild_id: Role(guild_id, "@everyone", position=0)}
        made.add_guild(Guild(guild_id, f"Guild {number}", users[0].id, roles, {channel.id: channel}, members_by_id))
    return made


async def ping(sandbox: Sandbox, commands: int, outstanding: int) -> float:
    """Measure the seconds for ``commands`` /ping, ``outstanding`` at a time."""
    user, remaining = find_actor(sandbox.world, {}), iter(range(commands))

    async def run_user() -> None:
        for _ in remaining:
            answered = asyncio.Event()
            interaction = user_interactions.invoke(sandbox, user, _PING)
            interaction.on_change = answered.set
            async with asyncio.timeout(30):
                await answered.wait()

    began_s = time.perf_counter()
    await asyncio.gather(*(run_user() for _ in range(outstanding)))
    return time.perf_counter() - began_s


async def main() -> None:
    guilds, members = map(int, sys.argv[1:3])
    bot = "900000000000000010"
    with bind_loopback() as listener:
        url = listener.url
        made = world(guilds, members, url) if guilds else default_world(url=url)
        assert isinstance(made.applications[bot], Application)
        sandbox = Sandbox(
            made,
            Access({os.environ["BOTCTL_SANDBOX_TOKEN"]: bot}, "bench"),
            limits=LENIENT.replace({"enforced": True, "max_concurrency": 16}),
        )
        async with serve_sandbox(sandbox, listener):
            print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                request: Json = json.loads(line)
                print(json.dumps({"seconds": await ping(sandbox, request["ping"], request["outstanding"])}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
