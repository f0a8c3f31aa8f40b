"""Nothing secret is printed, in however many writes, and nothing else is lost."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rich.console import Console

from botctl.cli import main
from botctl.cli.boundary import report_lost_output, run_guarded
from botctl.cli.migrate.view import ProgressView
from botctl.core.redact import MARK, Redactor
from botctl.core.safe_streams import SafeStream, lost_output, output_required, reveal, safe_streams
from botctl.core.secret_parts import MIN_LENGTH, recognisable
from botctl.migrate.files import Migration
from botctl.migrate.plan import Direction
from tests.support import canary


@pytest.mark.parametrize("end", range(1, len(canary.PASSWORD)))
def test_secret_in_two_writes_is_redacted(end: int) -> None:
    out = io.StringIO()
    with canary.registered(), mock.patch.object(sys, "stdout", out), safe_streams():
        sys.stdout.write(f"it is {canary.PASSWORD[:end]}")
        sys.stdout.flush()
        sys.stdout.write(f"{canary.PASSWORD[end:]}, yes\n")
    assert out.getvalue() == "it is [redacted], yes\n"


def test_text_that_only_begins_like_a_secret_is_printed_whole() -> None:
    out = io.StringIO()
    with canary.registered():
        stream = SafeStream(out)
        for text in (f"no: {canary.PASSWORD[:5]}", "!\n", canary.PASSWORD[:7]):
            stream.write(text)
        assert out.getvalue() == f"no: {canary.PASSWORD[:5]}!\n"
        stream.finish()
    assert out.getvalue().endswith(f"!\n{canary.PASSWORD[:7]}")


# Few characters, so that beginnings overlap, and so that there are line breaks, delimiters and indentation among them.
_SECRETS = st.one_of(
    st.text("ab\n :/", min_size=MIN_LENGTH, max_size=14),
    st.text("abcdefgh", min_size=MIN_LENGTH, max_size=14),
    st.text("abc:/@", max_size=10).map(lambda text: f"https://{text}"),
    st.text(min_size=MIN_LENGTH, max_size=14),
).filter(lambda text: recognisable(text) and text == text.strip() and not set("[]") & set(text) and text not in MARK)
_AROUND = st.one_of(st.text("ab\n |:/\\nr"), st.text(max_size=9))


_FUNCTIONS = ("redact_values", "unfinished")


@st.composite
def _pieces(draw: st.DrawFn, text: str) -> list[tuple[str, bool]]:
    """``text`` cut into pieces, and whether each is flushed."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in itertools.pairwise([0, *cuts, len(text)])]
    return [(piece, draw(st.booleans())) for piece in pieces]


def _printed(pieces: list[tuple[str, bool]], *secrets: str) -> str:
    redactor, out = Redactor(), io.StringIO(newline="")
    redactor.register(*secrets)
    stream = SafeStream(out)
    with mock.patch.multiple("botctl.core.safe_streams", **{n: getattr(redactor, n) for n in _FUNCTIONS}):
        for piece, flushed in pieces:
            stream.write(piece)
            if flushed:
                stream.flush()
        stream.finish()
    return out.getvalue()


@given(_SECRETS, _AROUND, _AROUND, st.data())
@example("abcdef", "", "", None)
@example("aaaabcd", "a", "", None)
def test_no_way_of_writing_shows_a_secret(secret: str, before: str, after: str, data: st.DataObject | None) -> None:
    assume(secret not in f"{before}{MARK}{after}" and secret not in before + secret[:-1])
    assume(secret not in secret[1:] + after)
    text = before + secret + after
    pieces = [(char, False) for char in text] if data is None else data.draw(_pieces(text))
    assert secret not in _printed(pieces, secret)


@given(st.lists(_SECRETS, max_size=3), _AROUND, st.data())
def test_text_without_secrets_is_printed_unchanged(secrets: list[str], text: str, data: st.DataObject) -> None:
    redactor = Redactor()
    redactor.register(*secrets)
    assume(redactor.redact_values(text) == text)
    assert _printed(data.draw(_pieces(text)), *secrets) == text


def test_revealed_secret_is_printed() -> None:
    out = io.StringIO()
    with canary.registered(), mock.patch.object(sys, "stdout", out), safe_streams():
        reveal(canary.TOKEN)
    assert out.getvalue() == f"{canary.TOKEN}\n"


def test_line_that_begins_like_a_secret_is_flushed() -> None:
    """A person may wait for it: a question, the last line before a long work."""
    out = io.StringIO()
    with canary.registered():
        stream = SafeStream(out)
        stream.write(f"go on with {canary.PASSWORD[:5]}\n")
        stream.flush()
    assert out.getvalue() == f"go on with {canary.PASSWORD[:5]}\n"


@pytest.mark.parametrize("text", ["\x1b[1mred\x1b[0m", "from redis to mongodb\n", "a password:"])
def test_beginning_of_an_address_delays_no_ordinary_text(text: str) -> None:
    """The last letter of a terminal's control sequence, a scheme at the end of a line, a delimiter."""
    redactor, out = Redactor(), io.StringIO()
    redactor.register("mongodb://ann:s3cr3tPw9@db.example", "redis://:s3cr3tPw9@redis.example")
    with mock.patch.multiple("botctl.core.safe_streams", **{n: getattr(redactor, n) for n in _FUNCTIONS}):
        SafeStream(out).write(text)
    assert out.getvalue() == text


def test_revealed_line_comes_after_all_that_was_written() -> None:
    out = io.StringIO()
    with canary.registered():
        stream = SafeStream(out)
        stream.write(f"{canary.PASSWORD[:5]}\n")
        stream.reveal(canary.TOKEN)
    assert out.getvalue() == f"{canary.PASSWORD[:5]}\n{canary.TOKEN}\n"


def test_log_line_between_two_writes_uncovers_no_secret() -> None:
    out = io.StringIO()
    with canary.registered():
        stream = SafeStream(out)
        stream.write(f"it is {canary.PASSWORD[:7]}")
        stream.write_redacted("a log line\n")
        stream.write(f"{canary.PASSWORD[7:]}.\n")
    assert out.getvalue() == "it is a log line\n[redacted].\n"


def test_characters_of_several_bytes_may_come_in_pieces() -> None:
    out = io.StringIO()
    stream = SafeStream(out)
    for byte in "✓ café 😀".encode() + b"\xe2\x9c":
        stream.buffer.write(bytes([byte]))
    stream.finish()
    assert out.getvalue() == "✓ café 😀\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("method", ["write", "write_redacted", "reveal", "finish", "flush"])
def test_whatever_writes_holds_the_lock_of_the_stream(method: str) -> None:
    """Else what two threads write would be mixed, or written twice."""
    with canary.registered(), ThreadPoolExecutor(1) as other_thread:
        out = mock.Mock(spec=io.StringIO())
        stream = SafeStream(out)
        stream.write(f"{canary.PASSWORD[:5]}\n")
        free: list[bool] = []
        out.write.side_effect = lambda _: free.append(other_thread.submit(stream._lock.acquire, False).result())
        getattr(stream, method)(*() if method in ("finish", "flush") else ("text\n",))
    assert True not in free
    assert free


TEXTS = ("✓ 0001_first applied", "a “bot” 😀", "\ud800 of a broken name", "caf\udce9.py")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_that_the_encoding_lacks_is_escaped(text: str, encoding: str) -> None:
    """As in JSON, so that what is JSON stays JSON."""
    raw = io.BytesIO()
    with mock.patch.object(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding)), safe_streams():
        sys.stdout.write(f"{text}\n")
        sys.stdout.write(f"{json.dumps(text, ensure_ascii=False)}\n")
        Console(width=99).print(text, markup=False, emoji=False, highlight=False)
        sys.stdout.flush()
        plain, as_json, rich = raw.getvalue().decode(encoding).splitlines()
    assert json.loads(as_json) == text
    assert json.loads(f'"{plain}"') == text
    assert rich == plain


@pytest.fixture
def unread() -> Iterator[io.TextIOWrapper]:
    """A pipe whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield stream


class _Full(io.StringIO):
    """A file on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_migrations_go_on_when_no_one_reads_their_progress(unread: io.TextIOWrapper, tmp_path: Path) -> None:
    def apply_two() -> None:
        with ProgressView(as_json=False) as progress:
            for n in (1, 2):
                progress.finished(mock.Mock(spec=Migration), Direction.UP, n)
                (tmp_path / str(n)).touch()

    with mock.patch.object(sys, "stdout", unread), safe_streams():
        assert report_lost_output(run_guarded(apply_two), as_json=False) == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["1", "2"]


def test_command_that_only_prints_ends_with_its_reader(unread: io.TextIOWrapper) -> None:
    printed = []

    def follow() -> None:
        with output_required():
            for n in range(9):
                sys.stdout.write(f"{n}\n")
                sys.stdout.flush()
                printed.append(n)

    err = io.StringIO()
    with mock.patch.multiple(sys, stdout=unread, stderr=err), safe_streams():
        assert run_guarded(follow) == 1
    assert (printed, err.getvalue()) == ([], "")


def test_broken_pipe_of_something_else_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    err = io.StringIO()

    def fail() -> None:
        raise BrokenPipeError(errno.EPIPE, "of a store")

    with mock.patch.object(sys, "stderr", err), safe_streams():
        assert run_guarded(fail) == 1
    assert "an unexpected BrokenPipeError" in err.getvalue()


@pytest.mark.parametrize(("code", "ends"), [(0, 1), (7, 7)])
def test_output_on_a_full_disk_is_an_error_after_the_work(code: int, ends: int) -> None:
    err = io.StringIO()
    with mock.patch.multiple(sys, stdout=_Full(), stderr=err), safe_streams():
        sys.stdout.write("done\n")
        assert report_lost_output(code, as_json=True) == ends
        assert lost_output() is not None
    assert [json.loads(line)["error"] for line in err.getvalue().splitlines()] == (
        [] if code else ["the output cannot be written: No space left on device."]
    )


def test_closed_stderr_and_unread_stdout_change_no_exit_code(
    unread: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "argv", ["botctl", "--version"])
    with mock.patch.multiple(sys, stdout=unread, stderr=closed), pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 0


_OPENING = """
import os, sys
for number in {closed}:
    os.close(number)
    setattr(sys, ("stdin", "stdout", "stderr")[number], None)
from botctl.core.safe_streams import open_standard_descriptors
open_standard_descriptors()
import socket
assert socket.socket().fileno() > 2
print("x", flush=True)
print("x", file=sys.stderr, flush=True)
assert 0 in {closed} or sys.stdin.read() == "in"
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_descriptor_is_never_given_to_a_socket(closed: tuple[int, ...]) -> None:
    code = _OPENING.format(closed=closed)
    done = subprocess.run([sys.executable, "-c", code], input="in", text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if 1 in closed else "x\n")
