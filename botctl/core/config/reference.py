"""The list of all settings, made from their pydantic models, for documentation, `--explain-config` and suggestions."""

from __future__ import annotations

import enum
import functools
import json
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types
from pydantic import AfterValidator, BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from botctl.core.config.settings import ENV_DELIMITER, ENV_PREFIX, FILE_SUFFIX, Settings

Path = tuple[str, ...]

ANY = "<name>"  # in a path: a name that the operator chooses
_TYPE_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", SecretStr: "secret text"}
_BOUNDS = ((annotated_types.Gt, "gt", ">"), (annotated_types.Ge, "ge", "≥"), (annotated_types.Lt, "lt", "<"),
           (annotated_types.Le, "le", "≤"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``path`` has `ANY` where the operator chooses a name; ``type`` is in words, ``default`` in TOML."""

    path: Path
    type: str
    default: str
    description: str
    secret: bool

    @property
    def key(self) -> str:
        """Its name in sentences and tables: ``discord.token``."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return variable(self.path)

    def matches(self, path: Path) -> bool:
        """Whether ``path`` is this setting; `ANY` matches every name."""
        return len(path) == len(self.path) and all(
            own in (ANY, part) for own, part in zip(self.path, path, strict=True)
        )


def variable(path: Path) -> str:
    """The environment variable of the setting at ``path``: ``BOTCTL_DISCORD__TOKEN``."""
    return ENV_PREFIX + ENV_DELIMITER.join(part.upper() for part in path)


@functools.cache
def reference() -> tuple[Setting, ...]:
    """All settings, in the order of the models."""
    return tuple(_model_settings(Settings, ()))


def find(path: Path) -> Setting | None:
    """The setting at ``path``, or None when there is no such setting."""
    return next((setting for setting in reference() if setting.matches(path)), None)


def is_secret(path: Path) -> bool:
    setting = find(path)
    return setting is not None and setting.secret


def variables() -> list[str]:
    """The variables of all settings, and those that name the file of a secret."""
    names = [setting.variable for setting in reference()]
    return names + [f"{setting.variable}{FILE_SUFFIX}" for setting in reference() if setting.secret]


def to_toml(value: object) -> str:
    """``value`` in TOML; `unset` for None."""
    if value is None:
        return "unset"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(to_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def as_table() -> str:
    """All settings as a Markdown table."""
    lines = ["| setting | type | default | variable | what it is for |", "|---|---|---|---|---|"]
    lines += [f"| `{s.key}` | {s.type} | `{s.default}` | `{s.variable}` | {s.description} |" for s in reference()]
    return "\n".join(lines) + "\n"


def _model_settings(model: type[BaseModel], prefix: Path) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        yield from _field_settings(field, (*prefix, name))


def _field_settings(field: FieldInfo, path: Path) -> Iterator[Setting]:
    annotation: Any = field.annotation
    metadata: Sequence[Any] = field.metadata
    if get_origin(annotation) is dict:
        annotation, metadata, path = get_args(annotation)[1], (), (*path, ANY)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _model_settings(annotation, path)
    else:
        default = None if field.default is PydanticUndefined else field.default
        type_text, secret = _describe_type(annotation, metadata)
        yield Setting(path, type_text, to_toml(default), field.description or "", secret)


def _describe_type(annotation: Any, metadata: Sequence[Any]) -> tuple[str, bool]:
    """The type in words, and whether it is secret."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe_type(args[0], args[1:])
    if origin in (Union, types.UnionType):
        return _describe_type(next(arg for arg in args if arg is not type(None)), metadata)
    if origin is tuple:
        item_type, secret = _describe_type(args[0], ())
        return f"list of: {item_type}", secret
    for marker in metadata:
        if isinstance(marker, AfterValidator) and (text := getattr(marker.func, "description", "")):
            return text, annotation is SecretStr
    if issubclass(annotation, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in annotation), False
    return " ".join([_TYPE_NAMES[annotation], *_bounds(metadata)]), annotation is SecretStr


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    for marker in metadata:
        for kind, attribute, sign in _BOUNDS:
            if isinstance(marker, kind):
                yield f"{sign} {getattr(marker, attribute):,}".replace(",", "\u202f")
