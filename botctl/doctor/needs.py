"""What the bot needs of Discord, and how that is known."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from botctl.core.escape import safe


class Basis(enum.StrEnum):
    """How a need is known, the surest first.

    ``DECLARED``: the code says so. ``SEEN``: Discord has refused it (403), as the log says. ``GUESSED``: from the name
    of what is read or called. ``PEOPLE``: people need it for the command; the bot often does, too.
    """

    DECLARED = "declared"
    SEEN = "seen"
    GUESSED = "guessed"
    PEOPLE = "of people"


@dataclass(frozen=True, slots=True)
class Need:
    """``what``: an intent (``members``) or a permission (``PIN_MESSAGES``). ``why``: the owner and the reason."""

    what: str
    basis: Basis
    why: str
    where: str

    def __str__(self) -> str:
        return f"{self.basis}: {safe(self.why)} ({safe(self.where)})"


def of(needs: Iterable[Need], what: str, *bases: Basis) -> list[Need]:
    """The ``needs`` of ``what`` with one of ``bases`` (default: any), the surest first."""
    order = list(Basis)
    found = [need for need in needs if need.what == what and (not bases or need.basis in bases)]
    return sorted(found, key=lambda need: order.index(need.basis))


def shortened(needs: Iterable[Need], limit: int = 4) -> str:
    """The ``needs`` in one line."""
    texts = list(dict.fromkeys(map(str, needs)))
    more = f"; and {len(texts) - limit} more" if len(texts) > limit else ""
    return "; ".join(texts[:limit]) + more
