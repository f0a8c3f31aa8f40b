"""Simulated failures of REST, and of the edge: Cloudflare's network in front of Discord."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from botctl.core.errors import UsageError
from botctl.sandbox.incidents.catalogue import incident, inject_faults, until_stopped
from botctl.sandbox.model.api_error import RateLimited
from botctl.sandbox.model.faults import VIA, EdgeResponse, ResponseOverride, ban_page
from botctl.sandbox.sandbox import Sandbox

_SCOPES: dict[str, Literal["user", "shared", "global"]] = {"user": "user", "shared": "shared", "global": "global"}
_EDGE_HEADERS = {"Content-Type": "text/html; charset=UTF-8", "Via": VIA}
_ERROR_PAGE = "<html><head><title>{status} Server Error</title></head><body>Error: Server Error</body></html>"


@contextlib.contextmanager
def _override_responses(sandbox: Sandbox, override: ResponseOverride) -> Iterator[None]:
    sandbox.faults.overrides.append(override)
    try:
        yield
    finally:
        sandbox.faults.overrides.remove(override)


@incident("measured by operators; Discord's status page")
async def latency(sandbox: Sandbox, delay_s: float = 0.5, jitter_s: float = 0.5) -> None:
    """Delays every REST response and gateway frame by ``delay_s`` and up to ``jitter_s`` more, but keeps their order.

    An interaction's 3 s begin when Discord sends it, so the delay leaves the bot less time.
    """
    with inject_faults(sandbox, delay_s=delay_s, jitter_s=jitter_s):
        await until_stopped(sandbox)


@incident("Discord: Opcodes and Status Codes > HTTP: 500, 502 GATEWAY UNAVAILABLE")
async def http_5xx(sandbox: Sandbox, status: int = 502, chance: float = 1.0, path: str = "") -> None:
    """REST answers ``status`` with an HTML page, with probability ``chance``, if the path contains ``path``.

    Discord: 502 means that no gateway was available to process the request; wait a bit and retry. The page comes from
    Cloudflare, in front of Discord, so it has no JSON error code.
    """
    page = EdgeResponse(status, _ERROR_PAGE.format(status=status).encode(), _EDGE_HEADERS)
    with _override_responses(sandbox, ResponseOverride(lambda: page, chance, path)):
        await until_stopped(sandbox)


@incident("Discord: Rate Limits > Exceeding A Rate Limit; Invalid Request Limit")
async def too_many_requests(
    sandbox: Sandbox, scope: str = "user", retry_after_s: float = 1.0, chance: float = 1.0, path: str = ""
) -> None:
    """REST answers 429 (``scope`` user, shared or global) with probability ``chance``, if the path contains ``path``.

    Discord: wait ``retry_after``; a global limit stops every request of the bot. Each 429 that is not shared counts
    towards the 10,000 invalid requests in 10 minutes, after which the address is banned.
    """
    known_scope = _SCOPES.get(scope)
    if known_scope is None:
        raise UsageError(f"There is no scope “{scope}”.", hint=f"Scopes: {', '.join(_SCOPES)}.")
    with _override_responses(
        sandbox, ResponseOverride(lambda: RateLimited(retry_after_s, known_scope, {}), chance, path)
    ):
        await until_stopped(sandbox)


@incident("Discord: Rate Limits > Invalid Request Limit; Cloudflare error 1015")
async def cloudflare_ban(sandbox: Sandbox, retry_after_s: int = 3600) -> None:
    """Every request gets Cloudflare's page 1015: 429, HTML, no ``Via`` header. No request reaches Discord.

    The ban is for the IP address, so it hits every bot behind it. A retry does not end it sooner. Gateway connections
    stay open.
    """
    page = ban_page(retry_after_s)
    with _override_responses(sandbox, ResponseOverride(lambda: page)):
        await until_stopped(sandbox)


@incident("seen at slow proxies; RFC 9112: a body may come in any number of pieces")
async def slow_bodies(sandbox: Sandbox, over_s: float = 2.0) -> None:
    """Spreads the body of every REST response over ``over_s``: the status arrives at once, the JSON in pieces."""
    with inject_faults(sandbox, body_duration_s=over_s):
        await until_stopped(sandbox)


@incident("Discord: Rate Limits: X-RateLimit-Reset is Discord's clock; disnake's Client(assume_unsync_clock=)")
async def clock_skew(sandbox: Sandbox, ahead_s: float = 30.0) -> None:
    """Discord's clock is ``ahead_s`` ahead of the bot's in the headers (or behind, when negative).

    A bot that compares X-RateLimit-Reset with its own clock waits too long, or not at all. X-RateLimit-Reset-After is
    always right.
    """
    with inject_faults(sandbox, skew_s=ahead_s):
        await until_stopped(sandbox)
