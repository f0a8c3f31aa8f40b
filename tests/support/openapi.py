"""Discord's official OpenAPI description as a judge of what the sandbox answers.

The description is not part of the repository: it is looked for beside it, and where BOTCTL_DISCORD_OPENAPI points.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

_BESIDE = Path(__file__).parents[2].parent / "shared/discord/openapi.json"


def description() -> dict[str, Any]:
    """The description; skips the test when there is none."""
    path = Path(os.environ.get("BOTCTL_DISCORD_OPENAPI") or _BESIDE)
    if not path.exists():
        pytest.skip("discord-openapi: the description is not on this machine")
    return json.loads(path.read_text())


class Judge:
    """Finds what is wrong with a response of ``method path``."""

    def __init__(self, described: dict[str, Any]) -> None:
        self._paths = described["paths"]
        self._registry = jsonschema_rs.Registry([("urn:d", described)])
        by_literal = sorted(self._paths, key=lambda path: path.count("{"))
        self._patterns = [(re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), path) for path in by_literal]

    def template(self, method: str, path: str) -> str:
        """The described path that ``path`` is one of; raises LookupError."""
        for pattern, template in self._patterns:
            if pattern.fullmatch(path) and method.lower() in self._paths[template]:
                return template
        raise LookupError(f"{method} {path} is not described")

    def faults(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What the description finds wrong, one line each."""
        template = self.template(method, path.partition("?")[0])
        responses = self._paths[template][method.lower()]["responses"]
        key = str(status) if str(status) in responses else f"{status // 100}XX"
        if key not in responses:
            return [f"{status} is not described"]
        if "content" not in responses[key] and "$ref" not in responses[key]:
            return [] if body is None else ["a body where none is described"]
        if "$ref" in responses[key]:
            return []
        return [
            f"{list(error.instance_path)}: {error.message}"
            for error in self._judge(template, method.lower(), key).iter_errors(body)
        ]

    @functools.cache  # noqa: B019 - the judge lives as long as the test run
    def _judge(self, template: str, method: str, status: str) -> Any:
        pointer = template.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
        where = f"urn:d#/paths/{pointer}/{method}/responses/{status}/content/application~1json/schema"
        return jsonschema_rs.validator_for({"$ref": where}, registry=self._registry, validate_formats=True)
