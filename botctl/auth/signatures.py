"""Sign keys and grants again, after `auth.secret` was replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from botctl.auth.grants import COLLECTION as GRANTS
from botctl.auth.key_documents import COLLECTION as KEYS
from botctl.auth.signing import FIELD, NotSigned, Signer
from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import Change, current_operator, make_entry
from botctl.core.contracts.protocols import Auditor
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.stores.journal import journaled

_reaching_mongo: Final = reaching_mongo("The keys and grants cannot be reached: MongoDB failed ({error}).")


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """Numbers of documents. ``total``: all. ``signed``: those signed again. ``unknown``: signed with neither secret."""

    total: int
    signed: int
    unknown: int


async def sign_again(
    database: AsyncDatabase[dict[str, Any]], signer: Signer, auditor: Auditor, clock: Clock
) -> SignatureReport:
    """Sign with ``auth.secret`` the keys and grants that ``auth.previous_secret`` has signed.

    A document that another process changes in between is left to that process, which signs it. Raises ConfigError if
    there is no secret, and Unreachable.
    """
    reports = [await _sign_again(journaled(database[name]), name, signer) for name in (KEYS, GRANTS)]
    report = _sum(reports)
    if report.signed:
        changes = [Change(name, None, each.signed) for name, each in zip((KEYS, GRANTS), reports, strict=True)]
        auditor.record(make_entry("auth.sign-again", current_operator(), at=clock.now(), iface="cli", changes=changes))
    return report


async def _sign_again(collection: AsyncCollection[dict[str, Any]], name: str, signer: Signer) -> SignatureReport:
    with _reaching_mongo:
        documents = await collection.find({}).to_list()
    signed = unknown = 0
    for document in documents:
        renewed = signer.sign(name, document)
        if not _is_signed(document, name, signer):
            unknown += 1
        elif not signer.is_current(name, document):
            same = {"_id": document["_id"], FIELD: document[FIELD]}
            with _reaching_mongo:
                signed += (await collection.update_one(same, {"$set": {FIELD: renewed[FIELD]}})).matched_count
    return SignatureReport(len(documents), signed, unknown)


def _is_signed(document: Mapping[str, Any], name: str, signer: Signer) -> bool:
    try:
        signer.require_signature(name, document)
    except NotSigned:
        return False
    return True


def _sum(reports: Iterable[SignatureReport]) -> SignatureReport:
    numbers = [(report.total, report.signed, report.unknown) for report in reports]
    return SignatureReport(*map(sum, zip(*numbers, strict=True)))
