"""Write tests/support/gateway.schema.json: JSON schemas of Discord's gateway events.

ts-json-schema-generator makes them from the npm package discord-api-types (MIT licence, © vladfrangu), in a temporary
folder. Needs Node and npm.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

TARGET = Path(__file__).parent.parent / "tests" / "support" / "gateway.schema.json"
TYPES, GENERATOR = "discord-api-types@0.38.57", "ts-json-schema-generator@2.9.0"
SOURCE = """import type { GatewayDispatchPayload } from "discord-api-types/v10";
export type Sent = GatewayDispatchPayload;
"""
COMPILER = {"module": "nodenext", "moduleResolution": "nodenext", "strict": True, "skipLibCheck": True}
_LEFT_OUT = (
    "VOICE",
    "SOUND",
    "STAGE",
    "ENTITLEMENT",
    "SUBSCRIPTION",
    "POLL",
    "CHANNEL_INFO",
    "MODERATION_ACTION",
    "EVENT_USER",
    "EVENT_EXCEPTION",
)
_RELAXED = {
    "APIMessageSnapshotFields": {"type": "object"},  # the generator would require whole messages
    "APIAuditLogChange": {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]},  # else 200
}
# Fields that Discord does not document, or only in its OpenAPI description.
_PLACES = ("External", "StageInstance", "Voice")
_SELECTS = ("String", "User", "Role", "Mentionable", "Channel")
_GUILD = ("home_header", "nsfw", "latest_onboarding_question_id")
_MORE = {
    "GatewayReadyDispatchData": (
        "user_settings",
        "private_channels",
        "relationships",
        "presences",
        "session_type",
        "geo_ordered_rtc_regions",
        "guild_join_requests",
        "_trace",
    ),
    "GatewayGuildCreateDispatchData": _GUILD,
    "APIGuild": _GUILD,
    "APIThreadMember": ("presence",),
    "APIUnfurledMediaItem": ("id",),
    "GatewayInviteCreateDispatchData": ("type",),
    "APIApplicationCommandInteractionMetadata": ("name",),
    "APIMessageComponentBaseInteractionData": ("id",),
    "APIInteractionDataResolvedChannelBase": ("guild_id", "parent_id", "flags"),
    **{f"API{kind}GuildScheduledEvent": ("guild_scheduled_event_exceptions",) for kind in _PLACES},
    **{f"APIMessage{kind}SelectInteractionData": ("id",) for kind in _SELECTS},
}
_DOCUMENTATION = ("description", "deprecated", "$comment", "default")
Json = dict[str, Any]


def main() -> int:
    definitions = {
        unquote(name): _strip_documentation(schema) for name, schema in run_generator()["definitions"].items()
    }
    # The types have only single bits; Discord sends any sum of them.
    definitions |= {name: {"type": "integer"} for name in definitions if name.endswith("Flags")} | _RELAXED
    for name, schema in definitions.items():
        if more := _MORE.get(name.partition("<")[0]):
            schema["properties"] |= dict.fromkeys(more, True)
        if name.startswith("GatewayRateLimitedDispatchData"):  # its number is the key of a map, and so a string
            schema["properties"]["opcode"] = {"type": "integer"}
    for schema in definitions.values():  # an interaction's channel has the permissions of its user
        if "token" in schema.get("properties", {}) and "properties" in schema["properties"].get("channel", {}):
            schema["properties"]["channel"]["properties"]["permissions"] = {"type": "string"}
    events = {event: data for event, data in _events(definitions) if not any(word in event for word in _LEFT_OUT)}
    events["RESUMED"] = {"type": "object"}  # Discord sends a _trace, which the types do not have
    used = _collect_references(events, definitions)
    short = _short_names(sorted(used))
    lines = [
        f'"$comment":"Made by tools/gateway_schemas.py from {TYPES} (MIT licence, © vladfrangu)."',
        f'"properties":{_dump(_rename_references(events, short))}',
        f'"$defs":{{\n{_defs(definitions, short)}\n}}',
    ]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{TARGET.name}: {len(events)} events, {len(used)} definitions, {TARGET.stat().st_size} bytes")
    return 0


def run_generator() -> Json:
    """Run the generator."""
    with tempfile.TemporaryDirectory(prefix="schemas-") as name:
        folder = Path(name)
        (folder / "sent.ts").write_text(SOURCE)
        (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER, "include": ["sent.ts"]}))
        npm = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", TYPES, GENERATOR)
        subprocess.run(npm, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        make = ("npx", "ts-json-schema-generator", "-p", "sent.ts", "-t", "Sent", "-f", "tsconfig.json")
        done = subprocess.run((*make, "--no-type-check"), cwd=folder, check=True, capture_output=True)
        return dict(json.loads(done.stdout))


def _strip_documentation(schema: Any) -> Any:
    """``schema`` without its documentation."""
    if isinstance(schema, dict):
        return {
            key: unquote(value) if key == "$ref" else _strip_documentation(value)
            for key, value in schema.items()
            if key not in _DOCUMENTATION or not isinstance(value, str | bool)
        }
    return [_strip_documentation(item) for item in schema] if isinstance(schema, list) else schema


def _events(definitions: Json) -> Iterator[tuple[str, Json]]:
    """The name of each event, and the schema of its data."""
    for variant in definitions["GatewayDispatchPayload"]["anyOf"]:
        payload = _resolve(variant, definitions)
        named = _resolve(payload["properties"]["t"], definitions)
        for event in named.get("enum") or [named["const"]]:
            yield event, payload["properties"].get("d", {})


def _resolve(schema: Json, definitions: Json) -> Json:
    while "$ref" in schema:
        schema = definitions[_name(schema["$ref"])]
    return schema


def _name(reference: str) -> str:
    return reference.removeprefix("#/definitions/")


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield _name(schema["$ref"])
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _collect_references(events: Json, definitions: Json) -> set[str]:
    found: set[str] = set()
    waiting = list(_references(events))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(definitions[name])
    return found


def _short_names(names: list[str]) -> dict[str, str]:
    """A key for each name, without type arguments: ``Channel``, ``Channel.1``."""
    bare = [name.partition("<")[0] for name in names]
    return {
        name: f"{bare[number]}.{again}" if (again := bare[:number].count(bare[number])) else bare[number]
        for number, name in enumerate(names)
    }


def _rename_references(schema: Any, short: dict[str, str]) -> Any:
    if isinstance(schema, dict):
        return {
            key: f"#/$defs/{short[_name(value)]}" if key == "$ref" else _rename_references(value, short)
            for key, value in schema.items()
        }
    return [_rename_references(item, short) for item in schema] if isinstance(schema, list) else schema


def _defs(definitions: Json, short: dict[str, str]) -> str:
    """One line each, so that the diff of a new version is small."""
    return ",\n".join(
        f'"{number}":{_dump(_rename_references(definitions[name], short))}' for name, number in short.items()
    )


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
