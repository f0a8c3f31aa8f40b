"""What follows from the end of a shard's connection, and when there are too few shards. Decisions only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import aiohttp
import disnake
from disnake.gateway import ReconnectWebSocket

from botctl.core.contracts.discord_access import GUILDS_PER_SHARD, GUILDS_WARN_AT
from botctl.core.contracts.shards import ShardStatus
from botctl.core.errors import BotctlError
from botctl.core.escape import safe
from botctl.core.services.tasks import Backoff

END_SESSION: Final = 1000
KEEP_SESSION: Final = 4000
"""Discord: Gateway > Disconnecting. A close with 1000 or 1001 ends the session; any other leaves it for a RESUME."""
FATAL_CODES: Final = frozenset({4004, 4010, 4011, 4012, 4013, 4014})
"""Discord: Gateway Close Event Codes > Reconnect: false. A person must change something."""
HEALTHY_S: Final = 10.0
"""A connection that lasts longer ends a row of losses."""
MAX_UNANSWERED: Final = 2
"""After so many RESUMEs without an answer, the shard logs in: bots have been stuck at a dead resume host for hours."""
_NEW_SESSION_CODES: Final = frozenset({4006, 4007, 4009})
"""Discord: Gateway Close Event Codes: "start a new session". 4006 is of older versions, and still seen."""
_ABNORMAL: Final = 1006  # RFC 6455: no close frame has come
_BACKOFF: Final = Backoff(first_s=1.0, limit_s=60.0)
_MEANINGS: Final = {  # Discord: Gateway Close Event Codes
    1000: "Discord closed the connection",
    1001: "Discord's server goes away",
    1006: "the connection broke",
    4000: "Discord had an unknown error",
    4001: "Discord does not know an opcode that was sent",
    4002: "Discord could not read what was sent",
    4003: "the connection was not logged in",
    4004: "Discord refuses the token",
    4005: "the connection was logged in twice",
    4006: "the session is over",
    4007: "the sequence number of the RESUME was wrong",
    4008: "too much was sent in a minute",
    4009: "the session has timed out",
    4010: "the shard does not exist",
    4011: "the shard would have too many guilds",
    4012: "Discord does not know this version of the gateway",
    4013: "the intents in discord.intents do not exist",
    4014: "the intents are not granted",
}


@dataclass(frozen=True, slots=True)
class Loss:
    """The end of a connection. ``code``: Discord's; None if it was another's doing.

    ``resumes``: whether the session may go on. ``expected``: nothing is wrong, Discord or the bot asked for it.
    """

    code: int | None
    reason: str
    resumes: bool = True
    expected: bool = False


CLOSED_HERE: Final = Loss(None, "the bot closed the connection", expected=True)
DEAF: Final = Loss(None, "it was deaf: Discord sent no events, and left questions unanswered")


def loss_of(error: Exception, *, own_code: int | None, code: int | None, silent: bool) -> Loss:
    """What ``error`` of a connection means.

    ``own_code``: with which this side closed it. ``code``: with which Discord did. ``silent``: nothing came for long.
    """
    match error:
        case ReconnectWebSocket():
            return _interruption(error, own_code=own_code, code=code, silent=silent)
        case disnake.ConnectionClosed():
            return _closed_by_discord(error.code)
        case TimeoutError():
            return Loss(None, "Discord did not answer in time")
        case _:
            text = safe(error, 200)
            return Loss(None, f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _interruption(error: ReconnectWebSocket, *, own_code: int | None, code: int | None, silent: bool) -> Loss:
    """What it means that disnake would connect again."""
    if not error.resume:
        return Loss(None, "Discord ended the session", resumes=False, expected=True)
    if silent:
        return Loss(None, "Discord sent nothing for a minute")
    if own_code is not None:
        return Loss(None, "Discord asked for a new connection", expected=True)
    return _closed_by_discord(_ABNORMAL if code is None else code)


def meaning_of(code: int) -> str:
    """What a close ``code`` of Discord means, for a person."""
    return _MEANINGS.get(code, "no known reason")


def _closed_by_discord(code: int) -> Loss:
    return Loss(code, meaning_of(code), resumes=code not in _NEW_SESSION_CODES)


def is_fatal(error: Exception) -> bool:
    """Whether ``error`` ends all shards, because a person must change something."""
    return isinstance(error, disnake.ConnectionClosed) and error.code in FATAL_CODES


def is_fault(error: Exception) -> bool:
    """Whether ``error`` is one of the code, and not of the network, of Discord or of the gate."""
    expected = (OSError, TimeoutError, aiohttp.ClientError, ReconnectWebSocket, disnake.DiscordException, BotctlError)
    return not isinstance(error, expected)


def pause_s(losses: int, loss: Loss, relogin_s: tuple[float, float], random: Random) -> float:
    """Seconds before the next attempt. ``losses``: in a row, this one included. ``relogin_s``: after an ended session.

    The first attempt is made at once, since a session waits for some minutes only.
    """
    if loss.expected and not loss.resumes and losses <= 1:
        return random.uniform(*relogin_s)
    return 0.0 if losses <= 1 else _BACKOFF.delay_s(losses - 2, random)


def resume_url(own: str, common: str, losses: int) -> str:
    """Where to RESUME: at the session's ``own`` address, and after a failure at the ``common`` one by turns."""
    return common if losses and losses % 2 == 0 else own


def capacity_notice(guilds: Mapping[int, int], shards: int, recommended: int, *, automatic: bool) -> str:
    """A sentence when there are too few ``shards``, with what to do; else an empty one.

    ``guilds``: their number by shard. ``recommended``: by Discord. ``automatic``: `discord.shards` is "auto".
    """
    fullest = max(guilds, key=lambda shard: (guilds[shard], -shard), default=0)
    if guilds.get(fullest, 0) >= GUILDS_WARN_AT:
        most = f"Discord refuses one with more than {GUILDS_PER_SHARD:,}"
        problem = f"shard {fullest} has {guilds[fullest]:,} guilds, and {most}"
    elif recommended > shards:
        problem = f"Discord recommends {recommended} shards, and {shards} {'runs' if shards == 1 else 'run'}"
    else:
        return ""
    if automatic and recommended > shards:
        return f"{problem}: restart the bot, and it has {recommended} shards"
    return f"{problem}: set discord.shards to {max(recommended, shards + 1)}, and restart the bot"


def gateway_problem(shards: Sequence[ShardStatus]) -> str:
    """What is wrong with the gateway, for a person; empty while any shard is up: the others reconnect now and then."""
    return "" if any(shard.up for shard in shards) else down_sentence(shards)


def down_sentence(shards: Sequence[ShardStatus]) -> str:
    """Which shards have no connection and why, for a person; empty when all have one."""
    lost = [shard for shard in shards if not shard.up]
    if not lost:
        return ""
    close = lost[0].last_close
    why = f" ({close})" if close else ""
    if len(shards) == 1:
        return f"the gateway is disconnected{why}"
    names = f"shard {lost[0].id}{why}" + (f" and {len(lost) - 1} more are not" if len(lost) > 1 else " is not")
    return f"{len(shards) - len(lost)} of {len(shards)} shards are connected: {names}"
