"""The exact permissions that each route of channels, threads, messages, reactions, pins and webhooks requires."""

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
from botctl.sandbox.sandbox import Access, Sandbox
from tests.support.discord import ANN, BOB, BOT, GENERAL, GUILD

NEWS, FORUM, ANNS_MESSAGE, OWN_MESSAGE, NEWS_MESSAGE = "11", "12", "21", "22", "23"
THREAD, PRIVATE_THREAD, OWN_WEBHOOK, OTHER_WEBHOOK = "31", "32", "41", "42"
C, M, T = "/channels/{channel}", "/channels/{channel}/messages", "/channels/{channel}/thread-members"
R, W, H = M + "/{message}/reactions", "/webhooks/{webhook}", "/webhooks/{webhook}/{token}"
HISTORY = "READ_MESSAGE_HISTORY"


@dataclass(frozen=True)
class Case:
    """``needs``: the permissions in addition to VIEW_CHANNEL; None: not even VIEW_CHANNEL."""

    route: str
    needs: str | None = ""
    body: Any = None
    path: dict[str, str] = field(default_factory=dict)
    code: int = 50013


NAMES = {"guild": GUILD, "channel": GENERAL, "message": ANNS_MESSAGE, "overwrite": ANN, "user": BOB, "emoji": "👍"}
NAMES |= {"webhook": OWN_WEBHOOK, "token": "t"}
EMBED, REPLY = {"embeds": [{"title": "t"}]}, {"content": "x", "message_reference": {"message_id": ANNS_MESSAGE}}
IN_THREAD, IN_PRIVATE_THREAD, IN_NEWS = (
    {"channel": THREAD},
    {"channel": PRIVATE_THREAD},
    {"channel": NEWS, "message": NEWS_MESSAGE},
)
CASES = [
    Case(f"GET {C}"),
    Case(f"PATCH {C}", "MANAGE_CHANNELS", {"name": "x"}),
    Case(f"PATCH {C}", "MANAGE_CHANNELS MANAGE_ROLES", {"permission_overwrites": []}),
    Case(f"PATCH {C}", "MANAGE_THREADS", {"locked": True}, IN_THREAD),
    Case(f"PATCH {C}", "", {"name": "x"}, IN_PRIVATE_THREAD),  # its owner
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
    Case(f"PATCH {M}/{{message}}", "", {"content": "x"}, {"message": OWN_MESSAGE}),
    Case(f"PATCH {M}/{{message}}", "MANAGE_MESSAGES", {"flags": 4}, code=50005),
    Case(f"DELETE {M}/{{message}}", "MANAGE_MESSAGES"),
    Case(f"DELETE {M}/{{message}}", "", path={"message": OWN_MESSAGE}),
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
    Case(f"DELETE {T}/{{user}}", "", path={**IN_PRIVATE_THREAD, "user": ANN}),
    Case(f"PUT {R}/{{emoji}}/@me", f"ADD_REACTIONS {HISTORY}"),
    Case(f"PUT {R}/{{emoji}}/@me", HISTORY, path={"emoji": "🎉"}),  # the reaction exists already
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
    Case(f"GET {W}", "MANAGE_WEBHOOKS", path={"webhook": OTHER_WEBHOOK}),
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
TESTED_MODULES = (
    routes.channels,
    routes.messages,
    routes.threads,
    routes.reactions,
    routes.pins,
    routes.webhooks,
    routes.direct_messages,
)
ROUTES = {
    f"{route.method} {route.path}": route.function
    for route in routing.ROUTES
    if route.function.__module__ in {m.__name__ for m in TESTED_MODULES}
}


def make_sandbox(granted: int) -> Sandbox:
    """A world in which the bot has only ``granted``, and everyone else has no permission."""
    world = default_world()
    guild = world.guilds[GUILD]
    for role in guild.roles.values():
        role.permissions = 0
    guild.roles["900000000000000203"].permissions = granted
    world.add_channel(Channel(NEWS, GUILD, "news", type=types.ANNOUNCEMENT))
    world.add_channel(Channel(FORUM, GUILD, "forum", type=types.FORUM))
    world.webhooks[OWN_WEBHOOK] = Webhook(OWN_WEBHOOK, "t", GUILD, GENERAL, "Hook", user_id=BOT, application_id=BOT)
    world.webhooks[OTHER_WEBHOOK] = Webhook(OTHER_WEBHOOK, "t", GUILD, GENERAL, "Other", user_id=ANN)
    result = Sandbox(world, Access({}, ""))
    fields: dict[str, Any] = {"minutes": 60, "slowmode_s": 0, "invitable": True}
    for thread_id, owner, kind in ((THREAD, ANN, 11), (PRIVATE_THREAD, BOT, 12)):
        thread = threads.create(result, guild.channels[GENERAL], owner, "t", kind, **fields)
        del guild.threads[thread.id], world.channels[thread.id]
        thread.id, thread.thread_members = thread_id, dict.fromkeys((ANN, BOB, BOT), world.timestamp())
        world.add_channel(thread)
    for message_id, channel_id, author in (
        (ANNS_MESSAGE, GENERAL, ANN),
        (OWN_MESSAGE, GENERAL, BOT),
        (NEWS_MESSAGE, NEWS, ANN),
    ):
        message = Message(message_id, channel_id, GUILD, author, world.timestamp(), "x", reactions={"🎉": [ANN]})
        world.add_message(message)
    world.add_message(Message("24", GENERAL, GUILD, OWN_WEBHOOK, world.timestamp(), "x", webhook_id=OWN_WEBHOOK))
    return result


def error_code(case: Case, granted: int) -> int | None:
    """The code of the route's error; None when it succeeds."""
    tested = make_sandbox(granted)
    names = NAMES | case.path
    tested.world.channels[GENERAL].overwrites = {}
    if case.route == f"DELETE {C}/permissions/{{overwrite}}":
        names["overwrite"] = BOB
        tested.world.channels[GENERAL].overwrites[BOB] = routes.channels.Overwrite(BOB, 1)
    if case.route.startswith("DELETE " + R) and "@me" in case.route:
        tested.world.messages[GENERAL][ANNS_MESSAGE].reactions["🎉"].append(BOT)
    body = {"messages": [tested.world.new_id() for _ in "ab"]} if case.body == {"messages": "FRESH"} else case.body
    call = ApiCall(tested, names, {}, body, [], tested.world.applications[BOT])
    try:
        ROUTES[case.route](call)
    except ApiError as error:
        return error.code
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.route} {case.needs}")
async def test_route_requires_exactly_its_permissions(case: Case) -> None:
    needs = permission_bits.bits(*(case.needs or "").split())
    if case.needs is None:
        assert error_code(case, 0) is None
        return
    sufficient = needs | permission_bits.VIEW
    assert error_code(case, sufficient) is None
    for name in permission_bits.names(needs):
        code = 160002 if (name, case.body) == (HISTORY, REPLY) else case.code
        assert error_code(case, sufficient & ~permission_bits.bits(name)) == code, name
    if "/guilds/" not in case.route:
        assert error_code(case, permission_bits.ALL & ~(permission_bits.ADMINISTRATOR | permission_bits.VIEW)) == 50001


def test_every_route_has_a_case() -> None:
    assert {case.route for case in CASES} == set(ROUTES)
