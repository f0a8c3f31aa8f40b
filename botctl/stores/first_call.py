"""The first call of a client to a store, and what to tell when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botctl.core.errors import (
    BotctlError,
    DriverFault,
    Meaning,
    StoreDamaged,
    StoreRejects,
    Unreachable,
    connect_hint,
)
from botctl.stores.address import display_url


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCall:
    """The errors of one driver, as sentences with the address. Not `translated`: the sentence depends on the meaning.

    ``sort`` as in `translated`; ``text`` is an error's message, without secrets.
    """

    store: str  # for people
    setting: str  # the name of its address
    drivers: tuple[type[Exception], ...]  # what the driver raises
    answers: tuple[type[Exception], ...]  # those of them that the server replies
    sort: Callable[[BaseException], Meaning]
    text: Callable[[Exception], str]

    @contextmanager
    def at(self, url: str) -> Iterator[None]:
        """An error of the driver in the block becomes one of `STORE_FAULTS`. A bug is left as it is."""
        try:
            yield
        except self.drivers as error:
            if (told := self._tell(url, error)) is None:
                raise
            raise told from error

    def _tell(self, url: str, error: Exception) -> BotctlError | None:
        meaning, store, text = self.sort(error), f"{self.store} at {display_url(url)}", self.text(error)
        match meaning.fault:
            case DriverFault.WRONG if meaning.is_tls:
                return StoreRejects(f"There is no trusted connection to {store}: {text}.", hint=meaning.hint)
            case DriverFault.WRONG:
                return StoreRejects(f"{store} rejects the connection: {text}.", hint=meaning.hint)
            case DriverFault.DAMAGED:
                return StoreDamaged(f"The data of {store} are damaged: {text}.", hint=meaning.hint)
            case DriverFault.TRANSIENT:
                answers = isinstance(error, self.answers)
                hint = meaning.hint or connect_hint(self.setting, url, answers=answers)
                fails = "is not ready" if answers else "does not answer"
                return Unreachable(f"{store} {fails}: {text}.", hint=hint)
            case DriverFault.BUG:
                return None
