"""The pytest plugin: the fixture ``discord``. It loads nothing of the sandbox until a test asks for it."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

try:
    import pytest_asyncio
except ImportError:  # the fixture says so to those who use it
    pytest_asyncio = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from botctl.sandbox.testing.discord import Discord
    from botctl.sandbox.testing.launch import Source

_Scope = Literal["function", "class", "module", "package", "session"]
_SOURCE = pytest.StashKey["Source"]()
_DISCORD = pytest.StashKey["Discord"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("discord_bot", "the bot that tests with the fixture `discord` are about: package.module:make_bot")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test with a Discord ends when the bot's handlers have come to their end, while its event loop still runs."""
    discord, test = item.stash.get(_DISCORD, None), getattr(item, "obj", None)
    if isinstance(item, pytest.Function) and discord is not None and inspect.iscoroutinefunction(test):
        item.obj = _with_teardown(test, discord, item)
    return (yield)


def _with_teardown(test: Callable[..., Awaitable[None]], discord: Discord, item: pytest.Item) -> Callable[..., Any]:
    """``test`` and then `_end_test`; of a test that has failed anyway, what the handlers raised is a part of the report."""

    async def run(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        try:
            await test(*args, **kwargs)
        except BaseException:
            await discord.end_test()
            told = "\n".join("".join(traceback.format_exception(error)) for error in discord.errors)
            if told:
                item.add_report_section("call", "raised in the bot", told)
            discord.errors.clear()
            raise
        await _end_test(discord)

    return run


async def _end_test(discord: Discord) -> None:
    """What the bot's handlers raised, and the test did not take, fails it."""
    await discord.end_test()
    discord.errors.check()


@pytest.fixture
def discord(request: pytest.FixtureRequest) -> Discord:
    """A Discord of this test's own, with the bot in it: `botctl.sandbox.testing.Discord`."""
    if pytest_asyncio is None:
        pytest.fail("The fixture `discord` needs pytest-asyncio: pip install pytest-asyncio", pytrace=False)
    request.node.stash[_SOURCE] = _source(request)
    started: Discord = request.getfixturevalue(f"_discord_in_{_loop_scope(request)}_loop")
    request.node.stash[_DISCORD] = started
    return started


def _source(request: pytest.FixtureRequest) -> Source:
    """The project's fixture ``bot``, else what the ini option ``discord_bot`` names."""
    manager = request._fixturemanager  # noqa: SLF001
    if found := manager.getfixturedefs("bot", request.node):
        if _is_async(found[-1].func):
            made = request.getfixturevalue("bot")  # pytest-asyncio runs it in the event loop, which must not run yet
            return lambda: made
        return lambda: request.getfixturevalue("bot")  # called in the event loop, where a bot must be made
    named = str(request.config.getini("discord_bot"))
    if not named:
        pytest.fail(
            "There is no bot to test: write a fixture `bot` that returns it, or a function that makes it; or set"
            " `discord_bot = package.module:make_bot` in pytest's settings.",
            pytrace=False,
        )
    return _import_source(named)


def _import_source(named: str) -> Source:
    module, _, name = named.partition(":")
    try:
        source: Source = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        pytest.fail(f"`discord_bot = {named}` names nothing: {error}. It is package.module:make_bot.", pytrace=False)
    return source


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """The scope of the event loop that the test runs in, as pytest-asyncio decides it."""
    mark = request.node.get_closest_marker("asyncio")
    named = (mark.kwargs.get("loop_scope") or mark.kwargs.get("scope")) if mark else None
    return str(named or request.config.getini("asyncio_default_test_loop_scope") or "function")


def _make_fixture(loop_scope: _Scope, name: str) -> Any:
    """The fixture that does it in the event loop of ``loop_scope``: the one in which the test will run."""

    async def start(request: pytest.FixtureRequest) -> AsyncIterator[Discord]:
        from botctl.sandbox.testing.launch import connected  # noqa: PLC0415 - only tests that use it pay for it

        async with connected(request.node.stash[_SOURCE]) as discord:
            yield discord

    return pytest_asyncio.fixture(loop_scope=loop_scope, name=name)(start)


if pytest_asyncio is not None:
    for _scope in get_args(_Scope):
        _name = f"_discord_in_{_scope}_loop"
        globals()[_name] = _make_fixture(_scope, _name)
