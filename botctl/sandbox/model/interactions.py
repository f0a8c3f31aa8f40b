"""Interactions and the bot's responses to them (Discord: Receiving and Responding).

A user's action opens an `Interaction`. The bot has 3 s for one callback, its response; then 15 minutes to edit it and
to add messages (follow-ups) with the token. A `Draft` is a message body that has passed validation. No function waits;
code that waits for a response sets ``Interaction.on_change``.
"""

from __future__ import annotations

import enum
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botctl.sandbox.model.api_error import ApiError, FormErrors, unknown
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.messages import components, drafts
from botctl.sandbox.model.messages.drafts import Draft
from botctl.sandbox.model.world import EPHEMERAL, LOADING, Message, World

Json = dict[str, Any]

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5  # interaction types
REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9  # callback types
_CHOICES_MAX = 25
_SETTABLE_FLAGS = drafts.SETTABLE | EPHEMERAL
_CHOICE_MAX = _CUSTOM_ID_MAX = 100
_TITLE_MAX = 45


class InteractionState(enum.StrEnum):
    """The bot's response so far."""

    WAITING = "no_answer"
    REPLIED = "replied"
    DEFERRED = "deferred"
    UPDATED = "updated"
    DEFERRED_UPDATE = "deferred_update"
    MODAL = "modal"
    CHOICES = "choices"


@dataclass(slots=True)
class Interaction:
    id: str
    token: str
    type: int  # COMMAND, COMPONENT, AUTOCOMPLETE or MODAL_SUBMIT
    application_id: str
    user_id: str
    guild_id: str
    channel_id: str
    name: str  # of the command or component
    opened_s: float  # monotonic seconds
    command_type: int = 1  # slash command; 2: for a user, 3: for a message
    source_id: str | None = None  # the message with the component
    state: InteractionState = InteractionState.WAITING
    original_id: str | None = None  # the message ``@original``
    edited: bool = False  # the bot has edited or deleted that message
    followups: list[str] = field(default_factory=list)  # message ids
    modal: Json | None = None  # the data of callback 9
    choices: list[Json] | None = None  # of an autocomplete
    on_change: Callable[[], None] | None = None  # called after each response

    @property
    def is_final(self) -> bool:
        """Whether the user sees a result, not only "thinking…" or nothing."""
        if self.state is InteractionState.DEFERRED_UPDATE:
            return self.edited or bool(self.followups) or self.source_id is None
        return self.state not in (InteractionState.WAITING, InteractionState.DEFERRED)

    @property
    def is_withdrawn(self) -> bool:
        """Whether the bot deleted "thinking…" and has sent nothing else yet."""
        return self.state is InteractionState.REPLIED and self.original_id is None and not self.followups

    def changed(self) -> None:
        if self.on_change:
            self.on_change()


class InteractionStore:
    """The interactions that can still be responded to, by token."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter
        self._by_token: dict[str, Interaction] = {}
        self._order: deque[str] = deque()

    def __contains__(self, token: str) -> bool:
        return token in self._by_token

    @property
    def limits(self) -> Limits:
        return self._limiter.limits

    def open(self, world: World, kind: int, **fields: Any) -> Interaction:
        token = secrets.token_urlsafe(60)
        opened_s = world.clock.monotonic()
        interaction = Interaction(id=world.new_id(), token=token, type=kind, opened_s=opened_s, **fields)
        self._by_token[token] = interaction
        self._order.append(token)
        if len(self._order) > self.limits.kept:
            del self._by_token[self._order.popleft()]
        return interaction

    def get_unanswered(self, interaction_id: str, token: str, now_s: float) -> Interaction:
        """The interaction that a callback responds to. Raises 10062 (unknown or late), 40060 (it has a response)."""
        interaction = self._by_token.get(token)
        if interaction is None or interaction.id != interaction_id:
            raise unknown("interaction")
        if interaction.state is not InteractionState.WAITING:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        if now_s - interaction.opened_s > self.limits.response_s:
            raise unknown("interaction")
        return interaction

    def get_answered(self, application_id: str, token: str, now_s: float) -> Interaction:
        """The interaction for an edit or a follow-up. Raises 10015 (unknown, no response yet), 50027 (late)."""
        interaction = self._by_token.get(token)
        if interaction is None or interaction.application_id != application_id:
            raise unknown("Webhook")
        if now_s - interaction.opened_s > self.limits.token_s:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if interaction.state is InteractionState.WAITING:
            raise unknown("Webhook")
        return interaction


def check_callback(interaction: Interaction, body: Json) -> int:
    """The type of the callback in ``body``. Raises 50035 (invalid body) when the interaction does not allow it."""
    kind = body.get("type")
    allowed = {
        COMMAND: (REPLY, DEFER, MODAL),
        AUTOCOMPLETE: (CHOICES,),
        COMPONENT: (REPLY, DEFER, DEFER_UPDATE, UPDATE, MODAL),
        MODAL_SUBMIT: (REPLY, DEFER, DEFER_UPDATE) + ((UPDATE,) if interaction.source_id else ()),
    }[interaction.type]
    if kind in allowed:
        return int(kind)
    errors = FormErrors()
    errors.add(("type",), "BASE_TYPE_CHOICES", f"Value must be one of {{{', '.join(map(str, allowed))}}}.")
    errors.check()
    raise AssertionError


def reply(world: World, interaction: Interaction, draft: Draft) -> Message:
    """Callback 4: a new message."""
    message = _create_message(world, interaction, draft, draft.flags & _SETTABLE_FLAGS)
    interaction.original_id = message.id
    interaction.state = InteractionState.REPLIED
    return message


def defer(world: World, interaction: Interaction, flags: int) -> Message:
    """Callback 5: “thinking…”, a message that is filled later."""
    message = _create_message(world, interaction, Draft(), flags & EPHEMERAL | LOADING)
    interaction.original_id = message.id
    interaction.state = InteractionState.DEFERRED
    return message


def update(world: World, interaction: Interaction, draft: Draft) -> Message:
    """Callback 7: change the message of the component."""
    message = source_message(world, interaction)
    interaction.original_id = message.id
    interaction.state = InteractionState.UPDATED
    return drafts.edit(world, message, draft)


def defer_update(interaction: Interaction) -> None:
    """Callback 6: show nothing. The component's message may be edited later; a modal closes."""
    interaction.original_id = interaction.source_id
    interaction.state = InteractionState.DEFERRED_UPDATE


def offer_choices(interaction: Interaction, body: Json) -> None:
    """Callback 8: the choices of an autocomplete."""
    errors = FormErrors()
    choices = errors.objects(("data",), body, "choices")
    errors.at_most(("data", "choices"), choices, _CHOICES_MAX)
    for index, choice in enumerate(choices):
        errors.text(("data", "choices", index), choice, "name", 1, _CHOICE_MAX)
        if isinstance(choice.get("value"), str):
            errors.text(("data", "choices", index), choice, "value", 0, _CHOICE_MAX)
        elif type(choice.get("value")) not in (int, float):
            errors.add(("data", "choices", index, "value"), "BASE_TYPE_REQUIRED", "This field is required")
    errors.check()
    interaction.choices = [{"name": choice["name"], "value": choice["value"]} for choice in choices]
    interaction.state = InteractionState.CHOICES


def open_modal(interaction: Interaction, body: Json) -> Json:
    """Callback 9: open a modal; returns its data."""
    errors = FormErrors()
    errors.text(("data",), body, "custom_id", 1, _CUSTOM_ID_MAX)
    errors.text(("data",), body, "title", 1, _TITLE_MAX)
    fields = errors.objects(("data",), body, "components")
    if not fields:
        errors.add(("data", "components"), "BASE_TYPE_REQUIRED", "This field is required")
    components.check_modal(fields, errors, ("data", "components"))
    errors.check()
    interaction.modal = body
    interaction.state = InteractionState.MODAL
    return body


def original_message(world: World, interaction: Interaction) -> Message:
    """The message ``@original``. Raises 10008 (unknown message) when there is none."""
    message = world.message(interaction.channel_id, interaction.original_id or "")
    if message is None:
        raise unknown("Message")
    return message


def own_message(world: World, interaction: Interaction, message_id: str) -> Message:
    """A message of this interaction: ``@original`` or the id of a follow-up. Raises 10008 (unknown message)."""
    if message_id in ("@original", interaction.original_id):
        return original_message(world, interaction)
    message = world.message(interaction.channel_id, message_id) if message_id in interaction.followups else None
    if message is None:
        raise unknown("Message")
    return message


def edit(world: World, interaction: Interaction, message: Message, draft: Draft) -> Message:
    """Edit one of its messages. The first edit of “thinking…” is the reply."""
    drafts.edit(world, message, draft)
    if message.id == interaction.original_id:
        interaction.edited = True
        if interaction.state is InteractionState.DEFERRED:
            interaction.state = InteractionState.REPLIED
    return message


def delete(world: World, interaction: Interaction, message: Message) -> None:
    world.remove_message(message)
    if message.id in interaction.followups:
        interaction.followups.remove(message.id)
        return
    interaction.edited = True
    if interaction.state is InteractionState.DEFERRED:
        interaction.state = InteractionState.REPLIED  # for the user only “thinking…” disappears
        interaction.original_id = None


def follow_up(world: World, interaction: Interaction, draft: Draft) -> tuple[Message, bool]:
    """A follow-up, and whether it is a new message: the first one after a defer replaces “thinking…”."""
    thinking = world.message(interaction.channel_id, interaction.original_id or "")
    if interaction.state is InteractionState.DEFERRED and thinking is not None:
        return edit(world, interaction, thinking, draft), False
    message = _create_message(world, interaction, draft, draft.flags & _SETTABLE_FLAGS)
    interaction.followups.append(message.id)
    return message, True


def source_message(world: World, interaction: Interaction) -> Message:
    """The message with the component. Raises 10008 (unknown message) when it was deleted."""
    message = world.message(interaction.channel_id, interaction.source_id or "")
    if message is None:
        raise unknown("Message")
    return message


def _create_message(world: World, interaction: Interaction, draft: Draft, flags: int) -> Message:
    invoked: Json = {
        "id": interaction.id,
        "type": interaction.type,
        "name": interaction.name,
        "user_id": interaction.user_id,
        "message_id": interaction.source_id,
    }
    return drafts.create(
        world,
        draft,
        channel_id=interaction.channel_id,
        guild_id=interaction.guild_id,
        author_id=interaction.application_id,
        application_id=interaction.application_id,
        type=_message_type(interaction),
        flags=flags,
        only_for=interaction.user_id if flags & EPHEMERAL else None,
        invoked=invoked,
    )


def _message_type(interaction: Interaction) -> int:
    """Discord: Message Types: 20 for a slash command, 23 for a context menu, 0 for the rest."""
    if interaction.type != COMMAND:
        return 0
    return 20 if interaction.command_type == 1 else 23
