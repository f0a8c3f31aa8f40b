"""Checks the events of the gateway against schemas from discord-api-types (tools/gateway_schemas.py)."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

from botctl.sandbox.model.gateway.session import GatewaySession
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.web.openapi_check import explain

_SCHEMAS = json.loads((Path(__file__).parent / "gateway.schema.json").read_text(encoding="utf-8"))
_REGISTRY = jsonschema_rs.Registry([("urn:g", _SCHEMAS)])
EVENTS = frozenset(_SCHEMAS["properties"])


def schema_errors(event: str, data: Any) -> list[str]:
    """The schema errors in the data of ``event``, one line each."""
    if event not in EVENTS:
        return [f"{event} is not a known event"]
    validator = _validator(event)
    if validator.is_valid(data):
        return []
    return [
        f"{event} {path}: {message[:300]}" for error in validator.iter_errors(data) for path, message in explain(error)
    ]


@functools.cache
def _validator(event: str) -> Any:
    return jsonschema_rs.validator_for({"$ref": f"urn:g#/properties/{event}"}, registry=_REGISTRY)


class DispatchRecorder:
    """Records all sessions that a sandbox creates."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sessions: list[GatewaySession] = []
        create = sandbox.sessions.create

        def create_and_record(*args: Any, **kwargs: Any) -> GatewaySession:
            self.sessions.append(create(*args, **kwargs))
            return self.sessions[-1]

        sandbox.sessions.create = create_and_record  # type: ignore[method-assign]

    def dispatches(self) -> Iterator[tuple[str, Any]]:
        """The event and the data of each dispatch that is still kept for a RESUME."""
        for session in self.sessions:
            for _, frame in session.sent:
                payload = json.loads(frame)
                yield payload["t"], payload["d"]

    def schema_errors(self) -> list[str]:
        return [error for event, data in self.dispatches() for error in schema_errors(event, data)]
