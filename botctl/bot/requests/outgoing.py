"""The one way out to Discord: secrets are removed from every request and from every message to the gateway.

disnake sends all requests with two methods, and all messages to the gateway with one. There is no hook, so these are
replaced. Only the texts inside are changed; the token that identifies the bot is not in a body, but in a header.
"""

from __future__ import annotations

import json
from typing import Any, Final

import disnake.utils
from disnake.gateway import DiscordWebSocket
from disnake.http import HTTPClient
from disnake.webhook.async_ import AsyncWebhookAdapter

from botctl.core.redact import redact_json, redact_values

_LOGINS: Final = (DiscordWebSocket.IDENTIFY, DiscordWebSocket.RESUME)  # these carry the token


def redact_outgoing() -> None:
    """Let no secret out in a request's body or in the bot's presence. May be called again."""
    HTTPClient.request = _http_request  # type: ignore[method-assign]
    AsyncWebhookAdapter.request = _webhook_request  # type: ignore[method-assign]
    DiscordWebSocket.send_as_json = _send_as_json  # type: ignore[method-assign]


async def _http_request(
    self: HTTPClient, route: Any, _send: Any = HTTPClient.request, form: Any = None, **options: Any
) -> Any:
    return await _send(self, route, form=_clean_form(form), **_clean(options, "json", "reason"))


async def _webhook_request(
    self: AsyncWebhookAdapter, route: Any, session: Any, _send: Any = AsyncWebhookAdapter.request, **options: Any
) -> Any:
    if "multipart" in options:
        options["multipart"] = _clean_form(options["multipart"])
    return await _send(self, route, session, **_clean(options, "payload", "reason"))


async def _send_as_json(self: DiscordWebSocket, data: Any, _send: Any = DiscordWebSocket.send_as_json) -> None:
    logs_in = isinstance(data, dict) and data.get("op") in _LOGINS
    await _send(self, data if logs_in else _clean_value(data))


def _clean(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return options | {name: _clean_value(options[name]) for name in names if options.get(name) is not None}


def _clean_form(form: Any) -> Any:
    """A form's fields without secrets; files are not read."""
    if form is None:
        return None
    return [{**field, "value": _clean_field(field["name"], field["value"])} for field in form]


def _clean_field(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name != "payload_json":
        return redact_values(value)
    try:
        fields = json.loads(value)
    except ValueError:
        return redact_values(value)
    return redact_json(fields, disnake.utils._to_json, redact_values)[1]  # noqa: SLF001


def _clean_value(value: Any) -> Any:
    return redact_json(value, disnake.utils._to_json, redact_values)[0]  # noqa: SLF001
