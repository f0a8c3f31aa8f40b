"""Services that run: order, limits, failures, supervision, health, look-up. All in virtual time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Optional

import pytest

from botctl.core.contracts.protocols import StatusSource
from botctl.core.errors import DeadToken, ExitCode, MissingNeed, ServiceFailed, ServiceTimeout, Unreachable
from botctl.core.services.registry import Backoff, Registry, ServiceHealth, Services, ServiceState, Tasks
from botctl.core.services.service import EXPEDITED_S, GRACE_S
from tests.support.clock import Standstill
from tests.support.services import Journal, LoopClock, raises, service, sleeps, unresponsive

pytestmark = pytest.mark.looptime


class A: ...


class B: ...


class C: ...


class D: ...


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def registry(journal):
    return Registry(publish=journal.publish, clock=LoopClock(), random=Random(1))


def now():
    return asyncio.get_running_loop().time()


def states(running):
    return {status.name: status.state for status in running.statuses()}


def details(running):
    return {status.name: status.detail for status in running.statuses()}


def hangs():
    return sleeps(10**6)


class TestOrder:
    async def test_dependencies_start_first_and_stop_last(self, registry, journal):
        registry.add(service(C, B, A, journal=journal))
        registry.add(service(B, A, journal=journal))
        registry.add(service(A, journal=journal))
        async with registry.open() as running:
            assert isinstance(running.get(C), C)
        assert journal.of("ready", "leave") == [
            *("ready A", "ready B", "ready C"),
            *("leave C", "leave B", "leave A"),
        ]

    async def test_service_gets_its_dependencies(self, registry, journal):
        @asynccontextmanager
        async def b(a: A, number: int, other: Optional[C] = None, text: str = "own") -> AsyncIterator[tuple]:  # noqa: UP045
            yield (a, number, other, text)

        registry.value(int, 3)
        registry.add(service(A, journal=journal))
        registry.add(b, key=tuple)
        async with registry.open() as running:
            assert running.get(tuple) == (running.get(A), 3, None, "own")

    async def test_independent_services_start_and_stop_concurrently(self, registry, journal):
        for key, seconds in ((A, 1), (B, 3), (C, 2)):
            registry.add(service(key, journal=journal, start=sleeps(seconds), stop=sleeps(seconds)))
        async with registry.open():
            assert now() == 3
        assert now() == 6

    async def test_service_starts_as_soon_as_its_dependencies_are_ready(self, registry, journal):
        registry.add(service(A, journal=journal, start=sleeps(1)))
        registry.add(service(B, journal=journal, start=sleeps(10)))
        registry.add(service(C, A, journal=journal, start=sleeps(1)))
        registry.add(service(D, B, C, journal=journal))
        async with registry.open():
            assert [journal.at[f"begin {n}"] for n in "ABCD"] == [0, 0, 1, 10]

    async def test_only_wanted_services_start(self, registry, journal):
        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal))
        registry.add(service(C, A, journal=journal))
        async with registry.open(B) as running:
            assert list(states(running)) == ["A", "B"]
        assert journal.of("begin") == ["begin A", "begin B"]

    async def test_depends_on_service_starts_before_and_stops_after(self, registry, journal):
        registry.add(service(B, journal=journal), depends_on=[A])
        registry.add(service(A, journal=journal))
        async with registry.open(B):
            pass
        assert journal.of("ready", "leave") == ["ready A", "ready B", "leave B", "leave A"]

    async def test_factory_runs_in_one_task(self, registry):
        seen = []

        @asynccontextmanager
        async def a() -> AsyncIterator[A]:
            async with asyncio.timeout(100), asyncio.TaskGroup():
                seen.append(asyncio.current_task())
                yield A()
                seen.append(asyncio.current_task())

        registry.add(a)
        async with registry.open():
            pass
        assert seen[0] is seen[1] is not asyncio.current_task()


class TestStartFailure:
    async def test_failed_start_stops_started_services_dependents_first(self, registry, journal):
        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal))
        registry.add(service(C, B, journal=journal, start=raises(ValueError("no port"))))
        registry.add(service(D, C, journal=journal))
        with pytest.raises(ServiceFailed) as caught:
            async with registry.open():
                pytest.fail("it opened")
        assert str(caught.value) == "C did not start: ValueError: no port"
        assert isinstance(caught.value.__cause__, ValueError)
        assert caught.value.hint
        assert journal.of("left") == ["left C", "left B", "left A"]
        assert "begin D" not in journal.lines
        assert journal.states("C") == ["starting", "failed"]
        assert journal.states("D") == []

    async def test_failed_start_cancels_concurrent_starts(self, registry, journal):
        registry.add(service(A, journal=journal, start=hangs()), start_s=100)
        registry.add(service(B, journal=journal, start=raises(ValueError())))
        with pytest.raises(ServiceFailed, match=r"B did not start: ValueError$"):
            async with registry.open():
                pytest.fail("it opened")
        assert "left A" in journal.lines
        assert journal.states("A") == ["starting", "stopping", "stopped"]
        assert now() < 1

    async def test_no_service_starts_after_a_failure(self, registry, journal):
        registry.add(service(A, journal=journal, start=sleeps(1)))
        registry.add(service(B, journal=journal, start=raises(ValueError())))
        registry.add(service(C, A, journal=journal))
        with pytest.raises(ServiceFailed):
            async with registry.open():
                pytest.fail("it opened")
        assert "begin C" not in journal.lines

    async def test_no_service_starts_when_failure_and_readiness_coincide(self, registry, journal):
        registry.add(service(A, journal=journal, start=sleeps(1)))
        registry.add(service(B, journal=journal, start=raises(ValueError())))
        registry.add(service(C, A, journal=journal))
        registry.add(service(D, journal=journal, start=sleeps(1)))
        with pytest.raises(ServiceFailed):
            async with registry.open():
                pytest.fail("it opened")
        assert "begin C" not in journal.lines

    @pytest.mark.parametrize("wrap", [lambda e: e, lambda e: ExceptionGroup("g", [e])])
    async def test_expected_error_is_raised_unchanged(self, registry, journal, wrap):
        error = Unreachable("no redis", hint="start it")
        registry.add(service(A, journal=journal, start=raises(wrap(error))))
        with pytest.raises(Unreachable) as caught:
            async with registry.open():
                pytest.fail("it opened")
        assert caught.value is error

    async def test_slow_start_is_named_with_its_limit(self, registry, journal):
        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal, start=hangs()), start_s=1.5)
        with pytest.raises(ServiceTimeout, match=r"^B did not start in 1.5 s$"):
            async with registry.open():
                pytest.fail("it opened")
        assert now() == 1.5
        assert journal.of("left") == ["left B", "left A"]

    async def test_start_that_ignores_cancellation_is_abandoned(self, registry, journal):
        release = asyncio.Event()
        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal, start=unresponsive(release)), start_s=1, stop_s=2)
        with pytest.raises(ServiceTimeout):
            async with registry.open():
                pytest.fail("it opened")
        assert now() == pytest.approx(3 + GRACE_S)
        assert "left A" in journal.lines
        assert "abandoned" in journal.events[-3].detail
        release.set()

    async def test_failing_task_fails_the_start(self, registry):
        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            tasks.spawn(raises(OSError("x")), name="loop")
            await asyncio.sleep(5)
            yield A()

        registry.add(a)
        with pytest.raises(ServiceFailed, match=r"^A lost its task loop: OSError: x$"):
            async with registry.open():
                pytest.fail("it opened")
        assert now() < 1

    async def test_service_failure_ends_the_start_of_others(self, registry, journal):
        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            tasks.spawn(sleeps(1), name="loop")
            yield A()

        registry.add(a)
        registry.add(service(B, A, journal=journal, start=hangs()))
        with pytest.raises(ServiceFailed, match=r"^A lost its task loop: returned$"):
            async with registry.open():
                pytest.fail("it opened")
        assert now() == 1
        assert "left B" in journal.lines

    async def test_invalid_factory_is_a_described_failure(self, registry):
        registry.add(lambda: 3, key=A)  # type: ignore[arg-type]
        with pytest.raises(ServiceFailed, match=r"A did not start: TypeError: .*asynchronous context manager"):
            async with registry.open():
                pytest.fail("it opened")

    async def test_factory_that_cancels_itself_is_a_described_failure(self, registry, journal):
        registry.add(service(A, journal=journal, start=raises(asyncio.CancelledError())))
        with pytest.raises(ServiceFailed, match="A did not start: was cancelled"):
            async with registry.open():
                pytest.fail("it opened")


class TestStop:
    async def test_block_error_is_raised_after_all_services_stop(self, registry, journal):
        registry.add(service(A, journal=journal, stop=raises(OSError("stop"))))
        with pytest.raises(KeyError, match="body"):
            async with registry.open():
                raise KeyError("body")
        assert "left A" in journal.lines

    async def test_failing_stop_is_logged_and_the_rest_stop(self, registry, journal, caplog):
        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal, stop=raises(OSError("flush"))))
        async with registry.open() as running:
            pass
        assert states(running) == {"A": ServiceState.STOPPED, "B": ServiceState.FAILED}
        assert details(running)["B"] == "failed while it stopped: OSError: flush"
        assert journal.events[-3].detail == "failed while it stopped: OSError: flush"
        [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
        assert "OSError: flush" in record.getMessage()
        assert record.exc_info

    async def test_hanging_stop_is_cancelled_and_the_rest_stop(self, registry, journal, caplog):
        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal, stop=hangs()), stop_s=3)
        async with registry.open() as running:
            pass
        assert now() == 3
        assert journal.of("left") == ["left B", "left A"]
        assert states(running) == {"A": ServiceState.STOPPED, "B": ServiceState.STOPPED}
        assert details(running)["B"] == "did not stop in 3.0 s and was cancelled"
        assert "B did not stop in 3.0 s and was cancelled" in caplog.text

    async def test_service_that_ignores_cancellation_is_abandoned(self, registry, journal, caplog):
        release = asyncio.Event()
        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal, stop=unresponsive(release)), stop_s=3)
        async with registry.open() as running:
            pass
        assert now() == pytest.approx(3 + GRACE_S)
        assert journal.of("left") == ["left A"]
        assert states(running) == {"A": ServiceState.STOPPED, "B": ServiceState.FAILED}
        assert journal.states("B") == ["starting", "ready", "stopping", "failed"]
        assert details(running)["B"] == "abandoned, still running: the service itself"
        assert "B was abandoned, still running: the service itself" in caplog.text
        release.set()
        await asyncio.sleep(1)
        assert states(running)["B"] is ServiceState.FAILED

    async def test_task_that_ignores_cancellation_is_named(self, registry):
        release = asyncio.Event()

        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            tasks.spawn(unresponsive(release), name="loop")
            yield A()

        registry.add(a, stop_s=2)
        async with registry.open() as running:
            pass
        assert now() <= 2 + GRACE_S
        assert details(running) == {"A": "abandoned, still running: task loop"}
        release.set()
        await asyncio.sleep(1)

    async def test_stop_completes_despite_repeated_cancellation(self, registry, journal):
        async def opener():
            async with registry.open():
                await asyncio.Event().wait()

        registry.add(service(A, journal=journal, stop=sleeps(3)))
        registry.add(service(B, A, journal=journal, stop=sleeps(3)))
        task = asyncio.create_task(opener())
        for _ in range(6):
            await asyncio.sleep(1)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == 7
        assert journal.of("left") == ["left B", "left A"]

    async def test_cancellation_during_stop_is_not_lost(self, registry, journal):
        async def opener():
            async with registry.open():
                pass

        registry.add(service(A, journal=journal, stop=sleeps(3)))
        task = asyncio.create_task(opener())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert journal.of("left") == ["left A"]

    async def test_block_error_takes_precedence_over_cancellation(self, registry, journal):
        async def opener():
            async with registry.open():
                raise KeyError("body")

        registry.add(service(A, journal=journal, stop=sleeps(3)))
        task = asyncio.create_task(opener())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(KeyError):
            await task

    async def test_cancelled_start_stops_all_services(self, registry, journal):
        async def opener():
            async with registry.open():
                pytest.fail("it opened")

        registry.add(service(A, journal=journal))
        registry.add(service(B, A, journal=journal, start=hangs()))
        registry.add(service(C, B, journal=journal))
        task = asyncio.create_task(opener())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert journal.of("left") == ["left B", "left A"]
        assert "begin C" not in journal.lines

    async def test_expedite_shortens_current_and_later_stops(self, registry, journal):
        registry.add(service(A, journal=journal, stop=hangs()), stop_s=100)
        registry.add(service(B, A, journal=journal, stop=hangs()), stop_s=100)
        async with registry.open() as running:
            asyncio.get_running_loop().call_later(10, running.expedite)
        assert now() == pytest.approx(10 + 2 * EXPEDITED_S)
        assert journal.of("left") == ["left B", "left A"]

    async def test_expedite_does_not_extend_a_short_limit(self, registry, journal):
        registry.add(service(A, journal=journal, stop=hangs()), stop_s=0.2)
        async with registry.open() as running:
            running.expedite()
            running.expedite()
        assert now() == pytest.approx(0.2)

    async def test_tasks_run_until_the_factory_has_cleaned_up(self, registry):
        done = []

        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            queue = asyncio.Queue()

            async def work():
                try:
                    while True:
                        done.append(await queue.get())
                        await asyncio.sleep(1)
                        queue.task_done()
                finally:
                    done.append("ended")

            tasks.spawn(work, name="loop")
            for i in range(3):
                queue.put_nowait(i)
            yield A()
            await queue.join()
            done.append("cleaned")

        registry.add(a)
        async with registry.open() as running:
            pass
        assert done == [0, 1, 2, "cleaned", "ended"]
        assert states(running) == {"A": ServiceState.STOPPED}

    @pytest.mark.parametrize("restart", [None, Backoff()])
    async def test_task_end_during_cleanup_is_not_reported(self, registry, journal, restart):
        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            async def run():
                await closing.wait()

            closing = asyncio.Event()
            tasks.spawn(run, name="loop", restart=restart)
            yield A()
            closing.set()
            await asyncio.sleep(3)
            assert tasks.alive == []

        registry.add(a)
        async with registry.open():
            pass
        assert journal.states("A") == ["starting", "ready", "stopping", "stopped"]


class TestFailureWhileRunning:
    @pytest.fixture
    def brittle(self, registry, journal):
        """A service whose task ends after 5 s, with the error (or None) that is put into the list."""
        how = []

        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            async def run():
                await asyncio.sleep(5)
                if how:
                    raise how[0]

            tasks.spawn(run, name="loop")
            yield A()
            journal("left", "A")

        registry.add(a)
        registry.add(service(B, A, journal=journal))
        return how

    async def test_wait_raises_the_failure_and_services_stop_in_order(self, registry, journal, brittle):
        brittle.append(OSError("gone"))
        with pytest.raises(ServiceFailed) as caught:
            async with registry.open() as running:
                await running.wait()
        assert str(caught.value) == "A lost its task loop: OSError: gone"
        assert caught.value.__cause__ is brittle[0]
        assert now() == 5
        assert journal.of("left") == ["left B", "left A"]
        assert states(running) == {"A": ServiceState.FAILED, "B": ServiceState.STOPPED}
        assert details(running)["A"] == "A lost its task loop: OSError: gone"

    async def test_returning_task_is_a_failure(self, registry, brittle):
        with pytest.raises(ServiceFailed, match=r"^A lost its task loop: returned$"):
            async with registry.open() as running:
                await running.wait()

    async def test_expected_error_is_raised_unchanged(self, registry, brittle):
        brittle.append(DeadToken("Discord refuses the token"))
        with pytest.raises(DeadToken) as caught:
            async with registry.open() as running:
                await running.wait()
        assert caught.value.exit_code is ExitCode.CONFIG

    async def test_failure_is_raised_at_the_end_of_the_block(self, registry, brittle):
        with pytest.raises(ServiceFailed):
            async with registry.open():
                await asyncio.sleep(10)

    async def test_cancelled_waiter_does_not_affect_other_waiters(self, registry, brittle):
        async def opener():
            async with registry.open() as running:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(running.wait(), 1)
                results = await asyncio.gather(running.wait(), running.wait(), return_exceptions=True)
                assert [type(r) for r in results] == [ServiceFailed, ServiceFailed]

        with pytest.raises(ServiceFailed):
            await opener()

    async def test_failing_task_group_in_factory_is_a_failure(self, registry, journal):
        @asynccontextmanager
        async def a() -> AsyncIterator[A]:
            async def run():
                await asyncio.sleep(5)
                raise OSError("gone")

            async with asyncio.TaskGroup() as group:
                group.create_task(run())
                yield A()

        registry.add(a)
        registry.add(service(B, A, journal=journal))
        with pytest.raises(ServiceFailed, match=r"^A ended by itself: OSError: gone$"):
            async with registry.open() as running:
                await running.wait()
        assert journal.of("left") == ["left B"]
        assert states(running) == {"A": ServiceState.FAILED, "B": ServiceState.STOPPED}

    async def test_supervised_task_is_restarted_without_a_shutdown(self, registry, journal):
        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            lives = iter([1.0])

            async def run():
                for seconds in lives:
                    await asyncio.sleep(seconds)
                    raise OSError("gone")
                await asyncio.Event().wait()

            tasks.spawn(run, name="loop", restart=Backoff(first_s=1, jitter=0, healthy_s=10))
            yield A()

        registry.add(a)
        async with registry.open() as running:
            first = running.get(A)
            await asyncio.sleep(1.5)
            assert states(running) == {"A": ServiceState.RESTARTING}
            await asyncio.sleep(20)
            assert running.get(A) is first
            assert running.statuses()[0].restarts == 1
            assert details(running) == {"A": ""}
        assert journal.states("A") == [
            *("starting", "ready", "restarting", "degraded", "ready"),
            *("stopping", "stopped"),
        ]

    async def test_early_degraded_state_is_shown_when_ready(self, registry, journal):
        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            tasks.degraded("no cache")
            yield A()

        registry.add(a)
        async with registry.open() as running:
            assert states(running) == {"A": ServiceState.DEGRADED}
        assert journal.states("A") == ["starting", "degraded", "stopping", "stopped"]

    async def test_first_failure_is_raised(self, registry, journal):
        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            tasks.spawn(sleeps(2), name="second")
            tasks.spawn(sleeps(1), name="first")
            yield A()

        registry.add(a)
        with pytest.raises(ServiceFailed, match=r"^A lost its task first: returned$"):
            async with registry.open() as running:
                await asyncio.sleep(5)
        assert details(running) == {"A": "A lost its task first: returned"}
        assert journal.states("A") == ["starting", "ready", "failed"]


class TestNews:
    async def test_every_state_change_is_published(self, registry, journal):
        registry.add(service(A, journal=journal, start=sleeps(2), stop=sleeps(1)))
        async with registry.open() as running:
            [status] = running.statuses()
            assert (status.name, status.state, status.started_in_s) == ("A", ServiceState.READY, 2)
        told = [(e.old, e.new, e.took_s) for e in journal.events]
        assert told == [
            ("idle", "starting", None),
            ("starting", "ready", 2),
            ("ready", "stopping", None),
            ("stopping", "stopped", 1),
        ]

    async def test_start_time_excludes_dependencies(self, registry, journal):
        registry.add(service(A, journal=journal, start=sleeps(2)))
        registry.add(service(B, A, journal=journal, start=sleeps(3)))
        async with registry.open() as running:
            assert [s.started_in_s for s in running.statuses()] == [2, 3]


class TestHealth:
    async def test_services_are_pinged_concurrently_with_one_limit_each(self, registry, journal):
        async def slow(_):
            await asyncio.sleep(1)
            return "fine"

        async def hanging(_):
            await asyncio.sleep(10**6)

        async def broken(_):
            raise OSError("no route")

        registry.add(service(A, journal=journal), ping=slow)
        registry.add(service(B, journal=journal), ping=hanging)
        registry.add(service(C, journal=journal), ping=broken)
        registry.add(service(D, journal=journal))
        async with registry.open() as running:
            health = await running.health(timeout_s=2)
            assert now() == 2
        assert health == [
            ServiceHealth("A", ok=True, took_ms=1000, detail="fine"),
            ServiceHealth("B", ok=False, took_ms=2000, detail="no answer in 2 s"),
            ServiceHealth("C", ok=False, took_ms=0, detail="OSError: no route"),
            ServiceHealth("D", ok=True, took_ms=0, detail=""),
        ]

    async def test_failed_ping_says_what_to_do(self, registry, journal):
        async def ping(_):
            raise Unreachable("takes no write: it is full", hint="Free space.")

        registry.add(service(A, journal=journal), ping=ping)
        async with registry.open() as running:
            (health,) = await running.health()
        assert (health.detail, health.hint) == ("takes no write: it is full", "Free space.")

    async def test_ping_counts_though_the_loop_was_blocked(self, registry, journal):
        async def ping(_):
            await loop.create_task(answers())

        async def answers():
            for _ in range(5):
                await asyncio.sleep(0)

        loop = asyncio.get_running_loop()
        registry.add(service(A, journal=journal), ping=ping)
        async with registry.open() as running:
            standstill = Standstill()
            loop.call_soon(loop.call_soon, standstill.stand_still, 60)
            [health] = await running.health(timeout_s=2)
        assert (health.ok, health.detail) == (True, "")

    async def test_ping_receives_the_service(self, registry, journal):
        got = []

        async def ping(a):
            got.append(a)

        registry.add(service(A, journal=journal), ping=ping)
        async with registry.open() as running:
            await running.health()
            assert got == [running.get(A)]

    async def test_ping_that_ignores_cancellation_delays_no_other(self, registry, journal):
        release = asyncio.Event()

        async def ping(_):
            await unresponsive(release)()

        async def cancels(_):
            raise asyncio.CancelledError

        registry.add(service(A, journal=journal), ping=ping)
        registry.add(service(B, journal=journal), ping=cancels)
        async with registry.open() as running:
            health = await running.health(timeout_s=2)
            assert now() == 2
        assert [(h.ok, h.detail) for h in health] == [(False, "no answer in 2 s"), (False, "was cancelled")]
        release.set()
        await asyncio.sleep(1)

    async def test_ping_is_cancelled_on_timeout_or_with_its_caller(self, registry, journal):
        ends = []

        async def ping(_):
            try:
                await hangs()()
            finally:
                ends.append(now())

        registry.add(service(A, journal=journal), ping=ping)
        async with registry.open() as running:
            await running.health(timeout_s=2)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(running.health(timeout_s=5), 1)
            await asyncio.sleep(1)
        assert ends == [2, 3]

    async def test_degraded_service_is_unhealthy_even_if_it_answers(self, registry):
        @asynccontextmanager
        async def a(tasks: Tasks) -> AsyncIterator[A]:
            tasks.degraded("the gateway does not answer")
            yield A()

        async def ping(_):
            return "3 guilds"

        registry.add(a, ping=ping)
        async with registry.open() as running:
            [health] = await running.health()
        assert (health.ok, health.detail) == (False, "degraded: the gateway does not answer; 3 guilds")

    async def test_stopped_service_is_not_pinged(self, registry, journal):
        async def ping(_):
            pytest.fail("pinged")

        registry.add(service(A, journal=journal), ping=ping)
        async with registry.open() as running:
            pass
        assert await running.health() == [ServiceHealth("A", ok=False, took_ms=0, detail="stopped")]


class TestLookUp:
    async def test_get_finds_services_and_values(self, registry, journal):
        registry.value(int, 3)
        registry.add(service(A, journal=journal))
        registry.add(service(B, journal=journal))
        async with registry.open(A) as running:
            assert isinstance(running.get(A), A)
            assert running.get(int) == 3
            with pytest.raises(MissingNeed, match="B is not running"):
                running.get(B)

    async def test_resolve_returns_arguments_of_a_class_or_function(self, registry, journal):
        class Roll:
            def __init__(self, a: A, number: int, extra: C | None = None, times: str = "once") -> None: ...

        class Wrong:
            def __init__(self, a: A, c: C) -> None: ...

        registry.value(int, 3)
        registry.add(service(A, journal=journal))
        async with registry.open() as running:
            assert running.resolve(Roll) == {"a": running.get(A), "number": 3}
            assert running.resolve(object) == {}
            with pytest.raises(MissingNeed, match=r"^C is not registered; Wrong needs it$"):
                running.resolve(Wrong)

    async def test_service_can_read_all_statuses(self, registry, journal):
        @asynccontextmanager
        async def monitor(source: StatusSource) -> AsyncIterator[list]:
            yield source.statuses()

        registry.add(monitor, key=list)
        registry.add(service(A, journal=journal))
        async with registry.open() as running:
            assert sorted(status.name for status in running.get(list)) == ["A", "list"]

    async def test_service_can_depend_on_services(self, registry, journal):
        class Roll:
            def __init__(self, a: A) -> None:
                self.a = a

        @asynccontextmanager
        async def bot(services: Services) -> AsyncIterator[Roll]:
            yield Roll(**services.resolve(Roll))

        registry.add(bot, key=Roll, depends_on=[A])
        registry.add(service(A, journal=journal))
        async with registry.open(Roll) as running:
            assert running.get(Roll).a is running.get(A)
