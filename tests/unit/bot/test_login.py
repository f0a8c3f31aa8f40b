"""Errors between the bot and Discord, as the operator sees them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import disnake
import pytest

from botctl.bot.current_token import CurrentToken
from botctl.bot.login import _to_botctl_error, close_bot, connect, log_in
from botctl.core.config.settings import DiscordSettings, Intent, Settings
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.shards import ShardClose, ShardState, ShardStatus
from botctl.core.errors import ExitCode, Unreachable


class Response:
    """Just enough of an HTTP response for disnake's exceptions."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.reason = "because"


class Socket:
    def __init__(self, code: int) -> None:
        self.close_code = code


def closed(code: int) -> disnake.ConnectionClosed:
    return disnake.ConnectionClosed(Socket(code), shard_id=None, code=code)  # type: ignore[arg-type]


LIMIT: Any = {"total": 1000, "remaining": 0, "reset_after": 60_000, "max_concurrency": 1}


@pytest.mark.parametrize(
    ("error", "code", "fragment"),
    [
        (disnake.LoginFailure("no"), ExitCode.CONFIG, "refuses the token"),
        (disnake.HTTPException(Response(401), "no"), ExitCode.CONFIG, "refuses the token"),  # type: ignore[arg-type]
        (closed(4004), ExitCode.CONFIG, "refuses the token"),
        (closed(4014), ExitCode.CONFIG, "intents members, presences"),
        (closed(4010), ExitCode.CONFIG, "4010: the shard does not exist"),
        (closed(4012), ExitCode.CONFIG, "4012: Discord does not know this version of the gateway"),
        (closed(4013), ExitCode.CONFIG, "4013: the intents in discord.intents do not exist"),
        (closed(4011), ExitCode.CONFIG, "too many guilds"),
        (disnake.SessionStartLimitReached(disnake.SessionStartLimit(LIMIT)), ExitCode.HELD, "before 20"),
        (disnake.HTTPException(Response(500), "oops"), ExitCode.UNREACHABLE, "does not answer"),  # type: ignore[arg-type]
        (aiohttp.ClientConnectionError("refused"), ExitCode.UNREACHABLE, "does not answer"),
    ],
)
def test_connection_errors_map_to_exit_codes_and_messages(error: Exception, code: ExitCode, fragment: str):
    settings = Settings(discord=DiscordSettings(intents=(Intent.DEFAULT, Intent.MEMBERS, Intent.PRESENCES)))
    translated = _to_botctl_error(error, settings)
    assert translated.exit_code is code
    assert fragment in str(translated)


class _Unanswered(disnake.Client):
    """A bot to which Discord does not answer. ``sessions``: those that its logins have opened."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: list[aiohttp.ClientSession] = []

        async def request(*_: object, **__: object) -> None:
            self.sessions.append(getattr(self.http, "_HTTPClient__session"))  # noqa: B009  its name is private
            raise aiohttp.ClientConnectionError("refused")

        self.http.request = request  # type: ignore[method-assign, assignment]

    async def close(self, **_: Any) -> None:
        await super().close()


class _Unconnected:
    """A bot whose shards do not connect. ``waits_s``: how long one of them waits until it may log in."""

    def __init__(self, waits_s: float) -> None:
        self.gateway, self.has_been_up, self._waits_s = self, False, waits_s
        self._began_s = asyncio.get_running_loop().time()

    async def connect(self) -> None:
        await asyncio.Event().wait()

    wait_until_ready = connect

    def add_listener(self, *_: object) -> None:
        """Nothing is dispatched."""

    def waits_for_login(self) -> bool:
        return asyncio.get_running_loop().time() - self._began_s < self._waits_s

    def statuses(self) -> list[ShardStatus]:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        close = ShardClose(code=None, reason="ConnectionRefusedError", at=at)
        return [ShardStatus(id=0, state=ShardState.DISCONNECTED, since=at, last_close=close)]


@pytest.mark.looptime
@pytest.mark.parametrize("waits_s", [0, 300])
async def test_start_without_a_connection_is_given_up(waits_s: float) -> None:
    """The time in which a login waits for its turn does not count."""
    bot = cast(Any, _Unconnected(waits_s))
    with pytest.raises(Unreachable, match=r"in 60 s: the gateway is disconnected \(ConnectionRefusedError\)"):
        await connect(bot, Settings(), CurrentToken(DiscordAccess("a.b.c", None)))
    assert asyncio.get_running_loop().time() == pytest.approx(waits_s + 60, abs=2)


@pytest.mark.looptime
@pytest.mark.parametrize("gateway_fails", [False, True])
async def test_failed_logins_leave_no_session_open(gateway_fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else aiohttp reports it after the last line of a failed start."""
    client = _Unanswered()
    bot = cast(Any, client)
    with pytest.raises(Unreachable):
        await log_in(bot, CurrentToken(DiscordAccess("a.b.c")))
    if gateway_fails:

        async def close(**_: Any) -> None:
            raise ConnectionResetError("Cannot write to closing transport")

        monkeypatch.setattr(client, "close", close)
    await close_bot(bot)
    assert [session.closed for session in client.sessions] == [True, True, True]
