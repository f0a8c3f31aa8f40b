"""``botctl sandbox serve``: the local Discord alone, for bots of any library."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from botctl.core.errors import Held
from botctl.core.escape import safe
from botctl.sandbox.model.limits import Limits, pairs
from botctl.sandbox.model.tokens import client_secret
from botctl.sandbox.process.client_libraries import setup_lines
from botctl.sandbox.process.secret import (
    SECRET_VARIABLE,
    generate_secret,
    load_or_create_secret,
    secret_from_environment,
)
from botctl.sandbox.process.standalone import ServeOptions, run_standalone
from botctl.sandbox.server import Sandbox

DEFAULT_PORT = 8911

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def serve(
    *,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="On 127.0.0.1; 0 is any free one.")
    ] = DEFAULT_PORT,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="Keep the world here; else it ends with the sandbox.")
    ] = None,
    bots: Annotated[
        list[str] | None, typer.Option("--app", metavar="NAME", help="An application, with its bot; may repeat.")
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="NAME=VALUE", help="Another limit than Discord's; may repeat."),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file", metavar="FILE", help="Keep the secret here, so that it and the tokens stay the same."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell what a bot needs in one line of JSON.")] = False,
) -> None:
    """Run the local Discord alone, for bots of any library.

    It runs until Ctrl-C, and prints each bot's token, and the line that points a common library at it. The other verbs
    find it by --url or BOTCTL_SANDBOX_URL, with its secret in BOTCTL_SANDBOX_SECRET, or in the file that
    BOTCTL_SANDBOX_SECRET_FILE names.
    Exit code 6: the port is taken.
    """
    given_secret = load_or_create_secret(secret_file) if secret_file else secret_from_environment(os.environ)
    if given_secret is not None and secret_file is None and (named := os.environ.get(f"{SECRET_VARIABLE}_FILE")):
        secret_file = Path(named)
    options = ServeOptions(
        given_secret or generate_secret(), port, state, bots or (), Limits().but(pairs(limits or ()))
    )

    def on_ready(sandbox: Sandbox) -> None:
        info = _connection_info(sandbox, None if given_secret else options.secret)
        if as_json:
            print(json.dumps(info), flush=True)
        else:
            _print_info(info, secret_file)

    try:
        run_standalone(options, on_ready)
    except Held as error:
        raise Held(
            str(error), hint="Does one run already? Else choose another --port, or 0 for any that is free."
        ) from None


def _connection_info(sandbox: Sandbox, secret: str | None) -> dict[str, Any]:
    """All that a bot or a person needs; the secret only where it was made up."""
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
    lines = ["A bot needs its token, and one line that points its library here:"]
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
        "You need, in another terminal:",
        f"  export BOTCTL_SANDBOX_URL={url}{secret}",
        "  botctl sandbox",
        "",
    ]
    lines.append(f"The sandbox listens on {url}. Ctrl-C ends it.")
    print("\n".join(lines), flush=True)
