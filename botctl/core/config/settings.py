"""Every setting of a bot: its name, bounds, default and description.

`botctl.core.config.loading` reads them once; they never change after that. A name ends in its unit (``_s``
seconds, ``_bytes``). docs/configuration.md is generated from this file. The sandbox is botctl's local Discord; an
embedded store is one that botctl starts itself.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from botctl.core.config.value_types import (
    ApiThrottle,
    AsList,
    AuthSecret,
    DatabaseName,
    DiscordId,
    DiscordIds,
    FactoryPath,
    HostNames,
    LimitName,
    LimitValue,
    MongoUrl,
    Name,
    Networks,
    Origins,
    PermissionNames,
    PushUrl,
    RedisUrl,
    RoleName,
    ShardCount,
    StatusUrl,
    Throttle,
    WebUrl,
)
from botctl.core.contracts.expected_roles import ExpectedRole

PRODUCTION: Final = "production"
ENV_PREFIX: Final = "BOTCTL_"
ENV_DELIMITER: Final = "__"
FILE_SUFFIX: Final = "_FILE"
"""After the variable of a secret setting: the value is the path of a file that holds the secret."""
_PORT: Final = "Its port; 0 takes that of the last run if it is free, else any free one. `botctl run` prints it."


class LogLevel(enum.StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Intent(enum.StrEnum):
    """Gateway intents by disnake's names. Discord: Gateway > Gateway Intents.

    ``default`` is all intents that are not privileged: all but members, presences, message_content.
    """

    DEFAULT = "default"
    GUILDS = "guilds"
    MEMBERS = "members"
    MODERATION = "moderation"
    EXPRESSIONS = "expressions"
    INTEGRATIONS = "integrations"
    WEBHOOKS = "webhooks"
    INVITES = "invites"
    VOICE_STATES = "voice_states"
    PRESENCES = "presences"
    GUILD_MESSAGES = "guild_messages"
    GUILD_REACTIONS = "guild_reactions"
    GUILD_TYPING = "guild_typing"
    DM_MESSAGES = "dm_messages"
    DM_REACTIONS = "dm_reactions"
    DM_TYPING = "dm_typing"
    MESSAGE_CONTENT = "message_content"
    GUILD_SCHEDULED_EVENTS = "guild_scheduled_events"
    AUTOMOD_CONFIGURATION = "automod_configuration"
    AUTOMOD_EXECUTION = "automod_execution"
    GUILD_POLLS = "guild_polls"
    DM_POLLS = "dm_polls"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DiscordSettings(Section):
    token: SecretStr | None = Field(default=None, description="The bot's token. Without one, the sandbox is started.")
    test_guilds: DiscordIds = Field(
        default=(), description="Guilds in which the commands are registered, without delay. Empty: in all guilds."
    )
    intents: Annotated[tuple[Intent, ...], NoDecode, AsList] = Field(
        default=(Intent.DEFAULT,), description="What Discord sends to the bot."
    )
    shards: ShardCount = Field(
        default="auto",
        description="How many connections share the guilds. `auto`: as many as Discord recommends at the start.",
    )
    resume: bool = Field(
        default=True, description="Whether a start resumes the sessions of the last process; else it logs in."
    )
    probe_s: float = Field(
        default=10.0,
        ge=1,
        le=10,
        description="How long a shard may hear nothing before it asks Discord a question, to notice that it is deaf.",
    )
    sync_commands: bool = Field(
        default=True, description="Whether `botctl run` updates the list of commands at Discord."
    )
    delete_unknown_commands: bool = Field(
        default=False, description="Whether commands that this bot does not have are removed at Discord."
    )

    @property
    def shard_count(self) -> int | None:
        """The number of shards; None for Discord's recommendation."""
        return None if self.shards == "auto" else int(self.shards)


class RedisSettings(Section):
    url: RedisUrl | None = Field(
        default=None, description="Redis or Valkey; without it, an embedded Valkey is started."
    )
    timeout_s: float = Field(default=2.0, gt=0, le=60, description="How long one call may take.")


class MongoSettings(Section):
    url: MongoUrl | None = Field(
        default=None, description="MongoDB; without it, an embedded document store is started."
    )
    database: DatabaseName | None = Field(default=None, description="The database's name; `botctl_<bot>` when absent.")
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="How long one call may take.")


class CommandSettings(Section):
    folder: str = Field(
        default="commands", min_length=1, description="The folder of the command files, relative to the root."
    )
    throttle: Throttle = Field(
        default="5/10s per user, 50/10s per guild",
        description="The limits of commands that do not set their own.",
    )
    autocomplete_throttle: Throttle = Field(
        default="60/10s per user",
        description="How often a user may ask for suggestions for the options of one command.",
    )
    defer_after_s: float = Field(
        default=2.0,
        gt=0,
        lt=3,
        description="When a slow command is deferred automatically; Discord gives up after 3 s.",
    )


class RoleSettings(Section):
    users: DiscordIds = Field(default=(), description="Discord users who have the role.")
    roles: DiscordIds = Field(default=(), description="Discord roles whose members have the role.")
    permissions: PermissionNames = Field(
        default=(),
        description="Permissions and built-in roles that it carries (security.md). It opens commands without any.",
    )
    guild: DiscordId | None = Field(
        default=None, description="The only guild in which users have the role; without it, they have it in all."
    )


class AuthSettings(Section):
    secret: AuthSecret | None = Field(
        default=None,
        description="Signs keys, grants and sessions; at least 32 characters. With the embedded store botctl makes"
        " one.",
    )
    client_id: DiscordId | None = Field(
        default=None, description="The id of the application at Discord, for signing in. The sandbox needs none."
    )
    client_secret: SecretStr | None = Field(
        default=None, description="The client secret of the application at Discord (OAuth2 page of the portal)."
    )
    session_s: int = Field(
        default=604_800, ge=60, le=7_776_000, description="After how long people have to sign in again in any case."
    )
    idle_s: int = Field(
        default=86_400, ge=60, le=7_776_000, description="After how long without a request a session ends."
    )
    recheck_s: int = Field(
        default=300,
        ge=5,
        le=86_400,
        description="How old the Discord roles of a signed-in person may be, before they are read again.",
    )
    previous_secret: AuthSecret | None = Field(
        default=None,
        description="The one before `auth.secret`: it only verifies, so that old signatures stay valid (secrets.md).",
    )


class ShutdownSettings(Section):
    drain_s: float = Field(
        default=10.0, ge=0, le=600, description="How long commands in flight may run on after a stop."
    )


class LogSettings(Section):
    folder: str = Field(
        default="logs", min_length=1, description="The folder of the JSON log files, relative to the root."
    )
    level: LogLevel = Field(default=LogLevel.INFO, description="The least severe level that is logged.")
    rotate_bytes: int = Field(default=10_000_000, ge=10_000, description="The size at which the log file is rotated.")
    keep: int = Field(default=5, ge=0, le=1000, description="How many rotated files are kept.")


class AuditSettings(Section):
    queue_size: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Entries held in memory while MongoDB is slow."
    )
    flush_s: float = Field(
        default=0.2, gt=0, le=60, description="How long entries are collected before they are written."
    )


class MigrateSettings(Section):
    folder: str = Field(
        default="migrations", min_length=1, description="The folder of the migrations, relative to the root."
    )
    on_start: bool = Field(
        default=False, description="Whether `botctl run` applies pending migrations; if not, it ends with exit code 3."
    )
    lease_s: float = Field(
        default=15.0,
        ge=1,
        le=3600,
        description="How long a process that applies migrations may be silent before another one takes over.",
    )


class JobSettings(Section):
    lease_s: float = Field(
        default=15.0,
        ge=1,
        le=3600,
        description="How long the process that schedules jobs may be silent before another one takes over.",
    )


class RealtimeSettings(Section):
    host: str = Field(default="127.0.0.1", min_length=1, description="The address that the realtime server listens on.")
    port: int = Field(default=0, ge=0, le=65535, description=_PORT)
    hosts: HostNames = Field(
        default=(),
        description="Host names of the server. Clients may name it by these, by its address, or as localhost.",
    )
    origins: Origins = Field(
        default=(), description="Web pages that may connect, beside those of the server itself: `https://app.example`."
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks of reverse proxies, whose X-Forwarded-For and Forwarded headers count.",
    )
    tls_cert: str = Field(
        default="", description="A file with the TLS certificate and its chain (PEM). Set: clients connect by wss."
    )
    tls_key: str = Field(
        default="", description="A file with the certificate's private key (PEM). Empty: it is in `tls_cert` too."
    )
    auth_s: float = Field(default=10.0, gt=0, le=300, description="How long a client may take to send its key.")
    heartbeat_s: float = Field(default=25.0, gt=0, le=300, description="The time between heartbeats.")
    stall_s: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="After how long a client that does not read its messages is disconnected.",
    )
    queue_bytes: int = Field(
        default=262_144,
        ge=1024,
        le=67_108_864,
        description="The bytes that may wait for one client, in addition to the socket buffer.",
    )
    message_bytes: int = Field(
        default=16_384, ge=256, le=1_048_576, description="The largest message that a client may send."
    )
    recover: int = Field(
        default=300, ge=0, le=10_000, description="How many missed events a client gets when it reconnects."
    )
    topics: int = Field(default=50, ge=1, le=256, description="How many topics one connection may subscribe to.")
    connections: int = Field(default=2000, ge=1, le=100_000, description="The maximum number of connections.")
    connections_per_key: int = Field(
        default=200, ge=1, le=100_000, description="The maximum number of connections with one key."
    )
    connections_per_address: int = Field(
        default=200,
        ge=1,
        le=100_000,
        description="The maximum number of connections from one address, with or without a key.",
    )
    connect_throttle: ApiThrottle = Field(
        default="300/1m per address", description="How often one address may connect."
    )
    message_throttle: ApiThrottle = Field(
        default="20/1s burst 100 per key", description="How many messages a key may send."
    )
    drain_s: float = Field(
        default=3.0, ge=0, le=60, description="How long clients have to disconnect when the server stops."
    )


class WebSettings(Section):
    host: str = Field(default="127.0.0.1", min_length=1, description="The address that the web page is served on.")
    port: int = Field(default=0, ge=0, le=65535, description=_PORT)
    url: WebUrl | None = Field(
        default=None,
        description="The page's address in a browser, such as https://bot.example. Needed if `host` is not loopback.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses or networks of reverse proxies, whose X-Forwarded-For and Forwarded headers count.",
    )
    tls_cert: str = Field(
        default="", description="A file with the TLS certificate and its chain (PEM). Set: the page is served by https."
    )
    tls_key: str = Field(
        default="", description="A file with the certificate's private key (PEM). Empty: it is in `tls_cert` too."
    )
    sign_in_throttle: ApiThrottle = Field(
        default="20/1m burst 40 per address", description="How often one address may try to sign in."
    )


class HealthSettings(Section):
    roles: Annotated[tuple[ExpectedRole, ...], NoDecode, AsList] = Field(
        default=(),
        description="The roles that must run, or it is `absent`. Empty: those that a process had in the last day.",
    )
    push_url: PushUrl | None = Field(
        default=None,
        description="An address of an uptime service, which the bot calls while it works (monitor.md).",
    )
    push_s: float = Field(default=60.0, ge=1, le=86_400, description="The time between two such calls.")
    discord_status: StatusUrl = Field(
        default="",
        description="Discord's status page as JSON, asked every minute (monitor.md). Empty: it is not asked.",
    )


class SandboxSettings(Section):
    port: int = Field(default=0, ge=0, le=65535, description="The sandbox's port on loopback; 0 takes a free one.")
    limits: dict[LimitName, LimitValue] = Field(
        default_factory=dict, description="Limits that differ from Discord's; see sandbox-limits.md."
    )


class Settings(Section):
    """All settings.

    ``Settings()`` holds the defaults and reads nothing; `loading.load` reads every source (files, environment, command
    line).
    """

    bot: Name = Field(default="bot", description="The bot's name. Bots that share stores need different names.")
    profile: Name = Field(
        default="default",
        description="The active profile: `config/<profile>.toml` is read too; `production` never uses the sandbox.",
    )
    discord: DiscordSettings = Field(default=DiscordSettings(), description="The bot at Discord.")
    redis: RedisSettings = Field(default=RedisSettings(), description="Redis or Valkey.")
    mongo: MongoSettings = Field(default=MongoSettings(), description="MongoDB.")
    commands: CommandSettings = Field(default=CommandSettings(), description="The operator's commands.")
    roles: dict[RoleName, RoleSettings] = Field(
        default_factory=dict,
        description="botctl's roles: each is a table of the Discord users and Discord roles that have it.",
    )
    auth: AuthSettings = Field(default=AuthSettings(), description="API keys, grants and sessions.")
    shutdown: ShutdownSettings = Field(default=ShutdownSettings(), description="Stopping.")
    logs: LogSettings = Field(default=LogSettings(), description="Logs.")
    audit: AuditSettings = Field(default=AuditSettings(), description="The audit log's writer.")
    migrate: MigrateSettings = Field(default=MigrateSettings(), description="Migrations of MongoDB.")
    jobs: JobSettings = Field(default=JobSettings(), description="Scheduled jobs.")
    realtime: RealtimeSettings = Field(default=RealtimeSettings(), description="The realtime server.")
    web: WebSettings = Field(default=WebSettings(), description="The web page.")
    health: HealthSettings = Field(default=HealthSettings(), description="The verdict on the bot.")
    sandbox: SandboxSettings = Field(default=SandboxSettings(), description="The local Discord.")
    services: dict[Name, FactoryPath] = Field(
        default_factory=dict, description="The operator's own services: a name and `module:factory` for each."
    )

    @property
    def database(self) -> str:
        return self.mongo.database or f"botctl_{self.bot}"


def uses_sandbox(settings: Settings) -> bool:
    """Whether the bot connects to the sandbox: no token is set, and the profile is not production.

    `loading.load` rejects an empty token, and production without a token.
    """
    return settings.discord.token is None and settings.profile != PRODUCTION
