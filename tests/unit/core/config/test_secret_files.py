"""Secrets from files and from systemd's credentials: their precedence, and every way they can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from botctl.core.config.loading import Loaded, explain, load
from botctl.core.config.reference import Setting, reference, variables
from botctl.core.errors import ConfigError
from botctl.core.redact import _Known, redact

TOKEN = "s3cr3t-token-of-the-file"
SECRETS = [setting for setting in reference() if setting.secret]
VALUES = {
    "redis.url": "redis://u:s3cr3t-1@h:1/0",
    "mongo.url": "mongodb://u:s3cr3t-2@h/",
    "health.push_url": "https://up.example/s3cr3tPush99",
}


class Project:
    """A project in a temporary folder with secret files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "config").mkdir()
        self.write("config/botctl.toml", "")

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    def load(self, **env: str) -> Loaded:
        return load(self.root, None, env, {})

    def fault(self, **env: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(**env)
        shown = f"{caught.value} {caught.value.hint}"
        assert TOKEN not in shown
        assert redact(shown) == shown
        return str(caught.value)


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered here must not be redacted in other tests."""
    monkeypatch.setattr(redact.__self__, "_known", _Known())  # type: ignore[attr-defined]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def secret_of(loaded: Loaded, key: str) -> str:
    section, name = key.split(".")
    found = getattr(getattr(loaded.settings, section), name)
    return str(found.get_secret_value())


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.key)
class TestEverySecret:
    def test_is_read_from_a_file(self, project: Project, setting: Setting) -> None:
        value = VALUES.get(setting.key, TOKEN * 2)
        path = project.write("secrets/one", f"{value}\r\n")
        name = f"{setting.variable}_FILE"
        assert name in variables()
        loaded = project.load(**{name: str(path)})
        assert secret_of(loaded, setting.key) == value
        (row,) = [row for row in explain(loaded) if row.key == setting.key]
        assert row.origin == f"{path} ({name})"
        assert value not in row.value_shown
        assert value not in redact(value)
        assert loaded.notices == ()

    def test_is_read_from_dotenv_relative_to_the_root(self, project: Project, setting: Setting) -> None:
        value = VALUES.get(setting.key, TOKEN * 2)
        project.write("secrets/one", value)
        project.write(".env", f"\n{setting.variable}_FILE=secrets/one\n")
        loaded = project.load()
        assert secret_of(loaded, setting.key) == value
        assert str(loaded.origins[setting.key]) == "secrets/one (.env:2)"

    def test_is_read_from_a_credential(self, project: Project, setting: Setting) -> None:
        """Whatever its mode is. Those of others are left alone."""
        value = VALUES.get(setting.key, TOKEN * 2)
        project.write(f"credentials/botctl.{setting.key}", value, 0o644)
        project.write("credentials/tls.key", "of another program\nwith two lines")
        loaded = project.load(CREDENTIALS_DIRECTORY=str(project.root / "credentials"))
        assert secret_of(loaded, setting.key) == value
        assert str(loaded.origins[setting.key]) == f"credential botctl.{setting.key}"
        assert loaded.notices == ()


SOURCES = ("file in .env", ".env", "credential", "file", "environment")
"""From lowest to highest."""


def set_sources(
    project: Project, names: tuple[str, ...], value: Callable[[str], str] = "s3cr3t-of-{}".format
) -> dict[str, str]:
    """Set discord.token in these sources; returns the environment."""
    env, lines = {}, []
    for name in names:
        path = project.write(f"secrets/{name.replace(' ', '-')}", value(name))
        match name:
            case "file in .env":
                lines.append(f"BOTCTL_DISCORD__TOKEN_FILE={path}")
            case ".env":
                lines.append(f"BOTCTL_DISCORD__TOKEN='{value(name)}'")
            case "credential":
                project.write("credentials/botctl.discord.token", value(name))
                env["CREDENTIALS_DIRECTORY"] = str(project.root / "credentials")
            case "file":
                env["BOTCTL_DISCORD__TOKEN_FILE"] = str(path)
            case "environment":
                env["BOTCTL_DISCORD__TOKEN"] = value(name)
    project.write(".env", "\n".join(lines))
    return env


@pytest.mark.parametrize(("low", "high"), [*combinations(SOURCES, 2)])
def test_higher_source_counts_and_the_difference_is_said(project: Project, low: str, high: str) -> None:
    loaded = project.load(**set_sources(project, (low, high)))
    assert secret_of(loaded, "discord.token") == f"s3cr3t-of-{high}"
    (notice,) = loaded.notices
    assert notice.startswith("discord.token has another value in ")
    assert notice.endswith(f" than in {loaded.origins['discord.token']}, which counts.")
    assert "s3cr3t" not in notice
    assert redact(notice) == notice
    assert redact(f"s3cr3t-of-{low} s3cr3t-of-{high}") == "[redacted] [redacted]"


def test_sources_with_the_same_value_are_no_difference(project: Project) -> None:
    assert project.load(**set_sources(project, SOURCES, value=lambda _: TOKEN)).notices == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        (f"{TOKEN}\n{TOKEN}\n", "has more than one line; a secret is one"),
        (b"\xff" + TOKEN.encode("utf-16"), "is not UTF-8 text"),
        (TOKEN * 1000, "has more than 16384 bytes, so it is not a secret"),
    ],
)
def test_wrong_file_is_a_sentence(project: Project, content: str | bytes, problem: str) -> None:
    path = project.write("secrets/one", content)
    name = "BOTCTL_DISCORD__TOKEN_FILE"
    assert project.fault(**{name: str(path)}) == f"The file {path}, which {name} names, {problem}."
    project.write(".env", f"{name}={path}\n")
    assert project.fault() == f"The file {path}, which {name} (.env:1) names, {problem}."
    path.rename(project.root / "secrets" / "botctl.discord.token")
    project.write(".env", "")
    folder = str(path.parent)
    assert project.fault(CREDENTIALS_DIRECTORY=folder) == f"The credential botctl.discord.token {problem}."


def test_missing_file_and_folder_are_sentences(project: Project) -> None:
    name = "BOTCTL_REDIS__URL_FILE"
    assert project.fault(**{name: f"{project.root}/none"}).endswith(f"which {name} names, does not exist.")
    assert project.fault(**{name: str(project.root)}).endswith(f"which {name} names, is a folder.")
    assert project.fault(**{name: " "}) == f"{name} is set but empty; give it the path of a file, or remove it."


def test_missing_file_is_an_error_also_where_another_source_counts(project: Project) -> None:
    said = project.fault(BOTCTL_DISCORD__TOKEN=TOKEN, BOTCTL_DISCORD__TOKEN_FILE="config/none")
    assert said.endswith("does not exist.")


@pytest.mark.parametrize("secret", [TOKEN, "redis://u:hunter2x@h/0", "Zm9v/YmFyYmF6cXV4Zm9v", "x" * 5000])
def test_secret_in_place_of_a_path_is_not_shown(project: Project, secret: str) -> None:
    said = project.fault(BOTCTL_REDIS__URL_FILE=secret)
    assert said == "BOTCTL_REDIS__URL_FILE names no file; it is the path of a file that holds the secret."
    assert redact(secret) != secret or len(secret) == 5000  # of one letter: no secret


def test_file_that_others_can_read_is_reported_and_one_they_can_write_refused(project: Project) -> None:
    path = project.write("secrets/one", TOKEN, 0o644)
    (notice,) = project.load(BOTCTL_DISCORD__TOKEN_FILE=str(path)).notices
    assert notice == (
        f"The file {path}, which BOTCTL_DISCORD__TOKEN_FILE names, can be read by other users: `chmod 600` it."
    )
    path.chmod(0o606)
    assert "can be written by other users" in project.fault(BOTCTL_DISCORD__TOKEN_FILE=str(path))
    trusted = project.load(BOTCTL_DISCORD__TOKEN_FILE=str(path), BOTCTL_TRUSTED=str(project.root))
    assert trusted.notices == ()


def test_mode_of_a_file_that_the_system_made_is_its_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's secrets have the mode 0444, or that of a file of the host."""
    monkeypatch.setattr("botctl.core.config.secret_files._DOCKER", project.root / "run-secrets")
    path = project.write("run-secrets/token", TOKEN, 0o666)
    assert project.load(BOTCTL_DISCORD__TOKEN_FILE=str(path)).notices == ()
    (project.root / "run").symlink_to(project.root / "run-secrets")  # as /var/run is
    (project.root / "run-secrets" / "link").symlink_to("token")
    assert project.load(BOTCTL_DISCORD__TOKEN_FILE="run/link").notices == ()
    around = f"{project.root}/run-secrets/../secrets/token"
    project.write("secrets/token", TOKEN, 0o666)
    assert "can be written by other users" in project.fault(BOTCTL_DISCORD__TOKEN_FILE=around)

    folder = f"{project.root}/secrets"
    loaded = project.load(BOTCTL_DISCORD__TOKEN_FILE=f"{folder}/token", CREDENTIALS_DIRECTORY=folder)
    assert loaded.notices == ()


def test_dotenv_that_others_can_read_is_reported_if_it_has_a_secret(project: Project) -> None:
    project.write(".env", "BOTCTL_LOGS__LEVEL=DEBUG\nBOTCTL_DISCORD__TOKEN_FILE=token", 0o644)
    project.write("token", TOKEN)
    assert project.load().notices == ()
    project.write(".env", f"BOTCTL_DISCORD__TOKEN={TOKEN}", 0o644)
    assert project.load().notices == (".env has discord.token, and other users can read it: `chmod 600 .env`.",)
    (project.root / ".env").chmod(0o600)
    assert project.load().notices == ()


def test_misspelt_names_are_errors_with_a_suggestion(project: Project) -> None:
    assert project.fault(BOTCTL_DISCORD__TOKN_FILE="x").endswith("did you mean BOTCTL_DISCORD__TOKEN_FILE?")
    assert "logs.level_file is an unknown setting" in project.fault(BOTCTL_LOGS__LEVEL_FILE="x")
    project.write("credentials/botctl.discord.tokn", TOKEN)
    said = project.fault(CREDENTIALS_DIRECTORY=str(project.root / "credentials"))
    assert said == "The credential botctl.discord.tokn is no secret setting; did you mean botctl.discord.token?"


def test_credentials_that_cannot_be_read_are_reported(project: Project) -> None:
    (notice,) = project.load(CREDENTIALS_DIRECTORY=str(project.root / "none")).notices
    assert notice.endswith("/none, which cannot be read (No such file or directory): no credential is used.")


def test_invalid_value_names_file_and_variable(project: Project) -> None:
    path = project.write("secrets/one", f"http://u:{TOKEN}@h")
    assert project.fault(BOTCTL_REDIS__URL_FILE=str(path)) == (
        f"{path} (BOTCTL_REDIS__URL_FILE): redis.url must be a URL that begins with redis:// or rediss:// or unix://."
    )


def test_reloading_reads_every_source_again_and_both_values_stay_redacted(project: Project) -> None:
    path = project.write("secrets/one", TOKEN)
    loaded = project.load(BOTCTL_DISCORD__TOKEN_FILE=str(path))
    project.write("secrets/one", "an-other-s3cr3t")
    assert secret_of(loaded.reload(), "discord.token") == "an-other-s3cr3t"
    assert secret_of(loaded, "discord.token") == TOKEN
    assert redact(f"{TOKEN} an-other-s3cr3t") == "[redacted] [redacted]"
    assert TOKEN not in repr(loaded)
