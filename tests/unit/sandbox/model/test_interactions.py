"""Interactions: one callback in time, and a token for 15 minutes."""

from __future__ import annotations

import pytest

from botctl.sandbox.model import interactions
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.interactions import Interaction, InteractionState, InteractionStore
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.world import EPHEMERAL, LOADING, World
from tests.support.clock import ManualClock
from tests.support.discord import ANN, BOT, GENERAL, GUILD


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> World:
    return default_world(clock)


@pytest.fixture
def store() -> InteractionStore:
    return InteractionStore(RateLimiter(Limits(kept=3)))


def open_interaction(
    store: InteractionStore, world: World, kind: int = interactions.COMMAND, **fields: str
) -> Interaction:
    defaults = {"application_id": BOT, "user_id": ANN, "guild_id": GUILD, "channel_id": GENERAL, "name": "roll"}
    return store.open(world, kind, **{**defaults, **fields})


def text(world: World, content: str, flags: int = 0) -> drafts.Draft:
    return drafts.parse_body({"content": content, "flags": flags}, [], world)


def status_and_code(refused: pytest.ExceptionInfo[ApiError]) -> tuple[int, int]:
    return refused.value.status, refused.value.code


def test_second_callback_is_refused(store: InteractionStore, world: World) -> None:
    interaction = open_interaction(store, world)
    assert not interaction.is_final
    found = store.get_unanswered(interaction.id, interaction.token, 2.9)
    message = interactions.reply(world, found, text(world, "hi", EPHEMERAL))
    assert (interaction.is_final, message.only_for, message.type, message.flags) == (True, ANN, 20, EPHEMERAL)
    with pytest.raises(ApiError) as refused:
        store.get_unanswered(interaction.id, interaction.token, 2.9)
    assert status_and_code(refused) == (400, 40060)


def test_late_or_foreign_callback_is_unknown(store: InteractionStore, world: World) -> None:
    interaction = open_interaction(store, world)
    for interaction_id, token, now_s in (
        (interaction.id, interaction.token, 3.1),
        ("1", interaction.token, 0.0),
        (interaction.id, "x", 0.0),
    ):
        with pytest.raises(ApiError) as refused:
            store.get_unanswered(interaction_id, token, now_s)
        assert status_and_code(refused) == (404, 10062)


def test_interaction_token_works_as_webhook_for_15_minutes_after_callback(
    store: InteractionStore, world: World
) -> None:
    interaction = open_interaction(store, world)
    with pytest.raises(ApiError) as refused:
        store.get_answered(BOT, interaction.token, 0.0)
    assert status_and_code(refused) == (404, 10015)
    interactions.defer(world, interaction, 0)
    assert store.get_answered(BOT, interaction.token, 900.0) is interaction
    with pytest.raises(ApiError) as refused:
        store.get_answered(BOT, interaction.token, 900.1)
    assert status_and_code(refused) == (401, 50027)


def test_only_the_newest_interactions_are_kept(store: InteractionStore, world: World) -> None:
    first, *_ = (open_interaction(store, world) for _ in range(4))
    with pytest.raises(ApiError):
        store.get_unanswered(first.id, first.token, 0.0)


def test_first_edit_replaces_thinking(store: InteractionStore, world: World) -> None:
    interaction = open_interaction(store, world)
    message = interactions.defer(world, interaction, EPHEMERAL)
    assert (interaction.state, interaction.is_final, message.flags) == (
        InteractionState.DEFERRED,
        False,
        EPHEMERAL | LOADING,
    )
    interactions.edit(world, interaction, message, text(world, "done"))
    assert (interaction.state, message.content, message.flags, message.edited_at) == (
        InteractionState.REPLIED,
        "done",
        EPHEMERAL,
        None,
    )
    interactions.edit(world, interaction, message, text(world, "again"))
    assert message.edited_at


def test_first_follow_up_replaces_thinking(store: InteractionStore, world: World) -> None:
    interaction = open_interaction(store, world)
    thinking = interactions.defer(world, interaction, 0)
    first, new = interactions.follow_up(world, interaction, text(world, "a"))
    second, newer = interactions.follow_up(world, interaction, text(world, "b"))
    assert (first, new, newer, interaction.followups) == (thinking, False, True, [second.id])
    assert interactions.own_message(world, interaction, second.id) is second


def test_deleting_thinking_ends_the_wait(store: InteractionStore, world: World) -> None:
    interaction = open_interaction(store, world)
    interactions.delete(world, interaction, interactions.defer(world, interaction, 0))
    assert interaction.is_final
    with pytest.raises(ApiError) as refused:
        interactions.own_message(world, interaction, "@original")
    assert status_and_code(refused) == (404, 10008)


def test_update_callback_changes_the_components_message(store: InteractionStore, world: World) -> None:
    source = interactions.reply(world, open_interaction(store, world), text(world, "0"))
    interaction = open_interaction(store, world, interactions.COMPONENT, source_id=source.id)
    assert interactions.update(world, interaction, text(world, "1")) is source
    assert (source.content, interaction.state, interactions.original_message(world, interaction)) == (
        "1",
        InteractionState.UPDATED,
        source,
    )
    two = open_interaction(store, world, interactions.COMPONENT, source_id=source.id)
    interactions.defer_update(two)
    assert not two.is_final
    interactions.edit(world, two, interactions.original_message(world, two), text(world, "2"))
    assert two.is_final
    three = open_interaction(store, world, interactions.COMPONENT, source_id=source.id)
    interactions.defer_update(three)
    interactions.delete(world, three, interactions.original_message(world, three))
    assert three.is_final, "the person sees it go"


def test_deferred_update_closes_a_modal_without_component(store: InteractionStore, world: World) -> None:
    interaction = open_interaction(store, world, interactions.MODAL_SUBMIT)
    interactions.defer_update(interaction)
    assert interaction.is_final
    with pytest.raises(ApiError) as refused:
        interactions.original_message(world, interaction)
    assert status_and_code(refused) == (404, 10008)
    assert interactions.follow_up(world, interaction, text(world, "later"))[1]


@pytest.mark.parametrize(
    ("kind", "source", "allowed"),
    [
        (interactions.COMMAND, None, {4, 5, 9}),
        (interactions.AUTOCOMPLETE, None, {8}),
        (interactions.COMPONENT, "1", {4, 5, 6, 7, 9}),
        (interactions.MODAL_SUBMIT, None, {4, 5, 6}),  # discord.js#8455: tried at Discord
        (interactions.MODAL_SUBMIT, "1", {4, 5, 6, 7}),
    ],
)
def test_callback_type_must_fit_the_interaction(
    store: InteractionStore, world: World, kind: int, source: str | None, allowed: set[int]
) -> None:
    interaction = open_interaction(store, world, kind, source_id=source)
    for callback in (None, 0, *range(4, 10), 99):
        if callback in allowed:
            assert interactions.check_callback(interaction, {"type": callback}) == callback
        else:
            with pytest.raises(ApiError, match="Invalid Form Body"):
                interactions.check_callback(interaction, {"type": callback})


def test_choices_and_modals_are_stored(store: InteractionStore, world: World) -> None:
    interaction = open_interaction(store, world, interactions.AUTOCOMPLETE)
    interactions.offer_choices(interaction, {"choices": [{"name": "A", "value": 1, "name_localizations": None}]})
    assert (interaction.choices, interaction.is_final) == ([{"name": "A", "value": 1}], True)
    with pytest.raises(ApiError):
        interactions.offer_choices(interaction, {"choices": [{"name": "A", "value": 1}] * 26})
    for wrong in ({}, {"value": None}, {"value": "x" * 101}, {"value": True}):
        with pytest.raises(ApiError):
            interactions.offer_choices(interaction, {"choices": [{"name": "A", **wrong}]})
    with pytest.raises(ApiError) as refused:
        interactions.open_modal(open_interaction(store, world), {"title": "T"})
    assert set(refused.value.errors["data"]) == {"custom_id", "components"}
