"""Layers, origins, roots, profiles, and every way a setting can be wrong."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.core.config.loading import Loaded, SettingRow, explain, load
from botctl.core.config.settings import LogLevel, uses_sandbox
from botctl.core.errors import ConfigError, ExitCode
from botctl.core.files.paths import find_root
from botctl.core.redact import _Known, redact
from tests.support import ROOT

EXAMPLE = ROOT
TOKEN = "s3cr3t-token-of-the-test"


class Project:
    """A project in a temporary folder, and how loading it comes out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "config").mkdir()
        self.write("config/botctl.toml", "")

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")

    def load(self, profile: str | None = None, flags: dict[str, object] | None = None, **env: str) -> Loaded:
        return load(self.root, profile, env, flags or {})

    def faults(self, profile: str | None = None, flags: dict[str, object] | None = None, **env: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(profile, flags, **env)
        assert caught.value.exit_code is ExitCode.CONFIG
        assert TOKEN not in str(caught.value)
        return str(caught.value)


@pytest.fixture(autouse=True, scope="module")
def _own_secrets() -> Iterator[None]:
    """What is registered here must not be redacted in other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redact.__self__, "_known", _Known())  # type: ignore[attr-defined]
        yield


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class TestLayers:
    def test_without_settings_all_values_are_defaults(self, project: Project) -> None:
        loaded = project.load()
        assert loaded.settings.bot == "bot"
        assert loaded.origins == {}
        assert uses_sandbox(loaded.settings)

    def test_higher_layer_overrides_lower_and_reports_origin(self, project: Project) -> None:
        keys = ("redis.timeout_s", "mongo.timeout_s", "shutdown.drain_s", "audit.flush_s", "sandbox.port")
        project.write("config/botctl.toml", "# ours\n" + "".join(f"{key} = 11\n" for key in keys))
        project.write(
            "config/home.toml", "mongo.timeout_s = 12\nshutdown.drain_s = 12\naudit.flush_s = 12\nsandbox.port = 12"
        )
        project.write(
            ".env",
            "# ours\n\nBOTCTL_SHUTDOWN__DRAIN_S=13\nexport BOTCTL_AUDIT__FLUSH_S='13'\nBOTCTL_SANDBOX__PORT=13\n",
        )
        loaded = project.load(
            "home", {"sandbox.port": 15, "bot": None}, BOTCTL_AUDIT__FLUSH_S="14", BOTCTL_SANDBOX__PORT="14"
        )
        settings = loaded.settings
        assert (settings.redis.timeout_s, str(loaded.origins["redis.timeout_s"])) == (11, "config/botctl.toml:2")
        assert (settings.mongo.timeout_s, str(loaded.origins["mongo.timeout_s"])) == (12, "config/home.toml:1")
        assert (settings.shutdown.drain_s, str(loaded.origins["shutdown.drain_s"])) == (13, ".env:3")
        assert (settings.audit.flush_s, str(loaded.origins["audit.flush_s"])) == (14, "BOTCTL_AUDIT__FLUSH_S")
        assert (settings.sandbox.port, str(loaded.origins["sandbox.port"])) == (15, "--sandbox-port")
        assert str(loaded.origins["profile"]) == "--profile"
        assert "bot" not in loaded.origins

    def test_sections_are_merged_and_lists_replaced(self, project: Project) -> None:
        project.write("config/botctl.toml", '[logs]\nkeep = 1\n[discord]\ntest_guilds = ["100000000000000001"]')
        settings = project.load(BOTCTL_LOGS__LEVEL="DEBUG", BOTCTL_DISCORD__TEST_GUILDS="100000000000000002").settings
        assert (settings.logs.keep, settings.logs.level) == (1, LogLevel.DEBUG)
        assert settings.discord.test_guilds == ("100000000000000002",)

    def test_empty_role_and_role_in_inline_table(self, project: Project) -> None:
        project.write("config/botctl.toml", '[roles]\nguest = {}\nstaff = { users = ["100000000000000001"] }')
        loaded = project.load(BOTCTL_ROLES__STAFF__ROLES='["100000000000000002"]')
        assert loaded.settings.roles["guest"].users == ()
        assert loaded.settings.roles["staff"].roles == ("100000000000000002",)
        assert str(loaded.origins["roles.staff.users"]) == "config/botctl.toml:3"

    def test_variable_can_contain_a_section_as_json(self, project: Project) -> None:
        loaded = project.load(BOTCTL_REDIS='{"timeout_s": 3}')
        assert loaded.settings.redis.timeout_s == 3
        assert str(loaded.origins["redis.timeout_s"]) == "BOTCTL_REDIS"

    def test_dotenv_dollar_is_literal_and_foreign_names_are_ignored(self, project: Project) -> None:
        project.write(".env", "HOME_PAGE=x\nBOTCTL_DISCORD__TOKEN=pa${HOME}ss\n")
        token = project.load().settings.discord.token
        assert token is not None
        assert token.get_secret_value() == "pa${HOME}ss"

    def test_reserved_variables_are_not_settings(self, project: Project) -> None:
        assert project.load(BOTCTL_TEST_REDIS_URL="x", BOTCTL_PROJECT="/nowhere", PATH="x").origins == {}

    def test_example_settings_are_valid(self) -> None:
        loaded = load(EXAMPLE, None, {}, {})
        assert loaded.settings.roles["moderator"].roles


class TestRoot:
    def test_project_option_beats_variable_which_beats_parent_folders(self, tmp_path: Path) -> None:
        roots = [tmp_path / name for name in ("named", "variable", "parent")]
        for root in roots:
            root.mkdir()
            Project(root)
        start = roots[2] / "a" / "b"
        start.mkdir(parents=True)
        env = {"BOTCTL_PROJECT": str(roots[1])}
        assert find_root(roots[0], env, start) == roots[0]
        assert find_root(None, env, start) == roots[1]
        assert find_root(None, {}, start) == roots[2]

    def test_missing_project_is_an_error_with_a_hint(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"has no config/botctl\.toml, nor has a folder above it") as caught:
            find_root(None, {}, tmp_path)
        assert "botctl init DIR" in caught.value.hint

    def test_parents_of_a_named_folder_are_not_searched(self, project: Project) -> None:
        inner = project.root / "inner"
        inner.mkdir()
        with pytest.raises(ConfigError, match=r"inner has no config/botctl\.toml\."):
            find_root(inner, {}, project.root)


class TestProfile:
    def test_production_and_default_need_no_file(self, project: Project) -> None:
        assert project.load("production", BOTCTL_DISCORD__TOKEN=TOKEN).settings.profile == "production"
        assert project.load("default").settings.profile == "default"

    def test_profile_is_selected_by_file_dotenv_variable_or_option(self, project: Project) -> None:
        project.write("config/botctl.toml", 'profile = "low"')
        project.write("config/low.toml", 'bot = "low"')
        project.write("config/high.toml", 'bot = "high"')
        assert project.load().settings.bot == "low"
        assert project.load(BOTCTL_PROFILE="high").settings.bot == "high"
        project.write(".env", "BOTCTL_PROFILE=high")
        assert project.load().settings.bot == "high"
        assert project.load("low").settings.bot == "low"

    def test_unknown_profile_is_refused_with_existing_profiles(self, project: Project) -> None:
        project.write("config/home.toml", "")
        assert (
            project.faults("hme")
            == "--profile: profile hme has no file config/hme.toml (there is home); did you mean home?"
        )
        assert "BOTCTL_PROFILE: profile hme" in project.faults(BOTCTL_PROFILE="hme")

    def test_path_is_not_a_profile(self, project: Project) -> None:
        assert "profile must be 1 to 32" in project.faults("../botctl")

    def test_profile_cannot_select_a_profile(self, project: Project) -> None:
        project.write("config/home.toml", '\nprofile = "production"')
        assert project.faults("home") == "config/home.toml:2: profile cannot be set by a profile itself."


class TestToken:
    @pytest.mark.parametrize("token", ["", "  "])
    def test_empty_token_is_rejected(self, project: Project, token: str) -> None:
        expected = "In BOTCTL_DISCORD__TOKEN, discord.token is set but empty; give it a value, or remove it."
        assert project.faults(BOTCTL_DISCORD__TOKEN=token) == expected
        project.write(".env", f"BOTCTL_DISCORD__TOKEN={TOKEN}")
        assert project.faults(BOTCTL_DISCORD__TOKEN=token) == expected

    def test_empty_token_in_dotenv_names_the_line(self, project: Project) -> None:
        project.write(".env", "\nBOTCTL_DISCORD__TOKEN=\n")
        assert project.faults().startswith(".env:2: discord.token is set but empty")

    def test_production_without_a_token_is_refused(self, project: Project) -> None:
        assert "BOTCTL_DISCORD__TOKEN" in project.faults("production")

    @pytest.mark.parametrize(
        ("profile", "env"),
        [
            ("production", {}),
            (None, {"BOTCTL_DISCORD__TOKEN": ""}),
            (None, {"BOTCTL_DISCORD__TOKENS": "none"}),
            (None, {"BOTCTL_DISCROD__TOKEN": "none"}),
        ],
    )
    def test_error_about_token_is_not_redacted(
        self, project: Project, profile: str | None, env: dict[str, str]
    ) -> None:
        """A name that ends in token, a colon and a word look like a token; our sentences must not."""
        said = project.faults(profile, **env)
        assert redact(said) == said

    def test_empty_store_address_is_reported_once(self, project: Project) -> None:
        assert project.faults(BOTCTL_REDIS__URL="") == (
            "BOTCTL_REDIS__URL: redis.url is set but empty; give it a value, or remove it."
        )

    def test_secrets_are_registered_but_not_plain_addresses(self, project: Project) -> None:
        project.load(
            BOTCTL_DISCORD__TOKEN=TOKEN,
            BOTCTL_REDIS__URL="redis://localhost:1",
            BOTCTL_MONGO__URL="mongodb://u:hunter2x@h/",
        )
        assert redact(f"{TOKEN} redis://localhost:1 hunter2x") == "[redacted] redis://localhost:1 [redacted]"

    @pytest.mark.parametrize("char", ["#", "?", "/"])
    def test_character_to_encode_is_named_without_the_secret(self, project: Project, char: str) -> None:
        said = project.faults(BOTCTL_REDIS__URL=f"redis://:s3cr3t9{char}word@127.0.0.1:1/0")
        assert redact(said) == said
        assert f"redis.url has {char} in its user or password, which must be percent-encoded: {char} as %" in said
        assert "s3cr3t9" not in said
        assert redact("Port could not be cast to integer value as 's3cr3t9'").endswith("'[redacted]'")

    @pytest.mark.parametrize("password", ["s3cr3t9'word", "s3cr3t9<word", "s3cr3t9 word", "aa@s3cr3t9"])
    def test_unusual_password_is_not_explained(self, project: Project, password: str) -> None:
        rows = explain(project.load(BOTCTL_REDIS__URL=f"redis://:{password}@127.0.0.1:1/0"))
        assert SettingRow("redis.url", "redis://[redacted]@127.0.0.1:1/0", "BOTCTL_REDIS__URL") in rows

    @pytest.mark.parametrize(
        "url",
        [
            "https://hc-ping.com/5cf3fa0c-2f6a-4c6e-9d1b-8e7a6b5c4d3e",
            "http://up.example:3001/api/push/Vo6kPTjKsi?status={status}&msg={message}",
        ],
    )
    def test_address_of_an_uptime_service_is_a_secret_and_names_in_it_are_not(self, project: Project, url: str) -> None:
        rows = explain(project.load(BOTCTL_HEALTH__PUSH_URL=url))
        assert SettingRow("health.push_url", "[redacted]", "BOTCTL_HEALTH__PUSH_URL") in rows
        place, key = url.partition("?")[0], url.partition("?")[0].rpartition("/")[2]
        assert [redact(text) for text in (url, place, key)] == ["[redacted]"] * 3
        assert redact("up.example and api/push") == "up.example and api/push"

    def test_address_of_an_uptime_service_is_one_of_http(self, project: Project) -> None:
        sentence = project.faults(BOTCTL_HEALTH__PUSH_URL="ftp://up.example/Vo6kPTjKsi")
        assert "health.push_url" in sentence
        assert "must be a URL that begins with https:// or http://" in sentence
        assert "Vo6kPTjKsi" not in sentence

    def test_secrets_that_are_not_used_are_registered_too(self, project: Project) -> None:
        """Overridden in a higher layer, not valid, with a misspelt name, or of another program."""
        project.write(".env", "BOTCTL_DISCORD__TOKEN=over-ridden1\n")
        project.write("config/botctl.toml", 'redis.ulr = "redis://:mis-spelt2@h"\ndiscord.token = 123456789012\n')
        project.faults(
            BOTCTL_DISCORD__TOKEN=TOKEN,
            BOTCTL_MONGO__URL="http://u:wrong-scheme3@h",
            BOTCTL_REDIS_URL="redis://:wrong-name4@h",
            PAYMENT_API_KEY="of-another5",
        )
        secrets = ("over-ridden1", "mis-spelt2", "123456789012", "wrong-scheme3", "wrong-name4", "of-another5")
        assert [redact(secret) for secret in secrets] == ["[redacted]"] * len(secrets)


class TestFaults:
    @pytest.mark.parametrize(
        ("toml", "sentence"),
        [
            (
                "\n[discord]\ntokn = 's3cr3t'",
                "config/botctl.toml:3: discord.tokn is an unknown setting; did you mean discord.token?",
            ),
            ("[comands]\nfolder = 'x'", "config/botctl.toml:1: comands is an unknown setting; did you mean commands?"),
            ("[a.b.c]\nd = 1", "config/botctl.toml:1: a is an unknown setting."),
            ("redis.timeout_s = 'soon'", "config/botctl.toml:1: redis.timeout_s must be a number, not 'soon'."),
            ("redis.timeout_s = 0", "config/botctl.toml:1: redis.timeout_s must be greater than 0, not 0."),
            ("sandbox.port = 1.5", "config/botctl.toml:1: sandbox.port must be a whole number, not 1.5."),
            (
                "discord.sync_commands = 'maybe'",
                "config/botctl.toml:1: discord.sync_commands must be true or false, not 'maybe'.",
            ),
            ("discord = 'x'", "config/botctl.toml:1: discord must be a table, not 'x'."),
            ("bot = ['a']", "config/botctl.toml:1: bot must be text."),
            (
                "web.host = '0.0.0.0'",
                "config/botctl.toml:1: web.host is not loopback, so web.url must be set, such as https://bot.example.",
            ),
            ("bot = 'A b'", "config/botctl.toml:1: bot must be 1 to 32 of a-z, 0-9 and -, not 'A b'."),
            ("discord.test_guilds = 5", "config/botctl.toml:1: discord.test_guilds must be a list, not 5."),
            (
                "discord.test_guilds = [\n'12']",
                "config/botctl.toml:1: discord.test_guilds must be a Discord id of 15 to 20 digits, not '12'.",
            ),
            ("discord.token = 5", "config/botctl.toml:1: discord.token must be text."),
            (
                "mongo.url = 's3cr3t'",
                "config/botctl.toml:1: mongo.url must be a URL that begins with mongodb:// or mongodb+srv://.",
            ),
            (
                "[roles.Big]\nusers = []",
                "config/botctl.toml:1: roles.Big must be a letter and up to 31 of a-z, 0-9, - and _, not 'Big'.",
            ),
            ("commands.folder = ''", "config/botctl.toml:1: commands.folder must have at least 1 character, not ''."),
            ("bot = 'a'\n\nbot = ", "config/botctl.toml:3: is not TOML: Invalid value (at end of document)."),
            (
                "bot = 1 2",
                "config/botctl.toml:1: is not TOML: Expected newline or end of document after a statement (column 9).",
            ),
            ("bot = 'a", 'config/botctl.toml:1: is not TOML: Expected "\'" (at end of document).'),
        ],
    )
    def test_wrong_file_is_reported_with_its_line(self, project: Project, toml: str, sentence: str) -> None:
        project.write("config/botctl.toml", toml)
        assert project.faults() == sentence
        assert "s3cr3t" not in sentence

    def test_wrong_throttle_has_its_own_message(self, project: Project) -> None:
        project.write("config/botctl.toml", "commands.throttle = '5/10 per user'")
        said = project.faults()
        assert said.startswith("config/botctl.toml:1: commands.throttle limit '5/10 per user'")
        assert said.count("5/10 per user") == 1

    @pytest.mark.parametrize(
        ("env", "sentence"),
        [
            ({"BOTCTL_BOTT": "x"}, "BOTCTL_BOTT is an unknown variable; did you mean BOTCTL_BOT?"),
            ({"BOTCTL_KJXQZVWYKJXQZVWY": "x"}, "BOTCTL_KJXQZVWYKJXQZVWY is an unknown variable."),
            (
                {"BOTCTL_DISCORD__TOKN": TOKEN},
                "BOTCTL_DISCORD__TOKN: discord.tokn is an unknown setting; did you mean BOTCTL_DISCORD__TOKEN?",
            ),
            ({"BOTCTL_REDIS": TOKEN}, "BOTCTL_REDIS must be JSON; set a single setting with BOTCTL_REDIS__<NAME>."),
            ({"BOTCTL_DISCORD__TOKEN__X": "x"}, "In BOTCTL_DISCORD__TOKEN__X, discord.token must be text."),
            (
                {"BOTCTL_REDIS__URL": f"http://u:{TOKEN}@h"},
                "BOTCTL_REDIS__URL: redis.url must be a URL that begins with redis:// or rediss:// or unix://.",
            ),
            ({"BOTCTL_BOT": "a\x1b[2Jb"}, "BOTCTL_BOT: bot must be 1 to 32 of a-z, 0-9 and -, not 'a\\x1b[2Jb'."),
        ],
    )
    def test_wrong_variable_is_reported_with_its_name(
        self, project: Project, env: dict[str, Any], sentence: str
    ) -> None:
        assert project.faults(**env) == sentence
        project.write(".env", "\n" + "\n".join(f"{name}='{value}'" for name, value in env.items()))
        assert project.faults().startswith(".env:2: ")

    def test_wrong_option_is_named(self, project: Project) -> None:
        assert project.faults(flags={"sandbox.port": 70000}) == (
            "--sandbox-port: sandbox.port must be less than or equal to 65535, not 70000."
        )

    def test_invalid_dotenv_lines_are_reported(self, project: Project) -> None:
        project.write(".env", "BOTCTL_BOT\nfoo bar=1\n\nBOTCTL_PROJECT=x\n")
        assert project.faults().splitlines() == [
            "3 settings are wrong:",
            "  .env:1: is not NAME=value.",
            "  .env:2: is not NAME=value.",
            "  .env:4: BOTCTL_PROJECT can only be set in the environment, or as --project.",
        ]

    def test_faults_of_all_layers_are_reported_together(self, project: Project) -> None:
        project.write("config/botctl.toml", "comands.folder = 'x'\nredis.timeout_s = -1")
        project.write("config/home.toml", "[")
        project.write(".env", "BOTCTL_DISCORD__TOKEN=")
        faults = project.faults("home", {"sandbox.port": "x"}, BOTCTL_X="1")
        for part in ("6 settings", "comands", "botctl.toml:2", "home.toml:1", ".env:1", "BOTCTL_X", "--sandbox-port"):
            assert part in faults

    def test_value_in_place_of_a_table_is_a_fault(self, project: Project) -> None:
        project.write("config/botctl.toml", "redis = 5")
        assert project.faults(BOTCTL_REDIS__TIMEOUT_S="3") == "config/botctl.toml:1: redis must be a table, not 5."

    def test_unreadable_files_are_faults(self, project: Project) -> None:
        (project.root / "config/botctl.toml").write_bytes(b"bot = '\xff'")
        (project.root / ".env").mkdir()
        assert "config/botctl.toml: is not UTF-8 text." in project.faults()
        assert ".env: cannot be read: Is a directory." in project.faults()

    def test_pydantic_reserved_names_are_unknown_settings(self, project: Project) -> None:
        project.write("config/botctl.toml", "_env_file = '.env'\nmodel_config = 1")
        assert project.faults().count("is an unknown setting") == 2

    @given(st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=8, max_size=30))
    @settings(max_examples=30)  # each loads the settings five times
    def test_no_secret_is_shown_wherever_it_is_put(self, secret: str) -> None:
        secret = f"§{secret}§"  # text of its own, that stands nowhere by chance
        loaded = load(EXAMPLE, None, {"BOTCTL_DISCORD__TOKEN": secret}, {})
        assert secret not in repr(loaded) + repr(explain(loaded))
        for variable in ("BOTCTL_DISCORD__TOKN", "BOTCTL_DISCORD__TOKEN__X", "BOTCTL_DISCORD", "BOTCTL_MONGO__URL"):
            with pytest.raises(ConfigError) as caught:
                load(EXAMPLE, None, {variable: secret}, {})
            assert secret not in str(caught.value)


class TestExplain:
    def test_every_setting_has_a_row_with_value_and_origin(self, project: Project) -> None:
        project.write("config/botctl.toml", '[roles.staff]\nusers = ["100000000000000001"]\n[services]\nx = "m:f"')
        loaded = project.load(
            BOTCTL_DISCORD__TOKEN=TOKEN, BOTCTL_REDIS__URL="redis://:hunter2x@db:1/0", BOTCTL_MONGO__URL="mongodb://h/"
        )
        rows = {row.key: (row.value_shown, row.origin) for row in explain(loaded)}
        assert rows["discord.token"] == ("[redacted]", "BOTCTL_DISCORD__TOKEN")
        assert rows["redis.url"] == ("redis://[redacted]@db:1/0", "BOTCTL_REDIS__URL")
        assert rows["mongo.url"] == ("mongodb://h/", "BOTCTL_MONGO__URL")
        assert rows["mongo.database"] == ("unset", "default")
        assert rows["roles.staff.users"] == ('["100000000000000001"]', "config/botctl.toml:2")
        assert rows["roles.staff.roles"] == ("[]", "default")
        assert rows["services.x"] == ('"m:f"', "config/botctl.toml:4")
        assert rows["discord.intents"] == ('["default"]', "default")
        assert rows["logs.level"] == ('"INFO"', "default")

    def test_empty_tables_have_a_row_too(self, project: Project) -> None:
        rows = {row.key: row.value_shown for row in explain(project.load())}
        assert rows["roles"] == rows["services"] == "{}"


def test_unreadable_settings_file_is_a_config_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> str:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "read_text", refuse)
    assert "config/botctl.toml: cannot be read: Permission denied." in project.faults()


class TestNotices:
    """Settings that are valid, but probably not what the operator means."""

    @pytest.mark.parametrize(
        ("name", "own"),
        [
            ("DISCORD_TOKEN", "BOTCTL_DISCORD__TOKEN"),
            ("BOT_TOKEN", "BOTCTL_DISCORD__TOKEN"),
            ("TOKEN", "BOTCTL_DISCORD__TOKEN"),
            ("REDIS_URL", "BOTCTL_REDIS__URL"),
            ("MONGODB_URI", "BOTCTL_MONGO__URL"),
        ],
    )
    @pytest.mark.parametrize("where", ["environment", ".env"])
    def test_variable_as_other_programs_call_it_is_named(
        self, project: Project, name: str, own: str, where: str
    ) -> None:
        if where == ".env":
            project.write(".env", f"{name}=something\n")
        (notice,) = project.load(**({name: "something"} if where == "environment" else {})).notices
        assert notice.startswith(f"{name} is set, but botctl does not read it")
        assert notice.endswith(f"Call the variable {own}.")
        value = "mongodb://h" if own == "BOTCTL_MONGO__URL" else "redis://h"
        assert project.load(**{own: value, name: "something"}).notices == ()
        assert project.load(**{name: ""}).notices == (() if where == "environment" else (notice,))

    def test_production_without_a_token_names_the_variable_too(self, project: Project) -> None:
        with pytest.raises(ConfigError) as caught:
            project.load("production", DISCORD_TOKEN=TOKEN)
        assert "DISCORD_TOKEN is set, but botctl does not read it" in caught.value.hint

    @pytest.mark.parametrize(
        ("url", "database", "named"),
        [
            ("mongodb://h/shop", "", "shop"),
            ("mongodb+srv://u:p@h1,h2:27017/shop?retryWrites=true", "", "shop"),
            ("mongodb://h/shop.items", "other", "shop"),
            ("mongodb://h/my%2Dshop", "", "my-shop"),
            ("mongodb://h/shop", "shop", ""),
            ("mongodb://u:p@h/admin", "", ""),
            ("mongodb://h/", "", ""),
            ("mongodb://h:27017", "", ""),
        ],
    )
    def test_database_in_the_url_that_is_ignored_is_named(
        self, project: Project, url: str, database: str, named: str
    ) -> None:
        env = {"BOTCTL_MONGO__URL": url} | ({"BOTCTL_MONGO__DATABASE": database} if database else {})
        sentences = project.load(**env).notices
        assert [f"mongo.url names the database {named}, but" in sentence for sentence in sentences] == [True][
            : len(named)
        ]

    @pytest.mark.parametrize("name", ["botctl_discord__token", "Botctl_Discord__Token"])
    def test_variable_in_lower_case_is_a_fault(self, project: Project, name: str) -> None:
        sentence = (
            f"{name} is not read: botctl's variables are written in capitals; did you mean BOTCTL_DISCORD__TOKEN?"
        )
        assert project.faults(**{name: TOKEN}) == sentence
        project.write(".env", f"\n{name}={TOKEN}\n")
        assert project.faults() == f".env:2: {sentence}"

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("HOME", ""),
            ("DISCORD__COLOUR", ""),
            ("SHOP__TOKEN", ""),
            ("TOKENS_OF_USERS", ""),
            ("TOKEN", "DISCORD__TOKEN"),
            ("DISCORD_TOKEN", "DISCORD__TOKEN"),
            ("DISCRD__TOKN", "DISCORD__TOKEN"),
            ("REDIS_URL", "REDIS__URL"),
            ("REDIS__TIMEOUT", "REDIS__TIMEOUT_S"),
        ],
    )
    def test_only_a_similar_variable_is_suggested(self, project: Project, name: str, meant: str) -> None:
        end = f"; did you mean BOTCTL_{meant}?" if meant else "."
        for variable, text in ((f"BOTCTL_{name}", "x"), (f"botctl_{name.lower()}", "x")):
            sentence = project.faults(**{variable: text})
            assert sentence.endswith(end)
            assert ("did you mean" in sentence) is bool(meant)

    @pytest.mark.parametrize("key", ["discord.colour", "shop.token", "home"])
    def test_unrelated_setting_of_a_file_gets_no_suggestion(self, project: Project, key: str) -> None:
        project.write("config/botctl.toml", f'{key} = "x"')
        assert project.faults().endswith(f"{key.removesuffix('.token')} is an unknown setting.")

    @pytest.mark.parametrize(
        ("toml", "meant"),
        [
            ('[discord]\nintents = ["message_contnt"]', "message_content"),
            ('[discord]\nintents = ["GUILD_MEMBERS"]', "members"),
            ('[discord]\nintents = ["guilds", "GUILD_MESSAGE_REACTIONS"]', "guild_reactions"),
            ('[logs]\nlevel = "debg"', "DEBUG"),
            ('profile = "prodution"', "production"),
        ],
    )
    def test_misspelled_value_gets_a_suggestion(self, project: Project, toml: str, meant: str) -> None:
        project.write("config/botctl.toml", toml)
        assert project.faults().endswith(f"; did you mean {meant}?")
