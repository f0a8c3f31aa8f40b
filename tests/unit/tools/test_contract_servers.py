"""`make contract` where servers cannot be had, and where what is had is not what was pinned."""

import subprocess

import pytest

from tools import contract_servers
from tools.contract_servers import NotToBeHad


@pytest.fixture
def pip(monkeypatch):
    """Let each command fail with the text that the test gives."""

    def fail(text):
        done = subprocess.CompletedProcess((), 1, "", text)
        monkeypatch.setattr(contract_servers.subprocess, "run", lambda *_args, **_options: done)

    return fail


@pytest.mark.parametrize(
    "text",
    [
        "WARNING: Retrying\nERROR: No matching distribution found for secantusdb==0.7.0b3",
        "NewConnectionError('<pip>: Failed to establish a new connection')",
        "ERROR: Could not install packages due to an OSError: Temporary failure in name resolution",
    ],
)
def test_machine_without_network_leaves_the_server_out(pip, tmp_path, text):
    pip(text)
    with pytest.raises(NotToBeHad, match="cannot be installed here"):
        contract_servers._pip(tmp_path / "python", "x")


def test_wrong_hash_ends_the_run(pip, tmp_path):
    pip("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.")
    with pytest.raises(SystemExit, match="refused"):
        contract_servers._pip(tmp_path / "python", "x")


def test_run_without_any_server_succeeds(monkeypatch, capsys):
    def nowhere(*_arguments):
        raise NotToBeHad("it is not here")

    monkeypatch.setattr(contract_servers, "start_mongo", nowhere)
    monkeypatch.setattr(contract_servers, "start_redis", nowhere)
    assert contract_servers.main([]) == 0
    assert capsys.readouterr().out == "contract: left out: it is not here\n" * 2


def test_secantus_is_in_no_lock_file():
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        assert "secantus" not in (contract_servers.ROOT / name).read_text("utf-8").lower()
