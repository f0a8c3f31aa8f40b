"""Which ports a server tries: the one of its last run, if its setting leaves that open."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from botctl.core.processes.last_port import ports_to_try, remember_port


def test_port_of_the_last_run_comes_first(tmp_path: Path) -> None:
    assert ports_to_try(tmp_path, "web", 0) == (0,)
    remember_port(tmp_path, "web", 4321)
    assert ports_to_try(tmp_path, "web", 0) == (4321, 0)
    remember_port(tmp_path, "web", 4322)
    assert ports_to_try(tmp_path, "web", 0) == (4322, 0)
    assert ports_to_try(tmp_path, "realtime", 0) == (0,)
    assert [path.name for path in tmp_path.iterdir()] == ["web.port"]
    assert stat.S_IMODE((tmp_path / "web.port").stat().st_mode) == 0o600


def test_port_of_the_settings_is_the_only_one(tmp_path: Path) -> None:
    remember_port(tmp_path, "web", 4321)
    assert ports_to_try(tmp_path, "web", 8760) == (8760,)


@pytest.mark.parametrize("content", ["", "0", "65536", "-1", "80 81", "\u0664", "9" * 5000])
def test_damaged_file_is_no_wish(tmp_path: Path, content: str) -> None:
    (tmp_path / "web.port").write_text(content)
    assert ports_to_try(tmp_path, "web", 0) == (0,)


def test_full_disk_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("botctl.core.processes.last_port.write_private", fail)
    remember_port(tmp_path, "web", 4321)
    assert "No space left on device; the next run may have another port" in caplog.text
