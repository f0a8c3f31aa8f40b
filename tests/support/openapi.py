"""Discord's official OpenAPI description, with which `openapi_check` judges what the sandbox answers.

The description is not part of the repository: it is looked for beside it, and where BOTCTL_DISCORD_OPENAPI points.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from botctl.sandbox.web.openapi_check import ENVIRONMENT_VARIABLE, Description, OpenApiCheck, load

_BESIDE = Path(__file__).parents[2].parent / "shared/discord/openapi.json"


def find() -> Path | None:
    """Where the description is; None when it is not on this machine."""
    path = Path(os.environ.get(ENVIRONMENT_VARIABLE) or _BESIDE)
    return path if path.exists() else None


def raw() -> dict[str, Any]:
    """The description as it is; skips the test when there is none."""
    path = find()
    if path is None:
        pytest.skip("discord-openapi: the description is not on this machine")
    return json.loads(path.read_text())


def description() -> Description:
    """The description made ready; skips the test when there is none."""
    path = find()
    if path is None:
        pytest.skip("discord-openapi: the description is not on this machine")
    return load(path)


def make_check() -> OpenApiCheck | None:
    """A judge for one sandbox, where the description is there."""
    path = find()
    return OpenApiCheck(load(path)) if path else None
