"""Sentences about settings that are valid, but probably not what the operator means. `botctl run` logs them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote

from pydantic import SecretStr

from botctl.core.config.reference import variable
from botctl.core.config.settings import AuthSettings, Settings
from botctl.core.escape import safe

_EMBEDDED: Final = "an embedded store is used"
_FOREIGN: Final = (  # a setting, what happens without it, and the names that others give to its variable
    (
        ("discord", "token"),
        "the bot uses the sandbox, not Discord",
        ("DISCORD_TOKEN", "DISCORD_BOT_TOKEN", "BOT_TOKEN", "TOKEN"),
    ),
    (("redis", "url"), _EMBEDDED, ("REDIS_URL", "REDIS_URI")),
    (("mongo", "url"), _EMBEDDED, ("MONGO_URL", "MONGO_URI", "MONGODB_URL", "MONGODB_URI")),
)
_URL_DATABASE: Final = re.compile(r"mongodb(?:\+srv)?://[^/?]*/(?P<name>[\w$%-]+)(?:[.?][^@]*)?")
_LOGIN_DATABASES: Final = ("admin", "$external")  # MongoDB keeps users there, and no bot its data


def notices(settings: Settings, variables: Iterable[str]) -> tuple[str, ...]:
    """The sentences. ``variables``: all names in the environment and in ``.env``."""
    return (
        *_foreign_variables(settings, set(variables)),
        *_url_database(settings),
        *_useless_secret(settings.auth),
    )


def _foreign_variables(settings: Settings, variables: set[str]) -> Iterator[str]:
    """A variable as other programs call it, where botctl's own one is not set."""
    for (section, field), consequence, names in _FOREIGN:
        if getattr(getattr(settings, section), field) is not None:
            continue
        for name in names:
            if name in variables:
                own = variable((section, field))
                missing = f"botctl does not read it, and {section}.{field} is not set"
                yield f"{name} is set, but {missing}: {consequence}. Call the variable {own}."


def _url_database(settings: Settings) -> Iterator[str]:
    url = settings.mongo.url or SecretStr("")
    found = _URL_DATABASE.fullmatch(url.get_secret_value())
    name = unquote(found["name"]) if found else ""
    if name and name not in (settings.database, *_LOGIN_DATABASES):
        shown = safe(name, 64)
        yield (
            f"mongo.url names the database {shown}, but the data is in {settings.database}: a name in the URL only "
            f"says where MongoDB looks up the login. Set mongo.database to {shown} to use that one; "
            f"if it is for the login, write ?authSource={shown}."
        )


def _useless_secret(auth: AuthSettings) -> Iterator[str]:
    if auth.secret is not None and auth.previous_secret == auth.secret:
        yield "auth.previous_secret is the same as auth.secret: remove it, or set it to the one before."
