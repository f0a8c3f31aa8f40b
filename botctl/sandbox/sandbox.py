"""The sandbox as one object: the world (guilds, users, messages), open sessions and interactions, dispatch of events.

`gateway`, `rest` and `control` hold a `Sandbox` and call it; it does not know them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from botctl.sandbox.model import payloads, permissions, snowflakes
from botctl.sandbox.model.clock import Timer
from botctl.sandbox.model.compact_json import dumps
from botctl.sandbox.model.gateway import audience, member_requests
from botctl.sandbox.model.gateway.opcodes import GUILD_MEMBERS, GUILDS, MEMBERS, MESSAGE_CONTENT, PRESENCES, CloseCode
from botctl.sandbox.model.gateway.session import Dispatch, GatewaySession, Sessions
from botctl.sandbox.model.interactions import Interaction, InteractionStore
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.messages import content_intent
from botctl.sandbox.model.messages.drafts import Draft
from botctl.sandbox.model.oauth import Grants
from botctl.sandbox.model.tokens import new_bot_token
from botctl.sandbox.model.world import Channel, Guild, Member, Message, World
from botctl.sandbox.storage.attachments import AttachmentStore

Json = dict[str, Any]


@dataclass(frozen=True)
class Access:
    """The secrets of a sandbox, never stored. ``tokens`` maps each bot token to its application's id."""

    tokens: dict[str, str] = field(repr=False)
    control_secret: str = field(repr=False)


class Sandbox:
    """One local Discord. ``on_change`` is called after each change that a restart must keep."""

    def __init__(
        self,
        world: World,
        access: Access,
        *,
        files: AttachmentStore | None = None,
        limits: Limits | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = world.clock
        self.world = world
        self.url = world.url
        self.access = access
        self.files = files or AttachmentStore(None)
        self.limiter = RateLimiter(limits or Limits())
        self.interactions = InteractionStore(self.limiter)
        self.sessions = Sessions(self, self.limiter)
        self.faults = self.sessions.faults
        self.changed = on_change
        self.grants = Grants()
        self._hidden_channels: dict[tuple[str, str], set[str]] = {}  # channel ids by (guild id, bot id)
        self.modals: dict[str, Interaction] = {}  # the newest open modal, by user id
        self.thread_timers: dict[str, Timer] = {}  # of active threads, by id

    @property
    def limits(self) -> Limits:
        return self.limiter.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.limiter.limits = limits

    # What gateway sessions ask for (`session.Backend`)

    def authenticate(self, token: str) -> tuple[str, int] | None:
        app = self.world.applications.get(self.access.tokens.get(token, ""))
        return (app.id, app.flags) if app else None

    def guild_count(self, application_id: str, shard: tuple[int, int]) -> int:
        return sum(1 for _ in self._guilds(application_id, shard))

    def initial_dispatches(self, session: GatewaySession) -> Iterator[Dispatch]:
        yield "READY", self._ready(session)
        if session.intents & GUILDS:
            for guild in self._guilds(session.application_id, session.shard):
                if not guild.available:
                    continue
                yield "GUILD_CREATE", self.guild_create(guild, session)

    def reset_token(self, application_id: str) -> str:
        """Return a new token for the bot. Its sessions end, and the old token becomes invalid."""
        tokens = self.access.tokens
        for old in [token for token, owner in tokens.items() if owner == application_id]:
            del tokens[old]
        new = new_bot_token(application_id)
        tokens[new] = application_id
        ended = [session for session in self.sessions.by_id.values() if session.application_id == application_id]
        self.sessions.remove(ended)
        for session in ended:
            if session.transport is not None:
                session.transport.close(*CloseCode.AUTHENTICATION_FAILED)
        self.limiter.reset_identifies(application_id)
        return new

    def update_presence(self, session: GatewaySession, presence: Json) -> None:
        """Emit PRESENCE_UPDATE in the guilds of the shard. It is not stored: later sessions do not learn of it."""
        status = "offline" if presence["status"] == "invisible" else presence["status"]
        now_ms = int(self.clock.now().timestamp() * 1000)
        event: Json = {
            "user": {"id": session.application_id},
            "status": status,
            "activities": [{"id": "custom", "created_at": now_ms, **activity} for activity in presence["activities"]],
            "client_status": {} if status == "offline" else {"web": status},
        }
        for guild in self._guilds(session.application_id, session.shard):
            self.emit("PRESENCE_UPDATE", {**event, "guild_id": guild.id}, guild.id)

    def member_chunks(self, session: GatewaySession, request: Json) -> Iterator[Dispatch]:
        """GUILD_MEMBERS_CHUNK events for opcode 8. ``guild_id`` may be a number, as disnake sends it.

        Yields nothing for an unavailable guild, a guild of another shard, or all members without the intent;
        RATE_LIMITED when all members are requested too often (Discord: Gateway Events > Request Guild Members).
        """
        guild = self.world.guilds.get(str(request.get("guild_id")))
        if guild is None or not guild.available or session.application_id not in guild.members:
            return
        if not session.covers(guild.id):
            return
        if member_requests.wants_all(request):
            if not session.intents & GUILD_MEMBERS:
                return
            bot, now_s = session.application_id, self.clock.monotonic()
            if wait_s := self.limiter.consume("all_members", bot, guild.id, now_s=now_s):
                meta = {"guild_id": guild.id, **member_requests.echoed_nonce(request)}
                yield "RATE_LIMITED", {"opcode": MEMBERS, "retry_after": wait_s, "meta": meta}
                return
        for chunk in member_requests.chunks(self.world, guild, request, presences=bool(session.intents & PRESENCES)):
            yield "GUILD_MEMBERS_CHUNK", chunk

    # Dispatching events

    def emit(
        self,
        event: str,
        data: Json,
        guild_id: str | None = None,
        *,
        application_id: str | None = None,
        channel: Channel | None = None,
        required_permissions: int = 0,
        required_intent: int = 0,
    ) -> int:
        """Dispatch ``event``, return the number of receivers; `audience.receivers` explains the other arguments."""
        text: str | None = None
        count = 0
        for session in audience.receivers(
            self.world,
            self.sessions.by_id.values(),
            event,
            data,
            guild_id,
            application_id=application_id,
            channel=channel,
            required_permissions=required_permissions,
            required_intent=required_intent,
        ):
            count += 1
            if "content" in data and "guild_id" in data and not session.intents & MESSAGE_CONTENT:
                session.dispatch(event, dumps(content_intent.without_intent(data, session.application_id)))
                continue
            text = text or dumps(data)
            session.dispatch(event, text)
        return count

    def emit_message_create(self, message: Message) -> Message:
        return self._emit_message("MESSAGE_CREATE", message)

    def emit_message_update(self, message: Message) -> Message:
        return self._emit_message("MESSAGE_UPDATE", message)

    def emit_message_delete(self, message: Message) -> None:
        """Call it after the message was removed from the world."""
        if message.only_for is None:
            event = {"id": message.id, "channel_id": message.channel_id}
            event |= {"guild_id": message.guild_id} if message.guild_id else {}
            self._emit_in_channel("MESSAGE_DELETE", event, message.channel_id)
        self.changed()

    def emit_member_update(self, guild: Guild, member: Member) -> None:
        self.emit("GUILD_MEMBER_UPDATE", {**payloads.member(member, self.world), "guild_id": guild.id}, guild.id)
        if member.user_id in self.world.applications:
            self.emit_revealed_channels(guild)
        self.changed()

    def emit_channel_event(self, event: str, channel: Channel) -> None:
        """Dispatch ``event`` to each bot of the guild, with the channel as that bot sees it."""
        guild = self.world.guilds[channel.guild_id]
        for bot in self._bots_in(guild):
            self._emit_to_bot(event, guild, bot, channel)
        self.changed()

    def emit_revealed_channels(self, guild: Guild) -> None:
        """Call it after a change of roles: each bot learns of the channels that it could not see before."""
        for bot in self._bots_in(guild):
            hidden = self._hidden_channels.get((guild.id, bot.user_id), set())
            for channel in [guild.channels[channel_id] for channel_id in hidden if channel_id in guild.channels]:
                if permissions.can_see(self.world, guild, bot, channel):
                    self._emit_to_bot("CHANNEL_UPDATE", guild, bot, channel)

    def emit_guild_create(self, guild: Guild, application_id: str | None = None) -> None:
        for session in self.sessions.by_id.values():
            if application_id not in (None, session.application_id):
                continue
            if session.receives("GUILD_CREATE", guild.id) and session.application_id in guild.members:
                session.dispatch("GUILD_CREATE", dumps(self.guild_create(guild, session)))
        self.changed()

    def store_uploads(self, draft: Draft) -> None:
        """Store the files of ``draft``, the content of a message that is about to be posted."""
        for attachment_id, upload in draft.uploads.items():
            self.files.put(attachment_id, upload.content_type, upload.data)

    def _emit_message(self, event: str, message: Message) -> Message:
        if message.only_for is None:
            self._emit_in_channel(event, payloads.message_event(message, self.world), message.channel_id)
        self.changed()
        return message

    def _emit_in_channel(self, event: str, data: Json, channel_id: str) -> None:
        channel = self.world.channels[channel_id]
        self.emit(event, data, channel.guild_id or None, channel=channel)

    def _bots_in(self, guild: Guild) -> list[Member]:
        return [
            guild.members[application_id]
            for application_id in self.world.applications
            if guild.available and application_id in guild.members
        ]

    def _emit_to_bot(self, event: str, guild: Guild, bot: Member, channel: Channel) -> None:
        hidden = self._hidden_channels.setdefault((guild.id, bot.user_id), set())
        if event == "CHANNEL_DELETE" or permissions.can_see(self.world, guild, bot, channel):
            hidden.discard(channel.id)
        else:
            hidden.add(channel.id)
        payload = payloads.channel_for(channel, guild, bot, self.world)
        self.emit(event, payload, guild.id, application_id=bot.user_id)

    def guild_create(self, guild: Guild, session: GatewaySession) -> Json:
        """GUILD_CREATE for ``session``: all members of a small guild if it receives presences, else only the bot."""
        large = len(guild.members) > session.large_threshold
        bot = guild.members[session.application_id]
        listed_members = [bot] if large or not session.intents & PRESENCES else list(guild.members.values())
        self._hidden_channels[guild.id, bot.user_id] = {
            channel.id
            for channel in guild.channels.values()
            if not permissions.can_see(self.world, guild, bot, channel)
        }
        return {**payloads.guild_create(guild, bot, listed_members, self.world), "large": large}

    def _ready(self, session: GatewaySession) -> Json:
        app = self.world.applications[session.application_id]
        ready: Json = {
            "v": 10,
            "user": payloads.current_user(self.world.users[app.id]),
            "user_settings": {},
            "private_channels": [],
            "relationships": [],
            "presences": [],
            "guilds": [
                {"id": guild.id, "unavailable": True} for guild in self._guilds(session.application_id, session.shard)
            ],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self.gateway_url,  # without a path: clients append "/?v=10"
            "application": {"id": app.id, "flags": app.flags, "flags_new": str(app.flags)},
            "geo_ordered_rtc_regions": [],
            "guild_join_requests": [],
            "_trace": [],
        }
        return {**ready, "shard": list(session.shard)} if session.sharded else ready

    @property
    def gateway_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def _guilds(self, application_id: str, shard: tuple[int, int]) -> Iterator[Guild]:
        for guild in self.world.guilds.values():
            if application_id in guild.members and snowflakes.is_in_shard(guild.id, shard):
                yield guild
