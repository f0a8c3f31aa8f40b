"""The pytest plugin with the fixture ``discord``. It loads the sandbox only when a test uses it."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

try:
    import pytest_asyncio
except ImportError:  # the fixture reports it
    pytest_asyncio = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from botctl.sandbox.testing.discord import Discord
    from botctl.sandbox.testing.launch import Source

_Scope = Literal["function", "class", "module", "package", "session"]
_SOURCE = pytest.StashKey["Source"]()
_DISCORD = pytest.StashKey["Discord"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("discord_bot", "the bot that the fixture `discord` tests: package.module:make_bot")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let the bot's handlers finish before the test ends, while its event loop still runs."""
    discord, test = item.stash.get(_DISCORD, None), getattr(item, "obj", None)
    if isinstance(item, pytest.Function) and discord is not None and inspect.iscoroutinefunction(test):
        item.obj = _with_teardown(test, discord, item)
    return (yield)


def _with_teardown(test: Callable[..., Awaitable[None]], discord: Discord, item: pytest.Item) -> Callable[..., Any]:
    """``test`` with `_end_test` after it. The handlers' exceptions become part of the report of a failed test."""

    async def run(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        try:
            await test(*args, **kwargs)
        except BaseException:
            await discord.end_test()
            report = "\n".join("".join(traceback.format_exception(error)) for error in discord.errors)
            if report:
                item.add_report_section("call", "raised in the bot", report)
            discord.errors.clear()
            raise
        await _end_test(discord)

    return run


async def _end_test(discord: Discord) -> None:
    """Fail the test for exceptions of handlers that it did not `take` out of `Discord.errors`."""
    await discord.end_test()
    discord.errors.check()


@pytest.fixture
def discord(request: pytest.FixtureRequest) -> Discord:
    """A Discord for this test, with the bot connected: `botctl.sandbox.testing.Discord`."""
    if pytest_asyncio is None:
        pytest.fail("The fixture `discord` needs: pip install pytest-asyncio", pytrace=False)
    request.node.stash[_SOURCE] = _source(request)
    started: Discord = request.getfixturevalue(f"_discord_in_{_loop_scope(request)}_loop")
    request.node.stash[_DISCORD] = started
    return started


def _source(request: pytest.FixtureRequest) -> Source:
    """Return the project's fixture ``bot``, or the object that the ini option ``discord_bot`` names."""
    manager = request._fixturemanager  # noqa: SLF001
    if definitions := manager.getfixturedefs("bot", request.node):
        if _is_async(definitions[-1].func):
            bot = request.getfixturevalue("bot")  # pytest-asyncio needs the event loop, which must not run yet
            return lambda: bot
        return lambda: request.getfixturevalue("bot")  # a bot must be made in the running event loop
    path = str(request.config.getini("discord_bot"))
    if not path:
        pytest.fail(
            "There is no bot to test: write a fixture `bot` that returns a bot or a function that makes one, or set"
            " `discord_bot = package.module:make_bot` in pytest's settings.",
            pytrace=False,
        )
    return _import_source(path)


def _import_source(path: str) -> Source:
    module, _, name = path.partition(":")
    try:
        source: Source = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        pytest.fail(f"`discord_bot = {path}` cannot be imported: {error}. Use package.module:make_bot.", pytrace=False)
    return source


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """The scope of the test's event loop, as pytest-asyncio decides it."""
    mark = request.node.get_closest_marker("asyncio")
    scope = (mark.kwargs.get("loop_scope") or mark.kwargs.get("scope")) if mark else None
    return str(scope or request.config.getini("asyncio_default_test_loop_scope") or "function")


def _make_fixture(loop_scope: _Scope, name: str) -> Any:
    """Make the fixture that starts the bot in the test's event loop, which lives for ``loop_scope``."""

    async def start(request: pytest.FixtureRequest) -> AsyncIterator[Discord]:
        from botctl.sandbox.testing.launch import connected  # noqa: PLC0415 - loaded only when used

        async with connected(request.node.stash[_SOURCE]) as discord:
            yield discord

    return pytest_asyncio.fixture(loop_scope=loop_scope, name=name)(start)


if pytest_asyncio is not None:
    for _scope in get_args(_Scope):
        _name = f"_discord_in_{_scope}_loop"
        globals()[_name] = _make_fixture(_scope, _name)
