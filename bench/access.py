"""One decision about access (core/contracts/access.py) against one PING of the embedded Valkey over its socket.

There are 200 grants: by settings, by the store, to users, to Discord roles of ten guilds, and to keys. The questions
are those of a running bot: a member with three Discord roles uses a command, a key reads a topic, a stranger asks. The
CPU time of this process leaves out what Valkey and the waiting cost: of the two ratios it is the harder one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

from redis.asyncio import Redis

from bench.ping import BOTCTL, BenchProject
from bench.rounds import Threshold, interleave, report
from botctl.core.contracts.access import (
    AccessRules,
    AnyRole,
    GrantSource,
    Holder,
    HolderType,
    Need,
    Requester,
    RoleGrant,
    decide,
)
from botctl.core.contracts.permissions import BUILT_IN_ROLES
from botctl.core.processes.runtime import Runtime

DECISIONS, PINGS = 100_000, 5_000
THRESHOLDS = [Threshold("decision", "Redis PING", measure, 0.05) for measure in ("cpu_us", "wall_us")]
GUILDS = [str(10_000 + number) for number in range(10)]
NOW = datetime(2026, 11, 30, tzinfo=UTC)
Question = tuple[Requester, Need, str | None]


def grants() -> tuple[RoleGrant, ...]:
    """80 grants to users, 90 to Discord roles (10 of them by settings, for any guild), 30 to keys."""
    roles = list(BUILT_IN_ROLES.items())[:3]

    def grant(number: int, holder: Holder, guild: str | None, source: GrantSource = GrantSource.STORE) -> RoleGrant:
        role, permissions = roles[number % len(roles)]
        return RoleGrant(role, holder, permissions, guild, source)

    users = [grant(n, Holder(HolderType.USER, str(n)), None if n % 4 else GUILDS[n % 10]) for n in range(80)]
    discord_roles = [grant(n, Holder(HolderType.ROLE, str(n)), GUILDS[n % 10]) for n in range(80)]
    of_settings = [
        grant(n, Holder(HolderType.ROLE, str(80 + n)), None, GrantSource.SETTINGS) for n in range(10)
    ]  # as in every project's [roles]
    keys = [grant(n, Holder(HolderType.KEY, f"k{n}"), None) for n in range(30)]
    return (*users, *discord_roles, *of_settings, *keys)


def discord_roles(*ids: int) -> Callable[[str], object]:
    """A look-up as the bot has it: disnake's `Member.get_role`, by an id that is a text."""
    guild_roles, own = {role: object() for role in range(100)}, set(ids)

    def get_role(role: int) -> object:
        return guild_roles.get(role) if role in own else None

    return lambda role: get_role(int(role))


def questions() -> list[Question]:
    """What is asked in turn: half of it is allowed."""
    member = Requester(Holder(HolderType.USER, "7"), discord_roles(3, 81, 99))
    stranger = Requester(Holder(HolderType.USER, "999"), discord_roles(97, 98, 99))
    holder = Holder(HolderType.KEY, "dashboard")
    key = Requester(
        holder, own=(RoleGrant("", holder, frozenset({"events:commands", "jobs:*"}), None, GrantSource.KEY),)
    )
    return [
        (member, AnyRole(("operator", "admin")), GUILDS[3]),
        (stranger, AnyRole(("admin",)), GUILDS[3]),
        (key, "events:commands", None),
        (stranger, "jobs:run", GUILDS[4]),
        (member, "jobs:read", GUILDS[3]),
        (key, "audit:read", None),
    ]


def _measure(run: Callable[[], None], count: int) -> dict[str, float]:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    run()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {"cpu_us": cpu_s / count * 1e6, "wall_us": wall_s / count * 1e6}


def decision() -> dict[str, float]:
    """Measure a decision and the reading of its answer."""
    rules, asked = AccessRules(grants()), list(islice(cycle(questions()), 6_000))

    def run() -> None:
        for _ in range(DECISIONS // len(asked)):
            for requester, need, guild in asked:
                decide(rules, requester, need, guild, NOW).allowed  # noqa: B018  what is measured

    return _measure(run, DECISIONS // len(asked) * len(asked))


async def ping(address: str) -> dict[str, float]:
    """Measure a PING with the client that botctl uses, one after another."""
    async with Redis.from_url(address) as redis:
        await redis.ping()
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for _ in range(PINGS):
            await redis.ping()
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {"cpu_us": cpu_s / PINGS * 1e6, "wall_us": wall_s / PINGS * 1e6}


def main(rounds: int = 9) -> bool:
    """Measure, with the embedded stores in their own process."""
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        project = BenchProject(Path(folder) / "access")
        with project.process(str(BOTCTL), "run", "--only", "stores", until="project"):
            address = Runtime(project.root).live()["redis"].address
            contenders = {"Redis PING": lambda: asyncio.run(ping(address)), "decision": decision}
            measured = interleave(contenders, rounds)
    return report("access", measured, THRESHOLDS, grants=len(grants()), decisions=DECISIONS, pings=PINGS)


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
