"""The permissions of an application's commands in a guild (Discord: Application Commands > Permissions).

An overwrite is ``{"id", "type", "permission"}`` for a role (1), user (2) or channel (3). The guild's id means everyone,
and that id minus one means all channels. `visibility` combines those of a command with those of its application.
"""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.world import Application, Guild

Json = dict[str, Any]
ROLE, USER, CHANNEL = 1, 2, 3
OVERWRITES_MAX = 100


def payload(app: Application, guild_id: str, target_id: str) -> Json:
    """The overwrites of ``target_id``, a command or the application itself, as Discord's JSON."""
    overwrites = app.command_permissions.get(guild_id, {}).get(target_id, [])
    return {"id": target_id, "application_id": app.id, "guild_id": guild_id, "permissions": overwrites}


def all_channels_id(guild: Guild) -> str:
    return str(int(guild.id) - 1)


def parse_overwrites(items: list[Json]) -> list[Json]:
    """The overwrites in ``items``, validated. Raises 50035 (invalid body)."""
    errors, body = FormErrors(), {"permissions": items}
    checked = errors.objects((), body, "permissions")
    errors.at_most(("permissions",), checked, OVERWRITES_MAX)
    overwrites = [
        {
            "id": errors.snowflake(("permissions", index), item, "id"),
            "type": errors.choice(("permissions", index), item, "type", (ROLE, USER, CHANNEL)),
            "permission": errors.field(("permissions", index), item, "permission", bool),
        }
        for index, item in enumerate(checked)
    ]
    for index, overwrite in enumerate(overwrites):
        for name in [name for name, value in overwrite.items() if value is None and checked[index].get(name) is None]:
            errors.add(("permissions", index, name), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    return overwrites
