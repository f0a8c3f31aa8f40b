"""runtime.json and the locks: what is running, and who holds what."""

import errno
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from botctl.core.errors import BotctlError, ConfigError, ExitCode, Held
from botctl.core.processes.process import start_time
from botctl.core.processes.runtime import RUN_LOCKS, Run, Runtime
from botctl.run.roles import ProcessRole

SLEEPER = (sys.executable, "-I", "-S", "-c", "import time; print('up', flush=True); time.sleep(60)")
HOLDER = """
import sys, time
from pathlib import Path
from botctl.core.processes.runtime import Runtime
with Runtime(Path(sys.argv[1])).lock("bot"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def runtime(tmp_path):
    return Runtime(tmp_path)


@pytest.fixture
def sleeper():
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def doctored(runtime, **changes):
    """Change what runtime.json says of every part, as another process's entry."""
    path = runtime.folder / "runtime.json"
    path.write_text(json.dumps([item | changes for item in json.loads(path.read_text())]))


def test_published_part_is_found_by_other_processes(runtime, tmp_path, sleeper):
    runtime.publish("redis", pid=sleeper.pid, address="unix:///x", secret="open sesame")
    part = Runtime(tmp_path).live()["redis"]
    assert (part.pid, part.address, part.secret, part.lasting) == (sleeper.pid, "unix:///x", "open sesame", False)
    assert part.owner_pid == os.getpid()
    assert "sesame" not in repr(part)


def test_runtime_file_is_readable_only_by_the_user(runtime, sleeper):
    runtime.publish("redis", pid=sleeper.pid, address="unix:///x")
    assert stat.S_IMODE(runtime.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((runtime.folder / "runtime.json").stat().st_mode) == 0o600


def test_ended_part_is_not_live(runtime, sleeper):
    part = runtime.publish("redis", pid=sleeper.pid, address="unix:///x")
    sleeper.kill()
    sleeper.wait()
    assert runtime.live() == {}
    assert runtime.parts() == {"redis": part}  # its owner is about to start it again
    assert part.owned


@pytest.mark.parametrize("field", ["started", "owner_started"])
def test_reused_pid_is_not_the_part(runtime, sleeper, field):
    runtime.publish("redis", pid=sleeper.pid, address="unix:///x")
    doctored(runtime, **{field: "another boot:1"})
    assert runtime.live() == {}


def test_only_the_owner_can_unpublish_a_part(runtime, sleeper):
    runtime.publish("redis", pid=sleeper.pid, address="a")
    runtime.publish("mongo", pid=sleeper.pid, address="b")
    runtime.unpublish("redis")
    assert set(runtime.live()) == {"mongo"}
    doctored(runtime, owner_pid=1)
    runtime.unpublish("mongo")
    assert set(runtime.parts()) == {"mongo"}


def test_other_run_that_has_a_store_is_found_and_one_with_a_server_only_is_not(tmp_path, sleeper):
    runtime = Runtime(tmp_path, long_lived=True)
    for name in ("redis", "realtime"):
        runtime.publish(name, pid=sleeper.pid, address="a")
    assert runtime.other_owner(["redis"]) is None, "it is this process"
    doctored(runtime, owner_pid=os.getppid(), owner_started=start_time(os.getppid()))
    assert runtime.other_owner(["redis", "mongo"]) == os.getppid()
    assert runtime.other_owner(["mongo"]) is None
    doctored(runtime, owner_started="another process")
    assert runtime.other_owner(["redis"]) is None


@pytest.mark.parametrize("content", ["", "[{", '{"a": 1}', '[{"name": "redis", "of": "another version"}]'])
def test_corrupt_file_means_no_parts(runtime, sleeper, content):
    (runtime.folder / "runtime.json").write_text(content)
    assert runtime.live() == {}
    runtime.publish("redis", pid=sleeper.pid, address="a")
    assert set(runtime.live()) == {"redis"}


def test_concurrent_publishes_lose_nothing(tmp_path, sleeper):
    names = [f"part-{n}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: Runtime(tmp_path).publish(name, pid=sleeper.pid, address=name), names))
    assert set(Runtime(tmp_path).live()) == set(names)


async def test_leftover_is_terminated(runtime, sleeper):
    """The owner was killed, its child was not: where the kernel has no leash."""
    runtime.publish("redis", pid=sleeper.pid, address="a")
    doctored(runtime, owner_pid=1, owner_started="another boot:1")
    await runtime.terminate_leftover("redis")
    assert start_time(sleeper.pid) is None
    assert runtime.parts() == {}


async def test_other_process_with_leftover_pid_is_not_terminated(runtime, sleeper):
    runtime.publish("redis", pid=sleeper.pid, address="a")
    doctored(runtime, started="another boot:1")
    await runtime.terminate_leftover("redis")
    assert sleeper.poll() is None
    assert runtime.parts() == {}


def test_lock_is_exclusive_and_error_names_its_holder(runtime, tmp_path):
    with (
        runtime.lock("bot"),
        pytest.raises(Held) as caught,
        Runtime(tmp_path).lock("bot", message="is already the bot", hint="Start another part with --only."),
    ):
        pytest.fail("held twice")
    assert caught.value.exit_code is ExitCode.HELD
    assert str(caught.value) == f"Process {os.getpid()} is already the bot of this project."
    assert caught.value.hint == "Start another part with --only."
    with Runtime(tmp_path).lock("bot"):
        pass


def test_lock_holder_is_known_without_taking_the_lock(runtime, tmp_path):
    assert runtime.holder("bot") is None
    with subprocess.Popen((sys.executable, "-c", HOLDER, str(tmp_path)), stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert runtime.holder("bot") == holder.pid
        holder.kill()
    assert runtime.holder("bot") is None


def test_lock_of_killed_holder_is_free(runtime, tmp_path):
    with subprocess.Popen((sys.executable, "-c", HOLDER, str(tmp_path)), stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Held, match=f"^Process {holder.pid} already has bot of this"), runtime.lock("bot"):
            pytest.fail("held twice")
        holder.kill()
    with runtime.lock("bot"):
        pass


def test_shared_and_exclusive_lock_exclude_each_other(runtime, tmp_path):
    other = Runtime(tmp_path)
    with runtime.lock_shared("users"), other.lock_shared("users"), pytest.raises(Held), runtime.lock("users"):
        pytest.fail("shared and held")
    with runtime.lock("users"), pytest.raises(Held), other.lock_shared("users"):
        pytest.fail("shared and held")


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, BotctlError), (errno.EACCES, ConfigError), (errno.EROFS, ConfigError)]
)
def test_disk_error_is_an_expected_error(runtime, sleeper, monkeypatch, number, kind):
    def refuse(self, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(kind, match=f"runtime.json cannot be written: {os.strerror(number)}") as caught:
        runtime.publish("redis", pid=sleeper.pid, address="a")
    assert type(caught.value) is kind
    assert caught.value.hint
    assert sorted(path.name for path in runtime.folder.iterdir()) == [".gitignore", "runtime.lock"]


def test_unpublish_survives_a_full_disk(runtime, sleeper, monkeypatch, caplog):
    """What cannot be taken off the list has ended all the same, and readers see that."""
    runtime.publish("redis", pid=sleeper.pid, address="here")

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    runtime.unpublish("redis")
    assert "No space left" in caplog.text
    sleeper.kill()
    sleeper.wait()
    assert runtime.live() == {}


def test_run_of_this_host_is_found_by_its_locks(runtime, tmp_path):
    assert runtime.runs() == ()
    with subprocess.Popen((sys.executable, "-c", HOLDER, str(tmp_path)), stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert runtime.runs() == (Run(holder.pid, ("bot",)),)
        assert str(runtime.runs()[0]) == f"process {holder.pid} (bot)"
        holder.kill()
    assert runtime.runs() == ()


def test_run_is_found_though_the_disk_is_full(runtime, monkeypatch):
    """It holds its locks, but could not write its id into them."""

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with runtime.lock("bot"), runtime.lock("jobs"):
        assert runtime.runs() == (Run(None, ("bot", "jobs")),)
    assert runtime.runs() == ()


@pytest.mark.parametrize("content", ["0", "4000000000 boot:1", "PID another boot:1", "no number"])
def test_lock_of_an_ended_process_is_no_run(runtime, content):
    """Its id may be another process's by now, for example this one's."""
    (runtime.folder / "bot.lock").write_text(content.replace("PID", str(os.getpid())))
    assert runtime.runs() == ()


def test_released_lock_has_no_holder(runtime):
    with runtime.lock("bot"):
        assert runtime.holder("bot") == os.getpid()
    assert runtime.holder("bot") is None


def test_every_role_of_a_run_has_its_lock():
    assert set(RUN_LOCKS) == set(ProcessRole)


@pytest.mark.parametrize(
    "change", [{"pid": "12"}, {"owner_pid": None}, {"address": 5}, {"started": 1.5}, {"lasting": 3}]
)
def test_damaged_part_means_no_parts(runtime, sleeper, change):
    runtime.publish("redis", pid=sleeper.pid, address="a")
    doctored(runtime, **change)
    assert runtime.live() == {}
    runtime.publish("redis", pid=sleeper.pid, address="b")
    assert runtime.live()["redis"].address == "b"
