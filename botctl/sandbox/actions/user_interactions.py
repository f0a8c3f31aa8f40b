"""What a person does becomes an interaction, as Discord's client sends it: commands, clicks, forms, typing.

Each act checks first what the client would check (raises `options.Wrong`, a sentence for the person), then opens an
interaction and tells the bot. What does not exist at all is a UsageError; a bot that is not there is Unreachable.
"""

from __future__ import annotations

import mimetypes
from dataclasses import replace
from pathlib import Path
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions.dispatch_interaction import dispatch_interaction
from botctl.sandbox.model import interactions, payloads, visibility
from botctl.sandbox.model.acting_user import ActingUser
from botctl.sandbox.model.commands import options, registration
from botctl.sandbox.model.commands.options import ClientRejected, Resolved
from botctl.sandbox.model.interactions import Interaction
from botctl.sandbox.model.messages import components, drafts
from botctl.sandbox.model.world import Message, World
from botctl.sandbox.server import Sandbox

Json = dict[str, Any]
_COMMAND_TYPES = {
    "slash": registration.SLASH,
    "user": registration.USER,
    "message": registration.MESSAGE,
    "message_command": registration.MESSAGE,
}


def invoke(sandbox: Sandbox, who: ActingUser, body: Json) -> Interaction:
    """Use a command: ``{"type": "slash"|"user"|"message", "name", "path"?, "options"?, "target"?, "folder"?}``.

    ``folder`` is where the person stands: an attachment option is a path, which may be relative to it.
    """
    kind = _COMMAND_TYPES.get(body.get("type") or "slash")
    if kind is None:
        raise UsageError(f"There is no kind of command “{body['type']}”.", hint="Kinds: slash, user, message.")
    resolved = Resolved(sandbox.world, who)
    name = str(body.get("name") or body.get("command") or "").removeprefix("/")
    if kind == registration.SLASH:
        command, words = _find_slash_command(sandbox, who, name, body)
        path, wanted = options.resolve_subcommand(command, words, who.user.locale)
        said = options.untranslate(wanted, body.get("options") or {}, who.user.locale)
        filled = options.nest(path, options.fill(wanted, said, resolved))
        full_name = " ".join([command["name"], *(one["name"] for one in path)])
        data = {**_command_data(command), "options": filled}
    else:
        command = _find_command(sandbox, who, kind, name)
        full_name = command["name"]
        target_id = _resolve_target(sandbox, who, kind, body.get("target"), resolved)
        data = {**_command_data(command), "target_id": target_id}
    _read_files(sandbox, who, resolved, Path(body.get("folder") or "."))
    return dispatch_interaction(
        sandbox,
        who,
        command["application_id"],
        interactions.COMMAND,
        _with_resolved(data, resolved),
        name=full_name,
        command_type=kind,
    )


def autocomplete(sandbox: Sandbox, who: ActingUser, body: Json) -> Interaction | list[Json]:
    """What is offered for the option ``focused`` while it says ``value``: choices at once, or an open question."""
    command, words = _find_slash_command(sandbox, who, str(body.get("name") or ""), body)
    path, wanted = options.resolve_subcommand(command, words, who.user.locale)
    focused, value = str(body.get("focused")), str(body.get("value") or "")
    option = next((one for one in wanted if focused in registration.display_names(one, who.user.locale)), None)
    if option is None:
        names = ", ".join(one["name"] for one in wanted) or "none"
        raise UsageError(f"“/{command['name']}” has no option “{focused}”.", hint=f"Its options: {names}.")
    if not option.get("autocomplete"):
        offered = option.get("choices") or []
        return [one for one in offered if value.casefold() in str(one["name"]).casefold()]
    resolved = Resolved(sandbox.world, who)
    typed = options.untranslate(wanted, {**(body.get("options") or {}), focused: value}, who.user.locale)
    filled = options.nest(path, options.fill_partial(wanted, typed, option["name"], resolved))
    data = _with_resolved({**_command_data(command), "options": filled}, resolved)
    return dispatch_interaction(
        sandbox, who, command["application_id"], interactions.AUTOCOMPLETE, data, name=command["name"]
    )


def click(sandbox: Sandbox, who: ActingUser, body: Json) -> Interaction:
    """Use a button or menu: ``{"message": id or None, "component", "values"?}``."""
    message = _find_clickable_message(sandbox.world, who, body.get("message"))
    one = components.find(message.components, str(body.get("component")))
    values = _as_list(body.get("values"))
    reason = components.unusable_reason(one, values)
    if reason:
        raise ClientRejected(reason)
    resolved = Resolved(sandbox.world, who)
    data: Json = {"id": one["id"], "custom_id": one.get("custom_id"), "component_type": one["type"]}
    if one["type"] in components.SELECTS:
        data["values"] = _resolve_values(one, values, resolved)
    return dispatch_interaction(
        sandbox,
        who,
        _owning_application(sandbox.world, message),
        interactions.COMPONENT,
        _with_resolved(data, resolved),
        name=components.display_name(one),
        source=message,
    )


def submit_modal(sandbox: Sandbox, who: ActingUser, body: Json) -> Interaction:
    """Send the form before the person: ``{"modal": id or None, "fields": {custom id or label: value}}``."""
    opened = sandbox.modals.get(who.user.id)
    wanted = body.get("modal")
    if opened is None or opened.modal is None or (wanted and wanted != opened.id):
        raise UsageError("No such form is open.", hint="A form opens when a command or button asks for it.")
    if opened.channel_id not in sandbox.world.channels:
        raise UsageError("The channel of the form was deleted.")
    resolved = Resolved(sandbox.world, who)
    said = _by_custom_id(components.modal_fields(opened.modal["components"]), body.get("fields") or {})
    filled = [_submitted_row(one, said, resolved) for one in opened.modal["components"]]
    data = _with_resolved({"custom_id": opened.modal["custom_id"], "components": filled}, resolved)
    del sandbox.modals[who.user.id]
    source = sandbox.world.message(opened.channel_id, opened.source_id or "")
    where = replace(who, channel=sandbox.world.channels[opened.channel_id])
    kind = interactions.MODAL_SUBMIT
    return dispatch_interaction(sandbox, where, opened.application_id, kind, data, name=opened.name, source=source)


# Commands and what they are used on


def _find_slash_command(sandbox: Sandbox, who: ActingUser, name: str, body: Json) -> tuple[Json, list[str]]:
    words = name.removeprefix("/").split() or [""]
    return _find_command(sandbox, who, registration.SLASH, words[0]), [*words[1:], *(body.get("path") or [])]


def _find_command(sandbox: Sandbox, who: ActingUser, kind: int, name: str) -> Json:
    """The command as the person sees it: the guild's own before the global one. What they may not use is not there.

    ``name@bot`` is the one of that bot.
    """
    world, reason = sandbox.world, ""
    known = [(app, one) for app, one in visibility.list_commands(world, who) if one["type"] == kind]
    for app, one in known:
        called = [said.casefold() for said in registration.display_names(one, who.user.locale)]
        bots = ("", f"@{app.name.casefold()}", f"@{app.id}")
        if name.casefold() in (said + bot for said in called for bot in bots):
            why = visibility.hidden_reason(world, app, one, who)
            if why is None:
                return one
            reason = reason or why
    if reason:
        raise visibility.CommandHidden(f"There is no command “{name}”.", hint=reason)
    names = ", ".join(sorted({one["name"] for app, one in known if not visibility.hidden_reason(world, app, one, who)}))
    there = f"There is: {names}." if names else f"There is none {who.place} for {who.user.name}."
    raise UsageError(f"There is no command “{name}”.", hint=there)


def _command_data(command: Json) -> Json:
    data: Json = {"id": command["id"], "name": command["name"], "type": command["type"]}
    return {**data, "guild_id": command["guild_id"]} if "guild_id" in command else data


def _resolve_target(sandbox: Sandbox, who: ActingUser, kind: int, wanted: str | None, resolved: Resolved) -> str:
    if kind == registration.USER:
        if not wanted:
            raise UsageError("A user command needs a target.", hint="Name a member.")
        found = resolved.user_id(wanted)
        if found is None:
            raise UsageError(f"There is nobody called “{wanted}” here.")
        return resolved.add_member(found)
    message = _find_message(sandbox.world, who, wanted)
    return resolved.add("messages", message.id, payloads.message(message, sandbox.world))


def _find_message(world: World, who: ActingUser, message_id: str | None) -> Message:
    """The message with that id, or the newest one, that the person sees in the channel."""
    shown = [m for m in world.messages.get(who.channel.id, {}).values() if m.only_for in (None, who.user.id)]
    found = next((m for m in reversed(shown) if message_id in (None, "last", m.id)), None)
    if found is None:
        raise UsageError(f"There is no such message {who.place}.")
    return found


def _find_clickable_message(world: World, who: ActingUser, message_id: str | None) -> Message:
    if message_id:
        return _find_message(world, who, message_id)
    for message in reversed(world.messages.get(who.channel.id, {}).values()):
        if message.only_for in (None, who.user.id) and components.clickable(message.components):
            return message
    raise UsageError(f"No message {who.place} has anything to click.")


def _owning_application(world: World, message: Message) -> str:
    """The application whose components these are: its bot said it, or a webhook of its."""
    hook = world.webhooks.get(message.webhook_id or "")
    return (hook.application_id if hook else None) or message.author_id


# Values


def _as_list(said: Any) -> list[str]:
    if said is None:
        return []
    return [str(one) for one in said] if isinstance(said, list) else [str(said)]


def _resolve_values(one: Json, values: list[str], resolved: Resolved) -> list[str]:
    if one["type"] == components.STRING_SELECT:
        return components.resolve_choices(one, values)
    return options.select_values(one, values, resolved)


def _by_custom_id(fields: list[Json], said: Json) -> dict[str, Any]:
    """``said`` by custom id; what was left out keeps the value the form came with. Raises Wrong and UsageError."""
    values: dict[str, Any] = {one["custom_id"]: one.get("value") for one in fields}
    for key, value in said.items():
        values[_field_id(fields, key)] = value
    for one in fields:
        _check_field(one, values[one["custom_id"]])
    return values


def _field_id(fields: list[Json], key: str) -> str:
    """The custom id of the field that ``key`` names by custom id or label."""
    for one in fields:
        if key.casefold() in (one["custom_id"].casefold(), one["label"].casefold()):
            return str(one["custom_id"])
    labels = ", ".join(one["label"] for one in fields)
    raise UsageError(f"The form has no field “{key}”.", hint=f"It has: {labels}.")


def _check_field(one: Json, value: Any) -> None:
    if one["required"] and value in (None, "", []):
        raise ClientRejected(f"The field “{one['label']}” is required.")
    if one["type"] == components.TEXT_INPUT and value:
        low, high = one.get("min_length") or 0, one.get("max_length") or 4000
        if not low <= len(str(value)) <= high:
            raise ClientRejected(f"“{one['label']}” must have {low} to {high} characters; it has {len(str(value))}.")
    elif one["type"] in components.SELECTS and value:
        wrong = components.count_error(one, one["label"], len(_as_list(value)))
        if wrong:
            raise ClientRejected(wrong)


def _submitted_row(one: Json, said: dict[str, Any], resolved: Resolved) -> Json:
    """A form's row or label as the submission carries it."""
    shown: Json = {"type": one["type"], "id": one.get("id", 0)}
    if "component" in one:
        return {**shown, "component": _submitted_field(one["component"], said, resolved)}
    if "components" in one:
        return {**shown, "components": [_submitted_field(inner, said, resolved) for inner in one["components"]]}
    return shown


def _submitted_field(one: Json, said: dict[str, Any], resolved: Resolved) -> Json:
    value = said.get(one["custom_id"])
    shown: Json = {"type": one["type"], "id": one.get("id", 0), "custom_id": one["custom_id"]}
    if one["type"] in components.SELECTS:
        return {**shown, "values": _resolve_values(one, _as_list(value), resolved)}
    return {**shown, "value": "" if value is None else str(value)}


def _read_files(sandbox: Sandbox, who: ActingUser, resolved: Resolved, folder: Path) -> None:
    """Take up the local files that attachment options name by path."""
    for attachment_id, path in resolved.files.items():
        try:
            data = (folder / Path(path).expanduser()).read_bytes()
        except OSError as error:
            raise ClientRejected(f"The file “{path}” cannot be read: {error.strerror}.") from None
        if len(data) > drafts.UPLOAD_MAX_BYTES:
            raise ClientRejected(f"The file “{path}” has more than {drafts.UPLOAD_MAX_BYTES} bytes.")
        name = Path(path).name
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        sandbox.files.put(attachment_id, kind, data)
        stored = {"id": attachment_id, "filename": name, "size": len(data), "content_type": kind, "ephemeral": True}
        resolved.add("attachments", attachment_id, payloads.attachment(stored, who.channel.id, sandbox.world))


def _with_resolved(data: Json, resolved: Resolved) -> Json:
    return {**data, "resolved": resolved.data} if resolved.data else data
