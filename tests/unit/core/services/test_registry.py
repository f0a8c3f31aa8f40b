"""Assembly: what may be registered, and what is found before anything starts."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NewType

import pytest

from botctl.core.contracts.protocols import StatusSource
from botctl.core.errors import AssemblyError, CircularNeed, ExitCode, MissingNeed
from botctl.core.services.registry import Registry, Services, Tasks
from tests.support.services import Journal, service


class Redis: ...


class Bot: ...


class App: ...


Spare = NewType("Spare", Redis)


@asynccontextmanager
async def redis() -> AsyncIterator[Redis]:
    yield Redis()


@asynccontextmanager
async def spare() -> AsyncIterator[Spare]:
    yield Spare(Redis())


@asynccontextmanager
async def bot(redis: Redis, spare: Spare) -> AsyncIterator[Bot]:
    yield Bot()


@asynccontextmanager
async def sweeper(redis: Redis) -> AsyncIterator[None]:
    yield


def names(registry, *wanted):
    return [spec.name for spec in registry.plan(*wanted)]


def test_plan_is_in_start_order():
    registry = Registry()
    registry.add(bot)
    registry.add(spare)
    registry.add(redis)
    assert names(registry)[-1] == "Bot"
    assert sorted(names(registry)) == ["Bot", "Redis", "Spare"]
    assert names(registry, Spare) == ["Spare"]


def test_given_name_replaces_the_type_name():
    registry = Registry()
    registry.add(redis, name="the store")
    assert names(registry) == ["the store"]


def test_key_replaces_a_missing_return_annotation():
    registry = Registry()

    def unsaid():
        return redis()

    registry.add(unsaid, key=Redis)
    assert names(registry, Redis) == ["Redis"]


def test_factory_that_yields_none_is_started():
    registry = Registry()
    registry.value(Redis, Redis())
    registry.add(sweeper)
    registry.add(functools.partial(sweeper, Redis()), name="another")
    assert names(registry) == ["sweeper", "another"]
    with pytest.raises(MissingNeed):
        registry.plan(type(None))


def test_registered_limits_are_kept():
    registry = Registry()
    registry.add(redis, start_s=3, stop_s=4)
    [spec] = registry.plan()
    assert (spec.start_s, spec.stop_s) == (3, 4)


@pytest.mark.parametrize("second", ["add", "value"])
@pytest.mark.parametrize("first", ["add", "value"])
def test_type_registered_twice_needs_replace(first, second):
    def register(how, **replace):
        if how == "add":
            registry.add(redis, **replace)
        else:
            registry.value(Redis, Redis(), **replace)

    registry = Registry()
    register(first)
    with pytest.raises(AssemblyError, match="Redis is registered twice") as caught:
        register(second)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "replace=True" in caught.value.hint
    register(second, replace=True)
    assert names(registry) == (["Redis"] if second == "add" else [])


def test_duplicate_service_name_is_an_error():
    registry = Registry()
    registry.add(redis, name="store")
    with pytest.raises(AssemblyError, match="two services are called store"):
        registry.add(spare, name="store")


@pytest.mark.parametrize("key", [Tasks, Services, StatusSource])
def test_built_in_types_cannot_be_registered(key):
    with pytest.raises(AssemblyError, match="the registry provides it itself"):
        Registry().add(redis, key=key)


def test_provides_lists_possible_dependencies():
    registry = Registry()
    registry.add(redis)
    registry.value(int, 3)
    assert all(registry.provides(key) for key in (Redis, int, Tasks, Services, StatusSource))
    assert not registry.provides(Bot)


async def test_missing_and_circular_dependencies_prevent_every_start():
    journal = Journal()
    registry = Registry()
    registry.add(service(Redis, journal=journal))
    registry.add(service(Bot, Redis, Spare, journal=journal))
    registry.add(service(App, Bot, journal=journal))
    with pytest.raises(MissingNeed, match=r"^Spare is not registered; Bot needs it, which App needs$"):
        async with registry.open():
            pytest.fail("it opened")
    registry = Registry()
    registry.add(service(Redis, journal=journal))
    registry.add(service(Bot, App, journal=journal))
    registry.add(service(App, Bot, Redis, journal=journal))
    with pytest.raises(CircularNeed, match=r"Bot -> App -> Bot"):
        async with registry.open():
            pytest.fail("it opened")
    assert journal.lines == []


async def test_open_ignores_missing_dependencies_of_other_services():
    journal = Journal()
    registry = Registry()
    registry.add(service(Redis, journal=journal))
    registry.add(service(Bot, App, journal=journal))
    async with registry.open(Redis):
        assert journal.lines == ["begin Redis", "ready Redis"]


async def test_open_registry_refuses_new_services():
    registry = Registry()
    registry.add(redis)
    async with registry.open():
        with pytest.raises(AssemblyError, match="Spare cannot be registered: the registry has been opened"):
            registry.add(spare)
    with pytest.raises(AssemblyError, match="Bot cannot be registered"):
        registry.value(Bot, Bot())


async def test_registry_can_be_reopened_with_new_services():
    registry = Registry()
    registry.add(redis)
    async with registry.open() as running:
        first = running.get(Redis)
    async with registry.open() as running:
        assert running.get(Redis) is not first
