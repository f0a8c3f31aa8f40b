"""The address of a client behind reverse proxies. Pure functions: no I/O.

Anyone can send ``X-Forwarded-For`` and ``Forwarded`` (RFC 7239). They count only from a peer that the settings trust,
and of their list only what trusted proxies have written: the rightmost address that is not a trusted proxy itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

FORWARDED_FOR: Final = "X-Forwarded-For"
FORWARDED: Final = "Forwarded"
_FORWARDED_PREFIX: Final = "x-forwarded-"
_PROXY_HEADERS: Final = frozenset({"forwarded", "via", "x-real-ip"})  # and those with the prefix
_MAX_HOPS: Final = 20
_PAIR: Final = re.compile(r'\s*([\w!#$%&\'*+.^`|~-]+)=(?:([\w!#$%&\'*+.^`|~:\[\]-]+)|"([^"\\]*)")\s*', re.ASCII)


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Parse addresses and networks. Raises ValueError, with a sentence."""
    return tuple(_parse_network(text) for text in texts)


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Whether ``address`` is that of a proxy of the settings."""
    ip = _parse_address(address)
    return ip is not None and any(ip in network for network in trusted)


def has_proxy_headers(names: Iterable[str]) -> bool:
    """Whether a request with headers of these ``names`` has passed a proxy that says so."""
    return any(name.lower().startswith(_FORWARDED_PREFIX) or name.lower() in _PROXY_HEADERS for name in names)


def client_address(peer: str, get_all: Callable[[str], Sequence[str]], trusted: Sequence[Network]) -> str:
    """Return the address of the client that the connection of ``peer`` serves; ``peer`` if that is not certain.

    ``get_all``: returns all values of a header, by its name.
    It is not certain where the headers contradict each other: then the client has written one of them.
    """
    if not is_trusted(peer, trusted):
        return peer
    lists = []
    if values := get_all(FORWARDED_FOR):
        lists.append([part.strip() for part in ",".join(values).split(",")])
    if values := get_all(FORWARDED):
        lists.append(list(_forwarded_for(",".join(values))))
    found = {_rightmost_client(hops, trusted) for hops in lists}
    address = found.pop() if len(found) == 1 else None
    return peer if address is None else str(address)


def _rightmost_client(hops: Sequence[str], trusted: Sequence[Network]) -> IPv4Address | IPv6Address | None:
    """The rightmost of ``hops`` that is not trusted; None if there is none, or something else comes before it."""
    for hop in hops[: -_MAX_HOPS - 1 : -1]:
        ip = _parse_address(_without_port(hop))
        if ip is None or not any(ip in network for network in trusted):
            return ip
    return None


def _forwarded_for(text: str) -> Iterator[str]:
    """The ``for`` of each element of a Forwarded header; an empty text for one that is not well formed."""
    for element in text.split(","):
        matches = [_PAIR.fullmatch(pair) for pair in element.split(";")]
        values = [m[2] or m[3] or "" for m in matches if m is not None and m[1].lower() == "for"]
        yield values[0] if len(values) == 1 and all(matches) else ""


def _without_port(node: str) -> str:
    """``node`` without brackets and port: ``[2001:db8::1]:80`` and ``192.0.2.1:80``."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _parse_network(text: str) -> Network:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not an address or a network, like 192.0.2.1 or 10.0.0.0/8") from None
