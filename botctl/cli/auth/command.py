"""``botctl auth``: API keys, grants of roles, and why someone may do something or not."""

from __future__ import annotations

import typer

from botctl.cli.auth import grants, keys, signatures

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Manage API keys and roles, and explain who may do what.",
)
app.add_typer(keys.app, name="key")
app.command()(grants.grant)
app.command()(grants.revoke)
app.command()(grants.who)
app.command()(grants.explain)
app.command()(signatures.sign_again)
