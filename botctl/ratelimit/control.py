"""Rate limits from elsewhere than the terminal: reset them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import UsageError
from botctl.ratelimit.inspect import Inspector, reset
from botctl.ratelimit.keys import parse_subject


@dataclass(frozen=True, slots=True)
class RedisLimitControl:
    """`LimitControl` (see there for the method)."""

    inspector: Inspector
    auditor: Auditor
    clock: Clock

    async def reset(self, subject: str, policy: str | None, *, actor: Principal, reason: str) -> Sequence[str]:
        try:
            parsed = parse_subject(subject)
        except ValueError as error:
            raise UsageError(f"{error}.") from None
        keys = await reset(self.inspector, self.auditor, self.clock, parsed, policy, actor=actor, reason=reason)
        return [key.policy for key in keys]
