"""``botctl auth sign-again``: the step after a new `auth.secret`."""

from __future__ import annotations

import asyncio
import dataclasses

from botctl.auth.signatures import SignatureReport
from botctl.cli.json_output import print_json
from botctl.cli.options import AsJson, Profile, Project
from botctl.cli.settings import load_settings
from botctl.core.errors import IntegrityError
from botctl.run.oneshot.signatures import sign_keys_and_grants


def sign_again(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Sign keys and grants with auth.secret that auth.previous_secret has signed.

    Do it when all processes of the bot have both secrets. Afterwards auth.previous_secret can be removed. It can be
    repeated. Exit code 4: some are signed with neither secret.
    """
    loaded = load_settings(project, profile)
    report = asyncio.run(sign_keys_and_grants(loaded))
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        print(describe(report, has_previous=loaded.settings.auth.previous_secret is not None))
    if report.unknown:
        sentence = (
            f"{report.unknown} of {report.total} keys and grants are signed with neither secret, so they open nothing."
        )
        raise IntegrityError(sentence, hint="`botctl auth key list` and `botctl auth who` name them.")


def describe(report: SignatureReport, *, has_previous: bool) -> str:
    """What was done, and whether the previous secret can go."""
    done = f"Signed again with auth.secret: {report.signed} of {report.total} keys and grants."
    return f"{done} auth.previous_secret can be removed now." if has_previous else done
