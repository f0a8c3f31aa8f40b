"""schemathesis, which makes requests of Discord's own description, finds none that fails the sandbox."""

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
SECONDS = 120
THERE = {
    "application_id": BOT,
    "guild_id": GUILD,
    "channel_id": GENERAL,
    "user_id": BOB,
    "role_id": "900000000000000202",
    "overwrite_id": ANN,
}


def narrowed(described: dict[str, Any], message_id: str) -> dict[str, Any]:
    """The operations that the sandbox has, on things that it has; what deletes is left to find nothing."""
    registered = {(one.method, re.sub(r"{[^}]*}", "{}", one.path)) for one in routing.ROUTES}
    paths: dict[str, Any] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if (method.upper(), re.sub(r"{[^}]*}", "{}", path)) in registered:
                names = {} if method == "delete" else {**THERE, "message_id": message_id}
                where = paths.setdefault(_filled(path, names), {})
                left = [one for one in operations.get("parameters", []) if one.get("name") not in names]
                where |= {"parameters": left} if left else {}
                where[method] = operation
    return {**described, "paths": paths}


def _filled(path: str, names: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda found: names.get(found[1], found[0]), path)


@pytest.mark.soak
async def test_schemathesis_finds_no_server_error(tmp_path: Path) -> None:
    program = await asyncio.to_thread(python, SCHEMATHESIS)
    described = openapi.raw()
    async with local_discord() as discord:
        _, message = await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": "here"})
        (tmp_path / "openapi.json").write_text(json.dumps(narrowed(described, message["id"])))
        words = ("run", "openapi.json", "--url", f"{discord.url}/api/v10", "--header", f"Authorization: Bot {TOKEN}")
        words += ("--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing", "--max-examples", "50")
        words += ("--max-time", str(SECONDS), "--suppress-health-check", "all", "--continue-on-failure", "--no-shrink")
        running = await asyncio.create_subprocess_exec(
            program.with_name("schemathesis"),
            *words,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await running.communicate()
        assert discord.running.judge
        assert discord.running.judge.checked > 1000, said.decode()[-4000:]
    assert running.returncode == 0, said.decode()[-6000:]
