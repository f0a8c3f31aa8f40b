"""The registry under random faults: whatever happens, what was started is stopped, dependents first, once."""

import asyncio
import logging
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import looptime
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from botctl.core.errors import ServiceFailed
from botctl.core.services.registry import Backoff, Registry, ServiceState, ServiceStatus
from botctl.core.services.service import GRACE_S
from tests.support.services import Journal, LoopClock, nothing, raises, service, sleeps, unresponsive

KEYS = [type(f"S{i}", (), {}) for i in range(7)]
NAMES = [key.__name__ for key in KEYS]
LIMIT_S = 4  # of every start and every stop
LONGEST_BODY_S = 8


@dataclass(frozen=True)
class Node:
    """How a service behaves. A step is ``ok``, ``fails``, ``hangs``, ``unresponsive`` or the seconds that it takes."""

    needs: frozenset[int] = frozenset()
    start: str | float = "ok"
    stop: str | float = "ok"
    work: tuple[float, str] | None = None  # its task ends after so many seconds: ``returns``, ``raises``, ``flaky``


@dataclass(frozen=True)
class Scenario:
    nodes: tuple[Node, ...]
    wanted: frozenset[int] = frozenset()
    body: str = "returns"  # ``returns`` or ``raises`` after ``body_s``, or ``waits`` for a failure so long
    body_s: float = 1
    cancels: tuple[float, ...] = ()
    hurry: float | None = None


@dataclass
class Run:
    """What came of a scenario. ``lines`` are those before the unresponsive services are released."""

    result: BaseException | None
    lines: list[str]
    statuses: dict[str, ServiceStatus]
    journal: Journal
    took_s: float
    leftover: list[str]


def steps(release):
    def step(what, error):
        fixed = {"ok": nothing, "fails": raises(error), "hangs": sleeps(10**6), "unresponsive": unresponsive(release)}
        return fixed[what] if isinstance(what, str) else sleeps(what)

    return step


def work_of(node, step):
    if node.work is None:
        return {}
    seconds, how = node.work

    async def work():
        await asyncio.sleep(seconds)
        if how != "returns":
            raise OSError("work")

    return {"work": work, "restart": Backoff(first_s=0.5) if how == "flaky" else None}


def assemble(scenario, journal, release):
    registry = Registry(publish=journal.publish, clock=LoopClock(), random=Random(1))
    step = steps(release)
    for key, node in reversed([*zip(KEYS, scenario.nodes, strict=False)]):
        factory = service(
            key,
            *(KEYS[i] for i in sorted(node.needs)),
            journal=journal,
            start=step(node.start, OSError("start")),
            stop=step(node.stop, OSError("stop")),
            **work_of(node, step),
        )
        registry.add(factory, start_s=LIMIT_S, stop_s=LIMIT_S)
    return registry


async def run(scenario):
    journal, release, held = Journal(), asyncio.Event(), []
    registry = assemble(scenario, journal, release)
    loop = asyncio.get_running_loop()

    async def opener():
        async with registry.open(*(KEYS[i] for i in sorted(scenario.wanted))) as running:
            held.append(running)
            if scenario.body == "waits":
                async with asyncio.timeout(scenario.body_s):
                    await running.wait()
            await asyncio.sleep(scenario.body_s)
            if scenario.body == "raises":
                raise KeyError("body")

    task = asyncio.create_task(opener())
    for at in scenario.cancels:
        loop.call_at(at, task.cancel)
    if scenario.hurry is not None:
        loop.call_at(scenario.hurry, lambda: [running.expedite() for running in held])
    await asyncio.wait({task}, timeout=10_000)
    took_s, lines = loop.time(), list(journal.lines)
    assert task.done(), "it did not come to an end"
    await asyncio.sleep(0.01)
    leftover = [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    result = asyncio.CancelledError() if task.cancelled() else task.exception()
    statuses = {s.name: s for running in held for s in running.statuses()}
    release.set()
    await asyncio.sleep(1)
    return Run(result, lines, statuses, journal, took_s, leftover)


def play(scenario):
    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=0)) as runner:
        return runner.run(run(scenario))


def closure(scenario):
    todo = list(scenario.wanted or range(len(scenario.nodes)))
    for i in todo:
        todo.extend(scenario.nodes[i].needs - set(todo))
    return set(todo)


def abandoned(run):
    """Names of the services that were given up, as their events tell."""
    return {e.service for e in run.journal.events if e.new == "failed" and "abandoned" in e.detail}


def check_stopped_once(scenario, run):
    for name in NAMES:
        begun = run.lines.count(f"begin {name}")
        assert begun <= 1
        assert run.lines.count(f"leave {name}") == begun or name in abandoned(run)
        assert run.lines.count(f"left {name}") == begun or name in abandoned(run)
        assert run.lines.count(f"work {name}") == run.lines.count(f"rest {name}") or name in abandoned(run)


def check_abandoned_only_if_unresponsive(scenario, run):
    for name in abandoned(run):
        node = scenario.nodes[NAMES.index(name)]
        assert "unresponsive" in (node.start, node.stop)


def check_order(scenario, run):
    where = {line: i for i, line in enumerate(run.lines)}  # the last of each
    for i, node in enumerate(scenario.nodes):
        for need in node.needs:
            if f"begin S{i}" in where:
                assert where[f"ready S{need}"] < where[f"begin S{i}"]
            if f"leave S{need}" in where and NAMES[i] not in abandoned(run):
                assert where.get(f"left S{i}", -1) < where[f"leave S{need}"]
                assert where.get(f"rest S{i}", -1) < where[f"leave S{need}"]


def check_only_what_is_wanted(scenario, run):
    begun = {line.split()[1] for line in run.lines if line.startswith("begin")}
    assert begun <= {NAMES[i] for i in closure(scenario)}


def check_nothing_starts_after_a_failure(scenario, run):
    news = [e.new for e in run.journal.events]
    if "failed" in news:
        assert "starting" not in news[news.index("failed") :]


def check_events(scenario, run):
    for name in NAMES:
        told = [e for e in run.journal.events if e.service == name]
        assert all(before.new == after.old for before, after in pairwise(told))
        assert [e.old for e in told[:1]] in ([], ["idle"])
        assert [e.new for e in told[-1:]] in ([], ["stopped"], ["failed"])
        if name in run.statuses:
            last = told[-1]
            assert (run.statuses[name].state, run.statuses[name].detail) == (last.new, last.detail)


def check_bounded(scenario, run):
    depth = len(scenario.nodes)
    longest = depth * LIMIT_S + LONGEST_BODY_S * 2 + depth * (LIMIT_S + GRACE_S)
    assert run.took_s <= longest + 0.001
    assert {name.removeprefix("service ").removesuffix("/work") for name in run.leftover} <= abandoned(run)


def check_result(scenario, run):
    parts = [scenario.nodes[i] for i in closure(scenario)]
    start_faults = [n for n in parts if n.start in ("fails", "hangs", "unresponsive")]
    deaths = [n for n in parts if n.work is not None and n.work[1] != "flaky"]
    too_close = [n for n in parts if n.start == LIMIT_S]  # it may be in time or not
    if isinstance(run.result, ServiceFailed):
        assert start_faults or deaths or too_close
    elif isinstance(run.result, asyncio.CancelledError):
        assert any(at <= run.took_s for at in scenario.cancels)
    elif isinstance(run.result, KeyError):
        assert scenario.body == "raises"
    elif isinstance(run.result, TimeoutError):
        assert scenario.body == "waits"
    else:
        assert run.result is None
        assert not start_faults
    if start_faults and not scenario.cancels:
        assert isinstance(run.result, ServiceFailed)
    if scenario.cancels and not start_faults and not deaths and not too_close and scenario.body == "returns":
        assert isinstance(run.result, asyncio.CancelledError) == (scenario.cancels[0] <= run.took_s)


def check_faultless_is_clean(scenario, run):
    parts = [scenario.nodes[i] for i in closure(scenario)]
    if all(n.stop not in ("fails", "hangs", "unresponsive", LIMIT_S) for n in parts) and scenario.hurry is None:
        for status in run.statuses.values():
            if status.state is not ServiceState.FAILED:
                assert (status.state, status.detail) == (ServiceState.STOPPED, "")


CHECKS = [
    check_stopped_once,
    check_abandoned_only_if_unresponsive,
    check_order,
    check_only_what_is_wanted,
    check_nothing_starts_after_a_failure,
    check_events,
    check_bounded,
    check_result,
    check_faultless_is_clean,
]

# Whole and half seconds, so that things happen in the same moment often.
moments = st.integers(0, 16).map(lambda n: n / 2)
behaviour = st.one_of(st.just("ok"), st.just("ok"), st.sampled_from([0.5, 1, 3, LIMIT_S]))
stops = st.one_of(behaviour, behaviour, st.sampled_from(["fails", "hangs", "unresponsive"]))
starts = st.one_of(behaviour, behaviour, behaviour, st.sampled_from(["fails", "hangs", "unresponsive"]))
works = st.none() | st.none() | st.tuples(moments, st.sampled_from(["returns", "raises", "flaky"]))


@st.composite
def scenarios(draw):
    nodes = []
    for i in range(draw(st.integers(1, len(KEYS)))):
        needs = draw(st.frozensets(st.integers(0, i - 1), max_size=3)) if i else frozenset()
        nodes.append(Node(needs, draw(starts), draw(stops), draw(works)))
    return Scenario(
        nodes=tuple(nodes),
        wanted=draw(st.just(frozenset()) | st.frozensets(st.integers(0, len(nodes) - 1), max_size=3)),
        body=draw(st.sampled_from(["returns", "raises", "waits"])),
        body_s=draw(st.sampled_from([0, 1, LONGEST_BODY_S])),
        cancels=tuple(sorted(draw(st.just([]) | st.lists(moments, max_size=3)))),
        hurry=draw(st.none() | moments),
    )


CHAIN = (Node(), Node(frozenset({0})), Node(frozenset({1})))


@example(Scenario(CHAIN))
@example(Scenario(CHAIN, cancels=(0, 0)))
@example(Scenario((Node(stop="unresponsive"), Node(frozenset({0}), stop="unresponsive")), cancels=(0.5, 1.5), hurry=3))
@given(scenarios())
@settings(max_examples=200)
def test_all_started_services_are_stopped_once_in_order(scenario):
    logging.disable(logging.CRITICAL)
    try:
        outcome = play(scenario)
    finally:
        logging.disable(logging.NOTSET)
    event(f"result {type(outcome.result).__name__}")
    event(f"abandoned {bool(abandoned(outcome))}")
    for check in CHECKS:
        check(scenario, outcome)


@pytest.mark.soak
@given(scenarios())
@settings(max_examples=20_000)
def test_all_started_services_are_stopped_once_in_long_run(scenario):
    test_all_started_services_are_stopped_once_in_order.hypothesis.inner_test(scenario)
