"""Runs a sandbox as its own process until a signal arrives: for `botctl run`, or alone for bots of any library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from botctl.core.listening import cannot_listen
from botctl.core.own_tasks import create_watched_task
from botctl.core.redact import register
from botctl.core.stop_signals import stop_signals
from botctl.core.telemetry.logs import stderr_logs
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.model.world import World
from botctl.sandbox.process.serve import Listener, bind_loopback, serve_sandbox
from botctl.sandbox.sandbox import Access, Sandbox
from botctl.sandbox.storage import world_file
from botctl.sandbox.storage.attachments import AttachmentStore


@dataclass(frozen=True)
class ServeOptions:
    secret: str = field(repr=False)  # the control secret; the bots' tokens are computed from it
    port: int = 0  # 0 is any free one
    state: Path | None = None  # the file that keeps guilds, users and messages
    bots: Sequence[str] = ()  # names of applications to create
    limits: Limits = field(default_factory=Limits)
    token: str | None = field(default=None, repr=False)  # replaces the computed token of the first application


def run_standalone(options: ServeOptions, on_ready: Callable[[Sandbox], None]) -> None:
    """Run until a signal arrives; call ``on_ready`` when bots can connect.

    Raises:
        Held: the port is in use.
        ConfigError: the port cannot be had, the state file cannot be read, or the self-check is not available.
        UsageError: the name of a bot is not allowed.
    """
    with stderr_logs(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options, on_ready))


async def _serve(options: ServeOptions, on_ready: Callable[[Sandbox], None]) -> None:
    with _bind(options.port) as listener:
        world = world_file.load(options.state, bots=options.bots, url=listener.url)
        access = Access(_issue_tokens(options, world), options.secret)
        files = AttachmentStore(options.state.with_suffix(".files") if options.state else None)
        files.retain_only(world.attachment_ids())
        stop = asyncio.Event()
        for number in stop_signals():
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _autosave(world, options.state) as on_change:
            sandbox = Sandbox(world, access, files=files, limits=options.limits, on_change=on_change)
            with _explain_port(options.port):
                async with serve_sandbox(sandbox, listener):
                    on_ready(sandbox)
                    await stop.wait()


def _issue_tokens(options: ServeOptions, world: World) -> dict[str, str]:
    """Map the bots' tokens to their applications."""
    tokens = {bot_token(options.secret, app_id): app_id for app_id in world.applications}
    if options.token:
        first = next(iter(tokens))
        tokens = {options.token: tokens.pop(first), **tokens}
    register(options.secret, *tokens)
    return tokens


@contextlib.asynccontextmanager
async def _autosave(world: World, state: Path | None) -> AsyncIterator[Callable[[], None]]:
    """Save ``world`` to the file ``state`` after changes; yield the function to call after each change."""
    if state is None:
        yield lambda: None
        return
    saver = world_file.Saver(world, state)
    saving = create_watched_task(saver.run(), name="saver")
    try:
        yield saver.changed
    finally:
        saving.cancel()
        await asyncio.wait((saving,))


@contextlib.contextmanager
def _bind(port: int) -> Iterator[Listener]:
    with contextlib.ExitStack() as stack:
        with _explain_port(port):
            listener = stack.enter_context(bind_loopback(port))
        yield listener


@contextlib.contextmanager
def _explain_port(port: int) -> Iterator[None]:
    """An OSError inside the block becomes Held if another program uses the port, else ConfigError."""
    try:
        yield
    except OSError as error:
        raise cannot_listen("The sandbox", f"port {port}", error) from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Use uvloop if it is installed: a third less CPU per interaction."""
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
