"""An outage: one warning, degraded until it is over, tries ever further apart."""

import asyncio
import logging
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.service_state import ServiceState
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks

EXACT = Backoff(first_s=1, factor=2, limit_s=8, jitter=0)
_log = logging.getLogger("botctl.tests.outage")


class Watcher:
    """Notes the states of the service."""

    def __init__(self):
        self.tasks = Tasks("relay", observer=self, random=Random(1))
        self.heard = []

    def on_tasks_changed(self):
        self.heard.append((self.tasks.state, self.tasks.detail))

    def on_task_failed(self, what, error):
        raise AssertionError(what)


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def outage(watcher):
    return Outage(watcher.tasks, _log, EXACT)


def now():
    return asyncio.get_running_loop().time()


async def test_outage_is_logged_once_and_degrades_the_service(outage, watcher, caplog):
    outage.begin("events wait: Redis failed (ConnectionError)")
    outage.begin("events wait: Redis failed (TimeoutError)")
    assert outage.active
    assert [(r.levelname, r.name, r.message) for r in caplog.records] == [
        ("WARNING", _log.name, "events wait: Redis failed (ConnectionError)")
    ]
    outage.end()
    assert not outage.active
    assert watcher.heard == [
        (ServiceState.DEGRADED, "events wait: Redis failed (ConnectionError)"),
        (ServiceState.READY, ""),
    ]


async def test_end_without_outage_has_no_effect(outage, watcher):
    outage.end()
    outage.end()
    assert watcher.heard == []


async def test_detail_is_not_a_format_string(outage, caplog):
    outage.begin("100 %s of {}")
    assert [record.getMessage() for record in caplog.records] == ["100 %s of {}"]


async def test_outage_can_be_logged_at_another_level(watcher, caplog):
    outage = Outage(watcher.tasks, _log, level=logging.DEBUG)
    with caplog.at_level(logging.DEBUG, _log.name):
        outage.begin("Redis does not answer")
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert watcher.tasks.state is ServiceState.DEGRADED


@pytest.mark.looptime
async def test_pauses_grow_and_restart_with_next_outage(outage):
    for _ in range(5):
        await outage.begin_and_pause("no answer")
    assert now() == 1 + 2 + 4 + 8 + 8
    outage.end()
    began = now()
    await outage.begin_and_pause("no answer again")
    assert now() - began == 1


@pytest.mark.looptime
async def test_pauses_without_begin_also_restart_at_end(outage, watcher):
    await outage.pause()
    await outage.pause()
    outage.end()
    await outage.pause()
    assert now() == 1 + 2 + 1
    assert watcher.heard == []


@pytest.mark.looptime
async def test_wait_begun_returns_for_each_outage(outage):
    heard = []

    async def listen():
        while True:
            await outage.wait_begun()
            heard.append(now())
            outage.end()

    listening = asyncio.create_task(listen())
    for _ in range(2):
        await asyncio.sleep(5)
        outage.begin("no answer")
    await asyncio.sleep(1)
    listening.cancel()
    assert heard == [5, 10]


@given(st.lists(st.booleans()))
def test_consecutive_failures_are_one_outage(rounds):
    watcher, lines = Watcher(), []
    log = SimpleNamespace(log=lambda _level, line: lines.append(line))
    outage = Outage(watcher.tasks, log)
    began = []
    for n, well in enumerate(rounds):
        if well:
            outage.end()
        else:
            if not outage.active:
                began.append(f"failure {n}")
            outage.begin(f"failure {n}")
        assert outage.active is not well
        assert (watcher.tasks.state, watcher.tasks.detail) == (
            (ServiceState.READY, "") if well else (ServiceState.DEGRADED, began[-1])
        )
    firsts = [f"failure {n}" for n, well in enumerate(rounds) if not well and (n == 0 or rounds[n - 1])]
    assert lines == began == firsts
    assert len(watcher.heard) == len(firsts) + sum(1 for a, b in pairwise(rounds) if b and not a)


async def test_timeout_during_own_lag_begins_no_outage(outage, watcher, caplog, own_lag):
    """The next one does, and names the lag."""
    outage.begin("Redis failed (1)", TimeoutError())
    assert not outage.active
    assert watcher.heard == []
    assert caplog.records == []
    outage.begin("Redis failed (2)", TimeoutError())
    assert [record.getMessage() for record in caplog.records] == ["Redis failed (2)"]
    outage.end()
    outage.begin("Redis failed (3)", TimeoutError())
    assert not outage.active


async def test_refused_connection_during_own_lag_is_an_outage(outage, own_lag):
    outage.begin("Redis failed", ConnectionRefusedError())
    assert outage.active
