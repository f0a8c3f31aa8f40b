"""A sandbox in a process of its own, until SIGTERM or SIGINT: of `botctl run`, or by itself for bots of any library."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from botctl.core.errors import Held
from botctl.core.redact import register
from botctl.core.telemetry.logs import stderr_logs
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.model.world import World
from botctl.sandbox.process.serve import Listener, bind_loopback, serve_sandbox
from botctl.sandbox.server import Access, Sandbox
from botctl.sandbox.storage import world_file
from botctl.sandbox.storage.attachments import Files


@dataclass(frozen=True)
class ServeOptions:
    """What is to be run. ``port`` 0 is any free one; ``bots`` are the names of the applications there must be;
    ``token`` is that of the first one, where it does not follow from ``secret`` like those of the others.
    """

    secret: str = field(repr=False)
    port: int = 0
    state: Path | None = None
    bots: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    token: str | None = field(default=None, repr=False)


def run_standalone(options: ServeOptions, on_ready: Callable[[Sandbox], None]) -> None:
    """Run until a signal comes; ``on_ready`` is called once bots may connect.

    Raises:
        Held: the port is taken.
        ConfigError: the world's file, or the self-check that the environment asks for, cannot be had.
        UsageError: a bot cannot be called so.
    """
    with stderr_logs(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options, on_ready))


async def _serve(options: ServeOptions, on_ready: Callable[[Sandbox], None]) -> None:
    with _bind(options.port) as listener:
        world = world_file.load(options.state, bots=options.bots, url=listener.url)
        access = Access(_issue_tokens(options, world), options.secret)
        files = Files(options.state.with_suffix(".files") if options.state else None)
        files.forget_all_but(world.attachment_ids())
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _autosave(world, options.state) as on_change:
            sandbox = Sandbox(world, access, files=files, limits=options.limits, on_change=on_change)
            with _raise_held(options.port):
                async with serve_sandbox(sandbox, listener):
                    on_ready(sandbox)
                    await stop.wait()


def _issue_tokens(options: ServeOptions, world: World) -> dict[str, str]:
    """Tokens to the applications whose they are."""
    tokens = {bot_token(options.secret, app_id): app_id for app_id in world.applications}
    if options.token:
        first = next(iter(tokens))
        tokens = {options.token: tokens.pop(first), **tokens}
    register(options.secret, *tokens)
    return tokens


@contextlib.asynccontextmanager
async def _autosave(world: World, state: Path | None) -> AsyncIterator[Callable[[], None]]:
    """Keep ``world`` in the file ``state``; yields what is to be called after each change."""
    if state is None:
        yield lambda: None
        return
    saver = world_file.Saver(world, state)
    saving = asyncio.create_task(saver.run())
    try:
        yield saver.changed
    finally:
        saving.cancel()
        await asyncio.wait((saving,))


@contextlib.contextmanager
def _bind(port: int) -> Iterator[Listener]:
    with contextlib.ExitStack() as stack:
        with _raise_held(port):
            listener = stack.enter_context(bind_loopback(port))
        yield listener


@contextlib.contextmanager
def _raise_held(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise Held(f"The sandbox cannot listen on port {port}: {reason}.") from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's where it is there: a third less CPU for each interaction."""
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
