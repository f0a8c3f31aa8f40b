"""Handlers of the control API for a person who acts as a Discord user: commands, clicks, modals, messages.

A request that needs the bot's answer waits at most ``timeout_s`` seconds, a field of its body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions import user_interactions, user_messages
from botctl.sandbox.control import serializers
from botctl.sandbox.control.body import read_number
from botctl.sandbox.model.acting_user import ActingUser, find_actor
from botctl.sandbox.model.interactions import Interaction, InteractionState
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.world import Message
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_DEFAULT_TIMEOUT_S = 5.0
_DEFAULT_LIMIT = 20
_REPLACEMENT_S = 1.0  # the wait for a new reply when the bot has deleted its "thinking…"


async def send(sandbox: Sandbox, body: Json) -> Json:
    """Use the command ``name``; without ``name``, post ``text`` (or ``content``). ``reply_to`` is a message id."""
    user = find_actor(sandbox.world, body)
    if not (body.get("name") or body.get("command")):
        return _send_message(sandbox, user, body)
    return await _wait_for_reply(sandbox, user_interactions.invoke(sandbox, user, body), body)


async def edit(sandbox: Sandbox, body: Json) -> Json:
    """Change the person's newest message, or the one with the id ``message``, to ``text``."""
    user = find_actor(sandbox.world, body)
    return _message_reply(sandbox, user_messages.edit(sandbox, user, str(body.get("text") or ""), body.get("message")))


async def delete(sandbox: Sandbox, body: Json) -> Json:
    """Delete the person's newest message, or the one with the id ``message``."""
    return _message_reply(sandbox, user_messages.delete(sandbox, find_actor(sandbox.world, body), body.get("message")))


async def react(sandbox: Sandbox, body: Json) -> Json:
    """Add the reaction ``emoji`` to the newest message, or the one with the id ``message``; ``remove`` removes it."""
    user, emoji = find_actor(sandbox.world, body), str(body.get("emoji") or "")
    message = user_messages.react(sandbox, user, emoji, body.get("message"), remove=bool(body.get("remove")))
    return _message_reply(sandbox, message)


async def typing(sandbox: Sandbox, body: Json) -> Json:
    user_messages.start_typing(sandbox, find_actor(sandbox.world, body))
    return {}


async def click(sandbox: Sandbox, body: Json) -> Json:
    return await _wait_for_reply(sandbox, user_interactions.click(sandbox, find_actor(sandbox.world, body), body), body)


async def submit(sandbox: Sandbox, body: Json) -> Json:
    return await _wait_for_reply(
        sandbox, user_interactions.submit_modal(sandbox, find_actor(sandbox.world, body), body), body
    )


async def complete(sandbox: Sandbox, body: Json) -> Json:
    """The autocomplete choices for the option ``focused`` of the command ``name``."""
    result = user_interactions.autocomplete(sandbox, find_actor(sandbox.world, body), body)
    if isinstance(result, Interaction):
        await _wait_until_final(sandbox, result, read_number(body, "timeout_s", _DEFAULT_TIMEOUT_S))
        return {"choices": result.choices or []}
    return {"choices": result}


async def list_messages(sandbox: Sandbox, body: Json) -> Json:
    """The messages that the person sees in the channel, oldest first."""
    user = find_actor(sandbox.world, body)
    limit = int(read_number(body, "limit", _DEFAULT_LIMIT))
    messages = drafts.list_messages(sandbox.world, user.channel.id, viewer=user.user.id, limit=limit)
    return {"messages": [serializers.message(message, sandbox.world) for message in reversed(messages)]}


async def _wait_for_reply(sandbox: Sandbox, interaction: Interaction, body: Json) -> Json:
    """Wait until the person sees a result, or ``timeout_s`` is over; return the reply as it is then."""
    began_s = sandbox.world.clock.monotonic()
    timeout_s = read_number(body, "timeout_s", _DEFAULT_TIMEOUT_S)
    await _wait_until_final(sandbox, interaction, timeout_s)
    if interaction.is_withdrawn:
        await _wait_until_final(
            sandbox, interaction, min(timeout_s, _REPLACEMENT_S), lambda: not interaction.is_withdrawn
        )
    return serializers.reply(interaction, sandbox.world, (sandbox.world.clock.monotonic() - began_s) * 1000)


async def _wait_until_final(
    sandbox: Sandbox, interaction: Interaction, timeout_s: float, done: Callable[[], bool] | None = None
) -> None:
    """Wait until ``done()`` (default: the person sees a result), or ``timeout_s`` is over."""
    changed = asyncio.Event()
    interaction.on_change = changed.set
    clock, response_s = sandbox.clock, sandbox.interactions.limits.response_s
    began_s = clock.monotonic()
    while not (done() if done else interaction.is_final):
        # The bot's first response must arrive before Discord's deadline.
        limit_s = min(timeout_s, response_s) if interaction.state is InteractionState.WAITING else timeout_s
        try:
            async with clock.timeout(began_s + limit_s - clock.monotonic()):
                await changed.wait()
        except TimeoutError:
            break
        changed.clear()
    interaction.on_change = None


def _send_message(sandbox: Sandbox, user: ActingUser, body: Json) -> Json:
    text = str(body.get("text") or body.get("content") or "")
    if text.startswith("/"):
        hint = 'Send {"type": "slash", "name": …, "options": …}.'
        raise UsageError("A command cannot be sent as text.", hint=hint)
    return _message_reply(sandbox, user_messages.send(sandbox, user, text, reply_to=body.get("reply_to")))


def _message_reply(sandbox: Sandbox, message: Message) -> Json:
    return {"type": "message", "content": message.content, **serializers.message_reply(message, sandbox.world)}
