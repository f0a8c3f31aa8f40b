"""What the gateway sends, judged by schemas that come from discord-api-types (tools/gateway_schemas.py)."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

from botctl.sandbox.model.gateway.session import GatewaySession
from botctl.sandbox.server import Sandbox
from botctl.sandbox.web.openapi_check import explain

_SCHEMAS = json.loads((Path(__file__).parent / "gateway.schema.json").read_text(encoding="utf-8"))
_REGISTRY = jsonschema_rs.Registry([("urn:g", _SCHEMAS)])
EVENTS = frozenset(_SCHEMAS["properties"])


def faults(event: str, data: Any) -> list[str]:
    """What is wrong with the data of ``event``, one line each."""
    if event not in EVENTS:
        return [f"{event} is no event that is known here"]
    judge = _judge(event)
    if judge.is_valid(data):
        return []
    return [f"{event} {where}: {what[:300]}" for error in judge.iter_errors(data) for where, what in explain(error)]


@functools.cache
def _judge(event: str) -> Any:
    return jsonschema_rs.validator_for({"$ref": f"urn:g#/properties/{event}"}, registry=_REGISTRY)


class Witness:
    """Knows all sessions that a sandbox begins, and so what they were told."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sessions: list[GatewaySession] = []
        begin = sandbox.sessions.begin

        def begun(*given: Any, **named: Any) -> GatewaySession:
            self.sessions.append(begin(*given, **named))
            return self.sessions[-1]

        sandbox.sessions.begin = begun  # type: ignore[method-assign]

    def dispatches(self) -> Iterator[tuple[str, Any]]:
        """Name and data of what they were told, as far as it is kept for a RESUME."""
        for session in self.sessions:
            for _, frame in session.sent:
                payload = json.loads(frame)
                yield payload["t"], payload["d"]

    def faults(self) -> list[str]:
        return [fault for event, data in self.dispatches() for fault in faults(event, data)]
