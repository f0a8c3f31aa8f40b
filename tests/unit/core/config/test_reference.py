"""The list of all settings is complete, and docs/configuration.md is it."""

from botctl.core.config.reference import as_table, find, is_secret, reference, to_toml
from botctl.core.config.settings import Settings
from tests.support import ROOT

PAGE = ROOT / "docs" / "configuration.md"


def test_page_contains_the_table_of_all_settings() -> None:
    """Print `as_table()` and paste it when this fails."""
    assert as_table() in PAGE.read_text(encoding="utf-8")


def test_every_field_of_every_section_is_listed() -> None:
    keys = {setting.key for setting in reference()}
    for name, field in Settings.model_fields.items():
        section = field.default
        if hasattr(section, "__pydantic_fields__"):
            for inner in type(section).model_fields:
                assert any(key == f"{name}.{inner}" or key.startswith(f"{name}.{inner}.<") for key in keys)
        else:
            assert any(key == name or key.startswith(f"{name}.") for key in keys)


def test_settings_are_selected_by_name_and_secrets_marked() -> None:
    found = find(("roles", "admin", "users"))
    assert found is not None
    assert found.variable == "BOTCTL_ROLES__<NAME>__USERS"
    assert find(("roles", "admin", "colour")) is None
    assert is_secret(("discord", "token"))
    assert is_secret(("mongo", "url"))
    assert not is_secret(("mongo", "database"))
    assert not is_secret(("mongo", "nothing"))


def test_values_are_shown_as_toml() -> None:
    values: tuple[object, ...] = (None, True, 2.0, 'a"b', ("x",), {})
    assert [to_toml(value) for value in values] == ["unset", "true", "2.0", '"a\\"b"', '["x"]', "{}"]
