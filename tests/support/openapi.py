"""Discord's OpenAPI description, for `openapi_check`.

It is not part of the repository. Set BOTCTL_DISCORD_OPENAPI to its file, or put it at ../shared/discord/openapi.json.
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
    """The path of the description; None when it is not on this machine."""
    path = Path(os.environ.get(ENVIRONMENT_VARIABLE) or _BESIDE)
    return path if path.exists() else None


def raw() -> dict[str, Any]:
    """The description as JSON; skips the test when there is none."""
    path = find()
    if path is None:
        pytest.skip("discord-openapi: the description is not on this machine")
    return json.loads(path.read_text())


def description() -> Description:
    """The loaded description; skips the test when there is none."""
    path = find()
    if path is None:
        pytest.skip("discord-openapi: the description is not on this machine")
    return load(path)


def make_check() -> OpenApiCheck | None:
    """A check for one sandbox; None without the description."""
    path = find()
    return OpenApiCheck(load(path)) if path else None
