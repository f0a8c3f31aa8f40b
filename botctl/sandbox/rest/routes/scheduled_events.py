"""Scheduled events, which have no subscribers and start or end on request only (Discord: Guild Scheduled Event)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botctl.sandbox.actions import audit_log
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.api_error import ApiError, FormErrors, Path, missing_permissions, unknown
from botctl.sandbox.model.channels.types import STAGE, VOICE
from botctl.sandbox.model.world import Guild, discord_time
from botctl.sandbox.rest import access, audit
from botctl.sandbox.rest.images import parse_image
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
EVENTS = "/guilds/{guild}/scheduled-events"
EVENT = EVENTS + "/{event}"
_STAGE_INSTANCE, _VOICE, _EXTERNAL = 1, 2, 3  # Entity Types
_CHANNELS = {_STAGE_INSTANCE: STAGE, _VOICE: VOICE}
_SCHEDULED, _ACTIVE, _COMPLETED, _CANCELED = 1, 2, 3, 4
_NEXT_STATUSES = {_SCHEDULED: (_SCHEDULED, _ACTIVE, _CANCELED), _ACTIVE: (_ACTIVE, _COMPLETED)}
_GUILD_ONLY = 2  # Discord's only privacy level
_MAX_EVENTS = 100
_RECURRENCE_RANGES = {"by_weekday": (0, 6), "by_month": (1, 12), "by_month_day": (1, 31), "by_year_day": (1, 364)}
_NOT_IN_AUDIT_LOG = ("id", "guild_id", "creator_id", "entity_id", "guild_scheduled_event_exceptions")


@route("GET", EVENTS)
def list_events(call: ApiCall) -> list[Json]:
    """The events that are not over and whose channel the bot sees."""
    guild = access.get_guild(call)
    upcoming = [
        event
        for event in guild.scheduled_events.values()
        if event["status"] in _NEXT_STATUSES and _can_see(call, guild, event)
    ]
    return [_payload(call, event) for event in upcoming]


@route("GET", EVENT)
def get_event(call: ApiCall) -> Json:
    return _payload(call, _get_event(call, access.get_guild(call)))


@route("GET", EVENT + "/users")
def list_interested(call: ApiCall) -> list[Json]:
    _get_event(call, access.get_guild(call))
    call.limit(100, 100)
    return []


@route("POST", EVENTS)
def create_event(call: ApiCall) -> Json:
    guild, errors = access.get_guild(call), FormErrors()
    errors.required(call.form, "name", "scheduled_start_time", "privacy_level", "entity_type")
    errors.check()
    defaults = dict.fromkeys(
        ("description", "channel_id", "entity_id", "image", "recurrence_rule", "scheduled_end_time")
    )
    event: Json = {"id": call.sandbox.world.new_id(), "guild_id": guild.id, "creator_id": call.app.id, **defaults}
    event |= {"status": _SCHEDULED, "privacy_level": _GUILD_ONLY, "guild_scheduled_event_exceptions": []}
    event |= _parse_fields(call, guild, event)
    _require_permissions(call, guild, event, "CREATE_EVENTS")
    if sum(existing["status"] in _NEXT_STATUSES for existing in guild.scheduled_events.values()) >= _MAX_EVENTS:
        raise ApiError(400, 30038, f"Maximum number of uncompleted guild scheduled events reached ({_MAX_EVENTS})")
    guild.scheduled_events[event["id"]] = event
    _emit(call, guild, "CREATE", event)
    changes = audit_log.diff({}, _audited_fields(event))
    audit.write_entry(call, guild, AuditAction.GUILD_SCHEDULED_EVENT_CREATE, event["id"], changes=changes)
    return _payload(call, event)


@route("PATCH", EVENT)
def edit_event(call: ApiCall) -> Json:
    """A change of ``status`` starts or ends the event."""
    guild = access.get_guild(call)
    before = _get_editable(call, guild)
    after = before | _parse_fields(call, guild, before)
    _require_permissions(call, guild, after)
    if changes := audit_log.diff(_audited_fields(before), _audited_fields(after)):
        guild.scheduled_events[after["id"]] = after
        _emit(call, guild, "UPDATE", after)
        audit.write_entry(call, guild, AuditAction.GUILD_SCHEDULED_EVENT_UPDATE, after["id"], changes=changes)
    return _payload(call, after)


@route("DELETE", EVENT)
def delete_event(call: ApiCall) -> None:
    guild = access.get_guild(call)
    event = _get_editable(call, guild)
    del guild.scheduled_events[event["id"]]
    _emit(call, guild, "DELETE", event)
    changes = audit_log.diff(_audited_fields(event), {})
    audit.write_entry(call, guild, AuditAction.GUILD_SCHEDULED_EVENT_DELETE, event["id"], changes=changes)


def _get_event(call: ApiCall, guild: Guild) -> Json:
    """The event of the path; raises 10070 (unknown event) when the bot does not see it."""
    event = guild.scheduled_events.get(call.path["event"])
    if event is None or not _can_see(call, guild, event):
        raise unknown("Guild Scheduled Event")
    return event


def _get_editable(call: ApiCall, guild: Guild) -> Json:
    """The event of the path. Needs MANAGE_EVENTS (50013); CREATE_EVENTS is enough for its creator."""
    event = _get_event(call, guild)
    granted = permissions.compute(
        call.sandbox.world, guild, access.own_member(call, guild), guild.channels.get(event["channel_id"])
    )
    sufficient = permission_bits.bits("MANAGE_EVENTS")
    if event["creator_id"] == call.app.id:
        sufficient |= permission_bits.bits("CREATE_EVENTS")
    if not granted & sufficient:
        raise missing_permissions()
    return event


def _can_see(call: ApiCall, guild: Guild, event: Json) -> bool:
    channel = guild.channels.get(event["channel_id"] or "")
    return channel is None or bool(access.permissions_in(call, channel) & permission_bits.VIEW)


def _require_permissions(call: ApiCall, guild: Guild, event: Json, *names: str) -> None:
    """Raises 50001 or 50013 (no access) unless the bot has ``names``, and CONNECT in the event's channel."""
    if event["channel_id"] is None:
        access.require_permissions(call, guild, *names)
    else:
        access.require_permissions_in(call, guild.channels[event["channel_id"]], "CONNECT", *names)


def _payload(call: ApiCall, event: Json) -> Json:
    payload = payloads.scheduled_event(event, call.sandbox.world)
    return {**payload, "user_count": 0} if call.flag("with_user_count") else payload


def _emit(call: ApiCall, guild: Guild, operation: str, event: Json) -> None:
    payload = {**payloads.scheduled_event(event, call.sandbox.world), "user_count": 0}
    channel = guild.channels.get(event["channel_id"] or "")
    call.sandbox.emit(f"GUILD_SCHEDULED_EVENT_{operation}", payload, guild.id, channel=channel)


def _audited_fields(event: Json) -> Json:
    return {key: value for key, value in event.items() if key not in _NOT_IN_AUDIT_LOG and value is not None}


def _parse_fields(call: ApiCall, guild: Guild, event: Json) -> Json:
    """The fields of ``event`` that the body sets; raises 50035 (invalid), 180000 (the event is over)."""
    body, errors = call.form, FormErrors()
    if event["status"] not in _NEXT_STATUSES:
        raise ApiError(400, 180000, "Cannot update a finished event")
    fields: Json = {"name": errors.text((), body, "name", 1, 100)} if "name" in body else {}
    if "description" in body:
        fields["description"] = errors.text((), body, "description", 0, 1000) or None
    if "image" in body:
        fields["image"] = decoded.hash if (decoded := parse_image(errors, (), body, "image")) else None
    if "recurrence_rule" in body:
        fields["recurrence_rule"] = _parse_recurrence(body, errors)
    chosen = {
        "status": errors.choice((), body, "status", _NEXT_STATUSES[event["status"]]),
        "entity_type": errors.choice((), body, "entity_type", (_STAGE_INSTANCE, _VOICE, _EXTERNAL)),
        "privacy_level": errors.choice((), body, "privacy_level", (_GUILD_ONLY,)),
    }
    fields |= {name: value for name, value in chosen.items() if value is not None}
    fields |= _parse_times(call, event, errors)
    errors.check()
    if {"entity_type", "channel_id", "entity_metadata"} & body.keys():
        fields |= _parse_location(guild, event | fields, body, errors)
        errors.check()
    return fields


def _parse_times(call: ApiCall, event: Json, errors: FormErrors) -> Json:
    """Start and end; the start must be in the future, the end after the start."""
    names = ("scheduled_start_time", "scheduled_end_time")
    times = {name: time for name in names if (time := errors.time((), call.form, name))}
    start = times.get(names[0])
    if start and start <= call.sandbox.clock.now():
        errors.add((names[0],), "GUILD_SCHEDULED_EVENT_SCHEDULE_PAST", "Cannot schedule event in the past.")
    if event.get(names[0]) and not start:
        start = datetime.fromisoformat(event[names[0]])
    if start and (end := times.get(names[1])) and end <= start:
        errors.add((names[1],), "GUILD_SCHEDULED_EVENT_SCHEDULE_END", "The end must be after the start.")
    return {name: discord_time(time) for name, time in times.items()}


def _parse_location(guild: Guild, event: Json, body: Json, errors: FormErrors) -> Json:
    """The channel of a stage or voice event; the location of an external one, which needs an end time."""
    if event["entity_type"] == _EXTERNAL:
        metadata = errors.field((), body, "entity_metadata", dict) or event.get("entity_metadata") or {}
        location = errors.text(("entity_metadata",), metadata, "location", 1, 100)
        if event["scheduled_end_time"] is None:
            errors.add(("scheduled_end_time",), "BASE_TYPE_REQUIRED", "This field is required")
        return {"channel_id": None, "entity_metadata": {"location": location}}
    channel_id = errors.snowflake((), body, "channel_id") or event["channel_id"]
    channel = guild.channels.get(channel_id or "")
    if channel is None or channel.type != _CHANNELS.get(event["entity_type"]):
        errors.add(("channel_id",), "CHANNEL_INVALID_TYPE", "Invalid channel type.")
    return {"channel_id": channel_id, "entity_metadata": None}


def _parse_recurrence(body: Json, errors: FormErrors) -> Json | None:
    data, path = errors.field((), body, "recurrence_rule", dict), ("recurrence_rule",)
    if data is None:
        return None
    start, end = errors.time(path, data, "start"), errors.time(path, data, "end")
    frequency = errors.choice(path, data, "frequency", range(4))
    for name, value in (("start", data.get("start")), ("frequency", data.get("frequency"))):
        if value is None:
            errors.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
    rule: Json = {
        "start": discord_time(start) if start else None,
        "end": discord_time(end) if end else None,
        "frequency": frequency,
        "interval": errors.number(path, data, "interval", 1, 365) or 1,
        "count": errors.number(path, data, "count", 1, 365),
        "by_n_weekday": _parse_n_weekdays(data, errors, (*path, "by_n_weekday")),
    }
    for name, (low, high) in _RECURRENCE_RANGES.items():
        values = errors.field(path, data, name, list)
        for index, number in enumerate(values or []):
            errors.number((*path, name), {str(index): number}, str(index), low, high)
        rule[name] = values
    return rule


def _parse_n_weekdays(data: Json, errors: FormErrors, path: Path) -> list[Json] | None:
    """Weekdays of the n-th week: ``{n, day}``."""
    if data.get("by_n_weekday") is None:
        return None
    return [
        {"n": errors.number((*path, index), item, "n", 1, 5), "day": errors.number((*path, index), item, "day", 0, 6)}
        for index, item in enumerate(errors.objects(path[:-1], data, "by_n_weekday"))
    ]
