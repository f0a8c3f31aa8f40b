"""Who may see the metrics and the details of the readiness page: loopback, and keys with `STATUS_READ`."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from botctl.core.contracts.api_keys import ApiKeys, KeyRefused
from botctl.core.contracts.callers import Caller
from botctl.core.contracts.permissions import STATUS_READ
from botctl.core.contracts.throttle import API_SCOPES, Scope, address_subject, parse
from botctl.core.errors import STORE_FAULTS
from botctl.core.http.rate_limit_headers import throttled_headers
from botctl.realtime.budgets import LocalLimits

_POLICY: Final = "realtime.pages"
_LIMITS: Final = parse("2/1s burst 30 per address", scopes=API_SCOPES)  # of pages that are requested with a key
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="botctl"'}


@dataclass(frozen=True, slots=True)
class PageRefusal:
    """Why a page is not shown. ``given``: whether the request has a key."""

    status: http.HTTPStatus
    sentence: str
    headers: Mapping[str, str]
    given: bool = True


class PageAccess:
    """Checks the keys of requests for pages. ``may_see``: whether a caller has `STATUS_READ`."""

    def __init__(self, keys: ApiKeys, may_see: Callable[[Caller], bool], *, time_s: Callable[[], float]) -> None:
        self._keys = keys
        self._may_see = may_see
        self._limits = LocalLimits(_LIMITS)
        self._time_s = time_s

    async def check(self, address: str, authorization: Sequence[str]) -> PageRefusal | None:
        """Why a request from ``address`` with these Authorization headers may not see a page; None if it may."""
        text = _bearer(authorization)
        if text is None:
            sentence = "from another host, this page needs the header Authorization: Bearer botctl_…"
            return PageRefusal(http.HTTPStatus.UNAUTHORIZED, sentence, _CHALLENGE, given=bool(authorization))
        verdict = self._limits.check({Scope.ADDRESS: address_subject(address)}, self._time_s())
        if not verdict.allowed:
            headers = throttled_headers(_POLICY, _LIMITS, verdict.limit, verdict.retry_after_s)
            return PageRefusal(http.HTTPStatus.TOO_MANY_REQUESTS, "too many requests", headers)
        return await self._check_key(text, address_subject(address))

    async def _check_key(self, text: str, address: str) -> PageRefusal | None:
        try:
            key = await self._keys.check(text, address=address)
        except KeyRefused as error:
            challenge = {"WWW-Authenticate": 'Bearer realm="botctl", error="invalid_token"'}
            return PageRefusal(http.HTTPStatus.UNAUTHORIZED, str(error), challenge)
        except STORE_FAULTS:
            sentence = "keys cannot be checked at the moment"
            return PageRefusal(http.HTTPStatus.SERVICE_UNAVAILABLE, sentence, {"Retry-After": "5"})
        if self._may_see(key):
            return None
        return PageRefusal(http.HTTPStatus.FORBIDDEN, f"this key does not have the permission {STATUS_READ}", {})


@dataclass(frozen=True, slots=True)
class PageReader:
    """Who requests a page. ``is_local``: from this machine, and not through a proxy."""

    access: PageAccess
    address: str
    is_local: bool
    authorization: Sequence[str] = ()

    async def refusal(self) -> PageRefusal | None:
        """Why it may not see the details; None if it may."""
        return None if self.is_local else await self.access.check(self.address, self.authorization)


def _bearer(authorization: Sequence[str]) -> str | None:
    """The key in the Authorization header, if there is one."""
    scheme, _, text = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    return text.strip() if scheme.lower() == "bearer" and text.strip().isascii() else None
