"""What a person does and sees: they use commands, click, fill in forms, speak, read.

What waits for the bot does so for at most ``timeout_s`` of the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions import user_interactions, user_messages
from botctl.sandbox.control import serializers
from botctl.sandbox.control.body import number
from botctl.sandbox.model.acting_user import ActingUser, find_actor
from botctl.sandbox.model.interactions import Interaction, InteractionState
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.world import Message
from botctl.sandbox.server import Sandbox

Json = dict[str, Any]
_TIMEOUT_S = 5.0
_LIMIT = 20
_APOLOGY_S = 1.0  # for a word in private instead of the public answer that the bot took back


async def send(sandbox: Sandbox, body: Json) -> Json:
    """Use a command, or say something: without a ``name`` it is the plain message of ``text`` (or ``content``), in
    answer to ``reply_to`` if that is the id of a message.
    """
    who = find_actor(sandbox.world, body)
    if not (body.get("name") or body.get("command")):
        return _say(sandbox, who, body)
    return await _seen(sandbox, user_interactions.invoke(sandbox, who, body), body)


async def edit(sandbox: Sandbox, body: Json) -> Json:
    """Change what one said: the newest own message, or ``message``, to ``text``."""
    who = find_actor(sandbox.world, body)
    return _shown(sandbox, user_messages.edit(sandbox, who, str(body.get("text") or ""), body.get("message")))


async def delete(sandbox: Sandbox, body: Json) -> Json:
    """Delete the newest own message, or ``message``."""
    return _shown(sandbox, user_messages.delete(sandbox, find_actor(sandbox.world, body), body.get("message")))


async def react(sandbox: Sandbox, body: Json) -> Json:
    """Give the newest message, or ``message``, the reaction ``emoji``; with ``remove`` take it back."""
    who, emoji = find_actor(sandbox.world, body), str(body.get("emoji") or "")
    said = user_messages.react(sandbox, who, emoji, body.get("message"), remove=bool(body.get("remove")))
    return _shown(sandbox, said)


async def typing(sandbox: Sandbox, body: Json) -> Json:
    user_messages.start_typing(sandbox, find_actor(sandbox.world, body))
    return {}


async def click(sandbox: Sandbox, body: Json) -> Json:
    return await _seen(sandbox, user_interactions.click(sandbox, find_actor(sandbox.world, body), body), body)


async def submit(sandbox: Sandbox, body: Json) -> Json:
    return await _seen(sandbox, user_interactions.submit_modal(sandbox, find_actor(sandbox.world, body), body), body)


async def complete(sandbox: Sandbox, body: Json) -> Json:
    asked = user_interactions.autocomplete(sandbox, find_actor(sandbox.world, body), body)
    if isinstance(asked, Interaction):
        await _watch(sandbox, asked, number(body, "timeout_s", _TIMEOUT_S))
        return {"choices": asked.choices or []}
    return {"choices": asked}


async def list_messages(sandbox: Sandbox, body: Json) -> Json:
    """What the person sees in the channel, oldest first."""
    who = find_actor(sandbox.world, body)
    limit = int(number(body, "limit", _LIMIT))
    found = drafts.list_messages(sandbox.world, who.channel.id, viewer=who.user.id, limit=limit)
    return {"messages": [serializers.message(one, sandbox.world) for one in reversed(found)]}


async def _seen(sandbox: Sandbox, opened: Interaction, body: Json) -> Json:
    """The reply that the person sees, once it is final or ``timeout_s`` is over."""
    began_s = sandbox.world.clock.monotonic()
    timeout_s = number(body, "timeout_s", _TIMEOUT_S)
    await _watch(sandbox, opened, timeout_s)
    if opened.is_withdrawn:
        await _watch(sandbox, opened, min(timeout_s, _APOLOGY_S), lambda: not opened.is_withdrawn)
    return serializers.reply(opened, sandbox.world, (sandbox.world.clock.monotonic() - began_s) * 1000)


async def _watch(
    sandbox: Sandbox, opened: Interaction, timeout_s: float, done: Callable[[], bool] | None = None
) -> None:
    """Wait until ``opened`` is final, or ``done`` says so, for at most ``timeout_s``; for its first answer at most as
    long as Discord does.

    Both follow the sandbox's clock, which may be moved.
    """
    changed = asyncio.Event()
    opened.on_change = changed.set
    clock, response_s = sandbox.clock, sandbox.interactions.limits.response_s
    began_s = clock.monotonic()
    while not (done() if done else opened.is_final):
        limit_s = min(timeout_s, response_s) if opened.state is InteractionState.WAITING else timeout_s
        try:
            async with clock.timeout(began_s + limit_s - clock.monotonic()):
                await changed.wait()
        except TimeoutError:
            break
        changed.clear()
    opened.on_change = None


def _say(sandbox: Sandbox, who: ActingUser, body: Json) -> Json:
    text = str(body.get("text") or body.get("content") or "")
    if text.startswith("/"):
        raise UsageError("A command is sent in parts, not as text.", hint='{"type": "slash", "name": …, "options": …}')
    return _shown(sandbox, user_messages.send(sandbox, who, text, reply_to=body.get("reply_to")))


def _shown(sandbox: Sandbox, message: Message) -> Json:
    return {"type": "message", "content": message.content, **serializers.said(message, sandbox.world)}
