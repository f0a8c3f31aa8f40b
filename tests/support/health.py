"""A `HealthSource` whose verdicts the test sets."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.core.contracts.health import ALL_IS_WELL, Diagnosis, Health


@dataclass
class FakeHealth:
    process: Diagnosis = ALL_IS_WELL
    bot: Diagnosis = ALL_IS_WELL

    def of_process(self) -> Diagnosis:
        return self.process

    def of_bot(self) -> Diagnosis:
        return self.bot


DEAF = Diagnosis(
    verdict=Health.DEAF, proc="vm:1", shard=3, why="shard 3 of vm:1 is deaf", action="it reconnects by itself"
)
