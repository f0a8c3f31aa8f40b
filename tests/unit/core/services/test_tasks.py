"""Background tasks: none ends unnoticed, and restarts come ever later."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.core.contracts.service_state import ServiceState
from botctl.core.errors import STORE_FAULTS, DeadToken, Unreachable
from botctl.core.services.tasks import Backoff, Tasks
from tests.support.raised import NO_EXCEPTIONS

EXACT = Backoff(first_s=1, factor=2, limit_s=8, jitter=0, healthy_s=10)


class Watcher:
    """Notes what the tasks tell, with the virtual second."""

    def __init__(self):
        self.heard = []
        self.failures = []
        self.tasks = None

    def on_tasks_changed(self):
        self.heard.append((asyncio.get_running_loop().time(), self.tasks.state, self.tasks.detail))

    def on_task_failed(self, what, error):
        self.failures.append((what, error))

    @property
    def states(self):
        return [state for _, state, _ in self.heard]


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def tasks(watcher):
    watcher.tasks = Tasks("bot", observer=watcher, random=Random(1))
    return watcher.tasks


def runs(*lives):
    """A task that lives for each of ``lives`` seconds in turn, then raises; the last one goes on for ever."""
    began = []

    async def run():
        began.append(asyncio.get_running_loop().time())
        if len(began) <= len(lives):
            await asyncio.sleep(lives[len(began) - 1])
            raise OSError("gone")
        await asyncio.Event().wait()

    return run, began


class TestBackoff:
    def test_delay_grows_from_first_to_limit(self):
        backoff = Backoff(first_s=0.5, factor=3, limit_s=10, jitter=0)
        assert [backoff.delay_s(n, Random(1)) for n in range(5)] == [0.5, 1.5, 4.5, 10, 10]

    @settings(deadline=None)
    @given(
        st.builds(
            Backoff,
            first_s=st.floats(0.01, 5),
            factor=st.floats(1, 10),
            limit_s=st.floats(5, 600),
            jitter=st.floats(0, 1),
        ),
        st.integers(0, 10**9),
        st.randoms(),
    )
    def test_delay_is_within_the_jitter(self, backoff, restarts, random):
        full = replace(backoff, jitter=0).delay_s(restarts, random)
        assert full <= backoff.limit_s
        assert full * (1 - backoff.jitter) <= backoff.delay_s(restarts, random) <= full

    def test_jitter_is_reproducible_with_a_seeded_random(self):
        assert Backoff().delay_s(3, Random(7)) == Backoff().delay_s(3, Random(7)) != Backoff().delay_s(3, Random(8))


@pytest.mark.looptime
class TestWithoutRestart:
    async def test_returning_task_is_a_failure(self, tasks, watcher):
        async def run():
            pass

        async with tasks:
            tasks.spawn(run, name="loop")
            await asyncio.sleep(1)
        assert watcher.failures == [("lost its task loop", None)]

    @pytest.mark.parametrize("error", [OSError("x"), *NO_EXCEPTIONS[:2], *NO_EXCEPTIONS[3:]], ids=repr)
    async def test_exception_is_a_failure(self, tasks, watcher, error):
        async def run():
            raise error

        async with tasks:
            tasks.spawn(run, name="loop")
            await asyncio.sleep(1)
        assert watcher.failures == [("lost its task loop", error)]

    async def test_cancellation_by_the_task_itself_is_a_failure(self, tasks, watcher):
        async def run():
            raise asyncio.CancelledError

        async with tasks:
            tasks.spawn(run, name="loop")
            await asyncio.sleep(1)
        [(what, error)] = watcher.failures
        assert what == "lost its task loop"
        assert isinstance(error, asyncio.CancelledError)

    async def test_task_that_cancels_itself_is_a_failure(self, tasks, watcher):
        async def run():
            asyncio.current_task().cancel()
            await asyncio.sleep(1)

        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(1)
        [(what, error)] = watcher.failures
        assert what == "lost its task loop"
        assert isinstance(error, asyncio.CancelledError)

    async def test_task_end_after_close_is_not_reported(self, tasks, watcher):
        run, _ = runs()
        async with tasks:
            tasks.spawn(run, name="loop")
            tasks.spawn(run, name="loop too", restart=EXACT)
            await asyncio.sleep(1)
            assert tasks.alive == ["loop", "loop too"]
        assert tasks.alive == []
        assert watcher.failures == watcher.heard == []


@pytest.mark.looptime
class TestRestart:
    async def test_delays_grow_and_are_reported(self, tasks, watcher):
        run, began = runs(0, 0, 0)
        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(100)
        assert began == [0, 1, 3, 7]
        assert tasks.restarts == 3
        assert watcher.states == [ServiceState.RESTARTING, ServiceState.DEGRADED] * 3 + [ServiceState.READY]
        assert watcher.heard[0] == (
            0,
            ServiceState.RESTARTING,
            "task loop ended: OSError: gone; it is started again in 1.0 s",
        )
        assert watcher.heard[1] == (1, ServiceState.DEGRADED, "task loop ended: OSError: gone; it was started again")
        assert watcher.heard[-1] == (17, ServiceState.READY, "")
        assert watcher.failures == []

    async def test_returning_task_is_restarted(self, tasks, watcher):
        began = []

        async def run():
            began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(5)

        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(12.5)
        assert began == [0, 6]
        assert watcher.heard[0][2].startswith("task loop ended: returned;")

    async def test_delay_is_reset_after_a_healthy_time(self, tasks):
        run, began = runs(0, 0, 9.9, 10, 0)
        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(100)
        starts = [round(b - a, 3) for a, b in pairwise(began)]
        assert starts == [1, 2, 9.9 + 4, 10 + 1, 2]

    async def test_jitter_uses_the_given_random(self, watcher):
        watcher.tasks = tasks = Tasks("bot", observer=watcher, random=Random(5))
        run, began = runs(0)
        backoff = Backoff(first_s=1, jitter=0.5)
        async with tasks:
            tasks.spawn(run, name="loop", restart=backoff)
            await asyncio.sleep(10)
        assert began[1] == pytest.approx(backoff.delay_s(0, Random(5)), abs=1e-5)

    @pytest.mark.parametrize("error", [DeadToken("no"), ExceptionGroup("g", [DeadToken("no")])])
    async def test_permanent_error_is_not_retried(self, tasks, watcher, error):
        async def run():
            raise error

        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(100)
        [(_, failure)] = watcher.failures
        assert isinstance(failure, DeadToken)
        assert tasks.restarts == 0

    @pytest.mark.parametrize("kind", STORE_FAULTS)
    async def test_transient_error_and_any_of_a_store_is_retried(self, tasks, watcher, kind):
        async def run():
            raise kind("redis")

        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(2)
        assert watcher.failures == []
        assert tasks.restarts == 2

    @pytest.mark.parametrize(
        ("error", "traced"),
        [(Unreachable("redis"), False), (ExceptionGroup("g", [Unreachable("redis")]), False), (KeyError("x"), True)],
    )
    async def test_only_unexpected_errors_are_logged_with_traceback(self, tasks, caplog, error, traced):
        async def run():
            raise error from OSError("long story")

        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(0.5)
        [record] = caplog.records
        assert record.levelname == "WARNING"
        assert record.getMessage().startswith("bot: task loop ended: ")
        assert bool(record.exc_info) is traced

    async def test_same_end_again_and_again_is_logged_once(self, tasks, watcher, caplog):
        """Also if each life was a healthy one. It is logged again after the service has recovered."""
        caplog.set_level("WARNING")
        run, began = runs(*[11] * 9)
        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(40)
            assert (len(began), len(caplog.records)) == (4, 1)
            tasks.recovered()
            await asyncio.sleep(30)
        assert len(caplog.records) == 2

    async def test_stopping_service_restarts_no_task(self, tasks, watcher):
        run, began = runs(5)
        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(1)
            tasks.close()
            await asyncio.sleep(20)
        assert began == [0]
        assert watcher.heard == []

    async def test_stop_ends_the_restart_delay(self, tasks):
        run, began = runs(0)
        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(0.5)
        assert asyncio.get_running_loop().time() == 0.5
        assert began == [0]


@pytest.mark.looptime
class TestOwnWord:
    async def test_task_is_degraded_until_recovered(self, tasks, watcher):
        tasks.degraded("the gateway does not answer")
        assert (tasks.state, tasks.detail) == (ServiceState.DEGRADED, "the gateway does not answer")
        tasks.degraded("still no answer")
        assert tasks.detail == "still no answer"
        tasks.recovered()
        assert (tasks.state, tasks.detail) == (ServiceState.READY, "")
        assert len(watcher.heard) == 3

    async def test_recovered_does_not_end_a_pending_restart(self, tasks):
        run, _ = runs(0)
        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            await asyncio.sleep(0.5)
            tasks.recovered()
            assert tasks.state is ServiceState.RESTARTING
            await asyncio.sleep(1)
            assert tasks.state is ServiceState.DEGRADED
            tasks.recovered()
            assert tasks.state is ServiceState.READY

    async def test_worst_state_of_all_tasks_is_reported(self, tasks):
        run, _ = runs(0)
        async with tasks:
            tasks.spawn(run, name="loop", restart=EXACT)
            tasks.degraded("slow")
            await asyncio.sleep(0.5)
            assert tasks.state is ServiceState.RESTARTING
            assert tasks.detail == "slow; task loop ended: OSError: gone; it is started again in 1.0 s"
            await asyncio.sleep(20)
            assert (tasks.state, tasks.detail) == (ServiceState.DEGRADED, "slow")


@pytest.mark.looptime
async def test_no_task_can_be_spawned_after_cancel(tasks):
    run, _ = runs()
    tasks.spawn(run, name="loop")
    await tasks.cancel()
    assert tasks.alive == []
    with pytest.raises(RuntimeError, match="task late cannot be spawned"):
        tasks.spawn(run, name="late")
