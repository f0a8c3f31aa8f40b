"""Factories and modules that `test_needs.py` points at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal


class Engine:
    pass


@asynccontextmanager
async def engine(spare: Engine | None = None, *, size: int = 3) -> AsyncIterator[Engine]:
    yield spare or Engine()


@asynccontextmanager
async def untyped(wheels) -> AsyncIterator[Engine]:
    yield Engine()


@asynccontextmanager
async def hidden(price: Decimal) -> AsyncIterator[Engine]:
    yield Engine()


@asynccontextmanager
async def unsaid():
    yield Engine()


async def undecorated() -> AsyncIterator[Engine]:
    yield Engine()


async def coroutine() -> Engine:
    return Engine()


def plain() -> Engine:
    return Engine()


number = 3
