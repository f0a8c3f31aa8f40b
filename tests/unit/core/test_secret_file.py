"""A file with one secret: what it may contain, and whose it must be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.files.secret_file import MAX_BYTES, SecretFileError, parse_secret, read_secret
from botctl.core.files.trust import Caller, this_caller

SECRET = "pa55-wörd of the test"
CALLER = this_caller({})
STRANGER = Caller(frozenset({4242}), lambda _: {4242})


@given(
    st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and text.strip()),
    st.sampled_from(["", "\n", "\r\n", "\n\n"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_any_line_is_read_without_its_end(text: str, end: str, mark: bytes) -> None:
    """Also with a byte order mark, as editors of Windows write it."""
    expected = text.removeprefix("\ufeff")
    assert parse_secret(mark + (text + end).encode()) == expected


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"one\ntwo", "more than one line"),
        (b"one\r\n\r\ntwo\r\n", "more than one line"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a\x00b", "not printable"),
        (b"a" * (MAX_BYTES + 1), "more than 16384 bytes"),
    ],
)
def test_content_that_is_no_secret_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(SecretFileError, match=sentence):
        parse_secret(data)


def test_folder_pipe_and_missing_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretFileError, match="is a folder"):
        read_secret(tmp_path, CALLER)
    with pytest.raises(SecretFileError, match="not a regular file"):
        read_secret(tmp_path / "pipe", CALLER)  # and it does not wait for a writer
    with pytest.raises(SecretFileError, match="cannot be read: Not a directory"):
        read_secret(tmp_path / "pipe" / "inner", CALLER)
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "missing", CALLER)


@pytest.mark.parametrize(("mode", "is_exposed"), [(0o600, False), (0o400, False), (0o644, True), (0o604, True)])
def test_file_that_others_can_read_is_exposed(tmp_path: Path, mode: int, is_exposed: bool) -> None:
    path = tmp_path / "token"
    path.write_text(SECRET)
    path.chmod(mode)
    assert read_secret(path, CALLER).is_exposed is is_exposed


def test_file_that_others_could_have_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(SECRET)
    with pytest.raises(SecretFileError, match="belongs to "):
        read_secret(path, STRANGER)
    path.chmod(0o602)
    with pytest.raises(SecretFileError, match="can be written by other users; use `chown` and `chmod 600`"):
        read_secret(path, CALLER)
    path.chmod(0o600)
    tmp_path.chmod(0o777)
    with pytest.raises(SecretFileError, match=f"is in {tmp_path}, which can be written by other users"):
        read_secret(path, CALLER)


def test_link_that_others_could_have_replaced_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "open").mkdir()
    link = tmp_path / "open" / "link"
    link.symlink_to(tmp_path / "token")
    assert read_secret(link, CALLER).text == SECRET
    link.parent.chmod(0o777)
    with pytest.raises(SecretFileError, match=f"is in {link.parent}, which can be written"):
        read_secret(link, CALLER)


def test_file_of_the_system_has_its_own_mode(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(SECRET)
    path.chmod(0o666)
    assert read_secret(path, None).text == SECRET
    assert not read_secret(path, None).is_exposed
