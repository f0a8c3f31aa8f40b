"""Which listeners of a bot run, how often, with what result."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest

from botctl.bot.listener_watch import ListenerWatch
from tests.support.waiting import LIMIT_S, expires


class FakeBot:
    """What `ListenerWatch` uses of a bot; `dispatch` calls listeners as disnake does."""

    def __init__(self, **listeners):
        self.listeners = {f"on_{name}": [function] for name, function in listeners.items()}
        self.errors = []

    def get_listeners(self):
        return self.listeners

    def add_listener(self, function, name):
        self.listeners.setdefault(name, []).append(function)

    async def _run_event(self, function, _event, *args):
        try:
            await function(*args)
        except Exception as error:  # noqa: BLE001
            self.errors.append(error)

    async def dispatch(self, name, *args):
        for function in self.listeners.get(f"on_{name}", ()):
            await self._run_event(function, f"on_{name}", *args)


async def reads(message):
    assert message


async def fails(message):
    raise ValueError(message.id)


def message(content):
    return SimpleNamespace(content=content, id=5)


async def test_calls_are_counted_and_their_content_and_errors_are_seen():
    bot = FakeBot(message=reads, message_edit=fails, ready=reads)
    watch = ListenerWatch(bot)
    await bot.dispatch("message", message("hello"))
    await bot.dispatch("message", message(""))
    await bot.dispatch("message_edit", message("x"), message(""))
    calls = watch.listeners["reads"]
    assert (sorted(calls.events), calls.count, calls.with_content, calls.errors) == (["message", "ready"], 2, 1, [])
    assert len(bot.errors) == 1  # it took two arguments
    assert watch.listeners["fails"].errors == ["TypeError: fails() takes 1 positional argument but 2 were given"]


async def test_listeners_of_botctl_are_left_out():
    own = partial(ListenerWatch.wait_for_arrival, None)
    assert list(ListenerWatch(FakeBot(message=reads, ready=own)).listeners) == ["reads"]


async def test_arrival_of_an_event_is_waited_for():
    bot = FakeBot()
    watch = ListenerWatch(bot)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.wait_for_arrival("END"), expires(0.01))
    await bot.dispatch("socket_event_type", "END")
    await asyncio.wait_for(watch.wait_for_arrival("END"), LIMIT_S)


async def test_listener_that_runs_for_ever_is_not_waited_for():
    async def endless(_):
        await asyncio.Event().wait()

    bot = FakeBot(message=endless)
    watch = ListenerWatch(bot)
    await watch.wait_until_idle(LIMIT_S)
    task = asyncio.create_task(bot.dispatch("message", message("x")))
    await asyncio.sleep(0)
    await watch.wait_until_idle(expires(0.01))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await watch.wait_until_idle(LIMIT_S)
    assert watch.listeners[endless.__qualname__].errors == []
