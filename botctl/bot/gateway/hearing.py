"""Whether events reach a shard. A quiet one asks Discord something that has to be answered.

A connection can be deaf: Discord answers its heartbeats, and sends no events. Quiet guilds look the same. So after some
seconds without an event the shard asks for the bot's own member of one of its guilds (op 8, Request Guild Members; for
a user's id it needs no privileged intent). The answer is an event. The shard is deaf after two questions without any.

`HearingProbe` decides, without I/O; `probe_hearing` asks.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

import aiohttp
import disnake

from botctl.core.contracts.shards import MISSES_OF_DEAF, Hearing
from botctl.core.event_loop.tasks import create_watched_task, end_task

PROBE_S: Final = 10.0
PATIENCE: Final = 0.4
"""How long an answer may take, as a part of the interval: a shard is known to be deaf within two intervals."""
SLICES: Final = 4
"""Parts of that time. One that ends late, because this process was busy or stopped, counts with its own length only."""
LOGIN_EVERY_S: Final = 3600.0
"""A deaf shard logs in once in this time at most: logins are few, and one that does not help would be repeated."""
RESUME_AGAIN_S: Final = 300.0
MAX_RESUME_AGAIN_S: Final = 3600.0
_ENOUGH_S: Final = 1e-6  # of rounding
_SESSION_EVENTS: Final = frozenset({"READY", "RESUMED"})
_START_EVENTS: Final = _SESSION_EVENTS | {"GUILD_CREATE"}
"""A connection that is deaf may bring them. They do not prove that the next event comes."""


class Remedy(enum.Enum):
    """What a deaf shard does."""

    RESUME = enum.auto()
    LOGIN = enum.auto()


@dataclass(frozen=True, slots=True)
class Question:
    """Ask for the bot's own member of ``guild``. ``nonce``: at most 32 bytes, it comes back with the answer."""

    guild: int
    nonce: str


Step = Question | Remedy | float
"""What to do now; a number: look again after so many seconds."""


class HearingProbe:
    """What a shard has heard, over all its connections. ``every_s``: the longest silence without a question.

    All times are seconds of one monotonic clock.
    """

    def __init__(self, every_s: float = PROBE_S) -> None:
        self.misses = 0
        self.reconnects = 0
        self.can_ask = True
        self.patience_s = every_s * PATIENCE
        self._every_s = every_s
        self._heard_s = self._due_s = 0.0
        self._asked: Question | None = None
        self._left_s = self._looked_s = 0.0  # the time that is left for the answer, and when that was computed
        self._missed_here = 0  # in a row, since the connection or the last remedy
        self._guild = 0  # the last one that a question was about
        self._number = 0
        self._reconnected_s = self._logged_in_s = float("-inf")

    @property
    def deaf(self) -> bool:
        return self.misses >= MISSES_OF_DEAF

    def status(self, now_s: float) -> Hearing:
        """What is known now. Nothing is claimed while no guild can be asked about."""
        misses = self.misses if self.can_ask else 0
        return Hearing(
            heard_ago_s=now_s - self._heard_s, misses=misses, can_ask=self.can_ask, reconnects=self.reconnects
        )

    def begin(self, now_s: float) -> None:
        """A session begins or goes on. A shard that was deaf asks at once, and is deaf until it has an answer."""
        self._heard_s, self._asked, self._missed_here = now_s, None, 0
        self.misses = self.misses if self.deaf else 0
        self._due_s = now_s if self.deaf else now_s + self._every_s

    def hear(self, event: str, now_s: float) -> None:
        """An event has come, since `begin`."""
        if event in _SESSION_EVENTS:
            return  # `begin`
        self._heard_s, self._asked, self._missed_here = now_s, None, 0
        if event not in _START_EVENTS:
            self.misses = self.reconnects = 0
        elif not self.deaf:
            self.misses = 0
        self._due_s = now_s + (self.patience_s if self.misses else self._every_s)

    def step(self, now_s: float, guilds: Callable[[], Iterable[int]]) -> Step:
        """What to do now. ``guilds``: returns those that are available; it is called when a question is due."""
        if self._asked is not None:
            self._left_s -= min(now_s - self._looked_s, self.patience_s / SLICES)
            self._looked_s = now_s
            if self._left_s > _ENOUGH_S:
                return min(self._left_s, self.patience_s / SLICES)
            self._miss(now_s)
            if remedy := self._remedy(now_s):
                return remedy
        return self._ask(now_s, guilds) if now_s >= self._due_s else self._due_s - now_s

    def _miss(self, now_s: float) -> None:
        self._asked, self._due_s = None, now_s
        self.misses += 1
        self._missed_here += 1

    def _ask(self, now_s: float, guilds: Callable[[], Iterable[int]]) -> Step:
        guild = next_guild(guilds(), self._guild)
        self.can_ask = guild is not None
        if guild is None:
            self._missed_here = 0
            self.misses = self.misses if self.deaf else 0
            self._due_s = now_s + self.patience_s
            return self.patience_s
        self._guild, self._number = guild, self._number + 1
        self._asked = Question(guild, f"hearing-{self._number}")
        self._left_s, self._looked_s = self.patience_s, now_s
        return self._asked

    def _remedy(self, now_s: float) -> Remedy | None:
        if self._missed_here < MISSES_OF_DEAF:
            return None
        self._due_s = now_s + self._every_s - self.patience_s
        remedy = remedy_for(self.reconnects, now_s - self._reconnected_s, now_s - self._logged_in_s)
        self._missed_here = 0 if remedy else self._missed_here
        return remedy

    def reconnect(self, remedy: Remedy, now_s: float) -> None:
        """The shard leaves its connection, for ``remedy``."""
        self.reconnects += 1
        self._reconnected_s = now_s
        if remedy is Remedy.LOGIN:
            self._logged_in_s = now_s


def next_guild(guilds: Iterable[int], after: int) -> int | None:
    """The guild that follows ``after``, so that each has its turn; None without any."""
    ordered = sorted(guilds)
    return next((guild for guild in ordered if guild > after), ordered[0] if ordered else None)


def remedy_for(reconnects: int, since_reconnect_s: float, since_login_s: float) -> Remedy | None:
    """What a shard does that is deaf now: a RESUME, then a login. Then it stays, and tries a RESUME now and then.

    ``reconnects``: in a row, for this reason. A RESUME costs nothing; the pauses before the later ones grow to an hour.
    """
    if reconnects == 0:
        return Remedy.RESUME
    if reconnects == 1 and since_login_s >= LOGIN_EVERY_S:
        return Remedy.LOGIN
    pause_s = min(MAX_RESUME_AGAIN_S, RESUME_AGAIN_S * 2.0 ** min(max(0, reconnects - 2), 10))
    return Remedy.RESUME if since_reconnect_s >= pause_s else None


class AskingSocket(Protocol):
    """The connection of a shard, as far as questions need it."""

    def is_ratelimited(self) -> bool: ...

    async def request_member(self, guild: int, nonce: str) -> None: ...


async def probe_hearing(
    probe: HearingProbe,
    ws: AskingSocket,
    guilds: Callable[[], Iterable[int]],
    *,
    prepare: Callable[[], Awaitable[None]],
    reconnect: Callable[[Remedy], None],
) -> NoReturn:
    """Do what ``probe`` says, while the connection ``ws`` lives.

    ``guilds``: returns those of the shard that are available. ``prepare``: returns when a login is allowed, which may
    take hours; the connection stays so long, and may hear again. ``reconnect``: ends the connection, and so this.
    """
    time = asyncio.get_running_loop().time
    healing: asyncio.Task[None] | None = None

    def askable() -> Iterable[int]:
        return () if ws.is_ratelimited() else guilds()  # else disnake would hold the question back

    async def heal(remedy: Remedy) -> None:
        if remedy is Remedy.LOGIN:
            await prepare()
        if probe.deaf:
            probe.reconnect(remedy, time())
            reconnect(remedy)

    try:
        while True:
            step = probe.step(time(), askable)
            if isinstance(step, Question):
                await _ask(ws, step, probe.patience_s / SLICES)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif healing is None or healing.done():
                healing = create_watched_task(heal(step), name="bot: a deaf shard reconnects")
    finally:
        if healing is not None:
            await end_task(healing)


async def _ask(ws: AskingSocket, question: Question, limit_s: float) -> None:
    """Send ``question``. If that fails, or the other side takes nothing, there is no answer."""
    with suppress(OSError, TimeoutError, aiohttp.ClientError, disnake.ConnectionClosed):
        async with asyncio.timeout(limit_s):
            await ws.request_member(question.guild, question.nonce)
