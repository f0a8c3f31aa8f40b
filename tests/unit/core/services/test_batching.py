"""Questions in batches: every caller gets one answer, whatever the store does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from botctl.core.services.batching import MAX_BATCH, Batcher, BatchReply
from tests.support.raised import NO_EXCEPTIONS
from tests.support.stores import tasks_for
from tests.support.waiting import until


class Store:
    """Answers a number with its double; raises ``error`` if there is one."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.batches: list[int] = []
        self.failures = 0

    async def send(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(len(numbers))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [2 * number for number in numbers]

    def count_failure(self) -> None:
        self.failures += 1


@asynccontextmanager
async def asking(store: Store) -> AsyncIterator[Batcher[int, int]]:
    async with tasks_for("questions") as (tasks, _):
        batcher = Batcher[int, int](
            tasks,
            logging.getLogger("questions"),
            "the store failed ({error})",
            send=store.send,
            answer_alone=lambda number: -number,
            probe=lambda: store.send([]),
            on_failure=store.count_failure,
        )
        with batcher.running():
            yield batcher
        await tasks.cancel()


async def ask(batcher: Batcher[int, int], count: int) -> list[BatchReply[int]]:
    return await asyncio.gather(*(batcher.ask(number) for number in range(count)))


async def test_questions_of_one_turn_are_sent_together() -> None:
    store = Store()
    async with asking(store) as batcher:
        assert await ask(batcher, 200) == [BatchReply(2 * number, from_store=True) for number in range(200)]
    assert max(store.batches) == MAX_BATCH
    assert len(store.batches) == 4


@pytest.mark.parametrize("error", [ConnectionError("down"), *NO_EXCEPTIONS], ids=lambda error: type(error).__name__)
async def test_whatever_the_store_raises_every_caller_is_answered(error: BaseException) -> None:
    store = Store()
    async with asking(store) as batcher:
        store.error = error
        assert await ask(batcher, 200) == [BatchReply(-number, from_store=False) for number in range(200)]
        assert (batcher.is_alone, store.failures > 0) == (True, True)
        store.error = None
        await until(lambda: not batcher.is_alone)
        assert await batcher.ask(3) == BatchReply(6, from_store=True)
    assert await batcher.ask(3) == BatchReply(-3, from_store=False)


async def test_questions_at_the_stop_are_answered_alone() -> None:
    store = Store()
    async with asking(store) as batcher:
        questions = [asyncio.create_task(batcher.ask(number)) for number in range(3)]
        await asyncio.sleep(0)
    assert [(await question).answer for question in questions] == [0, -1, -2]
