"""Threads: creation, archiving and membership (Discord: Threads)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botctl.sandbox.model import payloads, permission_bits, permissions, snowflakes
from botctl.sandbox.model.api_error import ApiError, FormErrors, wrong_channel_type
from botctl.sandbox.model.channels.bodies import ARCHIVE_MINUTES, SLOWMODE_MAX_S
from botctl.sandbox.model.channels.types import (
    ANNOUNCEMENT,
    ANNOUNCEMENT_THREAD,
    FORUM,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    TEXT,
)
from botctl.sandbox.model.gateway.opcodes import GUILD_MEMBERS
from botctl.sandbox.model.world import Channel, Message, Thread
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_THREAD_TYPES = {TEXT: (PUBLIC_THREAD, PRIVATE_THREAD), ANNOUNCEMENT: (ANNOUNCEMENT_THREAD,), FORUM: (PUBLIC_THREAD,)}
_THREAD_CREATED, _THREAD_STARTER = 18, 21  # Discord: Message resource > Message Types


def thread_types(parent: Channel) -> tuple[int, ...]:
    """The types of threads that ``parent`` allows. Raises 50024 (wrong channel type) when there are none."""
    if parent.type not in _THREAD_TYPES:
        raise wrong_channel_type()
    return _THREAD_TYPES[parent.type]


def parse_body(body: Json) -> tuple[str, dict[str, Any]]:
    """The name of the new thread, and the keyword arguments of `create` that ``body`` has."""
    errors = FormErrors()
    name = errors.text((), body, "name", 1, 100)
    minutes = errors.choice((), body, "auto_archive_duration", ARCHIVE_MINUTES)
    slowmode_s = errors.number((), body, "rate_limit_per_user", 0, SLOWMODE_MAX_S) or 0
    invitable = errors.field((), body, "invitable", bool)
    errors.check()
    return name, {"minutes": minutes or 4320, "slowmode_s": slowmode_s, "invitable": invitable is not False}


def create(
    sandbox: Sandbox,
    parent: Channel,
    owner_id: str,
    name: str,
    kind: int,
    *,
    minutes: int,
    slowmode_s: int,
    invitable: bool,
    source: Message | None = None,
) -> Channel:
    """Create a thread of type ``kind``, with its owner as a member. With ``source`` it has the id of that message."""
    world = sandbox.world
    now = world.timestamp()
    state = Thread(created_at=now, archived_at=now, invitable=invitable, auto_archive_minutes=minutes)
    thread = Channel(
        source.id if source else world.new_id(),
        parent.guild_id,
        name,
        type=kind,
        parent_id=parent.id,
        slowmode_s=slowmode_s,
        owner_id=owner_id,
        thread=state,
        thread_members={owner_id: now},
    )
    world.add_channel(thread)
    schedule_archiving(sandbox, thread)
    sandbox.emit("THREAD_CREATE", {**payload(thread), "newly_created": True}, thread.guild_id, channel=thread)
    if source is not None:
        _add_source_message(sandbox, thread, source)
    elif kind == PUBLIC_THREAD and parent.type == TEXT:
        reference = {"type": 0, "channel_id": thread.id, "guild_id": thread.guild_id}
        _post_system_message(sandbox, parent, owner_id, _THREAD_CREATED, content=name, reference=reference)
    sandbox.changed()
    return thread


def payload(thread: Channel, *, viewer: str = "") -> Json:
    """The thread as Discord's JSON, for the bot ``viewer``."""
    if thread.thread is None:
        raise TypeError("no thread")
    return payloads.thread(thread, thread.thread, viewer=viewer)


def thread_state(thread: Channel) -> Thread:
    """Raises 50024 for a channel that is no thread."""
    if thread.thread is None:
        raise wrong_channel_type()
    return thread.thread


def check_not_archived(channel: Channel) -> None:
    """Raises 50083 for an archived thread."""
    if channel.thread is not None and channel.thread.archived:
        raise ApiError(400, 50083, "Thread is archived")


def check_unlocked(channel: Channel, *, granted: int) -> None:
    """Raises 160005 for a locked thread, unless ``granted`` (permission bits) has MANAGE_THREADS."""
    if channel.thread is not None and channel.thread.locked and not granted & permission_bits.BITS["MANAGE_THREADS"]:
        raise ApiError(400, 160005, "Thread is locked")


def unarchive(sandbox: Sandbox, channel: Channel, *, granted: int) -> None:
    """Unarchive a thread if it is archived. Raises 160005 when it is locked, as `check_unlocked`."""
    check_unlocked(channel, granted=granted)
    if channel.thread is not None and channel.thread.archived:
        set_archived(sandbox, channel, channel.thread, archived=False)
        emit_update(sandbox, channel)


def set_archived(sandbox: Sandbox, thread: Channel, state: Thread, *, archived: bool) -> None:
    """Archive or unarchive. The caller sends the event, with `emit_update`."""
    state.archived, state.archived_at = archived, sandbox.world.timestamp()
    if not archived:
        schedule_archiving(sandbox, thread)


def emit_update(sandbox: Sandbox, thread: Channel) -> None:
    sandbox.emit("THREAD_UPDATE", payload(thread), thread.guild_id, channel=thread)
    sandbox.changed()


def delete(sandbox: Sandbox, thread: Channel) -> None:
    event = {"id": thread.id, "guild_id": thread.guild_id, "parent_id": thread.parent_id, "type": thread.type}
    sandbox.world.remove_channel(thread)
    sandbox.emit("THREAD_DELETE", event, thread.guild_id, channel=thread)
    sandbox.changed()


def join(sandbox: Sandbox, thread: Channel, user_id: str) -> None:
    """Add the user to the thread, unless they are a member already."""
    if user_id not in thread.thread_members:
        was_hidden = thread.private and not _can_see(sandbox, user_id, thread)
        thread.thread_members[user_id] = sandbox.world.timestamp()
        if was_hidden:
            sandbox.emit("THREAD_CREATE", payload(thread, viewer=user_id), thread.guild_id, application_id=user_id)
        member = sandbox.world.guilds[thread.guild_id].members.get(user_id)
        fields = {"member": payloads.member(member, sandbox.world)} if member else {}
        added = {**payloads.thread_member(thread, user_id), **fields, "presence": None}
        _emit_members_update(sandbox, thread, user_id, {"added_members": [added]})


def leave(sandbox: Sandbox, thread: Channel, user_id: str) -> None:
    if thread.thread_members.pop(user_id, None) is not None:
        _emit_members_update(sandbox, thread, user_id, {"removed_member_ids": [user_id]})


def emit_list_sync(sandbox: Sandbox, application_id: str, parent: Channel) -> None:
    guild = sandbox.world.guilds[parent.guild_id]
    threads = [thread for thread in active_threads(sandbox, application_id, guild.id) if thread.parent_id == parent.id]
    if threads:
        event = {
            "guild_id": guild.id,
            "channel_ids": [parent.id],
            "threads": [payload(thread, viewer=application_id) for thread in threads],
            "members": memberships(threads, application_id),
        }
        sandbox.emit("THREAD_LIST_SYNC", event, guild.id, application_id=application_id)


def active_threads(sandbox: Sandbox, application_id: str, guild_id: str) -> list[Channel]:
    """The guild's threads that are not archived and that a bot sees, newest first."""
    guild = sandbox.world.guilds[guild_id]
    active = [thread for thread in guild.threads.values() if thread.thread and not thread.thread.archived]
    return [thread for thread in reversed(active) if _can_see(sandbox, application_id, thread)]


def memberships(threads: list[Channel], user_id: str) -> list[Json]:
    return [payloads.thread_member(thread, user_id) for thread in threads if user_id in thread.thread_members]


def schedule_archiving(sandbox: Sandbox, thread: Channel) -> None:
    """Start the timer that archives the thread after ``auto_archive_minutes`` without messages."""
    if (earlier := sandbox.thread_timers.pop(thread.id, None)) is not None:
        earlier.cancel()
    sandbox.thread_timers[thread.id] = sandbox.clock.call_later(
        _until_archiving_s(sandbox, thread), lambda: _archive_if_inactive(sandbox, thread)
    )


def schedule_all_archiving(sandbox: Sandbox) -> None:
    for guild in sandbox.world.guilds.values():
        for thread in guild.threads.values():
            if thread.thread and not thread.thread.archived:
                schedule_archiving(sandbox, thread)


def _archive_if_inactive(sandbox: Sandbox, thread: Channel) -> None:
    del sandbox.thread_timers[thread.id]
    state = thread.thread
    if state is None or state.archived or thread.id not in sandbox.world.channels:
        return
    if _until_archiving_s(sandbox, thread) > 0:
        schedule_archiving(sandbox, thread)
        return
    set_archived(sandbox, thread, state, archived=True)
    emit_update(sandbox, thread)


def _until_archiving_s(sandbox: Sandbox, thread: Channel) -> float:
    state = thread_state(thread)
    last_message_s = snowflakes.created_s(thread.last_message_id or thread.id)
    unarchived_s = datetime.fromisoformat(state.archived_at).timestamp()
    inactive_s = sandbox.clock.now().timestamp() - max(last_message_s, unarchived_s)
    return max(state.auto_archive_minutes * 60 - inactive_s, 0.0)


def _add_source_message(sandbox: Sandbox, thread: Channel, source: Message) -> None:
    source.flags |= payloads.HAS_THREAD
    sandbox.emit_message_update(source)
    reference = {
        "type": 0,
        "message_id": source.id,
        "channel_id": source.channel_id,
        "guild_id": source.guild_id,
    }
    _post_system_message(
        sandbox, thread, thread.owner_id or source.author_id, _THREAD_STARTER, id=source.id, reference=reference
    )


def _post_system_message(sandbox: Sandbox, channel: Channel, author_id: str, kind: int, **fields: Any) -> None:
    """Create a message that Discord itself writes, with ``author_id`` as its author."""
    world = sandbox.world
    given = {"id": world.new_id(), "timestamp": world.timestamp(), **fields}
    message = Message(channel_id=channel.id, guild_id=channel.guild_id, author_id=author_id, type=kind, **given)
    world.add_message(message)
    sandbox.emit_message_create(message)


def _emit_members_update(sandbox: Sandbox, thread: Channel, user_id: str, changes: Json) -> None:
    """A bot receives changes of its own membership always, of others' only with the intent GUILD_MEMBERS."""
    count = min(len(thread.thread_members), 50)
    event = {"id": thread.id, "guild_id": thread.guild_id, "member_count": count, **changes}
    for application_id in sandbox.world.applications:
        own = application_id == user_id
        if own or _can_see(sandbox, application_id, thread):
            intent = 0 if own else GUILD_MEMBERS
            sandbox.emit(
                "THREAD_MEMBERS_UPDATE", event, thread.guild_id, application_id=application_id, required_intent=intent
            )
    sandbox.changed()


def _can_see(sandbox: Sandbox, user_id: str, channel: Channel) -> bool:
    guild = sandbox.world.guilds[channel.guild_id]
    member = guild.members.get(user_id)
    return member is not None and bool(
        permissions.compute(sandbox.world, guild, member, channel) & permission_bits.VIEW
    )
