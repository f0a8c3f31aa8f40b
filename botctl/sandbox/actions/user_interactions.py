"""Turns a user's commands, clicks, modals and autocompletes into interactions, as Discord's client does.

Each function first checks what the client checks (ClientRejected, a sentence for the user), then dispatches the
interaction. UsageError: something does not exist. Unreachable: the bot is not connected.
"""

from __future__ import annotations

import mimetypes
from dataclasses import replace
from pathlib import Path
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.actions.dispatch_interaction import dispatch_interaction
from botctl.sandbox.model import interactions, payloads
from botctl.sandbox.model.acting_user import ActingUser
from botctl.sandbox.model.commands import options, registration, visibility
from botctl.sandbox.model.commands.options import ClientRejected, Resolved
from botctl.sandbox.model.interactions import Interaction
from botctl.sandbox.model.messages import components, drafts
from botctl.sandbox.model.world import Message, World
from botctl.sandbox.sandbox import Sandbox

Json = dict[str, Any]
_COMMAND_TYPES = {
    "slash": registration.SLASH,
    "user": registration.USER,
    "message": registration.MESSAGE,
    "message_command": registration.MESSAGE,
}


def invoke(sandbox: Sandbox, actor: ActingUser, body: Json) -> Interaction:
    """Use a command: ``{"type": "slash"|"user"|"message", "name", "path"?, "options"?, "target"?, "folder"?}``.

    ``path``: sub-commands; ``options``: name to text; ``target``: user or message; ``folder``: base of file paths.
    """
    kind = _COMMAND_TYPES.get(body.get("type") or "slash")
    if kind is None:
        raise UsageError(f"There is no command type “{body['type']}”.", hint="Types: slash, user, message.")
    resolved = Resolved(sandbox.world, actor)
    name = str(body.get("name") or body.get("command") or "").removeprefix("/")
    if kind == registration.SLASH:
        command, words = _find_slash_command(sandbox, actor, name, body)
        path, wanted = options.resolve_subcommand(command, words, actor.user.locale)
        values = options.untranslate(wanted, body.get("options") or {}, actor.user.locale)
        filled = options.nest(path, options.fill(wanted, values, resolved))
        full_name = " ".join([command["name"], *(subcommand["name"] for subcommand in path)])
        data = {**_command_data(command), "options": filled}
    else:
        command = _find_command(sandbox, actor, kind, name)
        full_name = command["name"]
        target_id = _resolve_target(sandbox, actor, kind, body.get("target"), resolved)
        data = {**_command_data(command), "target_id": target_id}
    _read_files(sandbox, actor, resolved, Path(body.get("folder") or "."))
    return dispatch_interaction(
        sandbox,
        actor,
        command["application_id"],
        interactions.COMMAND,
        _with_resolved(data, resolved),
        name=full_name,
        command_type=kind,
    )


def autocomplete(sandbox: Sandbox, actor: ActingUser, body: Json) -> Interaction | list[Json]:
    """The choices for the option ``focused`` with the text ``value``; or the interaction that asks the bot for them."""
    command, words = _find_slash_command(sandbox, actor, str(body.get("name") or ""), body)
    path, wanted = options.resolve_subcommand(command, words, actor.user.locale)
    focused, value = str(body.get("focused")), str(body.get("value") or "")
    option = next(
        (candidate for candidate in wanted if focused in registration.display_names(candidate, actor.user.locale)), None
    )
    if option is None:
        names = ", ".join(candidate["name"] for candidate in wanted) or "none"
        raise UsageError(f"“/{command['name']}” has no option “{focused}”.", hint=f"Its options: {names}.")
    if not option.get("autocomplete"):
        offered = option.get("choices") or []
        return [choice for choice in offered if value.casefold() in str(choice["name"]).casefold()]
    resolved = Resolved(sandbox.world, actor)
    typed = options.untranslate(wanted, {**(body.get("options") or {}), focused: value}, actor.user.locale)
    filled = options.nest(path, options.fill_partial(wanted, typed, option["name"], resolved))
    data = _with_resolved({**_command_data(command), "options": filled}, resolved)
    return dispatch_interaction(
        sandbox, actor, command["application_id"], interactions.AUTOCOMPLETE, data, name=command["name"]
    )


def click(sandbox: Sandbox, actor: ActingUser, body: Json) -> Interaction:
    """Use a button or select menu: ``{"message": id or None, "component", "values"?}``."""
    message = _find_clickable_message(sandbox.world, actor, body.get("message"))
    component = components.find(message.components, str(body.get("component")))
    values = _as_list(body.get("values"))
    reason = components.unusable_reason(component, values)
    if reason:
        raise ClientRejected(reason)
    resolved = Resolved(sandbox.world, actor)
    data: Json = {"id": component["id"], "custom_id": component.get("custom_id"), "component_type": component["type"]}
    if component["type"] in components.SELECTS:
        data["values"] = _resolve_values(component, values, resolved)
    return dispatch_interaction(
        sandbox,
        actor,
        _owning_application(sandbox.world, message),
        interactions.COMPONENT,
        _with_resolved(data, resolved),
        name=components.display_name(component),
        source=message,
    )


def submit_modal(sandbox: Sandbox, actor: ActingUser, body: Json) -> Interaction:
    """Submit the user's open modal: ``{"modal": id or None, "fields": {custom id or label: value}}``."""
    form = sandbox.modals.get(actor.user.id)
    wanted = body.get("modal")
    if form is None or form.modal is None or (wanted and wanted != form.id):
        raise UsageError("This form is not open.", hint="Use a command or button that opens a form.")
    if form.channel_id not in sandbox.world.channels:
        raise UsageError("The channel of the form was deleted.")
    resolved = Resolved(sandbox.world, actor)
    values = _by_custom_id(components.modal_fields(form.modal["components"]), body.get("fields") or {})
    filled = [_submitted_row(component, values, resolved) for component in form.modal["components"]]
    data = _with_resolved({"custom_id": form.modal["custom_id"], "components": filled}, resolved)
    del sandbox.modals[actor.user.id]
    source = sandbox.world.message(form.channel_id, form.source_id or "")
    actor_there = replace(actor, channel=sandbox.world.channels[form.channel_id])
    kind = interactions.MODAL_SUBMIT
    return dispatch_interaction(sandbox, actor_there, form.application_id, kind, data, name=form.name, source=source)


# Commands and their targets


def _find_slash_command(sandbox: Sandbox, actor: ActingUser, name: str, body: Json) -> tuple[Json, list[str]]:
    words = name.removeprefix("/").split() or [""]
    return _find_command(sandbox, actor, registration.SLASH, words[0]), [*words[1:], *(body.get("path") or [])]


def _find_command(sandbox: Sandbox, actor: ActingUser, kind: int, name: str) -> Json:
    """The command ``name`` that the user sees; a guild's own before a global one. ``name@bot``: of that bot.

    If several bots have it, that of a connected bot goes first.
    """
    world, reason, connected = sandbox.world, "", sandbox.sessions.connected_applications()
    known = [(app, command) for app, command in visibility.list_commands(world, actor) if command["type"] == kind]
    known.sort(key=lambda item: item[0].id not in connected)
    for app, command in known:
        called = [display_name.casefold() for display_name in registration.display_names(command, actor.user.locale)]
        bots = ("", f"@{app.name.casefold()}", f"@{app.id}")
        if name.casefold() in (display_name + bot for display_name in called for bot in bots):
            why = visibility.hidden_reason(world, app, command, actor)
            if why is None:
                return command
            reason = reason or why
    if reason:
        raise visibility.CommandHidden(f"There is no command “{name}”.", hint=reason)
    names = ", ".join(
        sorted({command["name"] for app, command in known if not visibility.hidden_reason(world, app, command, actor)})
    )
    hint = f"Commands: {names}." if names else f"There are no commands {actor.location} for {actor.user.name}."
    raise UsageError(f"There is no command “{name}”.", hint=hint)


def _command_data(command: Json) -> Json:
    data: Json = {"id": command["id"], "name": command["name"], "type": command["type"]}
    return {**data, "guild_id": command["guild_id"]} if "guild_id" in command else data


def _resolve_target(sandbox: Sandbox, actor: ActingUser, kind: int, wanted: str | None, resolved: Resolved) -> str:
    if kind == registration.USER:
        if not wanted:
            raise UsageError("A user command needs a target.", hint="Give a member as the target.")
        user_id = resolved.user_id(wanted)
        if user_id is None:
            raise UsageError(f"There is no user “{wanted}” here.")
        return resolved.add_member(user_id)
    message = _find_message(sandbox.world, actor, wanted)
    return resolved.add("messages", message.id, payloads.message(message, sandbox.world))


def _find_message(world: World, actor: ActingUser, message_id: str | None) -> Message:
    """The message with that id, or the newest one, that the user sees."""
    visible = [
        message
        for message in world.messages.get(actor.channel.id, {}).values()
        if message.only_for in (None, actor.user.id)
    ]
    found = next((message for message in reversed(visible) if message_id in (None, "last", message.id)), None)
    if found is None:
        raise UsageError(f"There is no such message {actor.location}.")
    return found


def _find_clickable_message(world: World, actor: ActingUser, message_id: str | None) -> Message:
    if message_id:
        return _find_message(world, actor, message_id)
    for message in reversed(world.messages.get(actor.channel.id, {}).values()):
        if message.only_for in (None, actor.user.id) and components.clickable(message.components):
            return message
    raise UsageError(f"No message {actor.location} has a button or menu.")


def _owning_application(world: World, message: Message) -> str:
    """The application that receives clicks on the message: its author, or the webhook's owner."""
    webhook = world.webhooks.get(message.webhook_id or "")
    return (webhook.application_id if webhook else None) or message.author_id


# Values


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _resolve_values(select: Json, values: list[str], resolved: Resolved) -> list[str]:
    if select["type"] == components.STRING_SELECT:
        return components.resolve_choices(select, values)
    return options.select_values(select, values, resolved)


def _by_custom_id(fields: list[Json], given: Json) -> dict[str, Any]:
    """Custom id to value: ``given`` by the user, or the modal's own. Raises ClientRejected and UsageError."""
    values: dict[str, Any] = {field["custom_id"]: field.get("value") for field in fields}
    for key, value in given.items():
        values[_field_id(fields, key)] = value
    for field in fields:
        _check_field(field, values[field["custom_id"]])
    return values


def _field_id(fields: list[Json], key: str) -> str:
    """The custom id of the field with the custom id or label ``key``."""
    for field in fields:
        if key.casefold() in (field["custom_id"].casefold(), field["label"].casefold()):
            return str(field["custom_id"])
    labels = ", ".join(field["label"] for field in fields)
    raise UsageError(f"The form has no field “{key}”.", hint=f"It has: {labels}.")


def _check_field(field: Json, value: Any) -> None:
    if field["required"] and value in (None, "", []):
        raise ClientRejected(f"The field “{field['label']}” is required.")
    if field["type"] == components.TEXT_INPUT and value:
        low, high = field.get("min_length") or 0, field.get("max_length") or 4000
        if not low <= len(str(value)) <= high:
            raise ClientRejected(f"“{field['label']}” must have {low} to {high} characters; it has {len(str(value))}.")
    elif field["type"] in components.SELECTS and value:
        wrong = components.count_error(field, field["label"], len(_as_list(value)))
        if wrong:
            raise ClientRejected(wrong)


def _submitted_row(component: Json, values: dict[str, Any], resolved: Resolved) -> Json:
    payload: Json = {"type": component["type"], "id": component.get("id", 0)}
    if "component" in component:
        return {**payload, "component": _submitted_field(component["component"], values, resolved)}
    if "components" in component:
        return {
            **payload,
            "components": [_submitted_field(inner, values, resolved) for inner in component["components"]],
        }
    return payload


def _submitted_field(field: Json, values: dict[str, Any], resolved: Resolved) -> Json:
    value = values.get(field["custom_id"])
    payload: Json = {"type": field["type"], "id": field.get("id", 0), "custom_id": field["custom_id"]}
    if field["type"] in components.SELECTS:
        return {**payload, "values": _resolve_values(field, _as_list(value), resolved)}
    return {**payload, "value": "" if value is None else str(value)}


def _read_files(sandbox: Sandbox, actor: ActingUser, resolved: Resolved, folder: Path) -> None:
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
        resolved.add("attachments", attachment_id, payloads.attachment(stored, actor.channel.id, sandbox.world))


def _with_resolved(data: Json, resolved: Resolved) -> Json:
    return {**data, "resolved": resolved.data} if resolved.data else data
