"""Rules of auto moderation (Discord: Auto Moderation resource): kept and told of, never applied to what is said."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import permission_bits
from botctl.sandbox.model.api_error import FormErrors, Path, not_found
from botctl.sandbox.model.channels.types import ANNOUNCEMENT, TEXT
from botctl.sandbox.model.world import Guild
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
RULES = "/guilds/{guild}/auto-moderation/rules"
RULE = RULES + "/{rule}"
_KEYWORD, _SPAM, _PRESET, _MENTIONS, _PROFILE = 1, 3, 4, 5, 6  # Trigger Types
_MOST = {_KEYWORD: 6, _SPAM: 1, _PRESET: 1, _MENTIONS: 1, _PROFILE: 1}  # of a guild
_BLOCK, _ALERT, _TIME_OUT, _QUARANTINE = 1, 2, 3, 4  # Action Types
_ACTIONS_MOST = 5
_TIMEOUT_MOST_S = 2_419_200
_TIMING_OUT = (_KEYWORD, _MENTIONS)
_OWN_WORDS = {"keyword_filter": (1000, 60), "regex_patterns": (10, 260), "allow_list": (100, 60)}
_WORDS = {
    _KEYWORD: _OWN_WORDS,
    _PROFILE: _OWN_WORDS,
    _PRESET: {"allow_list": (1000, 60)},
}  # most texts, most characters
_EXEMPT = {"exempt_roles": 20, "exempt_channels": 50}


@route("GET", RULES)
def list_rules(call: ApiCall) -> list[Json]:
    return list(access.guild_of(call, "MANAGE_GUILD").auto_moderation.values())


@route("GET", RULE)
def get_rule(call: ApiCall) -> Json:
    return _rule(call, access.guild_of(call, "MANAGE_GUILD"))


@route("POST", RULES)
def create_rule(call: ApiCall) -> Json:
    guild, errors = access.guild_of(call, "MANAGE_GUILD"), FormErrors()
    errors.required(call.form, "name", "event_type", "trigger_type", "actions")
    kind = errors.choice((), call.form, "trigger_type", _MOST)
    errors.check()
    if sum(one["trigger_type"] == kind for one in guild.auto_moderation.values()) >= _MOST[kind]:
        words = f"Maximum number of rules with trigger type {kind} is {_MOST[kind]}"
        errors.add((), "AUTO_MODERATION_MAX_RULES_OF_TYPE_EXCEEDED", words)
        errors.check()
    blank = {"trigger_type": kind, "enabled": False, "trigger_metadata": {}, "exempt_roles": [], "exempt_channels": []}
    made = {"id": call.sandbox.world.new_id(), "guild_id": guild.id, "creator_id": call.app.id, **blank}
    made |= _fields(call, guild, made)
    guild.auto_moderation[made["id"]] = made
    _tell(call, guild, "CREATE", made)
    audit.note(
        call, guild, AuditAction.AUTO_MODERATION_RULE_CREATE, made["id"], changes=audit_log.diff({}, _logged(made))
    )
    return made


@route("PATCH", RULE)
def edit_rule(call: ApiCall) -> Json:
    """All but what triggers it."""
    guild = access.guild_of(call, "MANAGE_GUILD")
    before = _rule(call, guild)
    after = before | _fields(call, guild, before)
    if changes := audit_log.diff(_logged(before), _logged(after)):
        guild.auto_moderation[after["id"]] = after
        _tell(call, guild, "UPDATE", after)
        audit.note(call, guild, AuditAction.AUTO_MODERATION_RULE_UPDATE, after["id"], changes=changes)
    return after


@route("DELETE", RULE)
def delete_rule(call: ApiCall) -> None:
    guild = access.guild_of(call, "MANAGE_GUILD")
    gone = _rule(call, guild)
    del guild.auto_moderation[gone["id"]]
    _tell(call, guild, "DELETE", gone)
    audit.note(
        call, guild, AuditAction.AUTO_MODERATION_RULE_DELETE, gone["id"], changes=audit_log.diff(_logged(gone), {})
    )


def _rule(call: ApiCall, guild: Guild) -> Json:
    found = guild.auto_moderation.get(call.path["rule"])
    if found is None:
        raise not_found()
    return found


def _tell(call: ApiCall, guild: Guild, what: str, rule: Json) -> None:
    needs = permission_bits.bits("MANAGE_GUILD")
    call.sandbox.emit(f"AUTO_MODERATION_RULE_{what}", rule, guild.id, required_permissions=needs)


def _logged(rule: Json) -> Json:
    return {key: value for key, value in rule.items() if key not in ("id", "guild_id", "creator_id")}


def _fields(call: ApiCall, guild: Guild, rule: Json) -> Json:
    """What the body sets of ``rule``; raises 50035, and 50013 for timeouts that the bot could not give itself."""
    body, errors = call.form, FormErrors()
    found: Json = {
        "event_type": errors.choice((), body, "event_type", (1, 2)),
        "enabled": errors.field((), body, "enabled", bool),
        "name": errors.text((), body, "name", 1, 100) if "name" in body else None,
        "actions": _actions(guild, body, rule["trigger_type"], errors) if "actions" in body else None,
        "trigger_metadata": _trigger(body, rule, errors),
    }
    found |= {name: errors.snowflakes((), body, name, most) for name, most in _EXEMPT.items() if body.get(name)}
    found |= {name: [] for name in _EXEMPT if body.get(name) == []}
    errors.check()
    if any(one["type"] == _TIME_OUT for one in found["actions"] or ()):
        access.need(call, guild, "MODERATE_MEMBERS")
    return {name: value for name, value in found.items() if value is not None}


def _actions(guild: Guild, body: Json, kind: int, errors: FormErrors) -> list[Json]:
    listed = errors.objects((), body, "actions")
    if not 1 <= len(listed) <= _ACTIONS_MOST:
        errors.add(("actions",), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_ACTIONS_MOST} in length.")
    offered = {_BLOCK, _ALERT} | ({_TIME_OUT} if kind in _TIMING_OUT else set())
    offered = {_ALERT, _QUARANTINE} if kind == _PROFILE else offered
    made = []
    for index, one in enumerate(listed):
        path: Path = ("actions", index)
        if one.get("type") is None:
            errors.add((*path, "type"), "BASE_TYPE_REQUIRED", "This field is required")
        action = errors.choice(path, one, "type", offered)
        said = errors.field(path, one, "metadata", dict) or {}
        made.append({"type": action, "metadata": _metadata(guild, action, said, errors, (*path, "metadata"))})
    return made


def _metadata(guild: Guild, action: int, said: Json, errors: FormErrors, path: Path) -> Json:
    """What an action of that type has to know."""
    if action == _BLOCK:
        words = errors.text(path, said, "custom_message", 0, 150)
        return {"custom_message": words} if words else {}
    if action == _ALERT:
        channel = guild.channels.get(errors.snowflake(path, said, "channel_id") or "")
        if channel is None or channel.type not in (TEXT, ANNOUNCEMENT):
            errors.add((*path, "channel_id"), "CHANNEL_INVALID_TYPE", "Invalid channel type.")
        return {"channel_id": channel.id if channel else ""}
    if action == _TIME_OUT:
        return {"duration_seconds": errors.number(path, said, "duration_seconds", 1, _TIMEOUT_MOST_S) or 60}
    return {}


def _trigger(body: Json, rule: Json, errors: FormErrors) -> Json:
    """What its trigger has to know: as the body says, or else as it was."""
    said, old, kind = (
        errors.field((), body, "trigger_metadata", dict) or {},
        rule["trigger_metadata"],
        rule["trigger_type"],
    )
    path: Path = ("trigger_metadata",)
    made: Json = {
        name: _texts(said, name, *limits, errors) if name in said else old.get(name, [])
        for name, limits in _WORDS.get(kind, {}).items()
    }
    if kind == _PRESET:
        presets = errors.field(path, said, "presets", list) or old.get("presets", [])
        for index, one in enumerate(presets):
            errors.choice((*path, "presets"), {str(index): one}, str(index), (1, 2, 3))
        made["presets"] = presets
    elif kind == _MENTIONS:
        most = errors.number(path, said, "mention_total_limit", 0, 50)
        raids = errors.field(path, said, "mention_raid_protection_enabled", bool)
        made["mention_total_limit"] = old.get("mention_total_limit", 20) if most is None else most
        made["mention_raid_protection_enabled"] = (
            old.get("mention_raid_protection_enabled", False) if raids is None else raids
        )
    return made


def _texts(said: Json, name: str, most: int, longest: int, errors: FormErrors) -> list[str]:
    listed = errors.field(("trigger_metadata",), said, name, list) or []
    errors.at_most(("trigger_metadata", name), listed, most)
    return [
        errors.text(("trigger_metadata", name), {str(index): one}, str(index), 1, longest)
        for index, one in enumerate(listed)
    ]
