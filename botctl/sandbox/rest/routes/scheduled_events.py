"""Scheduled events of a guild (Discord: Guild Scheduled Event resource). Nobody is interested in them, and none begins
or ends by itself.
"""

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
from botctl.sandbox.rest.images import image
from botctl.sandbox.rest.routing import ApiCall, route

Json = dict[str, Any]
EVENTS = "/guilds/{guild}/scheduled-events"
EVENT = EVENTS + "/{event}"
_IN_STAGE, _IN_VOICE, _ELSEWHERE = 1, 2, 3  # Entity Types
_CHANNELS = {_IN_STAGE: STAGE, _IN_VOICE: VOICE}
_SCHEDULED, _ACTIVE, _COMPLETED, _CANCELED = 1, 2, 3, 4
_NEXT = {_SCHEDULED: (_SCHEDULED, _ACTIVE, _CANCELED), _ACTIVE: (_ACTIVE, _COMPLETED)}
_GUILD_ONLY = 2  # the one privacy level
_MOST = 100
_BY = {"by_weekday": (0, 6), "by_month": (1, 12), "by_month_day": (1, 31), "by_year_day": (1, 364)}
_UNLOGGED = ("id", "guild_id", "creator_id", "entity_id", "guild_scheduled_event_exceptions")


@route("GET", EVENTS)
def list_events(call: ApiCall) -> list[Json]:
    """Those that are not over, and whose channel the bot sees."""
    guild = access.guild_of(call)
    coming = [one for one in guild.scheduled_events.values() if one["status"] in _NEXT and _sees(call, guild, one)]
    return [_shown(call, one) for one in coming]


@route("GET", EVENT)
def get_event(call: ApiCall) -> Json:
    return _shown(call, _event(call, access.guild_of(call)))


@route("GET", EVENT + "/users")
def list_interested(call: ApiCall) -> list[Json]:
    _event(call, access.guild_of(call))
    call.limit(100, 100)
    return []


@route("POST", EVENTS)
def create_event(call: ApiCall) -> Json:
    guild, errors = access.guild_of(call), FormErrors()
    errors.required(call.form, "name", "scheduled_start_time", "privacy_level", "entity_type")
    errors.check()
    blank = dict.fromkeys(("description", "channel_id", "entity_id", "image", "recurrence_rule", "scheduled_end_time"))
    made: Json = {"id": call.sandbox.world.new_id(), "guild_id": guild.id, "creator_id": call.app.id, **blank}
    made |= {"status": _SCHEDULED, "privacy_level": _GUILD_ONLY, "guild_scheduled_event_exceptions": []}
    made |= _fields(call, guild, made)
    _need(call, guild, made, "CREATE_EVENTS")
    if sum(one["status"] in _NEXT for one in guild.scheduled_events.values()) >= _MOST:
        raise ApiError(400, 30038, f"Maximum number of uncompleted guild scheduled events reached ({_MOST})")
    guild.scheduled_events[made["id"]] = made
    _tell(call, guild, "CREATE", made)
    changes = audit_log.diff({}, _logged(made))
    audit.note(call, guild, AuditAction.GUILD_SCHEDULED_EVENT_CREATE, made["id"], changes=changes)
    return _shown(call, made)


@route("PATCH", EVENT)
def edit_event(call: ApiCall) -> Json:
    """It begins and ends by its ``status``."""
    guild = access.guild_of(call)
    before = _editable(call, guild)
    after = before | _fields(call, guild, before)
    _need(call, guild, after)
    if changes := audit_log.diff(_logged(before), _logged(after)):
        guild.scheduled_events[after["id"]] = after
        _tell(call, guild, "UPDATE", after)
        audit.note(call, guild, AuditAction.GUILD_SCHEDULED_EVENT_UPDATE, after["id"], changes=changes)
    return _shown(call, after)


@route("DELETE", EVENT)
def delete_event(call: ApiCall) -> None:
    guild = access.guild_of(call)
    gone = _editable(call, guild)
    del guild.scheduled_events[gone["id"]]
    _tell(call, guild, "DELETE", gone)
    changes = audit_log.diff(_logged(gone), {})
    audit.note(call, guild, AuditAction.GUILD_SCHEDULED_EVENT_DELETE, gone["id"], changes=changes)


def _event(call: ApiCall, guild: Guild) -> Json:
    """The event of the path, where the bot sees it; raises 10070."""
    found = guild.scheduled_events.get(call.path["event"])
    if found is None or not _sees(call, guild, found):
        raise unknown("Guild Scheduled Event")
    return found


def _editable(call: ApiCall, guild: Guild) -> Json:
    """The event of the path: who made it needs CREATE_EVENTS or MANAGE_EVENTS, others the latter; raises 50013."""
    event = _event(call, guild)
    granted = permissions.compute(
        call.sandbox.world, guild, access.me(call, guild), guild.channels.get(event["channel_id"])
    )
    enough = permission_bits.bits("MANAGE_EVENTS")
    if event["creator_id"] == call.app.id:
        enough |= permission_bits.bits("CREATE_EVENTS")
    if not granted & enough:
        raise missing_permissions()
    return event


def _sees(call: ApiCall, guild: Guild, event: Json) -> bool:
    channel = guild.channels.get(event["channel_id"] or "")
    return channel is None or bool(access.may_in(call, channel) & permission_bits.VIEW)


def _need(call: ApiCall, guild: Guild, event: Json, *names: str) -> None:
    """Raises 50001, 50013 unless the bot has ``names`` where the event takes place, and can go there itself."""
    if event["channel_id"] is None:
        access.need(call, guild, *names)
    else:
        access.need_in(call, guild.channels[event["channel_id"]], "CONNECT", *names)


def _shown(call: ApiCall, event: Json) -> Json:
    shown = payloads.scheduled_event(event, call.sandbox.world)
    return {**shown, "user_count": 0} if call.flag("with_user_count") else shown


def _tell(call: ApiCall, guild: Guild, what: str, event: Json) -> None:
    shown = {**payloads.scheduled_event(event, call.sandbox.world), "user_count": 0}
    channel = guild.channels.get(event["channel_id"] or "")
    call.sandbox.emit(f"GUILD_SCHEDULED_EVENT_{what}", shown, guild.id, channel=channel)


def _logged(event: Json) -> Json:
    return {key: value for key, value in event.items() if key not in _UNLOGGED and value is not None}


def _fields(call: ApiCall, guild: Guild, event: Json) -> Json:
    """What the body sets of ``event``; raises 50035, 180000."""
    body, errors = call.form, FormErrors()
    if event["status"] not in _NEXT:
        raise ApiError(400, 180000, "Cannot update a finished event")
    found: Json = {"name": errors.text((), body, "name", 1, 100)} if "name" in body else {}
    if "description" in body:
        found["description"] = errors.text((), body, "description", 0, 1000) or None
    if "image" in body:
        found["image"] = picture.hash if (picture := image(errors, (), body, "image")) else None
    if "recurrence_rule" in body:
        found["recurrence_rule"] = _recurrence(body, errors)
    chosen = {
        "status": errors.choice((), body, "status", _NEXT[event["status"]]),
        "entity_type": errors.choice((), body, "entity_type", (_IN_STAGE, _IN_VOICE, _ELSEWHERE)),
        "privacy_level": errors.choice((), body, "privacy_level", (_GUILD_ONLY,)),
    }
    found |= {name: value for name, value in chosen.items() if value is not None}
    found |= _times(call, event, errors)
    errors.check()
    if {"entity_type", "channel_id", "entity_metadata"} & body.keys():
        found |= _place(guild, event | found, body, errors)
        errors.check()
    return found


def _times(call: ApiCall, event: Json, errors: FormErrors) -> Json:
    """Its beginning, which lies ahead, and its end, which comes later."""
    names = ("scheduled_start_time", "scheduled_end_time")
    said = {name: found for name in names if (found := errors.time((), call.form, name))}
    begins = said.get(names[0])
    if begins and begins <= call.sandbox.clock.now():
        errors.add((names[0],), "GUILD_SCHEDULED_EVENT_SCHEDULE_PAST", "Cannot schedule event in the past.")
    if event.get(names[0]) and not begins:
        begins = datetime.fromisoformat(event[names[0]])
    if begins and (ends := said.get(names[1])) and ends <= begins:
        errors.add((names[1],), "GUILD_SCHEDULED_EVENT_SCHEDULE_END", "The end must be after the start.")
    return {name: discord_time(found) for name, found in said.items()}


def _place(guild: Guild, event: Json, body: Json, errors: FormErrors) -> Json:
    """Where it is: in a channel of its kind, or somewhere else, and then until when."""
    if event["entity_type"] == _ELSEWHERE:
        said = errors.field((), body, "entity_metadata", dict) or event.get("entity_metadata") or {}
        location = errors.text(("entity_metadata",), said, "location", 1, 100)
        if event["scheduled_end_time"] is None:
            errors.add(("scheduled_end_time",), "BASE_TYPE_REQUIRED", "This field is required")
        return {"channel_id": None, "entity_metadata": {"location": location}}
    channel_id = errors.snowflake((), body, "channel_id") or event["channel_id"]
    channel = guild.channels.get(channel_id or "")
    if channel is None or channel.type != _CHANNELS.get(event["entity_type"]):
        errors.add(("channel_id",), "CHANNEL_INVALID_TYPE", "Invalid channel type.")
    return {"channel_id": channel_id, "entity_metadata": None}


def _recurrence(body: Json, errors: FormErrors) -> Json | None:
    said, path = errors.field((), body, "recurrence_rule", dict), ("recurrence_rule",)
    if said is None:
        return None
    start, end = errors.time(path, said, "start"), errors.time(path, said, "end")
    frequency = errors.choice(path, said, "frequency", range(4))
    for name, value in (("start", said.get("start")), ("frequency", said.get("frequency"))):
        if value is None:
            errors.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
    rule: Json = {
        "start": discord_time(start) if start else None,
        "end": discord_time(end) if end else None,
        "frequency": frequency,
        "interval": errors.number(path, said, "interval", 1, 365) or 1,
        "count": errors.number(path, said, "count", 1, 365),
        "by_n_weekday": _n_weekdays(said, errors, (*path, "by_n_weekday")),
    }
    for name, (low, high) in _BY.items():
        listed = errors.field(path, said, name, list)
        for index, one in enumerate(listed or []):
            errors.number((*path, name), {str(index): one}, str(index), low, high)
        rule[name] = listed
    return rule


def _n_weekdays(said: Json, errors: FormErrors, path: Path) -> list[Json] | None:
    """Days of the n-th week, ``{n, day}``."""
    if said.get("by_n_weekday") is None:
        return None
    return [
        {"n": errors.number((*path, index), one, "n", 1, 5), "day": errors.number((*path, index), one, "day", 0, 6)}
        for index, one in enumerate(errors.objects(path[:-1], said, "by_n_weekday"))
    ]
