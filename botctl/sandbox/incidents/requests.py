"""Incidents of REST, and of the way to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from botctl.core.errors import UsageError
from botctl.sandbox.incidents.catalogue import incident, troubled, until_stopped
from botctl.sandbox.model.api_error import RateLimited
from botctl.sandbox.model.faults import VIA, EdgeResponse, ResponseOverride, ban_page
from botctl.sandbox.server import Sandbox

_SCOPES: dict[str, Literal["user", "shared", "global"]] = {"user": "user", "shared": "shared", "global": "global"}
_FROM_THE_EDGE = {"Content-Type": "text/html; charset=UTF-8", "Via": VIA}
_BAD_GATEWAY = "<html><head><title>{status} Server Error</title></head><body>Error: Server Error</body></html>"


@contextlib.contextmanager
def _spoiling(sandbox: Sandbox, spoiled: ResponseOverride) -> Iterator[None]:
    sandbox.faults.overrides.append(spoiled)
    try:
        yield
    finally:
        sandbox.faults.overrides.remove(spoiled)


@incident("measured by operators; Discord's status page")
async def latency(sandbox: Sandbox, delay_s: float = 0.5, jitter_s: float = 0.5) -> None:
    """Every REST answer and gateway frame is late by ``delay_s`` and up to ``jitter_s`` more; their order stays.

    An interaction's 3 s begin when Discord sends it: what is late on the way is taken off the bot's time.
    """
    with troubled(sandbox, delay_s=delay_s, jitter_s=jitter_s):
        await until_stopped(sandbox)


@incident("Discord: Opcodes and Status Codes > HTTP: 500, 502 GATEWAY UNAVAILABLE")
async def http_5xx(sandbox: Sandbox, status: int = 502, chance: float = 1.0, path: str = "") -> None:
    """REST answers ``status`` with an HTML page, for the share ``chance`` of requests whose path contains ``path``.

    Discord: 502 means that no gateway was there to process the request; wait a bit and retry. The page comes from the
    edge, so no JSON error code is in it.
    """
    page = EdgeResponse(status, _BAD_GATEWAY.format(status=status).encode(), _FROM_THE_EDGE)
    with _spoiling(sandbox, ResponseOverride(lambda: page, chance, path)):
        await until_stopped(sandbox)


@incident("Discord: Rate Limits > Exceeding A Rate Limit; Invalid Request Limit")
async def too_many_requests(
    sandbox: Sandbox, scope: str = "user", retry_after_s: float = 1.0, chance: float = 1.0, path: str = ""
) -> None:
    """REST answers 429 with ``scope`` user, shared or global, for the share ``chance`` of paths that contain ``path``.

    Discord: wait ``retry_after``; a global one stops every request of the bot. All but shared ones count towards the
    10,000 invalid requests, after which the address is banned.
    """
    known = _SCOPES.get(scope)
    if known is None:
        raise UsageError(f"There is no scope “{scope}”.", hint=f"Scopes: {', '.join(_SCOPES)}.")
    with _spoiling(sandbox, ResponseOverride(lambda: RateLimited(retry_after_s, known, {}), chance, path)):
        await until_stopped(sandbox)


@incident("Discord: Rate Limits > Invalid Request Limit; Cloudflare error 1015")
async def cloudflare_ban(sandbox: Sandbox, retry_after_s: int = 3600) -> None:
    """Every request meets Cloudflare's page 1015: 429, HTML, no ``Via`` header. Discord itself is never reached.

    The address is banned, not the token: each bot behind it is. Asking again does not end it sooner. The gateway's
    connections live.
    """
    page = ban_page(retry_after_s)
    with _spoiling(sandbox, ResponseOverride(lambda: page)):
        await until_stopped(sandbox)


@incident("seen at slow proxies; RFC 9112: a body may come in any number of pieces")
async def slow_bodies(sandbox: Sandbox, over_s: float = 2.0) -> None:
    """The body of every REST answer is spread over ``over_s``: the status is there at once, the JSON is not."""
    with troubled(sandbox, drip_s=over_s):
        await until_stopped(sandbox)


@incident("Discord: Rate Limits: X-RateLimit-Reset is Discord's clock; disnake's Client(assume_unsync_clock=)")
async def clock_skew(sandbox: Sandbox, ahead_s: float = 30.0) -> None:
    """Discord's clock is ``ahead_s`` ahead of the bot's (or behind, when negative), as the headers show.

    Who computes a wait from X-RateLimit-Reset and the own clock waits too long, or not at all; X-RateLimit-Reset-After
    is right whatever the clocks say.
    """
    with troubled(sandbox, skew_s=ahead_s):
        await until_stopped(sandbox)
