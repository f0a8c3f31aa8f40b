"""Damaged files under `.botctl`, and the real command line."""

from __future__ import annotations

from tests.support.cli import Project


def test_damaged_files_are_told_by_the_command_line(tmp_path):
    """A database ends with 4 and stays as it is."""
    project = Project(tmp_path)
    assert project.call("migrate", "up").code == 0
    files = (tmp_path / ".botctl" / "mongo").glob("botctl_*.db")
    [database] = [file for file in files if "-leases" not in file.name]
    data = database.read_bytes()
    damaged = data[:5000] + bytes(len(data) - 5000)
    database.write_bytes(damaged)
    told = project.call("migrate", "status", "--json")
    assert told.code == 4, told.err
    assert str(database) in told.err
    assert "backup" in told.err
    assert database.read_bytes() == damaged
