"""Messages, threads, reactions, pins, webhooks and DMs: the events and the errors."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from botctl.sandbox.model import permission_bits
from botctl.sandbox.storage.world_file import restore, snapshot
from tests.support.discord import ANN, BOB, BOT, CAT, GENERAL, GUILD, INTENTS, Discord, Wire, local_discord

CHANNEL = f"/channels/{GENERAL}"
MESSAGES = f"{CHANNEL}/messages"
THUMBS = quote("👍")
DAY_S = 86_400


class Bench:
    """A sandbox, its REST API, and one gateway session."""

    def __init__(self, discord: Discord, wire: Wire) -> None:
        self.discord, self.wire = discord, wire

    async def __call__(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        got, response = await self.discord.rest(method, path, **({} if body is None else {"json": body}))
        assert got == status if status else got < 300, (method, path, got, response)
        return response

    async def error_code(self, method: str, path: str, body: Any = None) -> int:
        status, response = await self.discord.rest(method, path, **({} if body is None else {"json": body}))
        assert status >= 400, response
        return response["code"]

    async def expect_event(self, event: str, **expected: Any) -> dict[str, Any]:
        """The next ``event`` with the ``expected`` fields."""
        while True:
            data = (await self.wire.hear_until(event))["d"]
            if {key: data.get(key) for key in expected} == expected:
                return data

    async def post(self, text: str = "x", path: str = MESSAGES, **fields: Any) -> dict[str, Any]:
        return await self("POST", path, {"content": text, **fields})

    @property
    def world(self) -> Any:
        return self.discord.sandbox.world


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with local_discord() as discord, discord.wire() as wire:
        await wire.identify(intents=INTENTS)
        yield Bench(discord, wire)


async def test_message_create_update_and_delete_are_dispatched(bench: Bench) -> None:
    message = await bench.post(f"hi <@{ANN}>", nonce="n", tts=False)
    event = await bench.expect_event(
        "MESSAGE_CREATE", id=message["id"], guild_id=GUILD, nonce="n", content=f"hi <@{ANN}>"
    )
    assert event["member"]["roles"]
    assert event["mentions"][0]["member"]["joined_at"]
    await bench("PATCH", f"{MESSAGES}/{message['id']}", {"content": "new"})
    assert (await bench.expect_event("MESSAGE_UPDATE", content="new"))["edited_timestamp"]
    await bench("DELETE", f"{MESSAGES}/{message['id']}")
    await bench.expect_event("MESSAGE_DELETE", id=message["id"], channel_id=GENERAL, guild_id=GUILD)
    assert await bench.error_code("GET", f"{MESSAGES}/{message['id']}") == 10008


async def test_enforced_nonce_returns_the_same_message(bench: Bench) -> None:
    once = {"nonce": "7", "enforce_nonce": True}
    first = await bench.post(**once)
    assert (await bench.post("again", **once))["id"] == first["id"]
    assert (await bench.post(nonce="7"))["id"] != first["id"]
    bench.discord.sandbox.clock.advance(600)
    assert (await bench.post(**once))["id"] != first["id"]


async def test_bulk_delete_refuses_old_messages(bench: Bench) -> None:
    old = (await bench.post())["id"]
    bench.discord.sandbox.clock.advance(14 * DAY_S + 1)
    ids = [(await bench.post())["id"] for _ in range(3)]
    path = f"{MESSAGES}/bulk-delete"
    assert await bench.error_code("POST", path, {"messages": [old, *ids]}) == 50034
    assert await bench.error_code("POST", path, {"messages": ids[:1]}) == 50016
    await bench("POST", path, {"messages": ids}, 204)
    await bench.expect_event("MESSAGE_DELETE_BULK", ids=ids, channel_id=GENERAL, guild_id=GUILD)
    await bench.expect_event("GUILD_AUDIT_LOG_ENTRY_CREATE", action_type=73, target_id=GENERAL, options={"count": "3"})


async def test_bot_edits_only_flags_of_others_and_deletion_is_logged(bench: Bench) -> None:
    outcome = await bench.discord.act("send", text="mine", **{"as": "cat"})
    path = f"{MESSAGES}/{outcome['messages'][0]['id']}"
    assert await bench.error_code("PATCH", path, {"content": "x"}) == 50005
    assert (await bench("PATCH", path, {"flags": 4}))["flags"] == 4
    await bench("DELETE", path)
    entry = await bench.expect_event("GUILD_AUDIT_LOG_ENTRY_CREATE", action_type=72, target_id=CAT)
    assert entry["options"] == {"channel_id": GENERAL, "count": "1"}


async def test_reply_contains_the_referenced_message(bench: Bench) -> None:
    first = await bench.post("first")
    reply = await bench.post("re", message_reference={"message_id": first["id"]})
    assert (reply["type"], reply["referenced_message"]["content"]) == (19, "first")
    status, response = await bench.discord.rest(
        "POST", MESSAGES, json={"content": "x", "message_reference": {"message_id": "5"}}
    )
    wrong = [{"code": "REPLIES_UNKNOWN_MESSAGE", "message": "Unknown message"}]
    assert (status, response["code"], response["errors"]) == (400, 50035, {"message_reference": {"_errors": wrong}})
    await bench("DELETE", f"{MESSAGES}/{first['id']}")
    assert (await bench("GET", f"{MESSAGES}/{reply['id']}"))["referenced_message"] is None


async def test_forward_contains_a_snapshot(bench: Bench) -> None:
    first = await bench.post("first")
    reference = {"type": 1, "channel_id": GENERAL, "message_id": first["id"]}
    forward = await bench("POST", MESSAGES, {"message_reference": reference})
    await bench("PATCH", f"{MESSAGES}/{first['id']}", {"content": "changed"})
    message = await bench("GET", f"{MESSAGES}/{forward['id']}")
    assert message["message_snapshots"][0]["message"]["content"] == "first"
    assert message["flags"] & 1 << 14


async def test_without_content_intent_a_bot_reads_own_messages_and_mentions(bench: Bench) -> None:
    """Also in REST, in replies and in forwards."""
    first = (await bench.discord.act("send", text="secret", **{"as": "cat"}))["messages"][0]["id"]
    reference = {"type": 1, "channel_id": GENERAL, "message_id": first}
    await bench("POST", MESSAGES, {"content": "mine", "message_reference": {"message_id": first}})
    forward = (await bench("POST", MESSAGES, {"message_reference": reference}))["id"]
    bench.world.message(GENERAL, forward).author_id = ANN
    await bench.discord.act("send", text=f"to <@{BOT}>", **{"as": "cat"})
    bench.world.applications[BOT].flags = 0
    mentioning, forwarded, reply, _ = await bench("GET", MESSAGES)
    assert (mentioning["content"], reply["content"]) == (f"to <@{BOT}>", "mine")
    assert reply["referenced_message"]["content"] == ""
    assert forwarded["message_snapshots"][0]["message"]["content"] == ""
    assert (await bench("GET", f"{MESSAGES}/{first}"))["content"] == ""


async def test_forbidden_embeds_are_refused_when_sent_and_dropped_when_edited(
    bench: Bench,
) -> None:
    message = f"{MESSAGES}/{(await bench.post('x'))['id']}"
    await bench.discord.act("world", set_overwrite={"channel": "general", "role": "everyone", "deny": ["EMBED_LINKS"]})
    role = next(role for role in bench.world.guilds[GUILD].roles.values() if role.bot_id == BOT)
    role.permissions &= ~permission_bits.bits("EMBED_LINKS", "ADMINISTRATOR")
    embeds = [{"title": "t"}]
    assert await bench.error_code("POST", MESSAGES, {"content": "y", "embeds": embeds}) == 50013
    changed = await bench("PATCH", message, {"content": "y", "embeds": embeds})
    assert (changed["content"], changed["embeds"]) == ("y", [])
    assert await bench.error_code("PATCH", message, {"content": "", "embeds": embeds}) == 50006


async def test_multipart_form_allows_plain_fields_and_ten_files(bench: Bench) -> None:
    form = aiohttp.FormData()
    form.add_field("content", "plain")
    form.add_field("files[0]", b"abc", filename="a.txt", content_type="text/plain")
    status, response = await bench.discord.rest("POST", MESSAGES, data=form)
    assert (status, response["content"], response["attachments"][0]["filename"]) == (200, "plain", "a.txt")
    status, response = await bench.discord.rest("POST", MESSAGES, data={"content": "a & b"})
    assert (status, response["content"]) == (200, "a & b")
    many = aiohttp.FormData()
    for number in range(11):
        many.add_field(f"files[{number}]", b"x", filename="a.txt")
    status, response = await bench.discord.rest("POST", MESSAGES, data=many)
    assert (status, list(response["errors"])) == (400, ["attachments"])
    large = aiohttp.FormData()
    large.add_field("files[0]", io.BytesIO(bytes(10 * 1024 * 1024 + 1)), filename="a.bin")
    status, response = await bench.discord.rest("POST", MESSAGES, data=large)
    assert (status, response["code"]) == (413, 40005)


async def test_uploaded_page_is_not_sent_as_a_page(bench: Bench) -> None:
    form = aiohttp.FormData()
    form.add_field("files[0]", b"<script>1</script>", filename="a.html", content_type="text/html")
    _, message = await bench.discord.rest("POST", MESSAGES, data=form)
    (attachment,) = message["attachments"]
    assert attachment["content_type"] == "text/html"
    async with bench.discord.http.get(attachment["url"]) as file:
        assert file.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert await file.read() == b"<script>1</script>"


async def test_file_name_with_half_a_character_has_an_address(bench: Bench) -> None:
    form = aiohttp.FormData()
    form.add_field("files[0]", b"x", filename="a.txt")
    form.add_field("payload_json", '{"attachments": [{"id": "0", "filename": "\\ud800.txt"}]}')
    status, message = await bench.discord.rest("POST", MESSAGES, data=form)
    assert (status, message["attachments"][0]["url"].isascii()) == (200, True)


async def test_reaction_events_have_all_fields(bench: Bench) -> None:
    message = (await bench.post())["id"]
    path = f"{MESSAGES}/{message}/reactions"
    location = {"channel_id": GENERAL, "message_id": message, "guild_id": GUILD}
    emoji = {"id": None, "name": "👍"}
    await bench("PUT", f"{path}/{THUMBS}/@me")
    added = await bench.expect_event("MESSAGE_REACTION_ADD", **location, user_id=BOT, emoji=emoji, type=0, burst=False)
    assert (added["message_author_id"], added["member"]["user"]["id"]) == (BOT, BOT)
    await bench.discord.act("react", emoji="👍", message=message, **{"as": "cat"})
    await bench.expect_event("MESSAGE_REACTION_ADD", user_id=CAT)
    assert [user["id"] for user in await bench("GET", f"{path}/{THUMBS}")] == [BOT, CAT][
        :: 1 if int(BOT) < int(CAT) else -1
    ]
    (reaction,) = (await bench("GET", f"{MESSAGES}/{message}"))["reactions"]
    assert (reaction["count"], reaction["me"]) == (2, True)
    await bench("DELETE", f"{path}/{THUMBS}/{CAT}")
    await bench.expect_event("MESSAGE_REACTION_REMOVE", **location, user_id=CAT, emoji=emoji)
    await bench("DELETE", f"{path}/{THUMBS}")
    await bench.expect_event("MESSAGE_REACTION_REMOVE_EMOJI", **location, emoji=emoji)
    await bench("DELETE", path)
    await bench.expect_event("MESSAGE_REACTION_REMOVE_ALL", **location)


async def test_21st_reaction_emoji_is_refused(bench: Bench) -> None:
    message = (await bench.post())["id"]
    bench.world.message(GENERAL, message).reactions = {chr(0x1F600 + number): [ANN] for number in range(20)}
    path = f"{MESSAGES}/{message}/reactions"
    assert await bench.error_code("PUT", f"{path}/{THUMBS}/@me") == 30010
    await bench("PUT", f"{path}/{quote(chr(0x1F600))}/@me")
    assert await bench.error_code("PUT", f"{path}/nonsense/@me") == 10014


async def test_pin_is_dispatched_and_logged(bench: Bench) -> None:
    message = (await bench.post("pin me"))["id"]
    await bench("PUT", f"{MESSAGES}/pins/{message}", status=204)
    assert (await bench.expect_event("CHANNEL_PINS_UPDATE", channel_id=GENERAL, guild_id=GUILD))["last_pin_timestamp"]
    await bench.expect_event("MESSAGE_UPDATE", id=message, pinned=True)
    system = await bench.expect_event("MESSAGE_CREATE", type=6)
    assert system["message_reference"]["message_id"] == message
    await bench("PUT", f"{MESSAGES}/pins/{message}", status=204)
    pins = await bench("GET", f"{MESSAGES}/pins")
    assert [pin["message"]["id"] for pin in pins["items"]] == [message]
    assert [message["id"] for message in await bench("GET", f"{CHANNEL}/pins")] == [message]
    for stored in list(bench.world.messages[GENERAL].values()):
        bench.world.messages[GENERAL].update({f"{stored.id}{n}": stored for n in range(125)})
    other = (await bench.post())["id"]
    bench.world.messages[GENERAL] |= {str(n): bench.world.message(GENERAL, message) for n in range(250)}
    assert await bench.error_code("PUT", f"{CHANNEL}/pins/{other}") == 30003


async def test_thread_starts_from_a_message(bench: Bench) -> None:
    message = (await bench.post("topic"))["id"]
    thread = await bench("POST", f"{MESSAGES}/{message}/threads", {"name": "talk"}, 201)
    assert (thread["id"], thread["member"]["user_id"], thread["message_count"]) == (message, BOT, 0)
    await bench.expect_event("THREAD_CREATE", id=message, parent_id=GENERAL, newly_created=True)
    assert (await bench.expect_event("MESSAGE_UPDATE", id=message))["thread"]["id"] == message
    starter = await bench.expect_event("MESSAGE_CREATE", channel_id=message, type=21)
    assert starter["referenced_message"]["content"] == "topic"
    assert await bench.error_code("POST", f"{MESSAGES}/{message}/threads", {"name": "again"}) == 160004
    await bench.post("in", f"/channels/{message}/messages")
    assert (await bench("GET", f"/channels/{message}"))["message_count"] == 1
    await bench("DELETE", f"/channels/{message}")
    await bench.expect_event("THREAD_DELETE", id=message, guild_id=GUILD, parent_id=GENERAL, type=11)


async def test_thread_is_archived_after_silence_and_unarchived_by_a_message(bench: Bench) -> None:
    body = {"name": "t", "type": 11, "auto_archive_duration": 60}
    thread = (await bench("POST", f"{CHANNEL}/threads", body, 201))["id"]
    clock = bench.discord.sandbox.clock
    clock.advance(3599)
    await bench.post("still here", f"/channels/{thread}/messages")
    clock.advance(3599)
    assert not (await bench("GET", f"/channels/{thread}"))["thread_metadata"]["archived"]
    clock.advance(2)
    assert (await bench.expect_event("THREAD_UPDATE", id=thread))["thread_metadata"]["archived"]
    message_id = list(bench.world.messages[thread])[-1]
    path = f"/channels/{thread}/messages/{message_id}"
    assert await bench.error_code("PATCH", path, {"content": "x"}) == 50083
    assert await bench.error_code("PUT", f"{path}/reactions/{THUMBS}/@me") == 50083
    assert [thread["id"] for thread in (await bench("GET", f"{CHANNEL}/threads/archived/public"))["threads"]] == [
        thread
    ]
    await bench.post("awake", f"/channels/{thread}/messages")
    assert not (await bench.expect_event("THREAD_UPDATE", id=thread))["thread_metadata"]["archived"]
    assert [thread["id"] for thread in (await bench("GET", f"/guilds/{GUILD}/threads/active"))["threads"]] == [thread]


async def test_thread_has_one_archive_timer(bench: Bench) -> None:
    thread = (await bench("POST", f"{CHANNEL}/threads", {"name": "t", "type": 11}, 201))["id"]
    for archived in (True, False, True, False):
        await bench("PATCH", f"/channels/{thread}", {"archived": archived})
    timers = [timer for _, _, timer in bench.discord.sandbox.clock._timers if timer.callback]
    assert timers == [bench.discord.sandbox.thread_timers[thread]]


async def test_locked_thread_needs_manage_threads(bench: Bench) -> None:
    """Other members may delete and react while it is active (Discord: Threads > Locked Threads)."""
    thread = (await bench("POST", f"{CHANNEL}/threads", {"name": "t", "type": 11}, 201))["id"]
    message_ids = [(await bench.post(path=f"/channels/{thread}/messages"))["id"] for _ in "ab"]
    first, second = (f"/channels/{thread}/messages/{message_id}" for message_id in message_ids)
    await bench("PATCH", f"/channels/{thread}", {"locked": True})
    await bench("PATCH", first, {"content": "y"})
    role = next(role for role in bench.world.guilds[GUILD].roles.values() if role.bot_id == BOT)
    role.permissions &= ~permission_bits.bits("MANAGE_THREADS", "ADMINISTRATOR")
    assert await bench.error_code("PATCH", first, {"content": "z"}) == 160005
    assert await bench.error_code("POST", f"/channels/{thread}/messages", {"content": "z"}) == 160005
    await bench("PUT", f"{first}/reactions/{THUMBS}/@me")
    await bench("DELETE", first)
    bench.discord.sandbox.clock.advance(7 * DAY_S)
    assert await bench.error_code("DELETE", second) == 160005


async def test_thread_is_archived_after_a_restart(bench: Bench) -> None:
    body = {"name": "t", "type": 11, "auto_archive_duration": 60}
    thread = (await bench("POST", f"{CHANNEL}/threads", body, 201))["id"]
    async with local_discord(partial(restore, snapshot(bench.world))) as again:
        again.sandbox.clock.advance(3601)
        _, channel = await again.rest("GET", f"/channels/{thread}")
        assert channel["thread_metadata"]["archived"]


async def test_thread_membership_is_dispatched(bench: Bench) -> None:
    thread = (await bench("POST", f"{CHANNEL}/threads", {"name": "t", "type": 11}, 201))["id"]
    await bench("PUT", f"/channels/{thread}/thread-members/{CAT}", status=204)
    event = await bench.expect_event("THREAD_MEMBERS_UPDATE", id=thread, guild_id=GUILD, member_count=2)
    assert event["added_members"][0]["user_id"] == CAT
    await bench("DELETE", f"/channels/{thread}/thread-members/{CAT}", status=204)
    await bench.expect_event("THREAD_MEMBERS_UPDATE", removed_member_ids=[CAT])
    await bench("DELETE", f"/channels/{thread}/thread-members/@me", status=204)
    await bench.post("back", f"/channels/{thread}/messages")
    assert (await bench.expect_event("THREAD_MEMBERS_UPDATE", member_count=1))["added_members"][0]["user_id"] == BOT


async def test_private_thread_is_visible_to_its_members_only(bench: Bench) -> None:
    thread = (await bench("POST", f"{CHANNEL}/threads", {"name": "secret"}, 201))["id"]
    body = {"text": "let me in", "channel": "secret", "as": "cat"}
    assert (await bench.discord.act("send", **body))["error"] == "cat does not see #secret."
    await bench("PUT", f"/channels/{thread}/thread-members/{CAT}", status=204)
    assert (await bench.discord.act("send", **body))["state"] == "replied"


async def test_bot_that_gains_channel_access_receives_its_threads(bench: Bench) -> None:
    thread = (await bench("POST", f"{CHANNEL}/threads", {"name": "t", "type": 11}, 201))["id"]
    channel, sandbox = bench.world.channels[GENERAL], bench.discord.sandbox
    await bench.discord.act(
        "world", set_overwrite={"channel": "general", "member": "botctl-bot", "deny": ["VIEW_CHANNEL"]}
    )
    assert await bench.error_code("GET", CHANNEL) == 50001
    assert sandbox.world.channels[GENERAL] is channel
    await bench.discord.act(
        "world", set_overwrite={"channel": "general", "member": "botctl-bot", "allow": ["VIEW_CHANNEL"]}
    )
    event = await bench.expect_event("THREAD_LIST_SYNC", guild_id=GUILD, channel_ids=[GENERAL])
    assert ([thread["id"] for thread in event["threads"]], event["members"][0]["user_id"]) == ([thread], BOT)


async def test_channel_is_edited_and_deleted(bench: Bench) -> None:
    channel = await bench("POST", f"/guilds/{GUILD}/channels", {"name": "work"}, 201)
    await bench("PATCH", f"/channels/{channel['id']}", {"topic": "T", "rate_limit_per_user": 10})
    await bench.expect_event("CHANNEL_UPDATE", id=channel["id"], topic="T", rate_limit_per_user=10)
    entry = await bench.expect_event("GUILD_AUDIT_LOG_ENTRY_CREATE", action_type=11, target_id=channel["id"])
    assert {"key": "topic", "new_value": "T"} in entry["changes"]
    await bench("PUT", f"/channels/{channel['id']}/permissions/{CAT}", {"type": 1, "deny": "2048"}, 204)
    await bench.expect_event("CHANNEL_UPDATE", id=channel["id"])
    await bench.expect_event("GUILD_AUDIT_LOG_ENTRY_CREATE", action_type=13, options={"id": CAT, "type": "1"})
    assert (await bench("GET", f"/channels/{channel['id']}"))["permission_overwrites"][0]["deny"] == "2048"
    await bench("POST", f"/channels/{channel['id']}/typing", status=204)
    assert (await bench.expect_event("TYPING_START", channel_id=channel["id"], user_id=BOT))["member"]
    await bench("DELETE", f"/channels/{channel['id']}")
    await bench.expect_event("CHANNEL_DELETE", id=channel["id"])


async def test_webhook_message_has_its_own_name_and_avatar(bench: Bench) -> None:
    webhook = await bench("POST", f"{CHANNEL}/webhooks", {"name": "Captain"})
    await bench.expect_event("WEBHOOKS_UPDATE", guild_id=GUILD, channel_id=GENERAL)
    assert webhook["url"].startswith(bench.discord.url)
    async with bench.discord.http.post(webhook["url"], json={"content": "ahoy", "username": "Hook"}) as answer:
        assert answer.status == 204
    event = await bench.expect_event("MESSAGE_CREATE", webhook_id=webhook["id"], content="ahoy")
    assert event["author"]["username"] == "Hook"
    assert "member" not in event
    path = f"/webhooks/{webhook['id']}/{webhook['token']}"
    assert await bench.error_code("GET", f"/webhooks/{webhook['id']}/wrong") == 50027
    own = (await bench.post())["id"]
    assert await bench.error_code("GET", f"{path}/messages/{own}") == 10008
    for number in range(14):
        await bench("POST", f"{CHANNEL}/webhooks", {"name": str(number)})
    assert await bench.error_code("POST", f"{CHANNEL}/webhooks", {"name": "x"}) == 30007
    await bench("DELETE", path, status=204)
    assert await bench.error_code("POST", path, {"content": "x"}) == 10015


async def test_dm_belongs_to_two_users(bench: Bench) -> None:
    channel = await bench("POST", "/users/@me/channels", {"recipient_id": CAT})
    assert [recipient["id"] for recipient in channel["recipients"]] == [CAT]
    assert (await bench("POST", "/users/@me/channels", {"recipient_id": CAT}))["id"] == channel["id"]
    path = f"/channels/{channel['id']}/messages"
    await bench.post("psst", path)
    assert "guild_id" not in await bench.expect_event("MESSAGE_CREATE", channel_id=channel["id"], content="psst")
    await bench.discord.act("send", text="yes?", dm="botctl-bot", **{"as": "cat"})
    await bench.expect_event("MESSAGE_CREATE", channel_id=channel["id"], content="yes?")
    theirs = list(bench.world.messages[channel["id"]])[-1]
    assert await bench.error_code("DELETE", f"{path}/{theirs}") == 50003
    await bench.discord.act("world", close_dms={"member": "cat"})
    assert await bench.error_code("POST", path, {"content": "x"}) == 50007
    await bench.discord.act("world", close_dms={"member": "cat", "closed": False})
    await bench.post("again", path)
    await bench.discord.act("world", remove_member={"member": "cat"})
    assert await bench.error_code("POST", path, {"content": "x"}) == 50278


async def test_dm_events_need_the_direct_message_intent() -> None:
    async with local_discord() as discord, discord.wire() as wire:
        await wire.identify(intents=1 << 9 | 1 << 15)
        bench = Bench(discord, wire)
        channel = await bench("POST", "/users/@me/channels", {"recipient_id": CAT})
        await bench.post("psst", f"/channels/{channel['id']}/messages")
        await bench.post("loud")
        await bench.expect_event("MESSAGE_CREATE", content="loud")


PEOPLE = [
    ("send", {"text": "hi", "channel": "staff"}, "cat may not send messages in #staff."),
    ("send", {"text": "hi", "channel": "forum"}, "Cannot send messages in a non-text channel."),
    ("send", {"text": "hi", "dm": "bob"}, "bob does not accept direct messages."),
    ("edit", {"text": "x", "message": "BOT"}, "cat can only edit their own messages."),
    ("delete", {"message": "BOT"}, "cat may not delete other users' messages in #general."),
    ("react", {"emoji": "nonsense"}, "Unknown Emoji."),
]


@pytest.mark.parametrize(("verb", "body", "sentence"), PEOPLE)
async def test_rejected_action_is_explained(bench: Bench, verb: str, body: dict[str, Any], sentence: str) -> None:
    await bench("POST", f"/guilds/{GUILD}/channels", {"name": "forum", "type": 15}, 201)
    bot = (await bench.post())["id"]
    await bench.discord.act("world", close_dms={"member": "bob"})
    await bench.discord.act("world", set_overwrite={"channel": "staff", "role": "everyone", "deny": ["SEND_MESSAGES"]})
    arguments = {**body, "as": "cat"} | ({"message": bot} if body.get("message") == "BOT" else {})
    outcome = await bench.discord.act(verb, **arguments)
    assert (outcome["state"], outcome["error"]) == ("refused", sentence)


async def test_user_sends_replies_edits_reacts_and_deletes(bench: Bench) -> None:
    act, cat = bench.discord.act, {"as": "cat"}
    first = (await bench.post("question"))["id"]
    message_id = (await act("send", text="answer", reply_to=first, **cat))["messages"][0]["id"]
    await bench.expect_event("MESSAGE_CREATE", id=message_id, type=19)
    await act("edit", text="better", **cat)
    await bench.expect_event("MESSAGE_UPDATE", id=message_id, content="better")
    await act("react", emoji="🎉", message=first, **cat)
    await bench.expect_event("MESSAGE_REACTION_ADD", user_id=CAT, message_author_id=BOT)
    await act("react", emoji="🎉", message=first, remove=True, **cat)
    await bench.expect_event("MESSAGE_REACTION_REMOVE", user_id=CAT)
    await act("typing", **cat)
    await bench.expect_event("TYPING_START", user_id=CAT)
    await act("delete", **cat)
    await bench.expect_event("MESSAGE_DELETE", id=message_id)
    await act("delete", message=first, **{"as": "bob"})
    await bench.expect_event("GUILD_AUDIT_LOG_ENTRY_CREATE", action_type=72, user_id=BOB, target_id=BOT)


async def test_timed_out_user_cannot_send_until_it_ends(bench: Bench) -> None:
    await bench.discord.act("world", timeout={"member": "cat", "seconds": 60})
    for verb, body in (("send", {"text": "hi"}), ("typing", {})):
        outcome = await bench.discord.act(verb, **body, **{"as": "cat"})
        assert outcome["error"].startswith("cat is timed out until 20")
    bench.discord.sandbox.clock.advance(61)
    assert (await bench.discord.act("send", text="hi", **{"as": "cat"}))["state"] == "replied"


async def test_slow_mode_exempts_bots_and_moderators(bench: Bench) -> None:
    await bench("PATCH", CHANNEL, {"rate_limit_per_user": 30})

    async def error(name: str) -> str | None:
        return (await bench.discord.act("send", text="hi", **{"as": name}))["error"]

    assert [await error("cat"), await error("bob"), await error("bob")] == [None, None, None]
    assert (await error("cat") or "").startswith("#general is in slow mode: cat may send again in ")
    await bench.post()
    await bench.post()
    bench.discord.sandbox.clock.advance(30)
    assert await error("cat") is None
