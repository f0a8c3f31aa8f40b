"""Validate the merged values with the models of `settings`. Each error becomes a sentence without secrets."""

from __future__ import annotations

import difflib
import re

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from botctl.core.config.reference import is_secret, reference, variable, variables
from botctl.core.config.settings import ENV_PREFIX, PRODUCTION, Settings
from botctl.core.config.sources import DEFAULT, Key, Layer, Origin, Values
from botctl.core.escape import safe
from botctl.core.redact import redact, redact_patterns
from botctl.core.suggest import suggest_name


def validate(values: Values, faults: list[str]) -> Settings | None:
    """Build the settings from ``values``; None if that fails. Adds a sentence to ``faults`` for each error."""
    faults += [
        _with_origin(value.origin, f"{'.'.join(key)} is set but empty; give it a value, or remove it.")
        for key, value in values.items()
        if is_secret(key) and isinstance(value.value, str) and not value.value.strip()
    ]
    try:
        settings = Settings.model_validate(_nest(values))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        faults += [sentence for detail in details if (sentence := _sentence(detail, values)) is not None]
        return None
    if settings.profile == PRODUCTION and settings.discord.token is None:
        faults.append("profile production needs discord.token; set BOTCTL_DISCORD__TOKEN. It never uses the sandbox.")
    return settings


def _nest(values: Values) -> dict[str, object]:
    """``values`` as nested tables. If one layer has a table and another a value, the value stays and is reported."""
    tree: dict[str, object] = {}
    for key in sorted(values, key=len):
        table: object = tree
        for name in key[:-1]:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            value = values[key].value
            table[key[-1]] = {} if value == {} else value  # a new one: longer keys fill it
    return tree


_REPLACEMENTS = (  # parts of pydantic's messages, and our words for them
    (r"^Value error, ", ""),
    (r"^throttle limit ", "limit "),
    (r"^(Input|String) should ", "must "),
    (r"a valid (tuple|list).*", "a list"),
    (r"a valid (dictionary|dict|mapping).*", "a table"),
    (r"a valid boolean.*", "true or false"),
    (r"a valid integer.*", "a whole number"),
    (r"a valid number.*", "a number"),
    (r"a valid string.*", "text"),
)


def _sentence(detail: ErrorDetails, values: Values) -> str | None:
    """What is wrong with one value, where, and what is allowed. None for an empty secret, which is reported already."""
    key = tuple(part for part in detail["loc"] if isinstance(part, str) and part != "[key]")
    origin = _origin(key, values)
    name = safe(".".join(key))
    if detail["type"] == "extra_forbidden":
        return _with_origin(origin, f"{name} is an unknown setting{_suggest_setting(key, origin)}")
    value = detail["input"]
    if is_secret(key) and isinstance(value, str) and not value.strip():
        return None
    problem = detail["msg"]
    for pattern, replacement in _REPLACEMENTS:
        problem = re.sub(pattern, replacement, problem)
    quoted = detail["type"] == "value_error" and "'" in problem  # the message quotes the value
    hidden = quoted or is_secret(key) or isinstance(value, dict | list | tuple)
    end = _suggest_choice(value, detail["msg"]) if detail["type"] == "enum" and isinstance(value, str) else "."
    return _with_origin(origin, f"{name} {problem}{'' if hidden else f', not {safe(redact(repr(value)), 60)}'}{end}")


def _suggest_choice(word: str, message: str) -> str:
    """The end of a sentence, with the one of the quoted words in ``message`` that ``word`` probably means.

    Discord calls some intents by longer names: ``GUILD_MEMBERS`` is our ``members``.
    """
    choices = {choice.lower(): choice for choice in re.findall(r"'([^']+)'", message)}
    part = next((choice for choice in choices if word.lower().endswith(f"_{choice}")), word.lower())
    close = difflib.get_close_matches(part, choices, 1)
    return f"; did you mean {choices[close[0]]}?" if close else "."


def _with_origin(origin: Origin, sentence: str) -> str:
    """``sentence`` with its origin. Not ``…TOKEN: sentence``, because text in that form is redacted as a token."""
    text = f"{origin}: {sentence}"
    return text if redact_patterns(text) == text else f"In {origin}, {sentence}"


def _origin(key: Key, values: Values) -> Origin:
    """The origin of ``key``, or else that of a table around it, or of the first key inside it."""
    for size in range(len(key), 0, -1):
        if key[:size] in values:
            return values[key[:size]].origin
    return next((value.origin for inner, value in values.items() if inner[: len(key)] == key), DEFAULT)


def _suggest_setting(key: Key, origin: Origin) -> str:
    if origin.layer in (Layer.ENVIRONMENT, Layer.DOTENV):
        return suggest_name(variable(key), variables(), prefix=ENV_PREFIX)
    names = [setting.key for setting in reference()] + list(Settings.model_fields)
    return suggest_name(".".join(key), names)
