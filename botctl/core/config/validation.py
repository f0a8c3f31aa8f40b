"""Found values judged by the models; what is wrong with them as sentences that never show a secret."""

from __future__ import annotations

import re

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from botctl.core.config.reference import is_secret, reference, variable
from botctl.core.config.settings import PRODUCTION, Settings
from botctl.core.config.sources import DEFAULT, Key, Layer, Origin, Values, suggest
from botctl.core.escape import safe
from botctl.core.redact import redact, redact_shapes


def validate(found: Values, faults: list[str]) -> Settings | None:
    """The settings that ``found`` makes, or None; whatever is wrong is added to ``faults``."""
    faults += [
        _with_origin(value.origin, f"{'.'.join(key)} is set but empty; give it a value, or remove it.")
        for key, value in found.items()
        if is_secret(key) and isinstance(value.value, str) and not value.value.strip()
    ]
    try:
        settings = Settings.model_validate(_tree(found))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        faults += [sentence for detail in details if (sentence := _sentence(detail, found)) is not None]
        return None
    if settings.profile == PRODUCTION and settings.discord.token is None:
        faults.append("profile production needs discord.token; set BOTCTL_DISCORD__TOKEN. It never uses the sandbox.")
    return settings


def _tree(found: Values) -> dict[str, object]:
    """Nested tables again. Where one layer has a table and another a value, the value stays, for it is a fault."""
    tree: dict[str, object] = {}
    for key in sorted(found, key=len):
        table: object = tree
        for name in key[:-1]:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            value = found[key].value
            table[key[-1]] = {} if value == {} else value  # a fresh one: it is filled by longer keys
    return tree


_WORDS = (
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


def _sentence(detail: ErrorDetails, found: Values) -> str | None:
    """What is wrong with one value, where, and what is allowed. None for what has been said already."""
    key = tuple(part for part in detail["loc"] if isinstance(part, str) and part != "[key]")
    origin = _origin(key, found)
    name = safe(".".join(key))
    if detail["type"] == "extra_forbidden":
        return _with_origin(origin, f"{name} is an unknown setting{_near_setting(key, origin)}")
    value = detail["input"]
    if is_secret(key) and isinstance(value, str) and not value.strip():
        return None
    said = detail["msg"]
    for pattern, words in _WORDS:
        said = re.sub(pattern, words, said)
    quoted = detail["type"] == "value_error" and "'" in said  # it names what is wrong with the value itself
    hidden = quoted or is_secret(key) or isinstance(value, dict | list | tuple)
    return _with_origin(origin, f"{name} {said}{'' if hidden else f', not {safe(redact(repr(value)), 60)}'}.")


def _with_origin(origin: Origin, sentence: str) -> str:
    """``sentence`` after where it belongs. What follows ``…TOKEN:`` would be taken for a token, and redacted."""
    placed = f"{origin}: {sentence}"
    return placed if redact_shapes(placed) == placed else f"In {origin}, {sentence}"


def _origin(key: Key, found: Values) -> Origin:
    """Where ``key`` was set: itself, a table around it, or the first thing inside it."""
    for size in range(len(key), 0, -1):
        if key[:size] in found:
            return found[key[:size]].origin
    return next((value.origin for inner, value in found.items() if inner[: len(key)] == key), DEFAULT)


def _near_setting(key: Key, origin: Origin) -> str:
    if origin.layer in (Layer.ENVIRONMENT, Layer.DOTENV):
        return suggest(variable(key), [setting.variable for setting in reference()])
    names = [setting.key for setting in reference()] + list(Settings.model_fields)
    return suggest(".".join(key), names)
