"""The files of the starts and of the logins: read by the next start, also when they are damaged."""

from __future__ import annotations

import fcntl
import json
import stat
from pathlib import Path

import pytest

from botctl.core.errors import ExitCode
from botctl.logins.budget import DAY_MS, Login, Observation
from botctl.logins.history import KEPT, StartHistory
from botctl.logins.login_file import FILE, LoginFile
from tests.support.clock import ManualClock

NOW = 10 * DAY_MS
SAID = Observation(1000, 900, NOW + DAY_MS, 1, NOW)


def history(folder: Path, clock: ManualClock, *, boot: str = "b") -> StartHistory:
    return StartHistory(folder, ["jobs", "bot"], clock, boot=boot)


class TestHistory:
    def test_next_start_knows_how_far_the_last_one_came(self, tmp_path: Path) -> None:
        clock = ManualClock()
        first = history(tmp_path, clock)
        assert first.begin().starts == ()
        first.count_login()
        first.note_ready()
        clock.advance(7)
        first.end(ExitCode.FAILED, "bot lost\nits task x")
        clock.advance(1)
        (start,) = history(tmp_path, clock).begin().starts
        assert (start.logins, start.ready, start.exit_code, start.why) == (1, True, 1, "bot lost its task x")
        assert start.seen_s - start.at_s == 7

    def test_killed_process_has_said_nothing(self, tmp_path: Path) -> None:
        clock = ManualClock()
        history(tmp_path, clock).begin()
        series = history(tmp_path, clock).begin()
        assert series.crashes == 1
        assert "without a word" in series.starts[0].why

    def test_person_begins_at_zero(self, tmp_path: Path) -> None:
        """``--now`` for good, a terminal for this start only, and exit code 78 for the next one."""
        clock = ManualClock()
        for _ in range(3):
            history(tmp_path, clock).begin()
        assert history(tmp_path, clock).begin(attended=True).starts == ()
        assert history(tmp_path, clock).begin().crashes == 4
        assert history(tmp_path, clock).begin(override=True).starts == ()
        last = history(tmp_path, clock)
        assert last.begin().crashes == 1
        last.end(ExitCode.CONFIG)
        assert history(tmp_path, clock).begin().starts == ()

    def test_other_roles_have_a_history_of_their_own(self, tmp_path: Path) -> None:
        clock = ManualClock()
        history(tmp_path, clock).begin()
        assert StartHistory(tmp_path, ["realtime"], clock, boot="b").begin().starts == ()

    def test_secret_in_a_reason_is_removed(self, tmp_path: Path) -> None:
        own = history(tmp_path, ManualClock())
        own.begin()
        own.end(ExitCode.FAILED, "redis://user:hunter2hunter2@host refused")
        (file,) = tmp_path.glob("starts-bot-jobs.json")
        assert "hunter2" not in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_only_the_newest_are_kept(self, tmp_path: Path) -> None:
        for _ in range(KEPT + 5):
            history(tmp_path, ManualClock()).begin()
        (file,) = tmp_path.glob("starts-*.json")
        assert len(json.loads(file.read_text())) == KEPT + 1

    @pytest.mark.parametrize("text", ["", "[{", "7", '[{"at_s": 1}]', '[{"unknown": 1}]'])
    def test_damaged_file_counts_for_nothing(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "starts-bot-jobs.json").write_text(text)
        assert history(tmp_path, ManualClock()).begin().starts == ()
        assert history(tmp_path, ManualClock()).begin().crashes == 1


class TestLoginFile:
    def test_is_read_by_the_next_process_for_its_token_only(self, tmp_path: Path) -> None:
        with LoginFile(tmp_path, "one").changing(NOW) as known:
            known.logins.append(Login(NOW, 3, "a"))
            known.observation = SAID
        with LoginFile(tmp_path, "two").changing(NOW) as other:
            assert (other.logins, other.observation) == ([], None)
            other.logins.append(Login(NOW, 0, "b"))
        again = LoginFile(tmp_path, "one").read(NOW + 1)
        assert (again.logins, again.observation) == ([Login(NOW, 3, "a")], SAID)
        assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600

    def test_forgets_what_is_a_day_old(self, tmp_path: Path) -> None:
        with LoginFile(tmp_path, "one").changing(NOW) as known:
            known.logins.append(Login(NOW, 0, "a"))
        with LoginFile(tmp_path, "two").changing(NOW + DAY_MS):
            pass
        assert LoginFile(tmp_path, "one").read(NOW + DAY_MS).logins == []

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"tokens": {"one": {"logins": [[1]], "observation": null}}}'])
    def test_damaged_file_is_said_and_replaced(
        self, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / FILE).write_text(text)
        with LoginFile(tmp_path, "one").changing(NOW) as known:
            known.logins.append(Login(NOW, 0, "a"))
        assert "logins before this start may be missing" in caplog.text
        assert len(LoginFile(tmp_path, "one").read(NOW).logins) == 1

    def test_file_that_cannot_be_written_is_kept_in_memory(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = LoginFile(tmp_path, "one")
        (tmp_path / FILE).with_suffix(".new").mkdir()
        for number in range(2):
            with file.changing(NOW) as known:
                known.logins.append(Login(NOW, 0, str(number)))
        assert len(file.read(NOW).logins) == 2
        assert caplog.text.count("cannot be written") == 1

    def test_lock_that_another_process_keeps_is_not_waited_for(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """That process may be stopped, and the event loop would stand still with it."""
        file = LoginFile(tmp_path, "one")
        with (tmp_path / FILE).with_suffix(".lock").open("w") as kept:
            fcntl.flock(kept, fcntl.LOCK_EX)
            for number in range(2):
                with file.changing(NOW) as known:
                    known.logins.append(Login(NOW, 0, str(number)))
        assert len(file.read(NOW).logins) == 2
        assert not (tmp_path / FILE).exists(), "what the other process writes is not lost"
        assert caplog.text.count("is locked by another process") == 1
        with file.changing(NOW):
            pass
        assert len(LoginFile(tmp_path, "one").read(NOW).logins) == 2
