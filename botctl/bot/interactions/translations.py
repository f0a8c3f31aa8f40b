"""The bot's own messages to users, by language. Commands bring their own texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MESSAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "done": {"en": "Done.", "de": "Erledigt."},
    "disabled": {
        "en": "`{name}` is switched off on this server.",
        "de": "`{name}` ist auf diesem Server ausgeschaltet.",
    },
    "role": {"en": "You need the role {roles} for this.", "de": "Dafür brauchst du die Rolle {roles}."},
    "denied": {"en": "You may not do this here.", "de": "Das darfst du hier nicht."},
    "throttled": {
        "en": "Not so fast: try again in {seconds} s.",
        "de": "Nicht so schnell: versuch es in {seconds} s noch einmal.",
    },
    "throttled_long": {  # Discord: Message Formatting > Timestamps; each client shows its own language and time zone
        "en": "Not so fast: try again <t:{at}:R>.",
        "de": "Nicht so schnell: versuch es <t:{at}:R> noch einmal.",
    },
    "busy": {
        "en": "Too many people are using this right now. Try again in a moment.",
        "de": "Das benutzen gerade zu viele zugleich. Versuch es gleich noch einmal.",
    },
    "disnake": {"en": "{detail}"},  # the message of an exception of disnake, the Discord library
    "invalid": {"en": "That is not valid: {detail}", "de": "Das passt so nicht: {detail}"},
    "failed": {
        "en": "Something went wrong. If it happens again, tell the staff this error id: `{error_id}`",
        "de": "Da ist etwas schiefgegangen. Falls es wieder passiert, nenne dem Team diese Nummer: `{error_id}`",
    },
    "cancelled": {
        "en": "The bot is restarting and had to stop this. Try again in a moment.",
        "de": "Der Bot startet neu und musste das abbrechen. Versuch es gleich noch einmal.",
    },
    "unanswered": {
        "en": "No answer came within 15 minutes.",
        "de": "Innerhalb von 15 Minuten kam keine Antwort.",
    },
    "restarting": {
        "en": "The bot is restarting. Try again in a moment.",
        "de": "Der Bot startet neu. Versuch es gleich noch einmal.",
    },
    "unknown": {"en": "This command no longer exists.", "de": "Diesen Befehl gibt es nicht mehr."},
    "stale": {"en": "This no longer works.", "de": "Das funktioniert nicht mehr."},
}


def pick(translations: Mapping[str, str], locale: str) -> str:
    """Return the text for ``locale`` (``de``, ``en-US``): exact match, else its language, English or the first one."""
    language = locale.partition("-")[0]
    for key in (locale, language, "en"):
        if key in translations:
            return translations[key]
    return next(iter(translations.values()))


def translate(key: str, locale: str, **values: object) -> str:
    """Return the bot's own message ``key`` in the language of ``locale``."""
    return pick(MESSAGES[key], locale).format(**values)
