"""The life of a run: which end comes to which exit code, and what happens in which order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvloop

from botctl.core.errors import ExitCode, ServiceFailed
from botctl.core.services.registry import Registry, RunningServices, Tasks
from botctl.run.lifecycle import carry_on, live
from botctl.run.signals import Stop

pytestmark = pytest.mark.looptime


class Life:
    """One service, and a diary of what happened to it; a test sends signals at the moments it names."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.registry = Registry()
        self.registry.add(self.service, name="service", key=Life, stop_s=100, start_s=100)
        self.start_takes_s = 0.0
        self.stop_takes_s = 0.0
        self.drain_takes_s = 0.0
        self.dies = asyncio.Event()
        self.endings: list[ExitCode] = []

    @asynccontextmanager
    async def service(self, tasks: Tasks) -> AsyncIterator[None]:
        self.diary.append("start")
        try:
            await asyncio.sleep(self.start_takes_s)
            tasks.spawn(self.work, name="work")
            yield
            await asyncio.sleep(self.stop_takes_s)
            self.diary.append("stopped")
        except asyncio.CancelledError:
            self.diary.append("cut short")
            raise

    async def work(self) -> None:
        await self.dies.wait()

    async def drain(self, _running: RunningServices) -> None:
        self.diary.append("drain")
        await asyncio.sleep(self.drain_takes_s)
        self.diary.append("drained")

    def ready(self, _running: RunningServices) -> None:
        self.diary.append("ready")

    async def live(self, stop: Stop) -> ExitCode:
        return await live(
            self.registry, (Life,), stop=stop, ready=self.ready, ending=self.endings.append, drain=self.drain
        )


@contextmanager
def signals(*sent: tuple[float, signal.Signals]) -> Iterator[Stop]:
    """Signals at moments of virtual time."""
    stop = Stop(10_000)
    loop = asyncio.get_running_loop()
    for at_s, signum in sent:
        loop.call_later(at_s, stop.receive, signum)
    yield stop
    stop.close()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_drains_then_stops(signum: signal.Signals, code: int) -> None:
    """And the exit code names the signal."""
    life = Life()
    with signals((5, signum)) as stop:
        assert await life.live(stop) == code
    assert life.diary == ["start", "ready", "drain", "drained", "stopped"]
    assert life.endings == [code]


async def test_a_signal_while_starting_stops_the_start() -> None:
    """Nothing was ready, so there is nothing to drain."""
    life = Life()
    life.start_takes_s = 50
    with signals((5, signal.SIGTERM)) as stop:
        assert await life.live(stop) == ExitCode.TERMINATED
    assert life.diary == ["start", "cut short"]


async def test_a_second_signal_ends_the_drain_and_shortens_the_stop() -> None:
    """What would have taken ninety seconds is over in a moment."""
    life = Life()
    life.drain_takes_s = life.stop_takes_s = 90
    started = asyncio.get_running_loop().time()
    with signals((5, signal.SIGINT), (6, signal.SIGINT)) as stop:
        assert await life.live(stop) == ExitCode.INTERRUPTED
    assert asyncio.get_running_loop().time() - started < 10
    assert life.diary == ["start", "ready", "drain", "cut short"]


async def test_a_second_signal_during_the_stop_shortens_it_too() -> None:
    """The drain was done; the stop hangs."""
    life = Life()
    life.stop_takes_s = 90
    with signals((5, signal.SIGTERM), (20, signal.SIGTERM)) as stop:
        assert await life.live(stop) == ExitCode.TERMINATED
    assert asyncio.get_running_loop().time() < 30
    assert life.diary == ["start", "ready", "drain", "drained", "cut short"]


async def test_a_service_that_fails_for_good_stops_everything() -> None:
    """Its error comes out; no drain, for nobody knows what still works."""
    life = Life()
    asyncio.get_running_loop().call_later(5, life.dies.set)
    with signals() as stop, pytest.raises(ServiceFailed, match="work"):
        await life.live(stop)
    assert life.diary == ["start", "ready", "stopped"]
    assert life.endings == [ExitCode.FAILED]


async def test_a_cancellation_from_outside_is_passed_on() -> None:
    """It is no signal, so it has no exit code."""
    life = Life()
    with signals() as stop:
        task = asyncio.create_task(life.live(stop))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_task_that_ends_python_ends_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio leaves the loop at sys.exit in any task; the run goes back in, and says so."""

    async def leave() -> None:
        raise SystemExit(3)

    async def main() -> ExitCode:
        (ended,) = await asyncio.gather(asyncio.create_task(leave()), return_exceptions=True)
        assert isinstance(ended, SystemExit)
        return ExitCode.TERMINATED

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert carry_on(runner, main()) is ExitCode.TERMINATED
    assert "ended with SystemExit" in caplog.text


def test_a_run_that_is_ended_from_within_has_failed() -> None:
    """Whatever number was given to sys.exit, no supervisor takes it for one of ours."""

    async def main() -> ExitCode:
        raise SystemExit(0)

    with asyncio.Runner() as runner, pytest.raises(ServiceFailed):
        carry_on(runner, main())
