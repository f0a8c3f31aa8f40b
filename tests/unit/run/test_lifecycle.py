"""Which end of a run has which exit code, and what happens in which order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import pytest
import uvloop

from botctl.core.contracts.events import ServiceChanged
from botctl.core.contracts.health import Health
from botctl.core.errors import ExitCode, ServiceFailed
from botctl.core.services.registry import Registry, RunningServices, Tasks
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.snapshot import ServiceSnapshot, ShardSnapshot
from botctl.run.lifecycle import StatusLine, background, is_end_by_person, keep_alive, run_services, run_to_completion
from botctl.run.process_manager import Supervisor
from botctl.run.signals import ShutdownSignals
from tests.support.snapshots import make_snapshot

pytestmark = pytest.mark.looptime
SNAPSHOT = make_snapshot(12, host="vm")
DEAF = ShardSnapshot(id=0, state="ready", heard_ago_s=30.0, misses=4, reconnects=2)


class RunHarness:
    """A run with one service, and a log of what happened to it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.registry = Registry()
        self.registry.add(self.service, name="service", key=RunHarness, stop_s=100, start_s=100)
        self.start_takes_s = 0.0
        self.stop_takes_s = 0.0
        self.cancel_takes_s = 0.0
        self.drain_takes_s = 0.0
        self.fails = asyncio.Event()
        self.exit_codes: list[ExitCode] = []

    @asynccontextmanager
    async def service(self, tasks: Tasks) -> AsyncIterator[None]:
        self.log.append("start")
        try:
            await asyncio.sleep(self.start_takes_s)
            tasks.spawn(self.work, name="work")
            yield
            await asyncio.sleep(self.stop_takes_s)
            self.log.append("stopped")
        except asyncio.CancelledError:
            self.log.append("cancelled")
            await asyncio.sleep(self.cancel_takes_s)
            raise

    async def work(self) -> None:
        await self.fails.wait()

    async def drain(self, _running: RunningServices) -> None:
        self.log.append("drain")
        await asyncio.sleep(self.drain_takes_s)
        self.log.append("drained")

    def on_ready(self, _running: RunningServices) -> None:
        self.log.append("ready")

    async def run(self, signals: ShutdownSignals) -> ExitCode:
        return await run_services(
            self.registry,
            (RunHarness,),
            signals=signals,
            on_ready=self.on_ready,
            on_exit=self.exit_codes.append,
            drain=self.drain,
        )


@contextmanager
def sent_signals(*sent: tuple[float, signal.Signals]) -> Iterator[ShutdownSignals]:
    """Send each signal at its moment of virtual time."""
    signals = ShutdownSignals(10_000)
    loop = asyncio.get_running_loop()
    for at_s, signum in sent:
        loop.call_later(at_s, signals.receive, signum)
    yield signals
    signals.cancel_watchdog()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_signal_drains_and_then_stops_the_services(signum: signal.Signals, code: int) -> None:
    harness = RunHarness()
    with sent_signals((5, signum)) as signals:
        assert await harness.run(signals) == code
    assert harness.log == ["start", "ready", "drain", "drained", "stopped"]
    assert harness.exit_codes == [code]


async def test_signal_during_start_cancels_the_start() -> None:
    harness = RunHarness()
    harness.start_takes_s = 50
    with sent_signals((5, signal.SIGTERM)) as signals:
        assert await harness.run(signals) == ExitCode.TERMINATED
    assert harness.log == ["start", "cancelled"]


async def test_second_signal_during_start_shortens_its_end() -> None:
    """The bot drains then."""
    harness = RunHarness()
    harness.start_takes_s = harness.cancel_takes_s = 50
    with sent_signals((5, signal.SIGTERM), (20, signal.SIGTERM)) as signals:
        assert await harness.run(signals) == ExitCode.TERMINATED
    assert asyncio.get_running_loop().time() < 30


async def test_second_signal_ends_the_drain_and_shortens_the_stop() -> None:
    harness = RunHarness()
    harness.drain_takes_s = harness.stop_takes_s = 90
    started = asyncio.get_running_loop().time()
    with sent_signals((5, signal.SIGINT), (6, signal.SIGINT)) as signals:
        assert await harness.run(signals) == ExitCode.INTERRUPTED
    assert asyncio.get_running_loop().time() - started < 10
    assert harness.log == ["start", "ready", "drain", "cancelled"]


async def test_second_signal_during_the_stop_shortens_it() -> None:
    harness = RunHarness()
    harness.stop_takes_s = 90
    with sent_signals((5, signal.SIGTERM), (20, signal.SIGTERM)) as signals:
        assert await harness.run(signals) == ExitCode.TERMINATED
    assert asyncio.get_running_loop().time() < 30
    assert harness.log == ["start", "ready", "drain", "drained", "cancelled"]


async def test_failed_service_stops_all_services() -> None:
    """Its error is raised. There is no drain, because it is unknown what still works."""
    harness = RunHarness()
    asyncio.get_running_loop().call_later(5, harness.fails.set)
    with sent_signals() as signals, pytest.raises(ServiceFailed, match="work"):
        await harness.run(signals)
    assert harness.log == ["start", "ready", "stopped"]
    assert harness.exit_codes == [ExitCode.FAILED]


async def test_cancellation_without_a_signal_is_raised() -> None:
    harness = RunHarness()
    with sent_signals() as signals:
        task = asyncio.create_task(harness.run(signals))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_sys_exit_in_a_task_ends_only_that_task(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio leaves the loop at sys.exit in any task; the run enters it again and logs it."""

    async def leave() -> None:
        raise SystemExit(3)

    async def main() -> ExitCode:
        (ended,) = await asyncio.gather(asyncio.create_task(leave()), return_exceptions=True)
        assert isinstance(ended, SystemExit)
        return ExitCode.TERMINATED

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert run_to_completion(runner, main()) is ExitCode.TERMINATED
    assert "ended with SystemExit" in caplog.text


def test_sys_exit_in_the_run_itself_is_a_failure() -> None:
    """The number given to sys.exit is not used, so that no supervisor reads it as an exit code of botctl."""

    async def main() -> ExitCode:
        raise SystemExit(0)

    with asyncio.Runner() as runner, pytest.raises(ServiceFailed):
        run_to_completion(runner, main())


@pytest.mark.parametrize("attended", [True, False])
@pytest.mark.parametrize("exit_code", [None, *ExitCode])
async def test_only_ctrl_c_at_a_terminal_is_the_end_by_a_person(attended: bool, exit_code: ExitCode | None) -> None:
    """PM2 stops its processes with SIGINT, too."""
    assert is_end_by_person(attended, exit_code) is (attended and exit_code == 130)


class FakeSupervisor(Supervisor):
    """Counts what systemd's watchdog hears, and keeps what `systemctl status` showed."""

    def __init__(self) -> None:
        super().__init__(None, None, 10.0)
        self.signs = 0
        self.shown: list[str] = []

    def _notify_systemd(self, state: bytes) -> None:
        self.signs += state == b"WATCHDOG=1"
        self.shown += [line[7:] for line in state.decode().split("\n") if line.startswith("STATUS=")]


async def test_watchdog_hears_nothing_while_a_restart_helps() -> None:
    """It hears of a start too, which may wait for a login for hours."""
    supervisor, health = FakeSupervisor(), OwnHealth(("bot",))
    with background(keep_alive(supervisor, 10.0, health), name="watchdog"):
        await asyncio.sleep(95)
        assert supervisor.signs == 10
        health.post(replace(SNAPSHOT, shards=(DEAF,)))
        await asyncio.sleep(100)
        assert supervisor.signs == 10
        health.post(replace(SNAPSHOT, shards=(replace(DEAF, reconnects=0),)))
        await asyncio.sleep(100)
        assert supervisor.signs == 20, "it reconnects by itself"


async def test_systemctl_status_shows_the_verdict_and_each_change_once() -> None:
    """While it starts or waits for a login, it shows what a service says of itself."""
    supervisor, health = FakeSupervisor(), OwnHealth(("bot",))
    status = StatusLine(supervisor, health)
    with background(status.keep_true(), name="status line"):
        await asyncio.sleep(10)
        assert supervisor.shown == []
        status.note(ServiceChanged(service="bot", old="idle", new="starting", detail="waiting for logins until 12:00"))
        await asyncio.sleep(1)
        assert supervisor.shown == ["bot: waiting for logins until 12:00"]
        status.note(ServiceChanged(service="bot", old="starting", new="ready"))
        supervisor.notify_ready()
        for snapshot in (SNAPSHOT, replace(SNAPSHOT, shards=(DEAF,)), SNAPSHOT):
            health.post(snapshot)
            await asyncio.sleep(10)
        health.enter(Health.DRAINING, "it is stopping")
        await asyncio.sleep(10)
    _, running, deaf, again = supervisor.shown
    assert running == again == "running"
    assert deaf.startswith("deaf: ")
    assert "shard 0" in deaf


async def test_systemctl_status_shows_a_wait_again_after_a_snapshot_without_it() -> None:
    """The service says that it waits before a snapshot does."""
    supervisor, health = FakeSupervisor(), OwnHealth(("bot",))
    status = StatusLine(supervisor, health)
    detail = "waiting for logins until 12:00"
    waiting = replace(SNAPSHOT, services=(ServiceSnapshot(name="bot", state="degraded", ok=False, detail=detail),))
    health.post(SNAPSHOT)
    with background(status.keep_true(), name="status line"):
        await asyncio.sleep(1)
        status.note(ServiceChanged(service="bot", old="ready", new="degraded", detail=detail))
        await asyncio.sleep(2)
        health.post(waiting)
        await asyncio.sleep(2)
    assert supervisor.shown == ["running", f"bot: {detail}"]
