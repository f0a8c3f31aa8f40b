"""The models: defaults that read nothing, frozen, described, bounded."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from botctl.core.config.settings import PRODUCTION, Intent, Settings, uses_sandbox


def models(model: type[BaseModel] = Settings) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from models(field.annotation)


def test_settings_without_arguments_are_defaults_and_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTCTL_BOT", "other")
    settings = Settings()
    assert settings.bot == "bot"
    assert settings.database == "botctl_bot"
    assert settings.discord.intents == (Intent.DEFAULT,)


def test_every_field_is_described_and_every_model_frozen_and_closed() -> None:
    for model in models():
        assert model.model_config.get("frozen") is True
        assert model.model_config.get("extra") == "forbid"
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("token", "profile", "sandbox"),
    [(None, "default", True), ("abc", "default", False), ("abc", PRODUCTION, False), (None, PRODUCTION, False)],
)
def test_the_sandbox_is_used_without_a_token_outside_production(token: str, profile: str, sandbox: bool) -> None:
    settings = Settings.model_validate({"profile": profile, "discord": {"token": token}})
    assert uses_sandbox(settings) is sandbox


def test_list_can_be_text_and_id_can_be_number() -> None:
    discord = Settings.model_validate({"discord": {"test_guilds": " 100000000000000001,100000000000000002 "}}).discord
    assert discord.test_guilds == ("100000000000000001", "100000000000000002")
    discord = Settings.model_validate({"discord": {"test_guilds": [100000000000000001]}}).discord
    assert discord.test_guilds == ("100000000000000001",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bot": "Not A Name"},
        {"bot": "bot\n"},
        {"discord": {"test_guilds": True}},
        {"discord": {"test_guilds": "[1,"}},
        {"redis": {"url": "http://localhost"}},
        {"redis": {"timeout_s": float("nan")}},
        {"commands": {"defer_after_s": 3}},
        {"commands": {"throttle": "often"}},
        {"roles": {"9": {}}},
        {"services": {"x": "module.factory"}},
        {"logs": {"rotate_bytes": 1}},
        {"sandbox": {"port": 70000}},
    ],
)
def test_value_out_of_bounds_is_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


@pytest.mark.parametrize(("written", "count"), [("auto", None), ("16", 16), (16, 16), (1, 1)])
def test_number_of_shards_is_a_number_or_that_of_discord(written: object, count: int | None) -> None:
    assert Settings.model_validate({"discord": {"shards": written}}).discord.shard_count == count


@pytest.mark.parametrize("written", [0, -1, "many", "1.5", True, 10_000])
def test_other_numbers_of_shards_are_refused(written: object) -> None:
    with pytest.raises(ValidationError, match=r"must be \"auto\", or a number up to 9999|valid string"):
        Settings.model_validate({"discord": {"shards": written}})
