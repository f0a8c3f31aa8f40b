"""A bot without a network: real disnake objects from payloads, and a fake of Discord's web API."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from disnake.http import HTTPClient
from disnake.webhook.async_ import AsyncWebhookAdapter, async_context

from botctl.auth.access_control import CurrentAccess
from botctl.auth.settings_grants import settings_grants
from botctl.bot.client import Bot
from botctl.bot.interactions.arrivals import Arrivals
from botctl.bot.interactions.pipeline import Pipeline
from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import DiscordSettings
from botctl.core.contracts.events import CommandFinished, Event
from botctl.core.contracts.logins import OpenGate
from botctl.core.contracts.throttle import parse
from botctl.core.services.registry import Services
from tests.support.bots import ROLES, FakeAuditor, FakeGuilds, FakeLimiter

_FIRST_ID, _BEGAN_S = 1_500_000_000_000_000_000, time.monotonic()
_numbers = itertools.count()


def _next_id() -> str:
    """An id of now: on a busy host a test may take so long that one of its beginning is too old for an answer."""
    elapsed_ms = round((time.monotonic() - _BEGAN_S) * 1000)
    return str(_FIRST_ID + (elapsed_ms << 22) + next(_numbers))


LOADING = 1 << 7


class RecordingWebhooks(AsyncWebhookAdapter):
    """Records answers as ``(verb, content)``; each answer takes one turn of the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[str, str]] = []
        self.mentions: list[dict[str, Any] | None] = []  # of each message that was sent or edited
        self.originals: dict[str, dict[str, Any]] = {}  # the first answers, by token

    async def create_interaction_response(self, interaction_id: int, token: str, **payload: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        data = payload.get("data") or {}
        kind = {4: "reply", 5: "defer", 6: "ack", 7: "update", 8: "suggest", 9: "form"}[payload["type"]]
        if kind == "suggest":
            self.answers.append((kind, " ".join(choice["value"] for choice in data["choices"])))
            return
        self.mentions.append(data.get("allowed_mentions"))
        self.answers.append((kind, data.get("content") or ""))
        self.originals[token] = message(data.get("content") or "", LOADING if kind == "defer" else 0)

    async def get_original_interaction_response(self, application_id: int, token: str, **__: Any) -> Any:  # type: ignore[override]
        return self.originals[token]

    async def edit_original_interaction_response(self, application_id: int, token: str, **payload: Any) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        content = (payload.get("payload") or {}).get("content") or ""
        self.answers.append(("edit", content))
        self.mentions.append((payload.get("payload") or {}).get("allowed_mentions"))
        self.originals[token] = message(content)
        return self.originals[token]

    async def delete_original_interaction_response(self, application_id: int, token: str, **__: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.answers.append(("delete", self.originals.pop(token)["content"]))

    async def execute_webhook(self, application_id: int, token: str, **payload: Any) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        content = (payload.get("payload") or {}).get("content") or ""
        self.answers.append(("followup", content))
        self.mentions.append((payload.get("payload") or {}).get("allowed_mentions"))
        # Discord: the first follow-up fills a deferred answer
        if self.originals.get(token, {}).get("flags", 0) & LOADING:
            self.originals[token] = message(content)
        return message(content)

    @property
    def thinking(self) -> bool:
        """Whether a user still sees "thinking…"."""
        return any(original["flags"] & LOADING for original in self.originals.values())


@dataclass
class Offline:
    """A bot that is not connected, with the events it published."""

    bot: Bot
    webhooks: RecordingWebhooks
    auditor: FakeAuditor
    limiter: FakeLimiter
    guilds: FakeGuilds
    events: list[Event] = field(default_factory=list)

    @property
    def finished(self) -> list[CommandFinished]:
        return [event for event in self.events if isinstance(event, CommandFinished)]

    def receive(self, payload: dict[str, Any]) -> None:
        """Deliver an interaction as the gateway does."""
        self.bot._connection.parse_interaction_create(payload)

    async def wait_until_idle(self) -> None:
        """Wait until no interaction is under way; fail after 200 turns of the loop."""
        for _ in range(200):
            await asyncio.sleep(0)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if not self.bot.pipeline.in_flight and not any(t.get_name().startswith("disnake") for t in others):
                return
        raise AssertionError(f"still under way: {asyncio.all_tasks()}")


@contextmanager
def offline(*, arrivals: Arrivals | None = None, clock: Clock | None = None, grace_s: float = 0.0) -> Iterator[Offline]:
    """Create a bot without a network in the running loop."""
    events: list[Event] = []
    webhooks, auditor, limiter, guilds = RecordingWebhooks(), FakeAuditor(), FakeLimiter(), FakeGuilds()
    pipeline = Pipeline(
        publish=events.append,
        limiter=limiter,
        auditor=auditor,
        guilds=guilds,
        clock=clock or SystemClock(),
        access=CurrentAccess(settings_grants(ROLES), clock or SystemClock()),
        limits=parse("5/10s per user"),
        arrivals=arrivals,
        grace_s=grace_s,
        suggestion_limits=parse("60/10s per user"),
    )
    bot = Bot(
        services=Services({}),
        publish=events.append,
        settings=DiscordSettings(),
        pipeline=pipeline,
        logins=OpenGate(),
    )
    setattr(bot.http, f"_{HTTPClient.__name__}__session", None)
    token = async_context.set(webhooks)
    try:
        yield Offline(bot, webhooks, auditor, limiter, guilds, events)
    finally:
        async_context.reset(token)


def user(name: str = "ann", number: str = "900000000000000101") -> dict[str, Any]:
    return {"id": number, "username": name, "discriminator": "0", "avatar": None}


def message(content: str, flags: int = 0) -> dict[str, Any]:
    return {
        "id": _next_id(),
        "channel_id": "900000000000000301",
        "author": user("bot", "900000000000000010"),
        "content": content,
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "components": [],
        "pinned": False,
        "type": 0,
        "flags": flags,
    }


def interaction(kind: int, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An INTERACTION_CREATE of ``kind`` in a direct message."""
    number = _next_id()
    return {
        "id": number,
        "application_id": "900000000000000010",
        "type": kind,
        "token": f"token-{number}",
        "version": 1,
        "locale": "en-US",
        "channel": {"id": "900000000000000301", "type": 1, "last_message_id": None, "recipients": [user()]},
        "attachment_size_limit": 1_000_000,
        "user": user(),
        "data": data,
        **more,
    }


def slash(name: str) -> dict[str, Any]:
    """Return the payload of ``/name``, with sub-commands: ``outer group deep``."""
    root, *below = name.split()
    options: list[dict[str, Any]] = []
    for depth, word in enumerate(reversed(below)):
        options = [{"type": 1 if depth == 0 else 2, "name": word, "options": options}]
    return interaction(2, {"id": "1", "type": 1, "name": root, "options": options})


def menu(name: str) -> dict[str, Any]:
    """Return the payload of a command in the context menu of a user."""
    target = user("bob", "900000000000000102")
    data = {"id": "1", "type": 2, "name": name, "target_id": target["id"]}
    return interaction(2, data | {"resolved": {"users": {target["id"]: target}}})


def complete(name: str, option: str = "", *, guild: str | None = None) -> dict[str, Any]:
    """Return the payload of a request for suggestions for ``option`` (default: the first one) of ``/name``."""
    name_of_option = option or ("what" if name == "find" else "name")
    option_data = {"type": 3, "name": name_of_option, "value": "a", "focused": True}
    more = {"guild_id": guild} if guild else {}
    return interaction(4, {"id": "1", "type": 1, "name": name, "options": [option_data]}, **more)


def click(custom_id: str) -> dict[str, Any]:
    """Return the payload of a button click."""
    return interaction(3, {"component_type": 2, "custom_id": custom_id}, message=message("a message"))


def snowflake_at(unix_s: float) -> int:
    """An id of the time ``unix_s`` on Discord's clock."""
    return int((unix_s - 1_420_070_400) * 1000) << 22
