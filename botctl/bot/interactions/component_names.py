"""The names of components and modals, under which they are counted, measured and audited.

A custom id is free text, so it is never a name: twenty buttons ``buy-0`` … ``buy-19`` would be twenty limits. The names
are those of commands, handlers, cogs and classes, see `botctl.core.contracts.invocation`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from botctl.core.contracts.invocation import (
    ANY_COMPONENT,
    ANY_ID,
    OTHER_COMPONENTS,
    Kind,
    command_of,
    policy_name,
)

MENU_KINDS: Final = (Kind.USER, Kind.MESSAGE)
_FROM_CONTEXT_MENU: Final = 23  # Discord: Message Types > CONTEXT_MENU_COMMAND


def component_name(
    kind: Kind,
    custom_id: str,
    *,
    handlers: Collection[tuple[Kind, str]],
    policies: Collection[tuple[Kind, str]],
    source: str | None,
) -> str:
    """Return the name of a component or modal.

    ``handlers``: the kinds and names of those that a Command handles. ``policies``: the kinds and names of the
    Commands. ``source``: where the others come from, see `message_command` and `class_owner`; None if unknown.
    """
    command, *more = custom_id.split(":", 2)
    if more:
        for candidate in _candidates(command):
            if (kind, name := f"{candidate}:{more[0]}") in handlers:
                return name
    for candidate in _candidates(command):
        if command_of(kind, name := f"{candidate}:{ANY_ID}") in policies:
            return name
    return f"{source}:{ANY_COMPONENT}" if source else OTHER_COMPONENTS


def message_command(message: Mapping[str, Any], is_command: Callable[[Kind, str], bool]) -> str | None:
    """Return the command that ``message`` (as Discord sends it) answered, with its kind; None if there is none.

    Discord sends no kind. A context menu is known by the type of the message, or by what was chosen there.
    """
    metadata = message.get("interaction_metadata") or {}
    name = (message.get("interaction") or metadata).get("name")
    if "target_user" in metadata:
        kinds: tuple[Kind, ...] = (Kind.USER,)
    elif "target_message_id" in metadata:
        kinds = (Kind.MESSAGE,)
    else:
        kinds = MENU_KINDS if message.get("type") == _FROM_CONTEXT_MENU else (Kind.SLASH, *MENU_KINDS)
    return next((policy_name(kind, name) for kind in kinds if name and is_command(kind, name)), None)


def class_owner(cls: type, cogs: Mapping[str, object]) -> str:
    """Return the owner of a view or modal of class ``cls``: the cog in the same file, else the class itself."""
    cog = next((name for name, cog in cogs.items() if type(cog).__module__ == cls.__module__), None)
    return f"cog/{cog}" if cog else f"class/{cls.__qualname__}"


def _candidates(command: str) -> Iterator[str]:
    """Yield ``command``, then with the kinds of context menus: custom ids of earlier versions have no kind."""
    yield command
    for kind in MENU_KINDS:
        yield policy_name(kind, command)
