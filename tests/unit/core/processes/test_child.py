"""Child processes: waited for, started again at the same address, stopped, whatever they do."""

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from botctl.core.errors import Held, ServiceFailed, ServiceTimeout
from botctl.core.processes.child import LOG_BYTES, Child, LaunchSpec
from botctl.core.processes.process import is_running, start_time
from tests.support.waiting import LIMIT_S, until

SERVE = """
import signal, socket, sys
{extra}
s = socket.socket(socket.AF_UNIX)
import os
if os.path.exists(sys.argv[1]): os.unlink(sys.argv[1])
s.bind(sys.argv[1]); s.listen()
while True: s.accept()[0].close()
"""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


class CallbackLog:
    def __init__(self):
        self.spawned, self.down, self.restarted = [], [], []

    def __call__(self):
        return {
            "on_spawn": self.spawned.append,
            "on_exit": self.down.append,
            "on_restart": lambda *args: self.restarted.append(args),
        }


@pytest.fixture
def launch(tmp_path):
    """Makes a `LaunchSpec` of a little server on a Unix socket, or of any Python text."""

    def make(text=SERVE, extra="", **more):
        address = str(tmp_path / "socket")

        async def is_ready():
            _, writer = await asyncio.open_unix_connection(address)
            writer.close()
            return True

        defaults = {
            "name": "The test server",
            "command": (sys.executable, "-I", "-S", "-c", text.replace("{extra}", extra), address),
            "folder": tmp_path,
            "log": tmp_path / "logs" / "test.log",
            "is_ready": is_ready,
        }
        return LaunchSpec(**(defaults | more))

    return make


@asynccontextmanager
async def supervised(launch, callbacks):
    async with Child(launch, **callbacks()) as child:
        supervisor = asyncio.create_task(child.supervise())
        try:
            yield child
        finally:
            supervisor.cancel()
            await asyncio.wait({supervisor})


async def test_start_waits_until_ready_and_stop_until_ended(launch):
    callbacks = CallbackLog()
    async with Child(launch(), **callbacks()) as child:
        pid = child.pid
        assert await child.launch.is_ready()
        assert callbacks.spawned == [pid]
    assert child.pid is None
    assert not is_running(pid, start_time(pid) or "gone")
    await child.stop()  # again is fine


async def test_child_has_its_own_session(launch):
    """The Ctrl-C of a terminal goes to the terminal's foreground group."""
    async with Child(launch()) as child:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)


async def test_last_output_of_failed_start_is_in_the_error(launch):
    said = launch(r"print('first'); print('cannot \x1b[31m bind'); raise SystemExit(3)", is_ready=_never)
    with pytest.raises(
        ServiceFailed, match=r"ended with status 3 while it was starting: cannot \\x1b\[31m bind"
    ) as caught:
        await Child(said).start()
    assert str(said.log) in caught.value.hint


async def test_failed_start_can_have_its_own_error(launch):
    def refusal(status, said):
        return Held(f"{said} ({status})")

    with pytest.raises(Held, match=r"^it is taken \(6\)$"):
        await Child(launch("print('it is taken'); raise SystemExit(6)", is_ready=_never, exit_error=refusal)).start()


async def test_missing_program_is_service_failed(launch):
    with pytest.raises(ServiceFailed, match="The test server"):
        await Child(launch(command=("/nonexistent/program",), is_ready=_never)).start()


async def test_long_prepare_does_not_block_the_event_loop(launch):
    """It may check a whole database."""
    checked, reached = threading.Event(), []
    loop = asyncio.get_running_loop()

    def prepare():
        loop.call_soon_threadsafe(checked.set)
        reached.append(checked.wait(LIMIT_S))

    async with Child(launch(prepare=prepare)):
        assert reached == [True]


async def test_failing_prepare_is_service_failed(launch):
    def prepare():
        raise OSError(98, "Address already in use")

    with pytest.raises(ServiceFailed, match="Address already in use"):
        await Child(launch(prepare=prepare)).start()


async def test_child_that_is_never_ready_is_terminated(launch):
    """`async with` leaves nothing behind when the start takes too long."""
    callbacks = CallbackLog()
    with pytest.raises(ServiceTimeout, match=r"did not answer within 0.1 s"):
        async with Child(launch(is_ready=_never, start_s=0.1), **callbacks()):
            pytest.fail("it does not answer")
    assert not any(map(start_time, callbacks.spawned))


async def test_other_server_at_its_address_does_not_count(launch):
    async def yes():
        await until(lambda: start_time(callbacks.spawned[0]) is None)
        return True

    callbacks = CallbackLog()
    with pytest.raises(ServiceFailed, match="ended with status 1"):
        await Child(launch("raise SystemExit(1)", is_ready=yes), **callbacks()).start()


async def test_killed_child_restarts_at_the_same_address(launch):
    callbacks = CallbackLog()
    async with supervised(launch(), callbacks) as child:
        for round_ in range(3):
            os.kill(child.pid, signal.SIGKILL)
            await until(lambda: len(callbacks.restarted) == round_ + 1)  # noqa: B023
            assert await child.launch.is_ready()
        assert len(set(callbacks.spawned)) == 4
        assert child.pid == callbacks.spawned[-1]
    assert Counter(status for status, _ in callbacks.restarted) == {-signal.SIGKILL: 3}
    assert all(down_s > 0 for _, down_s in callbacks.restarted)
    assert callbacks.down[0] == "The test server was ended by signal 9; starting it again"


async def test_failed_restart_is_retried(launch, tmp_path):
    """Each failure is callbacks; it comes back when what was in its way is gone."""
    blocked = tmp_path / "blocked"

    def prepare():
        if blocked.exists():
            raise OSError(28, "No space left on device")

    callbacks = CallbackLog()
    async with supervised(launch(prepare=prepare), callbacks) as child:
        blocked.touch()
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: len(callbacks.down) >= 3)
        assert not callbacks.restarted
        blocked.unlink()
        await until(lambda: bool(callbacks.restarted))
        assert await child.launch.is_ready()
    assert "No space left on device" in callbacks.down[1]


async def test_stopped_child_is_not_restarted(launch):
    callbacks = CallbackLog()
    async with supervised(launch(), callbacks) as child:
        await child.stop()
        assert child.pid is None
    assert not callbacks.down
    assert len(callbacks.spawned) == 1


async def test_stop_during_restart_leaves_no_process(launch):
    callbacks = CallbackLog()
    slow = asyncio.Event()
    async with supervised(launch(), callbacks) as child:
        real = child.launch.is_ready

        async def is_ready():
            return slow.is_set() and await real()

        object.__setattr__(child.launch, "is_ready", is_ready)
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: len(callbacks.spawned) == 2)
        await child.stop()
        await until(lambda: not any(map(start_time, callbacks.spawned)))
    assert not callbacks.restarted


@pytest.mark.parametrize("frozen", [False, True])
async def test_child_that_ignores_sigterm_is_killed(launch, frozen):
    """It ignores TERM, or is stopped by a signal and cannot hear it."""
    child = Child(launch(extra=DEAF, stop_s=0.05))
    await child.start()
    pid = child.pid
    if frozen:
        os.kill(pid, signal.SIGSTOP)
    await child.stop()
    assert start_time(pid) is None


@pytest.mark.parametrize(("quick_exits", "delay_s"), [(0, 0), (1, 0.1), (2, 0.2), (5, 1.6), (50, 5.0)])
def test_quick_exits_are_followed_by_growing_delays(launch, quick_exits, delay_s):
    child = Child(launch())
    child._quick_exits = quick_exits
    child._started_at = monotonic_now()
    assert child._delay_s() == pytest.approx(delay_s)


def test_no_delay_after_a_long_run(launch):
    child = Child(launch())
    child._quick_exits = 50
    child._started_at = monotonic_now() - 11
    assert child._delay_s() == 0


async def test_log_is_rotated_and_private(launch):
    chatty = launch(extra="print('hello', flush=True)")
    chatty.log.parent.mkdir()
    chatty.log.write_bytes(b"x" * (LOG_BYTES + 1))
    async with Child(chatty):
        assert chatty.log.read_text() == "hello\n"
        assert chatty.log.stat().st_mode & 0o777 == 0o600
    assert chatty.log.with_name("test.log.1").stat().st_size > LOG_BYTES


async def _never():
    return False


def monotonic_now():
    import time

    return time.monotonic()
