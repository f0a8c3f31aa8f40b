"""Which sockets are accepted, before anything is read from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from botctl.core.contracts.throttle import API_SCOPES, parse
from botctl.core.http.proxies import parse_networks
from botctl.realtime.admission import ConnectionLimits, SocketAdmission, sockets_refill
from botctl.realtime.budgets import BEFORE_KEY, Refill
from botctl.realtime.descriptors import RESERVE, needed_descriptors, usable_connections


@dataclass
class Rig:
    """An admission whose clock stands at ``now_s``."""

    limits: ConnectionLimits = field(default_factory=lambda: ConnectionLimits(1000, 1000, 100))
    sockets: Refill = field(default_factory=lambda: Refill(1, 10_000))
    now_s: float = 0.0
    with_key: int = 0

    def admission(self) -> SocketAdmission:
        return SocketAdmission(
            self.limits,
            self.sockets,
            BEFORE_KEY,
            proxies=parse_networks(["10.0.0.1"]),
            time_s=lambda: self.now_s,
            with_key=lambda: self.with_key,
        )


def test_sockets_of_one_address_are_limited() -> None:
    admission = Rig().admission()
    assert [admission.accept("192.0.2.1") for _ in range(111)] == [True] * 110 + [False]
    assert admission.accept("192.0.2.2")
    admission.release("192.0.2.1")
    assert admission.accept("192.0.2.1")
    assert admission.refused == 1


def test_addresses_of_one_ipv6_network_are_one_address() -> None:
    admission = Rig().admission()
    assert sum(admission.accept(f"2001:db8::{number:x}") for number in range(200)) == 110
    assert admission.accept("2001:db8:0:1::1")


def test_sockets_that_come_and_go_are_limited_too() -> None:
    rig = Rig(sockets=Refill(1, 5))
    admission = rig.admission()

    def come_and_go() -> bool:
        accepted = admission.accept("192.0.2.1")
        if accepted:
            admission.release("192.0.2.1")
        return accepted

    assert [come_and_go() for _ in range(7)] == [True] * 5 + [False] * 2
    rig.now_s = 2.0
    assert [come_and_go() for _ in range(3)] == [True] * 2 + [False]
    assert admission.open == 0


def test_half_of_the_connections_is_for_clients_with_a_key() -> None:
    rig = Rig()
    admission = rig.admission()
    assert sum(admission.accept(f"192.0.2.{number % 100}") for number in range(900)) == 500
    rig.with_key = 300
    assert sum(admission.accept(f"198.51.100.{number % 100}") for number in range(900)) == 300
    rig.with_key = 800
    assert sum(admission.accept(f"203.0.113.{number % 100}") for number in range(900)) == 200
    assert admission.open == 1000


def test_trusted_proxy_has_no_limits_of_its_own() -> None:
    admission = Rig(sockets=Refill(1, 5)).admission()
    assert sum(admission.accept("10.0.0.1") for _ in range(900)) == 500
    for _ in range(500):
        admission.release("10.0.0.1")
    assert admission.open == 0
    assert admission._by_address == {}


@pytest.mark.parametrize("throttle", ["300/1m per address", "1/1h per address", "", "5000/1s per address"])
def test_throttled_address_may_open_sockets_for_an_answer(throttle: str) -> None:
    limits = parse(throttle, scopes=API_SCOPES)
    refill = sockets_refill(limits)
    assert refill.burst >= 500
    assert all(refill.per_s >= 2 * limit.count / limit.period_s for limit in limits)


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 4096, 65_536, 10**9])
@pytest.mark.parametrize("wanted", [1, 50, 2000, 100_000])
def test_connections_leave_file_descriptors_to_the_process(wanted: int, descriptors: int) -> None:
    usable = usable_connections(wanted, descriptors)
    assert 1 <= usable <= wanted
    if descriptors > RESERVE:
        assert descriptors - usable >= max(RESERVE, descriptors // 4)
    assert usable_connections(wanted, needed_descriptors(wanted)) == wanted
