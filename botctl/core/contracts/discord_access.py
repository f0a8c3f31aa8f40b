"""The token and the address of Discord, or of the sandbox (botctl's local Discord); some of its limits."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

INVALID_LIMIT: Final = 10_000
"""Invalid requests of one address in `INVALID_PERIOD_S`; then Discord bans it. See `bot.requests.invalid_requests`."""
INVALID_PERIOD_S: Final = 600.0
INVALID_WARN_AT: Final = 5_000
"""So many of them are reported, and no refused request is sent again."""
TOKEN_LIFE_S: Final = 900.0
"""Of an interaction. Discord: Interactions > Receiving and Responding."""
GUILDS_PER_SHARD: Final = 2_500
"""Discord: Gateway > Sharding. It refuses the login of a shard with more."""
GUILDS_WARN_AT: Final = 2_250
"""So many in one shard are reported."""
_ID: Final = re.compile(r"[0-9]{15,20}")
_PARTS_AFTER_ID: Final = 2


class TokenFound(NamedTuple):
    """A token (None: there is none any more) and its origin in words: ``.env:3``."""

    token: str | None
    origin: str


@dataclass(frozen=True, slots=True)
class DiscordAccess:
    """``base_url``: the sandbox's address, such as ``http://127.0.0.1:8911``; None for Discord itself.

    ``reread``: reads the sources of the settings again, and raises ConfigError if one of them is wrong. None: the token
    is not from the settings.
    ``client_id`` and ``client_secret``: of the sandbox's application, for OAuth2. Those of Discord are settings.
    """

    token: str = field(repr=False)
    base_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    reread: Callable[[], TokenFound] | None = field(default=None, repr=False, compare=False)


def bot_id_of(token: str) -> str:
    """The bot's id in ``token``, ``<id in base64>.<time>.<hmac>``; empty if it has another form."""
    first, *rest = token.strip().split(".")
    try:
        text = base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        return ""
    return text if _ID.fullmatch(text) and len(rest) == _PARTS_AFTER_ID else ""
