"""The person's side and the test's: HTTP and JSON under ``/_control``, with the control secret.

Errors are ``{"error": sentence, "hint": sentence, "exit_code"?}``: 400 for a wrong call or what Discord refuses, 401
without the secret, 409 when no bot is connected. What Discord's own client would refuse to send is no error: its Reply
has the state ``refused``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from botctl.core.errors import BotctlError, Unreachable, UsageError
from botctl.sandbox import acts, changes, hello, messages, session, talk, views, visibility
from botctl.sandbox.actor import Actor, actor
from botctl.sandbox.gateway import SANDBOX
from botctl.sandbox.incidents import catalogue, scenario
from botctl.sandbox.interactions import Interaction, State
from botctl.sandbox.opcodes import Close
from botctl.sandbox.options import Wrong
from botctl.sandbox.refusal import Refusal
from botctl.sandbox.rest import respond
from botctl.sandbox.server import Sandbox
from botctl.sandbox.world import Message

Json = dict[str, Any]
_TIMEOUT_S = 5.0
_NO_RESUME = frozenset({Close.INVALID_SEQ[0], Close.SESSION_TIMED_OUT[0]})  # Discord: "start a new session"
_LIMIT = 20
_APOLOGY_S = 1.0  # for a word in private instead of the public answer that the bot took back


async def state(sandbox: Sandbox, body: Json) -> Json:
    """The world in short: guilds, commands, bots. With ``as`` (and ``channel``, ``guild``) each command that this
    person does not see there has the reason as ``hidden``.
    """
    world = sandbox.world
    commands = [{"guild_id": None, **one} for app in world.applications.values() for one in app.all_commands()]
    if body.get("as"):
        who = actor(world, body)
        why = {
            one["id"]: reason
            for app, one in visibility.listed(world, who)
            if (reason := visibility.hidden(world, app, one, who))
        }
        commands = [{**one, "hidden": why[one["id"]]} if one["id"] in why else one for one in commands]
    return {
        "guilds": [_guild(sandbox, one.id) for one in world.guilds.values()],
        "commands": commands,
        "bots": [_bot(sandbox, one.id) for one in world.applications.values()],
    }


async def send(sandbox: Sandbox, body: Json) -> Json:
    """Use a command, or say something: without a ``name`` it is the plain message of ``text`` (or ``content``), in
    answer to ``reply_to`` if that is the id of a message.
    """
    who = actor(sandbox.world, body)
    if not (body.get("name") or body.get("command")):
        return _say(sandbox, who, body)
    return await _seen(sandbox, acts.invoke(sandbox, who, body), body)


async def edit(sandbox: Sandbox, body: Json) -> Json:
    """Change what one said: the newest own message, or ``message``, to ``text``."""
    who = actor(sandbox.world, body)
    return _shown(sandbox, talk.edit(sandbox, who, str(body.get("text") or ""), body.get("message")))


async def delete(sandbox: Sandbox, body: Json) -> Json:
    """Delete the newest own message, or ``message``."""
    return _shown(sandbox, talk.delete(sandbox, actor(sandbox.world, body), body.get("message")))


async def react(sandbox: Sandbox, body: Json) -> Json:
    """Give the newest message, or ``message``, the reaction ``emoji``; with ``remove`` take it back."""
    who, emoji = actor(sandbox.world, body), str(body.get("emoji") or "")
    said = talk.react(sandbox, who, emoji, body.get("message"), remove=bool(body.get("remove")))
    return _shown(sandbox, said)


async def typing(sandbox: Sandbox, body: Json) -> Json:
    talk.typing(sandbox, actor(sandbox.world, body))
    return {}


async def click(sandbox: Sandbox, body: Json) -> Json:
    return await _seen(sandbox, acts.click(sandbox, actor(sandbox.world, body), body), body)


async def submit(sandbox: Sandbox, body: Json) -> Json:
    return await _seen(sandbox, acts.submit(sandbox, actor(sandbox.world, body), body), body)


async def complete(sandbox: Sandbox, body: Json) -> Json:
    asked = acts.complete(sandbox, actor(sandbox.world, body), body)
    if isinstance(asked, Interaction):
        await _watch(sandbox, asked, _number(body, "timeout_s", _TIMEOUT_S))
        return {"choices": asked.choices or []}
    return {"choices": asked}


async def list_messages(sandbox: Sandbox, body: Json) -> Json:
    """What the person sees in the channel, oldest first."""
    who = actor(sandbox.world, body)
    limit = int(_number(body, "limit", _LIMIT))
    found = messages.listed(sandbox.world, who.channel.id, viewer=who.user.id, limit=limit)
    return {"messages": [views.message(one, sandbox.world) for one in reversed(found)]}


async def gateway(sandbox: Sandbox, body: Json) -> Json:
    """Do to every connected session what ``action`` says: op 1, op 7, op 9, a close code, or a cut connection."""
    action = body.get("action")
    connected = sandbox.sessions.connected()
    for one in connected:
        line = one.line
        if line is None:
            continue
        if action == "reconnect":
            session.ask_reconnect(one)
        elif action == "heartbeat":
            session.ask_heartbeat(one)
        elif action == "invalidate":
            sandbox.sessions.invalidate(one, sandbox.clock.monotonic(), resumable=bool(body.get("resumable")))
        elif action == "close":
            line.close(code := int(_number(body, "code", Close.UNKNOWN_ERROR[0])), "")
            if code in _NO_RESUME:
                sandbox.sessions.forget([one])
        elif action == "drop":
            line.abort()
        else:
            hint = "Actions: heartbeat, reconnect, invalidate, close, drop."
            raise UsageError(f"There is no action “{action}”.", hint=hint)
    return {"sessions": len(connected)}


async def clock(sandbox: Sandbox, body: Json) -> Json:
    """Move the sandbox's clock ahead by ``advance_s``, if given; answers with its time, ISO 8601 in UTC."""
    sandbox.clock.advance(_number(body, "advance_s", 0.0))
    return {"now": sandbox.world.timestamp()}


async def faults(sandbox: Sandbox, _: Json) -> Json:
    """What the self-check found, and whether it is ``on``."""
    return {"on": sandbox.judge is not None, **(sandbox.judge.report() if sandbox.judge else {})}


async def limits(sandbox: Sandbox, body: Json) -> Json:
    """Change the limits that ``body`` names (see docs/sandbox-limits.md); answers with all of them."""
    sandbox.limits = sandbox.limits.but(body)
    return sandbox.limits.shown()


async def token(sandbox: Sandbox, body: Json) -> Json:
    """The token of ``application`` (else the first bot), a new one with ``reset``: the old one and its sessions end."""
    bots = sandbox.world.applications
    bot = str(body.get("application") or next(iter(bots)))
    if bot not in bots:
        raise UsageError(f"There is no application “{bot}”.", hint=f"There is: {', '.join(bots)}.")
    if body.get("reset"):
        sandbox.reset_token(bot)
    found = next((token for token, owner in sandbox.access.tokens.items() if owner == bot), None)
    return {"application": bot, "token": found}


async def change_world(sandbox: Sandbox, body: Json) -> Json:
    """Change who and what there is: one or more of `changes.CHANGES`, each with its own object."""
    return {name: changes.apply(sandbox, name, arguments) for name, arguments in body.items()}


async def incident(sandbox: Sandbox, body: Json) -> Json:
    """Begin the incident ``name`` with its ``settings``, for ``for_s`` seconds if given; or ``stop`` the one so called.

    Without either: what there is, and what goes on. ``scenario`` is the text of one to play; ``stop`` may be "all".
    """
    incidents = sandbox.incidents
    if body.get("scenario"):
        incidents.play(scenario.parse(str(body["scenario"])))
    elif body.get("stop") == "all":
        await incidents.close()
    elif body.get("stop"):
        name = catalogue.find(str(body["stop"])).name
        if not await incidents.stop(name):
            raise UsageError(f"The incident {name} does not go on.")
    elif body.get("name"):
        for_s = None if body.get("for_s") is None else _number(body, "for_s", 0.0)
        begun = await incidents.start(str(body["name"]), for_s=for_s, **(body.get("settings") or {}))
        return {"name": begun.name, "settings": dict(begun.settings), "result": dict(begun.result)}
    return {
        "incidents": [
            {"name": one.name, "what": one.what, "source": one.source, "settings": dict(one.settings)}
            for one in catalogue.INCIDENTS.values()
        ],
        "going_on": [
            {"name": one.name, "settings": dict(one.settings), "began_at": one.began_at, "for_s": one.for_s}
            for one in incidents.going_on()
        ],
        "scenario": incidents.playing,
    }


Function = Callable[[Sandbox, Json], Awaitable[Json]]
_ROUTES: tuple[tuple[str, str, Function], ...] = (
    ("GET", "state", state),
    ("POST", "send", send),
    ("POST", "edit", edit),
    ("POST", "delete", delete),
    ("POST", "react", react),
    ("POST", "typing", typing),
    ("POST", "click", click),
    ("POST", "submit", submit),
    ("POST", "complete", complete),
    ("GET", "messages", list_messages),
    ("POST", "gateway", gateway),
    ("POST", "world", change_world),
    ("GET", "faults", faults),
    ("GET", "limits", limits),
    ("POST", "limits", limits),
    ("GET", "token", token),
    ("POST", "token", token),
    ("GET", "incidents", incident),
    ("POST", "incidents", incident),
    ("GET", "clock", clock),
    ("POST", "clock", clock),
)


def install(app: web.Application) -> None:
    app.router.add_get(hello.PATH, _hello)
    app.router.add_get("/_control/traffic", _traffic)
    for method, name, function in _ROUTES:
        app.router.add_route(method, f"/_control/{name}", _handler(function))


async def _hello(request: web.Request) -> web.Response:
    """Anybody may ask; only the sandbox that they mean knows the answer to their nonce."""
    return web.Response(text=hello.proof(request.app[SANDBOX].access.control_secret, request.query.get("nonce", "")))


async def _traffic(request: web.Request) -> web.StreamResponse:
    """What goes over REST and the gateway, a line of JSON each, for as long as somebody reads."""
    sandbox = request.app[SANDBOX]
    if not _authorized(request, sandbox.access.control_secret):
        return _not_authorized()
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    with sandbox.traffic.listen() as lines:
        await answer.prepare(request)
        await answer.write(json.dumps({"at": sandbox.world.timestamp(), "traffic": 1}).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write((await lines.get()).encode() + b"\n")
    return answer


def _not_authorized() -> web.Response:
    hint = "The control secret is written where the sandbox was started."
    return respond(401, {"error": "The control secret is missing or wrong.", "hint": hint})


def _handler(function: Function) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        sandbox = request.app[SANDBOX]
        if not _authorized(request, sandbox.access.control_secret):
            return _not_authorized()
        try:
            body = await _body(request)
            return respond(200, await function(sandbox, body))
        except Wrong as wrong:
            return respond(200, views.refused(str(wrong)))
        except BotctlError as error:
            status = 409 if isinstance(error, Unreachable) else 400
            return respond(status, {"error": str(error), "hint": error.hint, "exit_code": int(error.exit_code)})
        except Refusal as refusal:
            return respond(400, {"error": refusal.message, "hint": " ".join(_told(refusal.errors))})

    return handle


def _told(errors: Json, where: str = "") -> Iterator[str]:
    """Discord's tree of errors as sentences: ``content: Must be 2000 or fewer in length.``"""
    for name, inner in errors.items():
        if name == "_errors":
            yield from (f"{where}: {one['message']}" if where else str(one["message"]) for one in inner)
        else:
            yield from _told(inner, f"{where}.{name}" if where else name)


def _authorized(request: web.Request, secret: str) -> bool:
    said = request.headers.get("Authorization", "").encode()
    return hmac.compare_digest(said, f"Bearer {secret}".encode())


async def _body(request: web.Request) -> Json:
    if request.method == "GET":
        return dict(request.query)
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise UsageError("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise UsageError("The body must be a JSON object.")
    return body


def _number(body: Json, name: str, default: float) -> float:
    said = body.get(name)
    try:
        return default if said is None else float(said)
    except (TypeError, ValueError):
        raise UsageError(f"“{name}” must be a number.") from None


async def _seen(sandbox: Sandbox, opened: Interaction, body: Json) -> Json:
    """The reply that the person sees, once it is final or ``timeout_s`` is over."""
    began_s = sandbox.world.clock.monotonic()
    timeout_s = _number(body, "timeout_s", _TIMEOUT_S)
    await _watch(sandbox, opened, timeout_s)
    if opened.withdrawn:
        await _watch(sandbox, opened, min(timeout_s, _APOLOGY_S), lambda: not opened.withdrawn)
    return views.reply(opened, sandbox.world, (sandbox.world.clock.monotonic() - began_s) * 1000)


async def _watch(
    sandbox: Sandbox, opened: Interaction, timeout_s: float, done: Callable[[], bool] | None = None
) -> None:
    """Wait until ``opened`` is final, or ``done`` says so, for at most ``timeout_s``; for its first answer at most as
    long as Discord does.

    Both follow the sandbox's clock, which may be moved.
    """
    changed = asyncio.Event()
    opened.on_change = changed.set
    clock, response_s = sandbox.clock, sandbox.book.deadlines.response_s
    began_s = clock.monotonic()
    while not (done() if done else opened.final):
        limit_s = min(timeout_s, response_s) if opened.state is State.WAITING else timeout_s
        try:
            async with clock.timeout(began_s + limit_s - clock.monotonic()):
                await changed.wait()
        except TimeoutError:
            break
        changed.clear()
    opened.on_change = None


def _say(sandbox: Sandbox, who: Actor, body: Json) -> Json:
    text = str(body.get("text") or body.get("content") or "")
    if text.startswith("/"):
        raise UsageError("A command is sent in parts, not as text.", hint='{"type": "slash", "name": …, "options": …}')
    return _shown(sandbox, talk.say(sandbox, who, text, reply_to=body.get("reply_to")))


def _shown(sandbox: Sandbox, message: Message) -> Json:
    return {"type": "message", "content": message.content, **views.said(message, sandbox.world)}


def _guild(sandbox: Sandbox, guild_id: str) -> Json:
    world = sandbox.world
    guild = world.guilds[guild_id]
    return {
        "id": guild.id,
        "name": guild.name,
        "channels": [{"id": one.id, "name": one.name} for one in guild.channels.values()],
        "threads": [{"id": one.id, "name": one.name} for one in guild.threads.values()],
        "roles": [{"id": one.id, "name": one.name} for one in guild.roles.values()],
        "members": [
            {
                "id": one.user_id,
                "name": world.users[one.user_id].name,
                "bot": world.users[one.user_id].bot,
                "locale": world.users[one.user_id].locale,
                "roles": [guild.roles[role].name for role in one.roles],
            }
            for one in guild.members.values()
        ],
    }


def _bot(sandbox: Sandbox, application_id: str) -> Json:
    there = [one for one in sandbox.sessions.connected() if one.application_id == application_id]
    name = sandbox.world.applications[application_id].name
    return {"application_id": application_id, "name": name, "shards": len(there), "connected": bool(there)}
