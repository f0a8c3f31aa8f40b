"""An interaction is answered once, in time, and its token lives a quarter of an hour."""

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
def book() -> InteractionStore:
    return InteractionStore(RateLimiter(Limits(kept=3)))


def opened(book: InteractionStore, world: World, kind: int = interactions.COMMAND, **more: str) -> Interaction:
    fields = {"application_id": BOT, "user_id": ANN, "guild_id": GUILD, "channel_id": GENERAL, "name": "roll"}
    return book.open(world, kind, **{**fields, **more})


def text(world: World, content: str, flags: int = 0) -> drafts.Draft:
    return drafts.parse_body({"content": content, "flags": flags}, [], world)


def code(refused: pytest.ExceptionInfo[ApiError]) -> tuple[int, int]:
    return refused.value.status, refused.value.code


def test_second_callback_is_refused(book: InteractionStore, world: World) -> None:
    one = opened(book, world)
    assert not one.is_final
    found = book.get_unanswered(one.id, one.token, 2.9)
    shown = interactions.reply(world, found, text(world, "hi", EPHEMERAL))
    assert (one.is_final, shown.only_for, shown.type, shown.flags) == (True, ANN, 20, EPHEMERAL)
    with pytest.raises(ApiError) as refused:
        book.get_unanswered(one.id, one.token, 2.9)
    assert code(refused) == (400, 40060)


def test_late_or_foreign_callback_is_unknown(book: InteractionStore, world: World) -> None:
    one = opened(book, world)
    for interaction_id, token, now_s in ((one.id, one.token, 3.1), ("1", one.token, 0.0), (one.id, "x", 0.0)):
        with pytest.raises(ApiError) as refused:
            book.get_unanswered(interaction_id, token, now_s)
        assert code(refused) == (404, 10062)


def test_interaction_token_works_as_webhook_for_15_minutes_after_callback(book: InteractionStore, world: World) -> None:
    one = opened(book, world)
    with pytest.raises(ApiError) as refused:
        book.get_answered(BOT, one.token, 0.0)
    assert code(refused) == (404, 10015)
    interactions.defer(world, one, 0)
    assert book.get_answered(BOT, one.token, 900.0) is one
    with pytest.raises(ApiError) as refused:
        book.get_answered(BOT, one.token, 900.1)
    assert code(refused) == (401, 50027)


def test_only_the_newest_interactions_are_kept(book: InteractionStore, world: World) -> None:
    first, *_ = (opened(book, world) for _ in range(4))
    with pytest.raises(ApiError):
        book.get_unanswered(first.id, first.token, 0.0)


def test_first_edit_replaces_thinking(book: InteractionStore, world: World) -> None:
    one = opened(book, world)
    shown = interactions.defer(world, one, EPHEMERAL)
    assert (one.state, one.is_final, shown.flags) == (InteractionState.DEFERRED, False, EPHEMERAL | LOADING)
    interactions.edit(world, one, shown, text(world, "done"))
    assert (one.state, shown.content, shown.flags, shown.edited_at) == (
        InteractionState.REPLIED,
        "done",
        EPHEMERAL,
        None,
    )
    interactions.edit(world, one, shown, text(world, "again"))
    assert shown.edited_at


def test_first_follow_up_replaces_thinking(book: InteractionStore, world: World) -> None:
    one = opened(book, world)
    thinking = interactions.defer(world, one, 0)
    first, new = interactions.follow_up(world, one, text(world, "a"))
    second, newer = interactions.follow_up(world, one, text(world, "b"))
    assert (first, new, newer, one.followups) == (thinking, False, True, [second.id])
    assert interactions.own_message(world, one, second.id) is second


def test_deleting_thinking_ends_the_wait(book: InteractionStore, world: World) -> None:
    one = opened(book, world)
    interactions.delete(world, one, interactions.defer(world, one, 0))
    assert one.is_final
    with pytest.raises(ApiError) as refused:
        interactions.own_message(world, one, "@original")
    assert code(refused) == (404, 10008)


def test_update_callback_changes_the_components_message(book: InteractionStore, world: World) -> None:
    source = interactions.reply(world, opened(book, world), text(world, "0"))
    one = opened(book, world, interactions.COMPONENT, source_id=source.id)
    assert interactions.update(world, one, text(world, "1")) is source
    assert (source.content, one.state, interactions.original_message(world, one)) == (
        "1",
        InteractionState.UPDATED,
        source,
    )
    two = opened(book, world, interactions.COMPONENT, source_id=source.id)
    interactions.defer_update(two)
    assert not two.is_final
    interactions.edit(world, two, interactions.original_message(world, two), text(world, "2"))
    assert two.is_final
    three = opened(book, world, interactions.COMPONENT, source_id=source.id)
    interactions.defer_update(three)
    interactions.delete(world, three, interactions.original_message(world, three))
    assert three.is_final, "the person sees it go"


def test_deferred_update_closes_a_modal_without_component(book: InteractionStore, world: World) -> None:
    one = opened(book, world, interactions.MODAL_SUBMIT)
    interactions.defer_update(one)
    assert one.is_final
    with pytest.raises(ApiError) as refused:
        interactions.original_message(world, one)
    assert code(refused) == (404, 10008)
    assert interactions.follow_up(world, one, text(world, "later"))[1]


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
    book: InteractionStore, world: World, kind: int, source: str | None, allowed: set[int]
) -> None:
    one = opened(book, world, kind, source_id=source)
    for callback in (None, 0, *range(4, 10), 99):
        if callback in allowed:
            assert interactions.check_callback(one, {"type": callback}) == callback
        else:
            with pytest.raises(ApiError, match="Invalid Form Body"):
                interactions.check_callback(one, {"type": callback})


def test_choices_and_modals_are_stored(book: InteractionStore, world: World) -> None:
    one = opened(book, world, interactions.AUTOCOMPLETE)
    interactions.offer_choices(one, {"choices": [{"name": "A", "value": 1, "name_localizations": None}]})
    assert (one.choices, one.is_final) == ([{"name": "A", "value": 1}], True)
    with pytest.raises(ApiError):
        interactions.offer_choices(one, {"choices": [{"name": "A", "value": 1}] * 26})
    for wrong in ({}, {"value": None}, {"value": "x" * 101}, {"value": True}):
        with pytest.raises(ApiError):
            interactions.offer_choices(one, {"choices": [{"name": "A", **wrong}]})
    with pytest.raises(ApiError) as refused:
        interactions.open_modal(opened(book, world), {"title": "T"})
    assert set(refused.value.errors["data"]) == {"custom_id", "components"}
