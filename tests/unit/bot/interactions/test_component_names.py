"""Names of components, under which they are counted."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.bot.interactions.component_names import class_owner, component_name, message_command
from botctl.core.contracts.invocation import Kind

HANDLERS = {(Kind.COMPONENT, "poll:vote"), (Kind.MODAL, "poll:form"), (Kind.COMPONENT, "user/Ban:sure")}
POLICIES = {(Kind.SLASH, "poll"), (Kind.SLASH, "ops cache"), (Kind.USER, "Ban"), (Kind.USER, "poll")}


@pytest.mark.parametrize(
    ("custom_id", "name"),
    [
        ("poll:vote:123:0", "poll:vote"),
        ("poll:vote", "poll:vote"),
        ("poll:form", "poll:?"),  # a form is no button
        ("poll:anything:7", "poll:?"),
        ("poll", "poll:?"),
        ("ops cache:x", "ops cache:?"),
        ("user/Ban:sure:1", "user/Ban:sure"),
        ("Ban:sure:1", "user/Ban:sure"),  # as written by earlier versions
        ("user/poll:x", "user/poll:?"),
        ("confirm", "message"),
        ("0123456789abcdef0123456789abcdef", "message"),
    ],
)
def test_component_is_named_after_a_command_or_its_message(custom_id: str, name: str):
    assert component_name(Kind.COMPONENT, custom_id, handlers=HANDLERS, policies=POLICIES, source=None) == name


@pytest.mark.parametrize("kind", [Kind.COMPONENT, Kind.MODAL])
def test_free_custom_ids_of_one_source_have_one_name(kind: Kind):
    ids = [f"btn-{n}" for n in range(20)] + [f"page:{n}" for n in range(20)] + ["0123456789abcdef0123456789abcdef"]
    names = {component_name(kind, one, handlers=HANDLERS, policies=POLICIES, source="cog/Shop") for one in ids}
    assert names == {"cog/Shop:*"}


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"interaction": {"name": "ops cache"}}, "ops cache"),
        ({"interaction_metadata": {"name": "Ban", "target_user": {}}}, "user/Ban"),
        ({"interaction": {"name": "ban"}, "interaction_metadata": {"target_user": {}}}, None),
        ({"interaction": {"name": "Ban"}}, "user/Ban"),
        ({"interaction": {"name": "Ban"}, "interaction_metadata": {"target_message_id": "1"}}, "message/Ban"),
        ({"interaction": {"name": "both"}, "type": 23}, "user/both"),
        ({"interaction": {"name": "both"}, "type": 20}, "both"),
        ({"interaction": {"name": "gone"}}, None),
        ({"interaction_metadata": {"interacted_message_id": "1"}}, None),
        ({"interaction": None}, None),
        ({}, None),
    ],
)
def test_message_belongs_to_the_command_that_it_answered(message: dict[str, Any], command: str | None):
    known = {(Kind.SLASH, "ops cache"), (Kind.SLASH, "ban"), (Kind.USER, "Ban"), (Kind.MESSAGE, "Ban")}
    known |= {(Kind.SLASH, "both"), (Kind.USER, "both")}
    assert message_command(message, lambda kind, name: (kind, name) in known) == command


def test_view_belongs_to_the_cog_of_its_file():
    class View: ...

    class Cog: ...

    assert class_owner(View, {"Shop": Cog()}) == "cog/Shop"
    assert class_owner(View, {"Other": 1}) == f"class/{View.__qualname__}"
