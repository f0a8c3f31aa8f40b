"""What `botctl init` says at its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from botctl.cli.init.command import init
from botctl.core.errors import ConfigError
from botctl.core.files.paths import find_root


@pytest.mark.parametrize(("mode", "starts"), [(0o1777, False), (0o777, False), (0o755, True)])
def test_start_is_named_only_where_run_would_not_refuse(
    mode: int, starts: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(mode)
    init(root)
    said = capsys.readouterr().err
    assert ("Start it: cd " in said) is starts
    if not starts:
        with pytest.raises(ConfigError) as refused:
            find_root(root, os.environ)
        assert f"{refused.value}\n  → {refused.value.hint}\n" in said
