"""Threads: start, members, lists (Discord: Channel resource > Threads)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botctl.sandbox.actions import audit_log, posting, threads
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, missing_access, unknown, wrong_channel_type
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
def start_thread(call: ApiCall) -> ApiReply:
    """A thread without a message; in a forum, a post with its first message."""
    parent = access.get_channel(call)
    kinds = threads.thread_types(parent)
    if parent.type == FORUM:
        return _create_post(call, parent)
    name, fields = threads.parse_body(call.form)
    errors = FormErrors()
    kind = errors.choice((), call.form, "type", kinds) or kinds[-1]  # the last one: private if allowed
    errors.check()
    access.require_permissions_in(
        call, parent, "CREATE_PRIVATE_THREADS" if kind == PRIVATE_THREAD else "CREATE_PUBLIC_THREADS"
    )
    thread = threads.create(call.sandbox, parent, call.app.id, name, kind, **fields)
    _write_audit_entry(call, thread)
    return ApiReply(201, threads.payload(thread, viewer=call.app.id))


@route("POST", CHANNEL + "/messages/{message}/threads")
def start_thread_from_message(call: ApiCall) -> ApiReply:
    parent = access.get_channel(call)
    message = access.get_message(call, parent)
    kinds = threads.thread_types(parent)
    if parent.type == FORUM:
        raise wrong_channel_type()
    access.require_permissions_in(call, parent, "CREATE_PUBLIC_THREADS", "READ_MESSAGE_HISTORY")
    name, fields = threads.parse_body(call.form)
    if message.id in call.sandbox.world.channels:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    thread = threads.create(call.sandbox, parent, call.app.id, name, kinds[0], source=message, **fields)
    _write_audit_entry(call, thread)
    return ApiReply(201, threads.payload(thread, viewer=call.app.id))


@route("GET", MEMBERS)
def list_members(call: ApiCall) -> list[Json]:
    """Sorted by user id. ``after`` is a user id."""
    thread = _get_thread(call)
    access.require_intent(call, GUILD_MEMBERS)
    errors, query = FormErrors(), dict(call.query)
    after, limit = errors.snowflake((), query, "after"), call.limit(100, 100)
    errors.check()
    ids = sorted((user_id for user_id in thread.thread_members if int(user_id) > int(after or 0)), key=int)
    return [_member_payload(call, thread, user_id) for user_id in ids[:limit]]


@route("GET", MEMBERS + "/{user}")
def get_member(call: ApiCall) -> Json:
    thread, user_id = _get_thread(call), call.path["user"]
    member_id = call.app.id if user_id == "@me" else user_id
    if member_id not in thread.thread_members:
        raise unknown("Member")
    return _member_payload(call, thread, member_id)


@route("PUT", MEMBERS + "/@me")
def join(call: ApiCall) -> None:
    thread = _get_thread(call)
    threads.check_not_archived(thread)
    threads.join(call.sandbox, thread, call.app.id)


@route("DELETE", MEMBERS + "/@me")
def leave(call: ApiCall) -> None:
    thread = _get_thread(call)
    threads.check_not_archived(thread)
    threads.leave(call.sandbox, thread, call.app.id)


@route("PUT", MEMBERS + "/{user}")
def add_member(call: ApiCall) -> None:
    """A private thread that is not ``invitable`` needs MANAGE_THREADS, unless the bot is its owner."""
    thread = _get_thread(call)
    threads.check_not_archived(thread)
    access.require_permissions_in(call, thread, "SEND_MESSAGES_IN_THREADS")
    if thread.private and not threads.thread_state(thread).invitable and thread.owner_id != call.app.id:
        access.require_permissions_in(call, thread, "MANAGE_THREADS")
    threads.join(call.sandbox, thread, _get_addable_member(call, thread).user_id)


@route("DELETE", MEMBERS + "/{user}")
def remove_member(call: ApiCall) -> None:
    """Needs MANAGE_THREADS, unless the bot owns the private thread."""
    thread = _get_thread(call)
    threads.check_not_archived(thread)
    if not (thread.private and thread.owner_id == call.app.id):
        access.require_permissions_in(call, thread, "MANAGE_THREADS")
    if call.path["user"] not in thread.thread_members:
        raise unknown("Member")
    threads.leave(call.sandbox, thread, call.path["user"])


@route("GET", "/guilds/{guild}/threads/active")
def list_active(call: ApiCall) -> Json:
    """The threads that are not archived and that the bot sees, newest first."""
    guild = access.get_guild(call)
    active = threads.active_threads(call.sandbox, call.app.id, guild.id)
    return _list_payload(call, active, len(active))


@route("GET", _ARCHIVED + "/public")
def list_archived(call: ApiCall) -> Json:
    return _archived_page(call, private=False)


@route("GET", _ARCHIVED + "/private")
def list_archived_private(call: ApiCall) -> Json:
    access.get_channel(call, "MANAGE_THREADS")
    return _archived_page(call, private=True)


@route("GET", CHANNEL + "/users/@me/threads/archived/private")
def list_archived_joined(call: ApiCall) -> Json:
    """The threads that the bot is in, newest first. ``before`` is a thread id."""
    joined = [thread for thread in _archived_threads(call, private=True) if call.app.id in thread.thread_members]
    errors = FormErrors()
    before = errors.snowflake((), dict(call.query), "before")
    errors.check()
    joined.sort(key=lambda thread: int(thread.id), reverse=True)
    return _list_payload(
        call, [thread for thread in joined if before is None or int(thread.id) < int(before)], call.limit(50, 100)
    )


def _create_post(call: ApiCall, forum: Channel) -> ApiReply:
    name, fields = threads.parse_body(call.form)
    access.require_permissions_in(call, forum, "SEND_MESSAGES")
    errors = FormErrors()
    message_body = errors.field((), call.form, "message", dict)
    if call.form.get("message") is None:
        errors.add(("message",), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    draft = drafts.parse_body(message_body or {}, call.uploads, call.sandbox.world)
    thread = threads.create(call.sandbox, forum, call.app.id, name, PUBLIC_THREAD, **fields)
    granted = access.permissions_in(call, thread)
    message = posting.post(call.sandbox, thread, draft, call.app.id, granted=granted, id=thread.id)
    _write_audit_entry(call, thread)
    payload = threads.payload(thread, viewer=call.app.id)
    return ApiReply(201, {**payload, "message": payloads.message(message, call.sandbox.world)})


def _write_audit_entry(call: ApiCall, thread: Channel) -> None:
    guild = call.sandbox.world.guilds[thread.guild_id]
    changes = audit_log.diff({}, {"name": thread.name, "type": thread.type, "archived": False, "locked": False})
    audit.write_entry(call, guild, AuditAction.THREAD_CREATE, thread.id, changes=changes)


def _get_thread(call: ApiCall) -> Channel:
    channel = access.get_channel(call)
    threads.thread_state(channel)
    return channel


def _get_addable_member(call: ApiCall, thread: Channel) -> Member:
    """The member of the path; raises 50001 (missing access) when they cannot see the thread's channel."""
    world = call.sandbox.world
    guild = world.guilds[thread.guild_id]
    member = access.get_member(call, guild)
    parent = world.channels[thread.parent_id or ""]
    if not permissions.compute(world, guild, member, parent) & permission_bits.VIEW:
        raise missing_access()
    return member


def _member_payload(call: ApiCall, thread: Channel, user_id: str) -> Json:
    payload = payloads.thread_member(thread, user_id)
    member = call.sandbox.world.guilds[thread.guild_id].members.get(user_id)
    if not call.flag("with_member") or member is None:
        return payload
    return {**payload, "member": payloads.member(member, call.sandbox.world)}


def _archived_threads(call: ApiCall, *, private: bool) -> list[Channel]:
    parent = access.get_channel(call, "READ_MESSAGE_HISTORY")
    threads.thread_types(parent)
    guild = call.sandbox.world.guilds[parent.guild_id]
    children = [
        thread for thread in guild.threads.values() if thread.parent_id == parent.id and thread.private == private
    ]
    return [thread for thread in children if thread.thread and thread.thread.archived]


def _archived_page(call: ApiCall, *, private: bool) -> Json:
    """Sorted by the time of archiving, newest first. ``before`` is such a time."""
    archived = _archived_threads(call, private=private)
    archived.sort(key=lambda thread: threads.thread_state(thread).archived_at, reverse=True)
    errors = FormErrors()
    before = errors.time((), call.query, "before")
    errors.check()
    if before:
        archived = [
            thread for thread in archived if datetime.fromisoformat(threads.thread_state(thread).archived_at) < before
        ]
    return _list_payload(call, archived, call.limit(50, 100))


def _list_payload(call: ApiCall, found_threads: list[Channel], limit: int) -> Json:
    page, me = found_threads[:limit], call.app.id
    return {
        "threads": [threads.payload(thread, viewer=me) for thread in page],
        "members": threads.memberships(page, me),
        "has_more": len(found_threads) > limit,
    }
