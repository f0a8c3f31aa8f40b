"""Load the settings of a project: read all layers, merge and validate them, and keep the origin of each value.

The layers, from lowest to highest: default, ``config/botctl.toml``, ``config/<profile>.toml``, ``.env``, systemd
credential, environment variable, command-line option ("flag"). In ``.env`` and in the environment a variable comes
before one that names a file. A profile is a named variant of the settings. ``faults`` collects a sentence for each
error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path

from pydantic import SecretStr

from botctl.core.config.notices import notices
from botctl.core.config.reference import find, is_secret, to_toml
from botctl.core.config.secret_files import SecretFiles, differences
from botctl.core.config.settings import PRODUCTION, Section, Settings
from botctl.core.config.sources import (
    DEFAULT,
    Key,
    Layer,
    Origin,
    SourcedValue,
    Values,
    dotenv_variables,
    from_dotenv,
    from_environment,
    from_flags,
    from_toml,
    merge,
    secret_variables,
)
from botctl.core.config.validation import validate
from botctl.core.config.value_types import NAME
from botctl.core.errors import ConfigError
from botctl.core.escape import safe
from botctl.core.files.paths import SETTINGS_FILE, find_root
from botctl.core.files.trust import require_trusted_code
from botctl.core.redact import MARK, redact, register
from botctl.core.secret_parts import SECRET_NAME, has_secrets, secrets_of_url, without_secrets
from botctl.core.suggest import suggest

PROFILE: Key = ("profile",)
ADDRESS = "url"  # last part of a key like ``redis.url``: the value is secret only if it contains credentials


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, the project's root folder, and the origin of each value that is no default (by ``discord.token``).

    ``notices``: sentences about what is probably a mistake; see `notices`. ``reload``: reads all sources again, in the
    same way. Raises ConfigError.
    """

    settings: Settings
    root: Path
    origins: Mapping[str, Origin]
    notices: tuple[str, ...]
    reload: Callable[[], Loaded] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of ``--explain-config``. ``value_shown``: the value without secrets."""

    key: str
    value_shown: str
    origin: str


def load(project: Path | None, profile: str | None, env: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """Load the settings of the project at ``project``, or of the one that the current folder is in.

    ``flags`` maps a setting to the value of its option: ``{"sandbox.port": 8080}`` for ``--sandbox-port``. Secrets are
    registered with `botctl.core.redact`, which removes them from all output. Raises ConfigError if there is no project,
    if another user could have written it, or if settings are wrong, with one sentence for each of them.
    """
    register(*secret_variables(env))  # before anything can be printed
    root = find_root(project, env)
    faults: list[str] = []
    remarks: list[str] = []
    values = _merge_layers(root, {"profile": profile, **flags}, env, SecretFiles(root, env, faults, remarks))
    settings = validate(values, faults)
    if settings is not None:
        named = {name for name, (value, _) in dotenv_variables(root / ".env").items() if value}
        remarks += notices(settings, {*filter(env.get, env), *named})
    if settings is None or faults:
        raise _config_error(faults, remarks)
    modules = [factory.partition(":")[0] for factory in settings.services.values()]
    require_trusted_code(root, (settings.commands.folder, settings.migrate.folder), modules, env)
    return Loaded(settings, root, _origins(values), tuple(remarks), partial(load, root, profile, env, flags))


def _origins(values: Values) -> dict[str, Origin]:
    return {".".join(key): value.origin for key, value in values.items() if value.value != {}}


def explain(loaded: Loaded) -> list[SettingRow]:
    """A row for every setting, in the order of the fields of `Settings`."""
    rows = []
    for key, value in _values(loaded.settings, ()):
        name = ".".join(key)
        rows.append(SettingRow(name, _format_value(key, value), str(loaded.origins.get(name, DEFAULT))))
    return rows


def _values(section: Settings | Section, prefix: Key) -> Iterator[tuple[Key, object]]:
    """Every key in ``section``, after ``prefix``, with its value."""
    for name, value in section:
        entries = value.items() if isinstance(value, dict) and value else [(None, value)]
        for entry, inner in entries:
            key = (*prefix, name) if entry is None else (*prefix, name, entry)
            if isinstance(inner, Section):
                yield from _values(inner, key)
            else:
                yield key, inner


def _format_value(key: Key, value: object) -> str:
    """``value`` as `explain` shows it: in TOML, without secrets."""
    if isinstance(value, SecretStr):
        return safe(without_secrets(value.get_secret_value(), MARK)) if key[-1] == ADDRESS else MARK
    return safe(redact(to_toml(value)))


def _merge_layers(root: Path, flags: Mapping[str, object], env: Mapping[str, str], files: SecretFiles) -> Values:
    faults = files.faults
    base = _registered(from_toml(root / SETTINGS_FILE, str(SETTINGS_FILE), Layer.FILE, faults))
    dotenv = from_dotenv(root / ".env", faults)
    files.check_dotenv(dotenv)
    environment = {name: SourcedValue(text, Origin(Layer.ENVIRONMENT, name)) for name, text in env.items()}
    layers = [
        files.named(dotenv_variables(root / ".env")),
        dotenv,
        files.credentials(),
        files.named(environment),
        from_environment(env, faults),
        from_flags(flags),
    ]
    files.remarks.extend(differences(layers))
    above = reduce(merge, map(_registered, layers))
    profile = _profile_file(root, merge(base, above).get(PROFILE), faults)
    if PROFILE in profile:
        faults.append(f"{profile.pop(PROFILE).origin}: profile cannot be set by a profile itself.")
    return merge(merge(base, profile), above)


def _profile_file(root: Path, chosen: SourcedValue | None, faults: list[str]) -> Values:
    """The settings in the file of profile ``chosen``. The profiles `production` and `default` need no file."""
    if chosen is None or not isinstance(chosen.value, str) or not NAME.matches(chosen.value):
        return {}  # validation reports a wrong name
    where = SETTINGS_FILE.with_name(f"{chosen.value}.toml")
    folder = root / SETTINGS_FILE.parent
    names = sorted(path.stem for path in folder.glob("*.toml") if path.name != SETTINGS_FILE.name)
    if chosen.value in names:
        return _registered(from_toml(root / where, str(where), Layer.PROFILE, faults))
    if chosen.value not in (PRODUCTION, "default"):
        others = f"there is {', '.join(names)}" if names else "there are no profiles"
        meant = suggest(chosen.value, [*names, PRODUCTION])
        faults.append(f"{chosen.origin}: profile {chosen.value} has no file {where} ({safe(others)}){safe(meant)}")
    return {}


def _registered(values: Values) -> Values:
    """``values`` of one layer, after every secret in them is registered: also one that is overridden, or not valid.

    The address of a store without credentials is no secret; that of an uptime service is. A setting that does not exist
    may be a secret with a misspelt name.
    """
    for key, (value, _) in values.items():
        known = find(key) is not None
        secret = is_secret(key) or (not known and (SECRET_NAME.search(key[-1]) or "://" in str(value)))
        if not secret or not isinstance(value, str | int):
            continue
        if known and key[-1] != ADDRESS and "://" in str(value):
            register(*secrets_of_url(str(value)))
        elif not _is_address(key, value) or has_secrets(str(value)):
            register(str(value))
    return values


def _is_address(key: Key, value: object) -> bool:
    return key[-1] == ADDRESS or "://" in str(value)


def _config_error(faults: Sequence[str], remarks: Sequence[str]) -> ConfigError:
    correct = "Correct it. Then `botctl run --explain-config` shows every setting and where it comes from."
    hint = " ".join([*remarks, correct])
    if len(faults) == 1:
        return ConfigError(faults[0], hint=hint)
    return ConfigError(f"{len(faults)} settings are wrong:" + "".join(f"\n  {fault}" for fault in faults), hint=hint)
