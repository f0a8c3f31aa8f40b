"""Converts the text that a user typed to the options of a command, with the checks of Discord's client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.model import lookup, payloads, permissions
from botctl.sandbox.model.acting_user import ActingUser
from botctl.sandbox.model.commands import registration
from botctl.sandbox.model.world import World

Json = dict[str, Any]
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_STRING_MAX = 6000
_INTEGER_MAX = 1 << 53
_SUB_COMMAND_TYPES = (registration.SUB_COMMAND, registration.SUB_COMMAND_GROUP)


class ClientRejected(Exception):
    """Discord's client would show this sentence and send nothing."""


@dataclass
class Resolved:
    """The field ``resolved`` of an interaction: the objects that its options name; and the files to upload."""

    world: World
    actor: ActingUser
    data: dict[str, Json] = field(default_factory=dict)  # "users", "roles", … to id to object
    files: dict[str, str] = field(default_factory=dict)  # attachment id to local path

    def add(self, kind: str, key: str, value: Json) -> str:
        self.data.setdefault(kind, {})[key] = value
        return key

    def add_member(self, user_id: str) -> str:
        self.add("users", user_id, payloads.user(self.world.users[user_id]))
        guild = self.actor.guild
        if guild is None:
            return user_id
        member = guild.members[user_id]
        granted = permissions.compute(self.world, guild, member, self.actor.channel)
        return self.add("members", user_id, payloads.resolved_member(member, granted))

    def user_id(self, word: str) -> str | None:
        """The id of the user ``word`` in the actor's guild or DM."""
        user = lookup.user_or_none(self.world, word)
        present = self.actor.guild.members if self.actor.guild else self.actor.channel.recipients
        return user.id if user and user.id in present else None


def resolve_subcommand(command: Json, words: list[str], locale: str = "") -> tuple[list[Json], list[Json]]:
    """The sub-commands that ``words`` name, outermost first, and the last one's options. Raises UsageError."""
    path: list[Json] = []
    options: list[Json] = command.get("options") or []
    while nested := [option for option in options if option["type"] in _SUB_COMMAND_TYPES]:
        names = ", ".join(option["name"] for option in nested)
        full_name = " ".join([command["name"], *(subcommand["name"] for subcommand in path)])
        if len(words) <= len(path):
            raise UsageError(f"“/{full_name}” needs a sub-command.", hint=f"It has: {names}.")
        wanted = words[len(path)]
        subcommand = next((option for option in nested if wanted in registration.display_names(option, locale)), None)
        if subcommand is None:
            raise UsageError(f"“/{full_name}” has no sub-command “{wanted}”.", hint=f"It has: {names}.")
        path.append(subcommand)
        options = subcommand.get("options") or []
    if len(words) > len(path):
        raise UsageError(f"“/{command['name']}” has no sub-command “{words[len(path)]}”.")
    return path, options


def nest(path: list[Json], filled: list[Json]) -> list[Json]:
    """The options ``filled`` (with values), inside the sub-commands ``path``, as an interaction has them."""
    for subcommand in reversed(path):
        filled = [{"name": subcommand["name"], "type": subcommand["type"], "options": filled}]
    return filled


def untranslate(options: list[Json], raw: dict[str, Any], locale: str) -> dict[str, Any]:
    """``raw`` (name to text) with the names from the language ``locale`` replaced by the options' own names."""
    own = {name: option["name"] for option in options for name in registration.display_names(option, locale)}
    return {own.get(name, name): word for name, word in raw.items()}


def fill(options: list[Json], raw: dict[str, str], resolved: Resolved) -> list[Json]:
    """The options with values, from ``raw``: option name to the text that was typed. Raises ClientRejected."""
    unknown = [name for name in raw if all(option["name"] != name for option in options)]
    if unknown:
        names = ", ".join(option["name"] for option in options) or "none"
        raise ClientRejected(f"There is no option “{unknown[0]}” (options: {names}).")
    filled = []
    for option in options:
        if option["name"] in raw:
            filled.append(_option_payload(option, convert(option, str(raw[option["name"]]), resolved)))
        elif option.get("required"):
            raise ClientRejected(f"The option “{option['name']}” is required.")
    return filled


def fill_partial(options: list[Json], raw: dict[str, str], focused: str, resolved: Resolved) -> list[Json]:
    """Like `fill` for an autocomplete, while the user types the option ``focused``: invalid options are left out."""
    filled = []
    for option in options:
        word = raw.get(option["name"])
        if option["name"] == focused:
            filled.append({**_option_payload(option, word or ""), "focused": True})
        elif word is not None:
            try:
                filled.append(_option_payload(option, convert(option, str(word), resolved)))
            except ClientRejected:
                continue
    return filled


def convert(option: Json, word: str, resolved: Resolved) -> Any:
    """The value of the text ``word`` for ``option``. Raises ClientRejected."""
    if option.get("choices"):
        return _parse_choice(option, word, resolved.actor.user.locale)
    kind = option["type"]
    if kind == registration.STRING:
        return _parse_string(option, word)
    if kind in (registration.INTEGER, registration.NUMBER):
        return _parse_number(option, word)
    if kind == registration.BOOLEAN:
        return _parse_boolean(option, word)
    return _resolve_to_id(option, word, resolved)


def _option_payload(option: Json, value: Any) -> Json:
    return {"name": option["name"], "type": option["type"], "value": value}


def _parse_choice(option: Json, word: str, locale: str) -> Any:
    for choice in option["choices"]:
        names = {name.casefold() for name in registration.display_names(choice, locale)}
        if word.casefold() in names or word == str(choice["value"]):
            return choice["value"]
    choices = ", ".join(str(choice["name"]) for choice in option["choices"])
    raise ClientRejected(f"“{option['name']}” must be one of: {choices}.")


def _parse_string(option: Json, word: str) -> str:
    low, high = option.get("min_length") or 0, option.get("max_length") or _STRING_MAX
    if not low <= len(word) <= high:
        raise ClientRejected(f"“{option['name']}” must have {low} to {high} characters; it has {len(word)}.")
    return word


def _parse_number(option: Json, word: str) -> float:
    whole = option["type"] == registration.INTEGER
    try:
        value = int(word) if whole else float(word)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise ClientRejected(f"“{option['name']}” must be {kind}, not “{word}”.") from None
    low, high = option.get("min_value"), option.get("max_value")
    if low is not None and value < low:
        raise ClientRejected(f"“{option['name']}” must be at least {low}.")
    if high is not None and value > high:
        raise ClientRejected(f"“{option['name']}” must be at most {high}.")
    if not -_INTEGER_MAX <= value <= _INTEGER_MAX:
        raise ClientRejected(f"“{option['name']}” must be between -2^53 and 2^53.")
    return value


def _parse_boolean(option: Json, word: str) -> bool:
    if word.casefold() in _TRUE | _FALSE:
        return word.casefold() in _TRUE
    raise ClientRejected(f"“{option['name']}” must be true or false, not “{word}”.")


def _resolve_to_id(option: Json, word: str, resolved: Resolved) -> str:
    kind = option["type"]
    reference: str | None
    if kind == registration.ATTACHMENT:
        resolved.files[attachment_id := resolved.world.new_id()] = word
        return attachment_id
    if kind == registration.CHANNEL:
        reference = _resolve_channel(option, word, resolved)
    elif kind == registration.ROLE:
        reference = _resolve_role(word, resolved)
    elif kind == registration.MENTIONABLE:
        reference = _resolve_member(word, resolved) or _resolve_role(word, resolved)
    else:
        reference = _resolve_member(word, resolved)
    if reference is None:
        kinds = {registration.CHANNEL: "channel", registration.ROLE: "role", registration.MENTIONABLE: "member or role"}
        raise ClientRejected(f"“{option['name']}” must be a {kinds.get(kind, 'member')}; “{word}” was not found.")
    return reference


def _resolve_member(word: str, resolved: Resolved) -> str | None:
    user_id = resolved.user_id(word)
    return resolved.add_member(user_id) if user_id else None


def _resolve_role(word: str, resolved: Resolved) -> str | None:
    guild = resolved.actor.guild
    role = lookup.role_or_none(guild, word) if guild else None
    return resolved.add("roles", role.id, payloads.role(role)) if role else None


def _resolve_channel(option: Json, word: str, resolved: Resolved) -> str | None:
    guild, member = resolved.actor.guild, resolved.actor.member
    channel = lookup.channel_or_none(guild, word) if guild else None
    if channel is None or guild is None or member is None:
        return None
    if option.get("channel_types") and channel.type not in option["channel_types"]:
        raise ClientRejected(f"“{option['name']}” does not take a channel like “{channel.name}”.")
    granted = permissions.compute(resolved.world, guild, member, channel)
    return resolved.add("channels", channel.id, payloads.partial_channel(channel, granted))


def select_values(component: Json, values: list[str], resolved: Resolved) -> list[str]:
    """The ids of the users, roles or channels that ``values`` name in a select menu. Raises ClientRejected."""
    kinds = {5: registration.USER_OPTION, 6: registration.ROLE, 7: registration.MENTIONABLE, 8: registration.CHANNEL}
    option = {**component, "name": component.get("custom_id"), "type": kinds[component["type"]]}
    return [_resolve_to_id(option, value, resolved) for value in values]
