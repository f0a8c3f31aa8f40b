"""What an exception means by its class: the nearest of its bases that a table names decides."""

from __future__ import annotations

from collections.abc import Mapping

from botctl.core.errors import Meaning


def meaning_by_class(
    error: BaseException, table: Mapping[type[BaseException], Meaning | None], default: Meaning
) -> Meaning | None:
    """The entry of ``table`` for ``error``: None where its class decides nothing. ``default``: it is not there."""
    return next((table[cls] for cls in type(error).__mro__ if cls in table), default)
