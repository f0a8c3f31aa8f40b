"""Who may read what messages say (Discord: Gateway > Message Content Intent). Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
_NOTHING: Json = {"content": "", "embeds": [], "attachments": [], "components": []}


def without_intent(shown: Json, me: str) -> Json:
    """A message of a guild as the bot ``me`` sees it without the intent: empty, unless it is its own or calls it.

    The same goes for each message that is shown within.
    """
    readable = shown["author"]["id"] == me or any(one["id"] == me for one in shown["mentions"])
    seen = shown if readable else shown | _NOTHING
    if answered := shown.get("referenced_message"):
        seen = seen | {"referenced_message": without_intent(answered, me)}
    if not readable and (taken_along := shown.get("message_snapshots")):
        seen = seen | {"message_snapshots": [{**one, "message": one["message"] | _NOTHING} for one in taken_along]}
    return seen
