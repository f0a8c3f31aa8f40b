"""Who holds a lease, and whether it is known to have ended."""

from __future__ import annotations

import socket
import subprocess
import sys

from botctl.stores.lease_holder import describe_holder, has_ended, new_holder

ENDED = "from botctl.stores.lease_holder import new_holder; print(new_holder())"


def test_only_a_process_of_this_host_is_known_to_have_ended() -> None:
    done = subprocess.run([sys.executable, "-c", ENDED], capture_output=True, text=True, check=True)
    ended = done.stdout.strip()
    assert has_ended(ended)
    assert not has_ended(new_holder())
    host, pid, mark = ended.split(":")
    assert host == socket.gethostname()
    assert describe_holder(ended) == f"process {pid} on {host}"
    assert not has_ended(f"elsewhere:{pid}:{mark}")
    assert not has_ended(f"{host}:{pid}:0123abcd"), "an earlier version, or another container with this name"
