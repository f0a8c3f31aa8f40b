"""Threads: beginning one, who is in it, and listing them (Discord: Channel resource > Threads)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botctl.sandbox.actions import audit_log, posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_access, unknown, wrong_channel
from botctl.sandbox.model.channels.types import FORUM, PRIVATE_THREAD, PUBLIC_THREAD
from botctl.sandbox.model.gateway.opcodes import GUILD_MEMBERS
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.world import Channel, Member
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, ApiReply, route

Json = dict[str, Any]
CHANNEL = "/channels/{channel}"
MEMBERS = CHANNEL + "/thread-members"
_ARCHIVED = CHANNEL + "/threads/archived"


@route("POST", CHANNEL + "/threads")
def begin(call: ApiCall) -> ApiReply:
    """Without a message; in a forum, a post with its first message."""
    parent = access.channel_of(call)
    offered = threads.thread_types(parent)
    if parent.type == FORUM:
        return _begin_post(call, parent)
    name, fields = threads.parse_form(call.form)
    errors = FormErrors()
    kind = errors.choice((), call.form, "type", offered) or offered[-1]  # private, where that can be
    errors.check()
    access.need_in(call, parent, "CREATE_PRIVATE_THREADS" if kind == PRIVATE_THREAD else "CREATE_PUBLIC_THREADS")
    thread = threads.create(call.sandbox, parent, call.app.id, name, kind, **fields)
    _note(call, thread)
    return ApiReply(201, threads.payload(thread, viewer=call.app.id))


@route("POST", CHANNEL + "/messages/{message}/threads")
def begin_at_message(call: ApiCall) -> ApiReply:
    parent = access.channel_of(call)
    message = access.message_of(call, parent)
    offered = threads.thread_types(parent)
    if parent.type == FORUM:
        raise wrong_channel()
    access.need_in(call, parent, "CREATE_PUBLIC_THREADS", "READ_MESSAGE_HISTORY")
    name, fields = threads.parse_form(call.form)
    if message.id in call.sandbox.world.channels:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    thread = threads.create(call.sandbox, parent, call.app.id, name, offered[0], source=message, **fields)
    _note(call, thread)
    return ApiReply(201, threads.payload(thread, viewer=call.app.id))


@route("GET", MEMBERS)
def list_members(call: ApiCall) -> list[Json]:
    """By user id, ``after`` one."""
    thread = _thread(call)
    access.need_intent(call, GUILD_MEMBERS)
    errors, query = FormErrors(), dict(call.query)
    after, limit = errors.snowflake((), query, "after"), call.limit(100, 100)
    errors.check()
    ids = sorted((one for one in thread.thread_members if int(one) > int(after or 0)), key=int)
    return [_member(call, thread, one) for one in ids[:limit]]


@route("GET", MEMBERS + "/{user}")
def get_member(call: ApiCall) -> Json:
    thread, user_id = _thread(call), call.path["user"]
    wanted = call.app.id if user_id == "@me" else user_id
    if wanted not in thread.thread_members:
        raise unknown("Member")
    return _member(call, thread, wanted)


@route("PUT", MEMBERS + "/@me")
def join(call: ApiCall) -> None:
    thread = _thread(call)
    threads.check_not_archived(thread)
    threads.join(call.sandbox, thread, call.app.id)


@route("DELETE", MEMBERS + "/@me")
def leave(call: ApiCall) -> None:
    thread = _thread(call)
    threads.check_not_archived(thread)
    threads.leave(call.sandbox, thread, call.app.id)


@route("PUT", MEMBERS + "/{user}")
def add_member(call: ApiCall) -> None:
    """To a private thread of which others may not be invited only by those who manage threads."""
    thread = _thread(call)
    threads.check_not_archived(thread)
    access.need_in(call, thread, "SEND_MESSAGES_IN_THREADS")
    if thread.private and not threads.thread_state(thread).invitable and thread.owner_id != call.app.id:
        access.need_in(call, thread, "MANAGE_THREADS")
    threads.join(call.sandbox, thread, _guest(call, thread).user_id)


@route("DELETE", MEMBERS + "/{user}")
def remove_member(call: ApiCall) -> None:
    """By those who manage threads, and from a private thread by its owner."""
    thread = _thread(call)
    threads.check_not_archived(thread)
    if not (thread.private and thread.owner_id == call.app.id):
        access.need_in(call, thread, "MANAGE_THREADS")
    if call.path["user"] not in thread.thread_members:
        raise unknown("Member")
    threads.leave(call.sandbox, thread, call.path["user"])


@route("GET", "/guilds/{guild}/threads/active")
def list_active(call: ApiCall) -> Json:
    """All that are awake and that the bot sees, newest first."""
    guild = access.guild_of(call)
    found = threads.active_threads(call.sandbox, call.app.id, guild.id)
    return _listed(call, found, len(found))


@route("GET", _ARCHIVED + "/public")
def list_archived(call: ApiCall) -> Json:
    return _archived(call, private=False)


@route("GET", _ARCHIVED + "/private")
def list_archived_private(call: ApiCall) -> Json:
    access.channel_of(call, "MANAGE_THREADS")
    return _archived(call, private=True)


@route("GET", CHANNEL + "/users/@me/threads/archived/private")
def list_archived_joined(call: ApiCall) -> Json:
    """Those that the bot is in, by id, ``before`` one."""
    found = [one for one in _asleep(call, private=True) if call.app.id in one.thread_members]
    errors = FormErrors()
    before = errors.snowflake((), dict(call.query), "before")
    errors.check()
    found.sort(key=lambda one: int(one.id), reverse=True)
    return _listed(call, [one for one in found if before is None or int(one.id) < int(before)], call.limit(50, 100))


def _begin_post(call: ApiCall, forum: Channel) -> ApiReply:
    name, fields = threads.parse_form(call.form)
    access.need_in(call, forum, "SEND_MESSAGES")
    errors = FormErrors()
    first = errors.field((), call.form, "message", dict)
    if call.form.get("message") is None:
        errors.add(("message",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    made = drafts.parse_body(first or {}, call.uploads, call.sandbox.world)
    thread = threads.create(call.sandbox, forum, call.app.id, name, PUBLIC_THREAD, **fields)
    may = access.may_in(call, thread)
    message = posting.post(call.sandbox, thread, made, call.app.id, granted=may, id=thread.id)
    _note(call, thread)
    shown = threads.payload(thread, viewer=call.app.id)
    return ApiReply(201, {**shown, "message": payloads.message(message, call.sandbox.world)})


def _note(call: ApiCall, thread: Channel) -> None:
    guild = call.sandbox.world.guilds[thread.guild_id]
    changes = audit_log.diff({}, {"name": thread.name, "type": thread.type, "archived": False, "locked": False})
    audit.note(call, guild, AuditAction.THREAD_CREATE, thread.id, changes=changes)


def _thread(call: ApiCall) -> Channel:
    channel = access.channel_of(call)
    threads.thread_state(channel)
    return channel


def _guest(call: ApiCall, thread: Channel) -> Member:
    """The member of the path, who must be able to see where the thread stands."""
    world = call.sandbox.world
    guild = world.guilds[thread.guild_id]
    member = access.member_of(call, guild)
    parent = world.channels[thread.parent_id or ""]
    if not permissions.compute(world, guild, member, parent) & permission_bits.VIEW:
        raise missing_access()
    return member


def _member(call: ApiCall, thread: Channel, user_id: str) -> Json:
    shown = payloads.thread_member(thread, user_id)
    member = call.sandbox.world.guilds[thread.guild_id].members.get(user_id)
    if not call.flag("with_member") or member is None:
        return shown
    return {**shown, "member": payloads.member(member, call.sandbox.world)}


def _asleep(call: ApiCall, *, private: bool) -> list[Channel]:
    """The archived threads of the channel."""
    parent = access.channel_of(call, "READ_MESSAGE_HISTORY")
    threads.thread_types(parent)
    guild = call.sandbox.world.guilds[parent.guild_id]
    there = [one for one in guild.threads.values() if one.parent_id == parent.id and one.private == private]
    return [one for one in there if one.thread and one.thread.archived]


def _archived(call: ApiCall, *, private: bool) -> Json:
    """By the time of archiving, newest first, ``before`` one."""
    found = _asleep(call, private=private)
    found.sort(key=lambda one: threads.thread_state(one).archived_at, reverse=True)
    errors = FormErrors()
    before = errors.time((), call.query, "before")
    errors.check()
    if before:
        found = [one for one in found if datetime.fromisoformat(threads.thread_state(one).archived_at) < before]
    return _listed(call, found, call.limit(50, 100))


def _listed(call: ApiCall, found: list[Channel], limit: int) -> Json:
    kept, me = found[:limit], call.app.id
    return {
        "threads": [threads.payload(one, viewer=me) for one in kept],
        "members": threads.memberships(kept, me),
        "has_more": len(found) > limit,
    }
