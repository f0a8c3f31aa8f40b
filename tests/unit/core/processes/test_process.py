"""Processes: told apart by when they began, ended by number, and never the wrong one."""

import os
import signal
import subprocess
import sys

import pytest

from botctl.core.processes.process import child_environment, die_with_parent, is_running, start_time, terminate
from tests.support.waiting import LIMIT_S, expires, wait_for

SLEEPER = (sys.executable, "-I", "-S", "-c", "import time; print('up', flush=True); time.sleep(60)")
IGNORES_SIGTERM = (
    *SLEEPER[:4],
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
)


@pytest.fixture
def spawn():
    """Starts programs that print a line when they are up; ends them after the test."""
    running = []

    def start(command):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        running.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def test_running_process_is_identified_by_its_start_time(spawn):
    pid = spawn(SLEEPER).pid
    assert start_time(pid) == start_time(pid)
    assert is_running(pid, start_time(pid))
    assert not is_running(pid, start_time(os.getpid()))


def test_zombie_is_not_running(spawn):
    process = spawn(SLEEPER)
    start = start_time(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but not reaped
    assert not is_running(process.pid, start)


async def test_terminate_sends_sigterm_first(spawn):
    process = spawn(SLEEPER)
    await terminate(process.pid, start_time(process.pid), limit_s=LIMIT_S)
    assert process.wait(LIMIT_S) == -signal.SIGTERM


async def test_terminate_kills_a_process_that_ignores_sigterm(spawn):
    process = spawn(IGNORES_SIGTERM)
    await terminate(process.pid, start_time(process.pid), limit_s=expires(0.05))
    assert process.wait(LIMIT_S) == -signal.SIGKILL


async def test_terminate_ignores_another_process_with_the_same_pid(spawn):
    process = spawn(SLEEPER)
    await terminate(process.pid, "some other start", limit_s=expires(0))
    assert process.poll() is None


def test_child_environment_has_no_settings(monkeypatch):
    monkeypatch.setenv("BOTCTL_DISCORD__TOKEN", "secret")
    assert "BOTCTL_DISCORD__TOKEN" not in child_environment()
    assert child_environment(MORE="1")["MORE"] == "1"


NEEDED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_FALLBACK_LIBRARY_PATH", "NIX_LD", "PYTHONHOME", "PYTHONUSERBASE")


@pytest.mark.parametrize("name", [*NEEDED, "LC_MESSAGES", "LOCPATH", "GLIBC_TUNABLES"])
def test_child_keeps_what_its_interpreter_needs(name, monkeypatch):
    monkeypatch.setenv(name, "/needed")
    assert child_environment()[name] == "/needed"


@pytest.mark.parametrize("name", ["OLD_TOKEN", "BOTCTL_LD_X", "PYTHONINSPECT", "PYTHONWARNINGS", "AWS_SECRET", "XLANG"])
def test_child_inherits_nothing_else(name, monkeypatch):
    monkeypatch.setenv(name, "x")
    assert name not in child_environment()


@pytest.mark.skipif(sys.platform != "linux", reason="linux-only: the kernel pulls the leash")
@pytest.mark.parametrize(("home", "ignored"), [(None, True), (sys.base_prefix, False)])
def test_child_starts_with_the_home_of_its_interpreter(home, ignored, monkeypatch):
    monkeypatch.delenv("PYTHONHOME", raising=False)
    if home:
        monkeypatch.setenv("PYTHONHOME", home)
    command = die_with_parent(("/bin/sh", "-c", "exit 7"))
    assert ("-I" in command) is ignored
    assert subprocess.run(command, env=child_environment(), check=False).returncode == 7


@pytest.mark.skipif(sys.platform != "linux", reason="linux-only: the kernel pulls the leash")
def test_child_dies_with_its_killed_parent():
    """kill -9 of the parent leaves it no time to clean up, and still nothing is left running."""
    command = die_with_parent(SLEEPER)
    program = f"import subprocess, time; p = subprocess.Popen({command!r}); print(p.pid, flush=True)"
    program += "; time.sleep(60)"
    program = program.replace(repr(str(os.getpid())), "str(__import__('os').getpid())")
    with subprocess.Popen((sys.executable, "-c", program), stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == b"up\n"
        start = start_time(pid)
        assert start is not None
        parent.kill()
    wait_for(lambda: not is_running(pid, start), what="the child to end")


def test_child_does_not_start_without_its_parent():
    """The parent may die between the fork and the leash."""
    command = [word if word != str(os.getpid()) else "1" for word in die_with_parent(SLEEPER)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
