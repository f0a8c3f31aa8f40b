"""Read each layer of settings (file, variables, options) into values with their origin. `validation` comes later.

Each error adds a sentence to ``faults``, and the rest is returned, so that a person sees all errors at once.
"""

from __future__ import annotations

import enum
import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import Binding, parse_stream
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from botctl.core.config.reference import is_secret, variables
from botctl.core.config.settings import ENV_DELIMITER, ENV_PREFIX, FILE_SUFFIX, Settings
from botctl.core.config.toml_lines import key_lines
from botctl.core.escape import safe
from botctl.core.files.paths import PROJECT_VARIABLE
from botctl.core.files.trust import TRUST_VARIABLE
from botctl.core.secret_parts import SECRET_NAME, has_secrets
from botctl.core.suggest import suggest_name

TEST_PREFIX = "BOTCTL_TEST_"  # variables of botctl's own tests
RESERVED_VARIABLES = frozenset(
    {
        *(PROJECT_VARIABLE, TRUST_VARIABLE, "BOTCTL_PYTHON", "BOTCTL_DISCORD_OPENAPI"),
        *("BOTCTL_SANDBOX_URL", "BOTCTL_SANDBOX_SECRET", "BOTCTL_SANDBOX_SECRET_FILE", "BOTCTL_SANDBOX_TOKEN"),
    }
)
"""Variables that are not settings: which project it is, whether it is trusted, for PM2's ecosystem.config.js, for the
check with Discord's OpenAPI file, and for `botctl sandbox serve`."""

Key = tuple[str, ...]


class _Variables(BaseSettings, Settings):
    """The settings in the form that pydantic's source for variables needs. Never instantiated."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER)


class Layer(enum.StrEnum):
    """The layers, from lowest to highest."""

    DEFAULT = "default"
    FILE = "file"
    PROFILE = "profile"
    DOTENV = ".env"
    CREDENTIAL = "credential"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a value. ``where``: a file in the project, a variable or an option. ``line``: from 1."""

    layer: Layer
    where: str
    line: int | None = None

    def __str__(self) -> str:
        return self.where if self.line is None else f"{self.where}:{self.line}"


DEFAULT = Origin(Layer.DEFAULT, "default")


class SourcedValue(NamedTuple):
    """A value of a layer, not yet validated."""

    value: object
    origin: Origin


Values = dict[Key, SourcedValue]


def from_toml(file: Path, where: str, layer: Layer, faults: list[str]) -> Values:
    """The settings in ``file``. ``where``: its path in errors."""
    text = _read_text(file, where, faults)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        faults.append(_toml_fault(str(error), where, text))
        return {}
    lines = key_lines(text)

    def line(key: Key) -> int:
        return lines[next(key[:size] for size in range(len(key), 0, -1) if key[:size] in lines)]

    return {key: SourcedValue(value, Origin(layer, where, line(key))) for key, value in flatten(tree)}


def from_dotenv(file: Path, faults: list[str]) -> Values:
    """The settings in a ``.env`` file. Values are literal: ``$`` has no meaning."""
    values = Values()
    for binding, origin in _dotenv_bindings(file, faults):
        if binding.error or (binding.key and binding.value is None):
            faults.append(f"{origin}: is not NAME=value.")
        elif binding.key == PROJECT_VARIABLE:
            faults.append(f"{origin}: {PROJECT_VARIABLE} can only be set in the environment, or as --project.")
        elif binding.key == TRUST_VARIABLE:
            faults.append(f"{origin}: {TRUST_VARIABLE} can only be set in the environment: no project trusts itself.")
        elif binding.key and binding.key.startswith(ENV_PREFIX) and secret_of_file(binding.key) is None:
            values |= _parse_variable(binding.key, binding.value or "", origin, faults)
        elif binding.key and _is_miswritten(binding.key):
            faults.append(_miswritten(binding.key, origin))
    return values


def dotenv_variables(file: Path) -> dict[str, SourcedValue]:
    """What a ``.env`` file sets, by name, also what is not botctl's. `from_dotenv` reports its errors."""
    return {
        binding.key: SourcedValue(binding.value, origin)
        for binding, origin in _dotenv_bindings(file, [])
        if binding.key and binding.value is not None
    }


def _dotenv_bindings(file: Path, faults: list[str]) -> Iterator[tuple[Binding, Origin]]:
    for binding in parse_stream(io.StringIO(_read_text(file, file.name, faults))):
        text = binding.original.string
        line = binding.original.line + len(text) - len(text.lstrip("\r\n"))
        yield binding, Origin(Layer.DOTENV, file.name, line)


def secret_of_file(name: str) -> Key | None:
    """The secret setting that is in the file which the variable ``name`` names: ``BOTCTL_DISCORD__TOKEN_FILE``."""
    if not (name.startswith(ENV_PREFIX) and name.endswith(FILE_SUFFIX)):
        return None
    key = tuple(name.removeprefix(ENV_PREFIX).removesuffix(FILE_SUFFIX).lower().split(ENV_DELIMITER))
    return key if is_secret(key) else None


def from_environment(env: Mapping[str, str], faults: list[str]) -> Values:
    """The settings in variables that begin with ``BOTCTL_``."""
    values = Values()
    for name in sorted(env):
        if secret_of_file(name) is not None:
            continue  # `secret_files` reads it
        if name.startswith(ENV_PREFIX) and name not in RESERVED_VARIABLES and not name.startswith(TEST_PREFIX):
            values |= _parse_variable(name, env[name], Origin(Layer.ENVIRONMENT, name), faults)
        elif _is_miswritten(name):
            faults.append(_miswritten(name, Origin(Layer.ENVIRONMENT, name)))
    return values


def secret_variables(env: Mapping[str, str]) -> Iterator[str]:
    """The values of variables that hold secrets by their names, botctl's or not, and of addresses with credentials."""
    for name, value in env.items():
        ours = name.startswith(ENV_PREFIX)
        address = "://" in value or (ours and name.endswith("URL"))
        if has_secrets(value) if address else SECRET_NAME.search(name):
            yield value


def from_flags(flags: Mapping[str, object]) -> Values:
    """The settings in ``flags``: ``{"sandbox.port": 8080}`` for ``--sandbox-port``. None: the option was not given."""
    return {
        tuple(name.split(".")): SourcedValue(value, Origin(Layer.FLAG, "--" + re.sub(r"[._]", "-", name)))
        for name, value in flags.items()
        if value is not None
    }


def flatten(tree: Mapping[str, object], prefix: Key = ()) -> Iterator[tuple[Key, object]]:
    """Paths and values of nested tables. Yields ``{}`` before the values of each table, so that empty ones are kept."""
    for name, value in tree.items():
        key = (*prefix, name)
        if isinstance(value, dict):
            yield key, {}
            yield from flatten(value, key)
        else:
            yield key, value


def merge(low: Values, high: Values) -> Values:
    """The values of both layers. Those of ``high`` win, but an empty table does not remove values of ``low``."""
    return low | {key: value for key, value in high.items() if value.value != {} or key not in low}


def _is_miswritten(name: str) -> bool:
    """Whether a variable would be one of botctl's, were it written in capitals."""
    return not name.startswith(ENV_PREFIX) and name.upper().startswith(ENV_PREFIX)


def _miswritten(name: str, origin: Origin) -> str:
    sentence = f"{_describe_variable(safe(name), origin)} is not read: botctl's variables are written in capitals"
    return f"{sentence}{suggest_name(name.upper(), variables(), prefix=ENV_PREFIX)}"


def _read_text(file: Path, where: str, faults: list[str]) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        faults.append(f"{where}: is not UTF-8 text.")
    except OSError as error:
        faults.append(f"{where}: cannot be read: {error.strerror}.")
    return ""


def _toml_fault(message: str, where: str, text: str) -> str:
    """`tomllib`'s ``Problem (at line 3, column 5)`` as ``where:3: is not TOML: Problem (column 5).``"""
    match = re.search(r"at line (\d+), (?=column)", message)
    line = int(match[1]) if match else len(text.splitlines())
    return f"{where}:{line}: is not TOML: {safe(message.replace(match[0], '') if match else message)}."


def _parse_variable(name: str, text: str, origin: Origin, faults: list[str]) -> Values:
    """The settings of one variable: mostly one, several when it holds a section as JSON.

    pydantic's source splits the name and parses JSON. It gets one variable at a time, because for many at once it does
    not say which one is wrong.
    """
    source = EnvSettingsSource(_Variables)
    source.env_vars = {name.lower(): text}
    try:
        tree = source()
    except SettingsError:
        section = name.removeprefix(ENV_PREFIX).split(ENV_DELIMITER)[0]
        faults.append(
            f"{_describe_variable(name, origin)} must be JSON; "
            f"set a single setting with {ENV_PREFIX}{section}{ENV_DELIMITER}<NAME>."
        )
        return {}
    if not tree:
        suggestion = suggest_name(name, variables(), prefix=ENV_PREFIX)
        faults.append(f"{_describe_variable(name, origin)} is an unknown variable{suggestion}")
    return {key: SourcedValue(value, origin) for key, value in flatten(tree)}


def _describe_variable(name: str, origin: Origin) -> str:
    """The variable ``name``, after its file and line if it has one."""
    return name if origin.line is None else f"{origin}: {name}"
