"""The token that the bot logs in with. If Discord refuses it, its sources are read again, once: it may be replaced."""

from __future__ import annotations

import logging

from botctl.core.contracts.discord_access import DiscordAccess, bot_id_of
from botctl.core.errors import ConfigError, DeadToken

_log = logging.getLogger(__name__)


class CurrentToken:
    """``text``: the token, at first that of ``access``."""

    def __init__(self, access: DiscordAccess) -> None:
        self.text = access.token
        self._reread = access.reread
        self._is_renewed = False  # since Discord accepted a token

    def accept(self) -> None:
        """Discord has accepted the token: if it is refused later, its sources are read again."""
        self._is_renewed = False

    def renew(self, refusal: DeadToken) -> None:
        """Take the token that the sources have now.

        Raises DeadToken if it is the same one or that of another bot, if it cannot be read, and if Discord has refused
        a renewed token already: each refusal counts towards the ban of the address.
        """
        if self._reread is None:
            raise refusal
        if self._is_renewed:
            raise DeadToken("Discord refuses the token, and also the one that has replaced it", hint=refusal.hint)
        try:
            found = self._reread()
        except ConfigError as error:
            sentence = f"{refusal}; the settings were read again for another one, and are wrong: {error}"
            raise DeadToken(sentence, hint=error.hint) from refusal
        if found.token is None:
            raise DeadToken(f"{refusal}, and the settings have none any more", hint=refusal.hint)
        if found.token.strip() == self.text.strip():
            raise DeadToken(f"{refusal}, and {found.origin} has no other one", hint=refusal.hint)
        if not _may_be_of_same_bot(self.text, found.token):
            hint = "Start this process again, if that is the bot to run."
            raise DeadToken(f"{refusal}, and {found.origin} has that of another bot now", hint=hint)
        self.text, self._is_renewed = found.token.strip(), True
        _log.warning("Discord refuses the token; the bot logs in with the other one that is in %s now", found.origin)


def _may_be_of_same_bot(old: str, new: str) -> bool:
    """Whether both tokens may be of one bot: the first part of a token is the bot's id."""
    ids = bot_id_of(old), bot_id_of(new)
    return "" in ids or ids[0] == ids[1]
