"""The sandbox as a service: a child process, owned or joined like the embedded stores."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.errors import BotctlError, ConfigError, ExitCode, Held, UsageError
from botctl.core.processes.child import LaunchSpec
from botctl.core.processes.embedded import START_S, Endpoint, PartSpec, embedded
from botctl.core.processes.process import child_environment
from botctl.core.processes.runtime import Runtime
from botctl.core.redact import register
from botctl.core.services.tasks import Tasks
from botctl.sandbox.control.identity_probe import knows
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.web import openapi_check

NAME: Final = "sandbox"
TITLE: Final = "The sandbox"
_HOST: Final = "127.0.0.1"


@asynccontextmanager
async def sandbox(settings: Settings, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[DiscordAccess]:
    """Factory of the service: the sandbox of this project, started here unless another process runs it.

    Raises:
        ConfigError: ``sandbox.limits`` names one that there is not.
        Held: ``sandbox.port`` is taken.
        ServiceFailed: it cannot be started.
    """
    async with embedded(recipe(settings.sandbox.port, settings.sandbox.limits), runtime, bus, tasks) as found:
        secret = found.secret or ""
        token = bot_token(secret)
        register(secret)
        register(token)
        yield DiscordAccess(token, found.address)


def recipe(port: int, said: Mapping[str, str]) -> PartSpec:
    """How a sandbox on ``port`` (0: any free one) is run, with the limits ``said`` and a new secret."""
    try:
        Limits().but(said)
    except UsageError as error:
        raise ConfigError(f"sandbox.limits: {error}", hint=error.hint) from None
    secret = secrets.token_urlsafe(32)

    def launch(runtime: Runtime, address: str) -> LaunchSpec:
        state = runtime.folder / "sandbox" / "world.json"
        state.parent.mkdir(mode=0o700, exist_ok=True)
        arguments: tuple[str, ...] = ("--port", str(_port(address)), "--state", str(state.resolve()))
        arguments += tuple(f"--limit={name}={value}" for name, value in said.items())
        return LaunchSpec(
            name=TITLE,
            command=(sys.executable, "-P", "-m", "botctl.sandbox", *arguments),
            folder=runtime.folder,
            log=runtime.log(NAME),
            is_ready=lambda: _answers(Endpoint(address, secret)),
            exit_error=_refusal,
            env=child_environment(
                BOTCTL_SANDBOX_SECRET=secret, BOTCTL_SANDBOX_TOKEN=bot_token(secret), **_self_check()
            ),
            start_s=START_S,
        )

    return PartSpec(
        name=NAME,
        title=TITLE,
        new_address=lambda _: f"http://{_HOST}:{port or _free_port()}",
        is_ready=_answers,
        launch=launch,
        secret=secret,
    )


def _self_check() -> dict[str, str]:
    """The wish for the self-check, handed on to a child that runs in another folder."""
    named = os.environ.get(openapi_check.VARIABLE)
    return {openapi_check.VARIABLE: str(Path(named).resolve())} if named else {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _refusal(status: int, said: str) -> BotctlError | None:
    """Its own sentence where its port is taken or its self-check cannot be had: nothing of it has failed."""
    if status == ExitCode.CONFIG and said:
        return ConfigError(said)
    hint = "Set sandbox.port to another one, or to 0 for any that is free."
    return Held(said, hint=hint) if status == ExitCode.HELD and said else None


async def _answers(endpoint: Endpoint) -> bool:
    """Whether it is there, and not somebody else at its port."""
    return await knows(_HOST, _port(endpoint.address), endpoint.secret or "")
