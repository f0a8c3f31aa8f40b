"""The sandbox as a service of `botctl run`: one child process, which all processes of the project share."""

from __future__ import annotations

import os
import secrets
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
from botctl.core.processes.embedded import START_S, Endpoint, PartSpec, embedded, find_running
from botctl.core.processes.listening import bound_to_loopback, host_of, in_url, loopback_host
from botctl.core.processes.process import child_environment
from botctl.core.processes.runtime import Runtime
from botctl.core.redact import register
from botctl.core.services.tasks import Tasks
from botctl.sandbox.control.identity_probe import is_sandbox
from botctl.sandbox.model.limits import Limits
from botctl.sandbox.model.tokens import DEFAULT_BOT, bot_token, client_secret
from botctl.sandbox.web import openapi_check

NAME: Final = "sandbox"
TITLE: Final = "The sandbox"


@asynccontextmanager
async def sandbox(settings: Settings, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[DiscordAccess]:
    """Factory of the service: starts the project's sandbox unless it runs already; yields its URL and bot token.

    Raises:
        ConfigError: ``sandbox.limits`` has an unknown name.
        Held: ``sandbox.port`` is in use.
        ServiceFailed: the sandbox cannot be started.
    """
    async with embedded(sandbox_spec(settings.sandbox.port, settings.sandbox.limits), runtime, bus, tasks) as endpoint:
        secret = endpoint.secret or ""
        token = bot_token(secret)
        register(secret)
        register(token)
        oauth_secret = client_secret(secret, DEFAULT_BOT)
        register(oauth_secret)
        yield DiscordAccess(token, endpoint.address, client_id=DEFAULT_BOT, client_secret=oauth_secret)


def running_sandbox(settings: Settings, runtime: Runtime) -> DiscordAccess:
    """The project's sandbox that runs now. Starts none; raises Unreachable."""
    endpoint = find_running(sandbox_spec(settings.sandbox.port, settings.sandbox.limits), runtime)
    token = bot_token(endpoint.secret or "")
    register(token)
    return DiscordAccess(token, endpoint.address)


def sandbox_spec(port: int, limits: Mapping[str, str]) -> PartSpec:
    """How `embedded` starts and checks a sandbox on ``port`` (0: any free one), with a new secret."""
    try:
        Limits().replace(limits)
    except UsageError as error:
        raise ConfigError(f"sandbox.limits: {error}", hint=error.hint) from None
    secret = secrets.token_urlsafe(32)

    def launch(runtime: Runtime, address: str) -> LaunchSpec:
        state = runtime.folder / "sandbox" / "world.json"
        state.parent.mkdir(mode=0o700, exist_ok=True)
        arguments: tuple[str, ...] = ("--port", str(_port(address)), "--state", str(state.resolve()))
        arguments += tuple(f"--limit={name}={value}" for name, value in limits.items())
        return LaunchSpec(
            name=TITLE,
            command=(sys.executable, "-P", "-m", "botctl.sandbox", *arguments),
            folder=runtime.folder,
            log=runtime.log(NAME),
            is_ready=lambda: _is_running(Endpoint(address, secret)),
            exit_error=_startup_error,
            env=child_environment(
                BOTCTL_SANDBOX_SECRET=secret, BOTCTL_SANDBOX_TOKEN=bot_token(secret), **_self_check_environment()
            ),
            start_s=START_S,
        )

    return PartSpec(
        name=NAME,
        title=TITLE,
        new_address=lambda _: _new_address(port),
        is_ready=_is_running,
        launch=launch,
        secret=secret,
    )


def _self_check_environment() -> dict[str, str]:
    """The variable of the OpenAPI self-check as an absolute path, because the child runs in another folder."""
    file = os.environ.get(openapi_check.ENVIRONMENT_VARIABLE)
    return {openapi_check.ENVIRONMENT_VARIABLE: str(Path(file).resolve())} if file else {}


def _new_address(port: int) -> str:
    """The URL of a sandbox on ``port`` of loopback; 0: one that is free now."""
    if port:
        return f"http://{in_url(loopback_host())}:{port}"
    with bound_to_loopback() as probe:
        host, free_port = probe.getsockname()[:2]
        return f"http://{in_url(host)}:{free_port}"


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _startup_error(status: int, message: str) -> BotctlError | None:
    """The error for an exit ``status`` of the child, with its own ``message``: port in use, or wrong configuration."""
    if status == ExitCode.CONFIG and message:
        return ConfigError(message)
    hint = "Set sandbox.port to another port, or to 0 for a free one."
    return Held(message, hint=hint) if status == ExitCode.HELD and message else None


async def _is_running(endpoint: Endpoint) -> bool:
    """Whether this sandbox answers, and not another program on its port."""
    return await is_sandbox(host_of(endpoint.address), _port(endpoint.address), endpoint.secret or "")
