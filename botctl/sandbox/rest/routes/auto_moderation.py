"""Auto moderation rules, stored but not applied to messages (Discord: Auto Moderation resource)."""

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
_KEYWORD, _SPAM, _PRESET, _MENTIONS, _PROFILE = 1, 3, 4, 5, 6  # Discord: Trigger Types
_MAX_RULES = {_KEYWORD: 6, _SPAM: 1, _PRESET: 1, _MENTIONS: 1, _PROFILE: 1}  # in a guild, by trigger type
_BLOCK, _ALERT, _TIME_OUT, _QUARANTINE = 1, 2, 3, 4  # Discord: Action Types
_MAX_ACTIONS = 5
_MAX_TIMEOUT_S = 2_419_200
_TRIGGERS_WITH_TIMEOUT = (_KEYWORD, _MENTIONS)
_KEYWORD_LIMITS = {"keyword_filter": (1000, 60), "regex_patterns": (10, 260), "allow_list": (100, 60)}
_TEXT_LIMITS = {
    _KEYWORD: _KEYWORD_LIMITS,
    _PROFILE: _KEYWORD_LIMITS,
    _PRESET: {"allow_list": (1000, 60)},
}  # by trigger type: (number of texts, characters of each), at most
_MAX_EXEMPT = {"exempt_roles": 20, "exempt_channels": 50}


@route("GET", RULES)
def list_rules(call: ApiCall) -> list[Json]:
    return list(access.get_guild(call, "MANAGE_GUILD").auto_moderation.values())


@route("GET", RULE)
def get_rule(call: ApiCall) -> Json:
    return _get_rule(call, access.get_guild(call, "MANAGE_GUILD"))


@route("POST", RULES)
def create_rule(call: ApiCall) -> Json:
    guild, errors = access.get_guild(call, "MANAGE_GUILD"), FormErrors()
    errors.required(call.form, "name", "event_type", "trigger_type", "actions")
    kind = errors.choice((), call.form, "trigger_type", _MAX_RULES)
    errors.check()
    if sum(rule["trigger_type"] == kind for rule in guild.auto_moderation.values()) >= _MAX_RULES[kind]:
        text = f"Maximum number of rules with trigger type {kind} is {_MAX_RULES[kind]}"
        errors.add((), "AUTO_MODERATION_MAX_RULES_OF_TYPE_EXCEEDED", text)
        errors.check()
    defaults = {
        "trigger_type": kind,
        "enabled": False,
        "trigger_metadata": {},
        "exempt_roles": [],
        "exempt_channels": [],
    }
    rule = {"id": call.sandbox.world.new_id(), "guild_id": guild.id, "creator_id": call.app.id, **defaults}
    rule |= _parse_fields(call, guild, rule)
    guild.auto_moderation[rule["id"]] = rule
    _emit(call, guild, "CREATE", rule)
    audit.write_entry(
        call,
        guild,
        AuditAction.AUTO_MODERATION_RULE_CREATE,
        rule["id"],
        changes=audit_log.diff({}, _audited_fields(rule)),
    )
    return rule


@route("PATCH", RULE)
def edit_rule(call: ApiCall) -> Json:
    """The trigger type cannot change."""
    guild = access.get_guild(call, "MANAGE_GUILD")
    before = _get_rule(call, guild)
    after = before | _parse_fields(call, guild, before)
    if changes := audit_log.diff(_audited_fields(before), _audited_fields(after)):
        guild.auto_moderation[after["id"]] = after
        _emit(call, guild, "UPDATE", after)
        audit.write_entry(call, guild, AuditAction.AUTO_MODERATION_RULE_UPDATE, after["id"], changes=changes)
    return after


@route("DELETE", RULE)
def delete_rule(call: ApiCall) -> None:
    guild = access.get_guild(call, "MANAGE_GUILD")
    rule = _get_rule(call, guild)
    del guild.auto_moderation[rule["id"]]
    _emit(call, guild, "DELETE", rule)
    audit.write_entry(
        call,
        guild,
        AuditAction.AUTO_MODERATION_RULE_DELETE,
        rule["id"],
        changes=audit_log.diff(_audited_fields(rule), {}),
    )


def _get_rule(call: ApiCall, guild: Guild) -> Json:
    rule = guild.auto_moderation.get(call.path["rule"])
    if rule is None:
        raise not_found()
    return rule


def _emit(call: ApiCall, guild: Guild, operation: str, rule: Json) -> None:
    needs = permission_bits.bits("MANAGE_GUILD")
    call.sandbox.emit(f"AUTO_MODERATION_RULE_{operation}", rule, guild.id, required_permissions=needs)


def _audited_fields(rule: Json) -> Json:
    return {key: value for key, value in rule.items() if key not in ("id", "guild_id", "creator_id")}


def _parse_fields(call: ApiCall, guild: Guild, rule: Json) -> Json:
    """The fields of ``rule`` that the body sets; raises 50035 (invalid), 50013 (a timeout without MODERATE_MEMBERS)."""
    body, errors = call.form, FormErrors()
    fields: Json = {
        "event_type": errors.choice((), body, "event_type", (1, 2)),
        "enabled": errors.field((), body, "enabled", bool),
        "name": errors.text((), body, "name", 1, 100) if "name" in body else None,
        "actions": _parse_actions(guild, body, rule["trigger_type"], errors) if "actions" in body else None,
        "trigger_metadata": _parse_trigger(body, rule, errors),
    }
    fields |= {
        name: errors.snowflakes((), body, name, maximum) for name, maximum in _MAX_EXEMPT.items() if body.get(name)
    }
    fields |= {name: [] for name in _MAX_EXEMPT if body.get(name) == []}
    errors.check()
    if any(action["type"] == _TIME_OUT for action in fields["actions"] or ()):
        access.require_permissions(call, guild, "MODERATE_MEMBERS")
    return {name: value for name, value in fields.items() if value is not None}


def _parse_actions(guild: Guild, body: Json, kind: int, errors: FormErrors) -> list[Json]:
    items = errors.objects((), body, "actions")
    if not 1 <= len(items) <= _MAX_ACTIONS:
        errors.add(("actions",), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_MAX_ACTIONS} in length.")
    action_types = {_BLOCK, _ALERT} | ({_TIME_OUT} if kind in _TRIGGERS_WITH_TIMEOUT else set())
    action_types = {_ALERT, _QUARANTINE} if kind == _PROFILE else action_types
    actions = []
    for index, item in enumerate(items):
        path: Path = ("actions", index)
        if item.get("type") is None:
            errors.add((*path, "type"), "BASE_TYPE_REQUIRED", "This field is required")
        action = errors.choice(path, item, "type", action_types)
        metadata = errors.field(path, item, "metadata", dict) or {}
        actions.append(
            {"type": action, "metadata": _parse_metadata(guild, action, metadata, errors, (*path, "metadata"))}
        )
    return actions


def _parse_metadata(guild: Guild, action: int, metadata: Json, errors: FormErrors, path: Path) -> Json:
    """The metadata of an action, by its type."""
    if action == _BLOCK:
        message = errors.text(path, metadata, "custom_message", 0, 150)
        return {"custom_message": message} if message else {}
    if action == _ALERT:
        channel = guild.channels.get(errors.snowflake(path, metadata, "channel_id") or "")
        if channel is None or channel.type not in (TEXT, ANNOUNCEMENT):
            errors.add((*path, "channel_id"), "CHANNEL_INVALID_TYPE", "Invalid channel type.")
        return {"channel_id": channel.id if channel else ""}
    if action == _TIME_OUT:
        return {"duration_seconds": errors.number(path, metadata, "duration_seconds", 1, _MAX_TIMEOUT_S) or 60}
    return {}


def _parse_trigger(body: Json, rule: Json, errors: FormErrors) -> Json:
    """The trigger metadata from the body, or else from the existing rule."""
    data, old, kind = (
        errors.field((), body, "trigger_metadata", dict) or {},
        rule["trigger_metadata"],
        rule["trigger_type"],
    )
    path: Path = ("trigger_metadata",)
    metadata: Json = {
        name: _parse_texts(data, name, *limits, errors) if name in data else old.get(name, [])
        for name, limits in _TEXT_LIMITS.get(kind, {}).items()
    }
    if kind == _PRESET:
        presets = errors.field(path, data, "presets", list) or old.get("presets", [])
        for index, preset in enumerate(presets):
            errors.choice((*path, "presets"), {str(index): preset}, str(index), (1, 2, 3))
        metadata["presets"] = presets
    elif kind == _MENTIONS:
        mention_limit = errors.number(path, data, "mention_total_limit", 0, 50)
        raids = errors.field(path, data, "mention_raid_protection_enabled", bool)
        metadata["mention_total_limit"] = old.get("mention_total_limit", 20) if mention_limit is None else mention_limit
        metadata["mention_raid_protection_enabled"] = (
            old.get("mention_raid_protection_enabled", False) if raids is None else raids
        )
    return metadata


def _parse_texts(data: Json, name: str, maximum: int, max_length: int, errors: FormErrors) -> list[str]:
    texts = errors.field(("trigger_metadata",), data, name, list) or []
    errors.at_most(("trigger_metadata", name), texts, maximum)
    return [
        errors.text(("trigger_metadata", name), {str(index): text}, str(index), 1, max_length)
        for index, text in enumerate(texts)
    ]
