"""Addresses of stores: no secret is shown, and a socket's path is short enough."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import ConfigError
from botctl.stores import address
from botctl.stores.address import SOCKET_BYTES, display_url, remove_socket_folder, socket_path


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("redis://host:6379/2", "redis://host:6379/2"),
        ("rediss://ann:p@ss@host/0?ssl_cert_reqs=none", "rediss://host/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("unix://ann:secret@/run/a@b.sock", "unix:///run/a@b.sock"),
        ("mongodb://ann:pa/ss@a:1,b:2/db?authSource=admin", "mongodb://a:1,b:2/db"),
        ("mongodb+srv://ann:secret@cluster.example", "mongodb+srv://cluster.example"),
        ("redis://host/\x1b[31m", "redis://host/\\x1b[31m"),
    ],
)
def test_address_is_shown_without_secrets(url, seen):
    assert display_url(url) == seen


@given(st.text(st.characters(codec="ascii", exclude_characters="@hosT:"), min_size=1))
def test_no_password_is_ever_shown(password):
    assert display_url(f"redis://:{password}@host") == "redis://host"


def test_short_socket_path_is_in_the_folder(tmp_path):
    assert socket_path(tmp_path, "s") == tmp_path / "s"


def test_long_socket_path_is_in_a_private_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(address.tempfile, "gettempdir", lambda: str(tmp_path))
    deep = tmp_path / ("d" * 200)
    deep.mkdir()
    path = socket_path(deep, "s")
    assert len(os.fsencode(path)) <= SOCKET_BYTES
    assert path == socket_path(deep, "s")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path != socket_path(tmp_path / "e" / ("d" * 200), "s")
    path.parent.chmod(0o755)
    with pytest.raises(ConfigError, match="does not belong to this user alone"):
        socket_path(deep, "s")


def test_only_the_empty_private_folder_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(address.tempfile, "gettempdir", lambda: str(tmp_path))
    path = socket_path(tmp_path / ("x" * SOCKET_BYTES), "s")
    path.touch()
    remove_socket_folder(path)
    assert path.exists()
    path.unlink()
    remove_socket_folder(path)
    assert not path.parent.exists()
    (tmp_path / "mine").mkdir()
    remove_socket_folder(tmp_path / "mine" / "s")
    assert (tmp_path / "mine").is_dir()
