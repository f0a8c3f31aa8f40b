"""The few requests to Discord that signing in needs: who someone is, and which roles they have in a guild.

Each takes a bounded time, and waits as Discord says after 429.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import aiohttp

from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.errors import ConfigError, Unreachable
from botctl.core.escape import without_surrogates
from botctl.core.version import __version__
from botctl.web.oauth import OAuthApplication, parse_token, revocation_body, token_body

LIMIT_S: Final = 8.0
"""How long one of these questions may take, with its repetitions."""
GUILDS_PER_PAGE: Final = 200
_DISCORD: Final = "https://discord.com"
_API: Final = "/api/v10"
_AGENT: Final = f"DiscordBot (https://github.com/botctl/botctl, {__version__})"
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_SERVER_ERROR: Final = 500
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)
_MAX_NAME: Final = 64  # Discord: 32
_UNAUTHORIZED: Final = 401
_NOT_THERE: Final = (403, 404)  # the person, or the bot itself
_log = logging.getLogger(__name__)


class DiscordUser(NamedTuple):
    """A Discord user."""

    id: str
    name: str


class _Answer(NamedTuple):
    status: int
    text: str

    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise Unreachable("Discord's answer cannot be read.") from error


class DiscordApi:
    """Discord, or the sandbox, as ``access`` says. Every method raises Unreachable if it does not answer in time."""

    def __init__(self, http: aiohttp.ClientSession, access: DiscordAccess) -> None:
        self.origin = access.base_url or _DISCORD
        self._http = http
        self._token, self._reread = access.token, access.reread
        self._refused: str | None = None  # the token that Discord refuses: asking with it counts towards a ban

    @property
    def consent_page(self) -> str:
        return f"{self.origin}/oauth2/authorize"

    async def identify(self, application: OAuthApplication, code: str, verifier: str) -> DiscordUser:
        """Who has given ``code``. Discord's token is revoked before this returns, and kept nowhere.

        Raises OAuthRefused if Discord does not accept the code.
        """
        async with self._bounded():
            answer = await self._send("POST", "/oauth2/token", _FORM, token_body(application, code, verifier))
            token = _parse_token(application, answer)
            try:
                answer = await self._send("GET", "/users/@me", {"Authorization": f"Bearer {token}"})
            finally:
                await self._revoke(application, token)
            user = _require_ok(answer)
            name = str(user.get("username") or user["id"])  # the one that commands are audited with, and unique
            return DiscordUser(str(user["id"]), without_surrogates(name)[:_MAX_NAME])

    async def member_roles(self, guild: str, user: str) -> frozenset[str]:
        """The ids of the roles that ``user`` has in ``guild``; none if they are not in it, or the bot is not."""
        async with self._bounded():
            answer = await self._ask_as_bot(f"/guilds/{guild}/members/{user}")
            return frozenset() if answer.status in _NOT_THERE else frozenset(map(str, _require_ok(answer)["roles"]))

    async def guilds(self) -> list[str]:
        """The first `GUILDS_PER_PAGE` guilds of the bot."""
        async with self._bounded():
            answer = await self._ask_as_bot(f"/users/@me/guilds?limit={GUILDS_PER_PAGE}")
            return [str(guild["id"]) for guild in _require_ok(answer)]

    async def guild_roles(self, guild: str) -> frozenset[str]:
        """The ids of the roles that ``guild`` has."""
        async with self._bounded():
            answer = await self._ask_as_bot(f"/guilds/{guild}/roles")
            return frozenset() if answer.status in _NOT_THERE else frozenset(str(r["id"]) for r in _require_ok(answer))

    async def _ask_as_bot(self, path: str) -> _Answer:
        """Ask with the bot's token; if it is refused, once more with the one that the settings have by then."""
        for _ in range(2):
            if self._token == self._refused and not self._has_other_token():
                break
            answer = await self._send("GET", path, {"Authorization": f"Bot {self._token}"})
            if answer.status != _UNAUTHORIZED:
                return answer
            self._refused = self._token
        raise Unreachable("Discord refuses the bot's token.")

    def _has_other_token(self) -> bool:
        """Take the token that the settings have now, if it is not the refused one."""
        try:
            found = self._reread().token if self._reread is not None else None
        except ConfigError:
            found = None
        if found is None or found.strip() == self._refused:
            return False
        self._token = found.strip()
        return True

    async def _revoke(self, application: OAuthApplication, token: str) -> None:
        """Revoke ``token``. If that fails, the sign-in goes on: the token can only tell a name, and no one keeps it."""
        try:
            answer = await self._send("POST", "/oauth2/token/revoke", _FORM, revocation_body(application, token))
            _require_ok(answer)
        except Unreachable as error:
            _log.warning("a token of a sign-in could not be revoked at Discord; it ends by itself: %s", error)

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: str | None = None) -> _Answer:
        """Send a request, again after 429. The caller limits the time."""
        while True:
            headers = {**headers, "User-Agent": _AGENT}
            url = f"{self.origin}{_API}{path}"
            async with self._http.request(method, url, headers=headers, data=body, allow_redirects=False) as response:
                answer = _Answer(response.status, await response.text(errors="replace"))
            if answer.status != 429:  # noqa: PLR2004
                return answer
            await asyncio.sleep(_wait_s(response.headers.get("Retry-After", "")))

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(LIMIT_S):
                yield
        except TimeoutError as error:
            raise Unreachable(f"Discord did not answer within {LIMIT_S:g} s.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"Discord cannot be reached ({type(error).__name__}).") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise Unreachable("Discord's answer has an unknown form.") from error


def _parse_token(application: OAuthApplication, answer: _Answer) -> str:
    if answer.status >= _SERVER_ERROR:
        raise Unreachable(f"Discord answered with status {answer.status}.")
    if answer.status == _UNAUTHORIZED:
        _log.warning("Discord refuses auth.client_id and auth.client_secret, so no one can sign in")
    return parse_token(application, answer.text)


def _require_ok(answer: _Answer) -> Any:
    if not 200 <= answer.status < 300:  # noqa: PLR2004
        raise Unreachable(f"Discord answered with status {answer.status}.")
    return answer.json()


def _wait_s(retry_after: str) -> float:
    """The seconds in a Retry-After header; one if it has none."""
    return min(float(retry_after), LIMIT_S) if _SECONDS.fullmatch(retry_after) else 1.0
