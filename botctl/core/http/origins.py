"""Which Host and Origin a request may have. Pure functions: no I/O.

A page of another site that resolves its own name to this server's address (DNS rebinding) sends that name as Host. A
page of another site that connects to this server (cross-site WebSocket hijacking) sends its own Origin. Programs send
no Origin.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from ipaddress import ip_address
from typing import Final

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]?#,]+)(?::(?P<port>\d{1,5}))?", re.ASCII)
_MAX_SHOWN: Final = 100


def host_fault(
    hosts: Sequence[str], allowed: Collection[str], *, advice: str = "add that name to realtime.hosts if it is"
) -> str | None:
    """Return what is wrong with the Host header (all its values), or None. ``advice``: how to allow its name.

    Allowed are addresses, ``localhost``, and the names in ``allowed`` (lower case). A request without Host is allowed:
    a browser always sends one.
    """
    if not hosts:
        return None
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None:
        return "the Host header is not one host name or address"
    name = _normalized(match["name"])
    if _is_address(name) or name == "localhost" or name in allowed:
        return None
    return f"the server is not called {name[:_MAX_SHOWN]!r}: {advice}"


def origin_fault(origins: Sequence[str], hosts: Sequence[str], allowed: Collection[str]) -> str | None:
    """Return what is wrong with the Origin header (all its values), or None.

    Allowed are no Origin, that of the Host itself, and those in ``allowed`` (lower case, ``https://app.example``).
    """
    if not origins:
        return None
    origin = origins[0].lower() if len(origins) == 1 else ""
    if origin in allowed or (_host_and_port(origin) is not None and _is_same_host(origin, hosts)):
        return None
    return f"pages of {origins[0][:_MAX_SHOWN]!r} may not connect: add that origin to realtime.origins if they should"


def _is_same_host(origin: str, hosts: Sequence[str]) -> bool:
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None:
        return False
    default = _DEFAULT_PORTS[origin.partition(":")[0]]  # of the Host too: behind TLS, only the Origin tells the scheme
    return _host_and_port(origin) == (_normalized(match["name"]), int(match["port"] or default))


def _host_and_port(origin: str) -> tuple[str, int] | None:
    scheme, separator, rest = origin.partition("://")
    match = _HOST.fullmatch(rest)
    if not separator or scheme not in _DEFAULT_PORTS or match is None:
        return None
    return _normalized(match["name"]), int(match["port"] or _DEFAULT_PORTS[scheme])


def _normalized(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
