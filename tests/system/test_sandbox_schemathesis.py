"""schemathesis makes requests from Discord's OpenAPI description; none causes a server error."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from botctl.sandbox.rest import routing
from tests.support import openapi
from tests.support.discord import ANN, BOB, BOT, GENERAL, GUILD, TOKEN, local_discord
from tests.support.environments import python

SCHEMATHESIS = "schemathesis==4.32.5"
MAX_TIME_S = 120
EXISTING = {
    "application_id": BOT,
    "guild_id": GUILD,
    "channel_id": GENERAL,
    "user_id": BOB,
    "role_id": "900000000000000202",
    "overwrite_id": ANN,
}


def narrow(description: dict[str, Any], message_id: str) -> dict[str, Any]:
    """The sandbox's operations on existing objects; DELETE operations get unknown ids."""
    registered = {(route.method, re.sub(r"{[^}]*}", "{}", route.path)) for route in routing.ROUTES}
    paths: dict[str, Any] = {}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if (method.upper(), re.sub(r"{[^}]*}", "{}", path)) in registered:
                names = {} if method == "delete" else {**EXISTING, "message_id": message_id}
                target = paths.setdefault(_fill_path(path, names), {})
                parameters = [
                    parameter for parameter in operations.get("parameters", []) if parameter.get("name") not in names
                ]
                target |= {"parameters": parameters} if parameters else {}
                target[method] = operation
    return {**description, "paths": paths}


def _fill_path(path: str, names: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda match: names.get(match[1], match[0]), path)


@pytest.mark.soak
async def test_schemathesis_finds_no_server_error(tmp_path: Path) -> None:
    program = await asyncio.to_thread(python, SCHEMATHESIS)
    description = openapi.raw()
    async with local_discord() as discord:
        _, message = await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": "here"})
        (tmp_path / "openapi.json").write_text(json.dumps(narrow(description, message["id"])))
        arguments = (
            "run",
            "openapi.json",
            "--url",
            f"{discord.url}/api/v10",
            "--header",
            f"Authorization: Bot {TOKEN}",
        )
        arguments += ("--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing", "--max-examples", "50")
        arguments += (
            "--max-time",
            str(MAX_TIME_S),
            "--suppress-health-check",
            "all",
            "--continue-on-failure",
            "--no-shrink",
        )
        process = await asyncio.create_subprocess_exec(
            program.with_name("schemathesis"),
            *arguments,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert discord.running.judge
        assert discord.running.judge.checked > 1000, output.decode()[-4000:]
    assert process.returncode == 0, output.decode()[-6000:]
