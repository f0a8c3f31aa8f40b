"""The checks of an HTTP request, before it gets a page or becomes a WebSocket connection."""

from __future__ import annotations

import http
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from websockets.http11 import Request, Response

from botctl.core.contracts.throttle import Scope, address_subject
from botctl.core.http.origins import host_fault, origin_fault
from botctl.core.http.proxies import Network, client_address, has_proxy_headers
from botctl.core.http.rate_limit_headers import throttled_headers, too_many_headers
from botctl.realtime.connections import ConnectionRegistry
from botctl.realtime.http import PATH, StatusPages, refuse, too_many_requests
from botctl.realtime.limits import PolicyLimiter
from botctl.realtime.page_access import PageAccess, PageReader
from botctl.realtime.socket import Socket

_RETRY_S: Final = 10  # when to try again after too many connections at once


@dataclass(frozen=True, slots=True)
class GateRules:
    """What the settings allow: names of the server and origins of pages in lower case, and proxies.

    ``own_page``: the origin of the bot's own web page, if it runs; asked for when an origin is not among the others.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    proxies: Sequence[Network]
    own_page: Callable[[], str | None] = lambda: None


class Gate:
    """Answers requests, or lets them become WebSocket connections."""

    def __init__(
        self,
        rules: GateRules,
        pages: StatusPages,
        access: PageAccess,
        connections: ConnectionRegistry,
        connects: PolicyLimiter,
    ) -> None:
        self._rules = rules
        self._pages = pages
        self._access = access
        self._connections = connections
        self._connects = connects

    async def respond(self, client: Socket, request: Request) -> Response | None:
        """Return the response to ``request``; None if it becomes a WebSocket connection."""
        if (fault := self._fault(request)) is not None:
            self._connections.count_rejected()
            return fault
        address = client_address(client.address, request.headers.get_all, self._rules.proxies)
        if address != client.address and not self._connections.move(client, address):
            return self._too_many()
        if request.path.partition("?")[0] != PATH:
            return await self._pages.respond(request, self._reader(client, request))
        return await self._refuse_connect(client)

    def _fault(self, request: Request) -> Response | None:
        """Refuse a Host or Origin that the settings do not allow."""
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if fault := host_fault(hosts, self._rules.hosts):
            return refuse(http.HTTPStatus.MISDIRECTED_REQUEST, fault)
        fault = origin_fault(origins, hosts, self._rules.origins)
        if fault and origins != [self._rules.own_page()]:
            return refuse(http.HTTPStatus.FORBIDDEN, fault)
        return None

    def _reader(self, client: Socket, request: Request) -> PageReader:
        is_local = _is_loopback(client.address) and not has_proxy_headers(request.headers)
        return PageReader(self._access, client.address, is_local, request.headers.get_all("Authorization"))

    async def _refuse_connect(self, client: Socket) -> Response | None:
        """Refuse a connection over a limit. Requests for the WebSocket are counted, not those for pages.

        So clients do not lock out a probe that requests pages.
        """
        if self._connections.exceeds_address_limit(client):
            return self._too_many()
        verdict = await self._connects.check({Scope.ADDRESS: address_subject(client.address)})
        if verdict.allowed:
            return None
        self._connections.count_rejected()
        limits = self._connects.limits
        return too_many_requests(throttled_headers(self._connects.policy, limits, verdict.limit, verdict.retry_after_s))

    def _too_many(self) -> Response:
        self._connections.count_rejected()
        return too_many_requests(
            too_many_headers("realtime.connections", self._connections.connection_limits.per_address, _RETRY_S)
        )


def _is_loopback(address: str) -> bool:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
