"""Which permissions each route of channels, threads, messages, reactions, pins and webhooks takes: exactly these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from botctl.sandbox.actions import threads
from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.channels import types
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.world import Channel, Message, Webhook
from botctl.sandbox.rest import register_all as routes
from botctl.sandbox.rest import routing
from botctl.sandbox.rest.routing import ApiCall
from botctl.sandbox.server import Access, Sandbox
from tests.support.discord import ANN, BOB, BOT, GENERAL, GUILD

NEWS, FORUM, SAID, OWN, NEWSY = "11", "12", "21", "22", "23"
THREAD, SECRET, HOOK, OTHERS = "31", "32", "41", "42"
C, M, T = "/channels/{channel}", "/channels/{channel}/messages", "/channels/{channel}/thread-members"
R, W, H = M + "/{message}/reactions", "/webhooks/{webhook}", "/webhooks/{webhook}/{token}"
HISTORY = "READ_MESSAGE_HISTORY"


@dataclass(frozen=True)
class Case:
    """``needs`` besides VIEW_CHANNEL; None: nothing at all, not even that."""

    route: str
    needs: str | None = ""
    body: Any = None
    path: dict[str, str] = field(default_factory=dict)
    code: int = 50013


NAMES = {"guild": GUILD, "channel": GENERAL, "message": SAID, "overwrite": ANN, "user": BOB, "emoji": "👍"}
NAMES |= {"webhook": HOOK, "token": "t"}
EMBED, REPLY = {"embeds": [{"title": "t"}]}, {"content": "x", "message_reference": {"message_id": SAID}}
IN_THREAD, IN_SECRET, IN_NEWS = {"channel": THREAD}, {"channel": SECRET}, {"channel": NEWS, "message": NEWSY}
CASES = [
    Case(f"GET {C}"),
    Case(f"PATCH {C}", "MANAGE_CHANNELS", {"name": "x"}),
    Case(f"PATCH {C}", "MANAGE_CHANNELS MANAGE_ROLES", {"permission_overwrites": []}),
    Case(f"PATCH {C}", "MANAGE_THREADS", {"locked": True}, IN_THREAD),
    Case(f"PATCH {C}", "", {"name": "x"}, IN_SECRET),  # its owner
    Case(f"DELETE {C}", "MANAGE_CHANNELS"),
    Case(f"DELETE {C}", "MANAGE_THREADS", path=IN_THREAD),
    Case(f"PUT {C}/permissions/{{overwrite}}", "MANAGE_ROLES", {"type": 1}),
    Case(f"PUT {C}/permissions/{{overwrite}}", "MANAGE_ROLES ADD_REACTIONS", {"type": 1, "allow": str(1 << 6)}),
    Case(f"DELETE {C}/permissions/{{overwrite}}", "MANAGE_ROLES"),
    Case(f"POST {C}/typing", "SEND_MESSAGES"),
    Case(f"POST {C}/typing", "SEND_MESSAGES_IN_THREADS", path=IN_THREAD),
    Case(f"GET {M}"),
    Case(f"GET {M}/{{message}}", HISTORY),
    Case(f"POST {M}", "SEND_MESSAGES", {"content": "x"}),
    Case(f"POST {M}", "SEND_MESSAGES EMBED_LINKS", EMBED),
    Case(f"POST {M}", "SEND_MESSAGES SEND_TTS_MESSAGES", {"content": "x", "tts": True}),
    Case(f"POST {M}", "SEND_MESSAGES_IN_THREADS", {"content": "x"}, IN_THREAD),
    Case(f"POST {M}", f"SEND_MESSAGES {HISTORY}", REPLY),
    Case(f"PATCH {M}/{{message}}", "", {"content": "x"}, {"message": OWN}),
    Case(f"PATCH {M}/{{message}}", "MANAGE_MESSAGES", {"flags": 4}, code=50005),
    Case(f"DELETE {M}/{{message}}", "MANAGE_MESSAGES"),
    Case(f"DELETE {M}/{{message}}", "", path={"message": OWN}),
    Case(f"POST {M}/bulk-delete", "MANAGE_MESSAGES", {"messages": "FRESH"}),
    Case(f"POST {M}/{{message}}/crosspost", "SEND_MESSAGES MANAGE_MESSAGES", path=IN_NEWS),
    Case(f"POST {M}/{{message}}/threads", f"CREATE_PUBLIC_THREADS {HISTORY}", {"name": "x"}),
    Case(f"POST {C}/threads", "CREATE_PUBLIC_THREADS", {"name": "x", "type": 11}),
    Case(f"POST {C}/threads", "CREATE_PRIVATE_THREADS", {"name": "x"}),
    Case(f"POST {C}/threads", "SEND_MESSAGES", {"name": "x", "message": {"content": "x"}}, {"channel": FORUM}),
    Case(f"GET {C}/threads/archived/public", HISTORY),
    Case(f"GET {C}/threads/archived/private", f"{HISTORY} MANAGE_THREADS"),
    Case(f"GET {C}/users/@me/threads/archived/private", HISTORY),
    Case("GET /guilds/{guild}/threads/active", None),
    Case(f"GET {T}", path=IN_THREAD),
    Case(f"GET {T}/{{user}}", path=IN_THREAD),
    Case(f"PUT {T}/@me", path=IN_THREAD),
    Case(f"DELETE {T}/@me", path=IN_THREAD),
    Case(f"PUT {T}/{{user}}", "SEND_MESSAGES_IN_THREADS", path={**IN_THREAD, "user": BOT}),
    Case(f"DELETE {T}/{{user}}", "MANAGE_THREADS", path=IN_THREAD),
    Case(f"DELETE {T}/{{user}}", "", path={**IN_SECRET, "user": ANN}),
    Case(f"PUT {R}/{{emoji}}/@me", f"ADD_REACTIONS {HISTORY}"),
    Case(f"PUT {R}/{{emoji}}/@me", HISTORY, path={"emoji": "🎉"}),  # somebody gave it already
    Case(f"DELETE {R}/{{emoji}}/@me", "", path={"emoji": "🎉"}),
    Case(f"DELETE {R}/{{emoji}}/{{user}}", "MANAGE_MESSAGES", path={"emoji": "🎉"}),
    Case(f"DELETE {R}/{{emoji}}", "MANAGE_MESSAGES"),
    Case(f"DELETE {R}", "MANAGE_MESSAGES"),
    Case(f"GET {R}/{{emoji}}", HISTORY),
    Case(f"GET {M}/pins"),
    Case(f"GET {C}/pins"),
    Case(f"PUT {M}/pins/{{message}}", "PIN_MESSAGES"),
    Case(f"PUT {C}/pins/{{message}}", "PIN_MESSAGES"),
    Case(f"DELETE {M}/pins/{{message}}", "PIN_MESSAGES"),
    Case(f"DELETE {C}/pins/{{message}}", "PIN_MESSAGES"),
    Case(f"POST {C}/webhooks", "MANAGE_WEBHOOKS", {"name": "x"}),
    Case(f"GET {C}/webhooks", "MANAGE_WEBHOOKS"),
    Case("GET /guilds/{guild}/webhooks", "MANAGE_WEBHOOKS"),
    Case(f"GET {W}", None),  # its own
    Case(f"GET {W}", "MANAGE_WEBHOOKS", path={"webhook": OTHERS}),
    Case(f"PATCH {W}", "MANAGE_WEBHOOKS", {"name": "x"}),
    Case(f"DELETE {W}", "MANAGE_WEBHOOKS"),
    Case(f"GET {H}", None),
    Case(f"PATCH {H}", None, {"name": "x"}),
    Case(f"DELETE {H}", None),
    Case(f"POST {H}", None, {"content": "x"}),
    Case(f"GET {H}/messages/{{message}}", None, path={"message": "24"}),
    Case(f"PATCH {H}/messages/{{message}}", None, {"content": "x"}, {"message": "24"}),
    Case(f"DELETE {H}/messages/{{message}}", None, path={"message": "24"}),
    Case("POST /users/@me/channels", None, {"recipient_id": ANN}),
]
MINE = (
    routes.channels,
    routes.messages,
    routes.threads,
    routes.reactions,
    routes.pins,
    routes.webhooks,
    routes.direct_messages,
)
ROUTES = {
    f"{one.method} {one.path}": one.function
    for one in routing.ROUTES
    if one.function.__module__ in {m.__name__ for m in MINE}
}


def sandbox(granted: int) -> Sandbox:
    """A world in which the bot has just ``granted``, and everybody else nothing."""
    world = default_world()
    guild = world.guilds[GUILD]
    for role in guild.roles.values():
        role.permissions = 0
    guild.roles["900000000000000203"].permissions = granted
    world.add_channel(Channel(NEWS, GUILD, "news", type=types.ANNOUNCEMENT))
    world.add_channel(Channel(FORUM, GUILD, "forum", type=types.FORUM))
    world.webhooks[HOOK] = Webhook(HOOK, "t", GUILD, GENERAL, "Hook", user_id=BOT, application_id=BOT)
    world.webhooks[OTHERS] = Webhook(OTHERS, "t", GUILD, GENERAL, "Other", user_id=ANN)
    made = Sandbox(world, Access({}, ""))
    fields: dict[str, Any] = {"minutes": 60, "slowmode_s": 0, "invitable": True}
    for thread_id, owner, kind in ((THREAD, ANN, 11), (SECRET, BOT, 12)):
        thread = threads.create(made, guild.channels[GENERAL], owner, "t", kind, **fields)
        del guild.threads[thread.id], world.channels[thread.id]
        thread.id, thread.thread_members = thread_id, dict.fromkeys((ANN, BOB, BOT), world.timestamp())
        world.add_channel(thread)
    for message_id, channel_id, author in ((SAID, GENERAL, ANN), (OWN, GENERAL, BOT), (NEWSY, NEWS, ANN)):
        said = Message(message_id, channel_id, GUILD, author, world.timestamp(), "x", reactions={"🎉": [ANN]})
        world.add_message(said)
    world.add_message(Message("24", GENERAL, GUILD, HOOK, world.timestamp(), "x", webhook_id=HOOK))
    return made


def refused(case: Case, granted: int) -> int | None:
    """The code with which the bot is refused; None when it is not."""
    there = sandbox(granted)
    names = NAMES | case.path
    there.world.channels[GENERAL].overwrites = {}
    if case.route == f"DELETE {C}/permissions/{{overwrite}}":
        names["overwrite"] = BOB
        there.world.channels[GENERAL].overwrites[BOB] = routes.channels.Overwrite(BOB, 1)
    if case.route.startswith("DELETE " + R) and "@me" in case.route:
        there.world.messages[GENERAL][SAID].reactions["🎉"].append(BOT)
    body = {"messages": [there.world.new_id() for _ in "ab"]} if case.body == {"messages": "FRESH"} else case.body
    call = ApiCall(there, names, {}, body, [], there.world.applications[BOT])
    try:
        ROUTES[case.route](call)
    except ApiError as refusal:
        return refusal.code
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda one: f"{one.route} {one.needs}")
async def test_a_route_takes_exactly_its_permissions(case: Case) -> None:
    needs = permission_bits.bits(*(case.needs or "").split())
    if case.needs is None:
        assert refused(case, 0) is None
        return
    enough = needs | permission_bits.VIEW
    assert refused(case, enough) is None
    for name in permission_bits.names(needs):
        code = 160002 if (name, case.body) == (HISTORY, REPLY) else case.code
        assert refused(case, enough & ~permission_bits.bits(name)) == code, name
    if "/guilds/" not in case.route:
        assert refused(case, permission_bits.ALL & ~(permission_bits.ADMINISTRATOR | permission_bits.VIEW)) == 50001


def test_every_route_is_in_the_table() -> None:
    assert {case.route for case in CASES} == set(ROUTES)
