"""Documents that were not written as botctl writes them: readers leave them out, show the others, and name them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from botctl.core.errors import IntegrityError, type_name
from botctl.core.escape import safe

T = TypeVar("T")

FAULTS: Final = (KeyError, TypeError, ValueError, AttributeError, IntegrityError)
"""What a parser raises for such a document."""

_SHOWN: Final = 5  # names in a sentence
_log = logging.getLogger(__name__)


class Malformed:
    """The malformed documents of ``collection`` that the last `read` left out: their ids, with what is wrong."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.faults: dict[str, str] = {}
        self._logged: dict[str, str] = {}

    def read(self, documents: Iterable[Mapping[str, Any]], parse: Callable[[Mapping[str, Any]], T]) -> list[T]:
        """What ``parse`` makes of each document. Those for which it raises one of `FAULTS` are left out.

        That is logged once for each, until the document is correct again.
        """
        read, self.faults = [], {}
        for document in documents:
            try:
                read.append(parse(document))
                self._logged.pop(safe(document.get("_id"), 80), None)
            except FAULTS as error:
                name = safe(document.get("_id"), 80)
                self.faults[name] = describe_fault(error)
                if self._logged.get(name) != self.faults[name]:
                    _log.info("the document %s of %s is left out: %s", name, self.collection, self.faults[name])
        self._logged |= self.faults
        return read

    def require_none(self) -> None:
        """Raise IntegrityError, which names the documents that were left out, if there are any."""
        if self.faults:
            raise malformed_error(self.collection, self.faults)


def malformed_error(collection: str, faults: Mapping[str, str]) -> IntegrityError:
    """The error that names documents of ``collection``. ``faults``: what is wrong, by their ids; at least one."""
    listed = "; ".join(f"{name} ({fault})" for name, fault in list(faults.items())[:_SHOWN])
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    documents = "A document" if len(faults) == 1 else f"{len(faults)} documents"
    return IntegrityError(
        f"{documents} of {collection} cannot be read: {listed}{more}.",
        hint="Correct or delete it in the database, or install the newer botctl that wrote it.",
    )


def describe_fault(error: Exception) -> str:
    """What is wrong with a document, in a few words."""
    if isinstance(error, KeyError):
        return f"{safe(error.args[0] if error.args else '?', 40)} is missing"
    return safe(error, 120) or type_name(error)


def value_of(document: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """The field ``name`` of ``document``. Raises KeyError if it is missing, ValueError if it has none of these types.

    A whole number may be a float, as some tools write it.
    """
    value = document[name]
    if isinstance(value, float) and value.is_integer() and int in kinds:
        return int(value)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{name} is {safe(repr(value), 40)}")
    return value
