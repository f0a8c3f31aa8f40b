"""Services of `botctl auth sign-again`."""

from __future__ import annotations

from botctl.auth.signatures import SignatureReport, sign_again
from botctl.auth.signing import Signer, document_signer
from botctl.core.clock import Clock
from botctl.core.config.loading import Loaded
from botctl.core.contracts.protocols import Auditor
from botctl.core.services.registry import Registry
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_mongo
from botctl.stores.mongo import Database


async def sign_keys_and_grants(loaded: Loaded) -> SignatureReport:
    """Sign the keys and grants of this bot with `auth.secret`. Audited."""
    async with open_services(loaded, add_mongo, add_audit, _add_signer) as running:
        return await sign_again(running.get(Database), running.get(Signer), running.get(Auditor), running.get(Clock))


def _add_signer(registry: Registry) -> None:
    registry.add(document_signer, name="signer")
