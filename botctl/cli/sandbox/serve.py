"""``botctl sandbox serve``: the local Discord alone, for bots of any library."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from botctl.cli.json_output import json_line
from botctl.core.errors import Held
from botctl.core.escape import safe
from botctl.core.safe_streams import reveal
from botctl.sandbox.model.limits import Limits, parse_assignments
from botctl.sandbox.model.tokens import client_secret
from botctl.sandbox.process.client_libraries import setup_lines
from botctl.sandbox.process.secret import (
    SECRET_VARIABLE,
    generate_secret,
    load_or_create_secret,
    secret_from_environment,
)
from botctl.sandbox.process.standalone import ServeOptions, run_standalone
from botctl.sandbox.sandbox import Sandbox

DEFAULT_PORT = 8911

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def serve(
    *,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")
    ] = DEFAULT_PORT,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Keep guilds, people and messages in FILE. Default: forget them."),
    ] = None,
    bots: Annotated[
        list[str] | None, typer.Option("--app", metavar="NAME", help="An application with a bot; can be repeated.")
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="NAME=VALUE", help="Change one of Discord's limits; can be repeated."),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file", metavar="FILE", help="Keep the secret in FILE, so that the tokens stay the same."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the URL and tokens as one line of JSON.")] = False,
) -> None:
    """Run the local Discord alone, for bots of any library.

    It prints each bot's token and the setup line of common libraries, and runs until Ctrl-C. The other sandbox
    commands find it by --url or BOTCTL_SANDBOX_URL, and need BOTCTL_SANDBOX_SECRET or BOTCTL_SANDBOX_SECRET_FILE.
    Exit code 6: the port is in use.
    """
    given_secret = load_or_create_secret(secret_file) if secret_file else secret_from_environment(os.environ)
    if given_secret is not None and secret_file is None and (named := os.environ.get(f"{SECRET_VARIABLE}_FILE")):
        secret_file = Path(named)
    options = ServeOptions(
        given_secret or generate_secret(), port, state, bots or (), Limits().replace(parse_assignments(limits or ()))
    )

    def on_ready(sandbox: Sandbox) -> None:
        info = _connection_info(sandbox, None if given_secret else options.secret)
        if as_json:
            reveal(json_line(info, sys.stdout))
        else:
            _print_info(info, secret_file)

    try:
        run_standalone(options, on_ready)
    except Held as error:
        raise Held(
            str(error), hint="Stop the other sandbox, or choose another port: --port 0 takes a free one."
        ) from None


def _connection_info(sandbox: Sandbox, secret: str | None) -> dict[str, Any]:
    """What bots and users need to connect; ``secret``: that of the control API if it was generated, else None."""
    world, access = sandbox.world, sandbox.access
    bots = [
        {
            "name": world.applications[app_id].name,
            "id": app_id,
            "token": token,
            "client_secret": client_secret(access.control_secret, app_id),
        }
        for token, app_id in access.tokens.items()
    ]
    generated = {"control_secret": secret} if secret else {}
    return {"url": sandbox.url, "pid": os.getpid(), "applications": bots, **generated}


def _print_info(info: dict[str, Any], secret_file: Path | None) -> None:
    url = info["url"]
    lines = ["A bot needs its token and the setup line of its library:"]
    lines += [f"  {library:15} {line}" for library, line in setup_lines(url).items()]
    for bot in info["applications"]:
        lines += ["", f"{safe(bot['name'])}, application {bot['id']}"]
        lines += [f"  token          {bot['token']}", f"  client secret  {bot['client_secret']}  (OAuth2)"]
    secret = ""
    if secret_file is not None:
        secret = f" BOTCTL_SANDBOX_SECRET_FILE={shlex.quote(str(secret_file.resolve()))}"
    elif "control_secret" in info:
        secret = f" BOTCTL_SANDBOX_SECRET={info['control_secret']}"
    lines += [
        "",
        "To use the bots, in another terminal:",
        f"  export BOTCTL_SANDBOX_URL={url}{secret}",
        "  botctl sandbox",
        "",
    ]
    lines.append(f"The sandbox listens on {url}. Ctrl-C stops it.")
    reveal("\n".join(lines))
