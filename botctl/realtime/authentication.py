"""Who connects: the caller behind an `Auth` message."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.core.contracts.api_keys import ApiKey, ApiKeys, KeyRefused
from botctl.core.contracts.callers import Caller
from botctl.core.contracts.sessions import SessionStore
from botctl.realtime.protocol import Auth


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Finds callers by their key, or by the ticket of a signed-in person. ``sessions``: None if no one can sign in."""

    keys: ApiKeys
    sessions: SessionStore | None = None

    async def check(self, request: Auth, address: str) -> Caller:
        """The caller of ``request``, which comes from ``address``.

        Raises:
            KeyRefused: the key or the ticket is not valid.
            Unreachable: the store does not answer.
        """
        if request.ticket is None:
            return await self.keys.check(request.key or "", address=address)
        caller = await self.sessions.redeem(request.ticket) if self.sessions is not None else None
        if caller is None:
            raise KeyRefused("this ticket does not exist, was used, or has expired; get a new one")
        return caller


def caller_fields(caller: Caller) -> dict[str, object]:
    """``caller`` as the reply to ``auth`` describes it: ``{"key": …}`` or ``{"session": …}``."""
    if isinstance(caller, ApiKey):
        fields = {"id": caller.id, "name": caller.name, "permissions": caller.permissions, "guild": caller.guild}
        return {"key": fields}
    person = caller.principal()
    return {"session": {"id": caller.id.removeprefix("session:"), "user": person.id, "name": person.name or ""}}
