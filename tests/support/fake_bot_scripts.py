"""The commands of the fake bot: one for each kind of answer that a user can get."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

COMMANDS: list[Json] = [
    {"name": "ping", "description": "Answer at once"},
    {
        "name": "roll",
        "description": "Roll a die",
        "options": [{"type": 4, "name": "sides", "description": "How many", "min_value": 2}],
    },
    {"name": "poll", "description": "Ask everyone"},
    {"name": "feedback", "description": "Open a form"},
    {"name": "silent", "description": "Never answer"},
    {"name": "secret", "description": "Answer to one person"},
    {"name": "sorry", "description": "Think aloud, and apologise in private"},
    {
        "name": "settings",
        "description": "Settings",
        "options": [
            {
                "type": 1,
                "name": "set",
                "description": "Change one",
                "options": [
                    {"type": 3, "name": "key", "description": "Which", "required": True, "autocomplete": True},
                    {"type": 3, "name": "value", "description": "New value", "required": True},
                ],
            }
        ],
    },
    {"name": "Who is", "type": 2},
    {"name": "Shout", "type": 3},
]

POLL: Json = {
    "embeds": [{"title": "Lunch?", "description": "**Vote** now", "color": 0x3498DB}],
    "components": [
        {
            "type": 1,
            "components": [
                {"type": 2, "style": 1, "label": "Pizza", "custom_id": "pizza"},
                {"type": 2, "style": 4, "label": "Close", "custom_id": "close"},
            ],
        },
        {
            "type": 1,
            "components": [
                {
                    "type": 3,
                    "custom_id": "drink",
                    "placeholder": "A drink",
                    "options": [{"label": "Tea", "value": "t"}, {"label": "Mate", "value": "m"}],
                }
            ],
        },
    ],
}

FORM: Json = {
    "custom_id": "feedback",
    "title": "Feedback",
    "components": [
        {
            "type": 1,
            "components": [{"type": 4, "custom_id": custom_id, "label": label, "style": style, "required": style == 1}],
        }
        for custom_id, label, style in (("subject", "Subject", 1), ("text", "What happened?", 2))
    ],
}


def reply_with(content: str, **more: Any) -> Json:
    return {"type": 4, "data": {"content": content, **more}}


def _options(interaction: Json) -> dict[str, Any]:
    options = interaction["data"].get("options") or []
    inner = options[0].get("options", options) if options and options[0]["type"] == 1 else options
    return {option["name"]: option["value"] for option in inner}


def _feedback(interaction: Json) -> Json:
    if interaction["type"] == 2:
        return {"type": 9, "data": FORM}
    rows = interaction["data"]["components"]
    fields = {row["components"][0]["custom_id"]: row["components"][0]["value"] for row in rows}
    return reply_with(f"Thank you for “{fields['subject']}”.", flags=64)


def _settings(interaction: Json) -> Json:
    options = _options(interaction)
    if interaction["type"] == 4:
        keys = [key for key in ("locale", "log_channel") if options["key"] in key]
        return {"type": 8, "data": {"choices": [{"name": f"The {key}", "value": key} for key in keys]}}
    return reply_with(f"{options['key']} is now “{options['value']}”.")


def _menu(what: str) -> Any:
    def answer(interaction: Json) -> Json:
        data = interaction["data"]
        found = data["resolved"][what][data["target_id"]]
        return reply_with(found.get("username") or found["content"].upper(), flags=64)

    return answer


ANSWERS: Json = {
    "ping": reply_with("Pong!"),
    "roll": lambda interaction: reply_with(f"You rolled **{_options(interaction).get('sides', 6)}**."),
    "poll": {"type": 4, "data": POLL},
    "pizza": lambda interaction: {
        "type": 7,
        "data": {**POLL, "content": f"{interaction['member']['user']['username']} wants pizza"},
    },
    "close": {"type": 6},
    "drink": lambda interaction: reply_with(f"Chosen: {interaction['data']['values'][0]}", flags=64),
    "feedback": _feedback,
    "secret": reply_with("Psst.", flags=64),
    "sorry": [
        {"type": 5},
        ("DELETE", "/messages/@original", None),
        ("POST", "", {"content": "Not for everyone.", "flags": 64}),
    ],
    "settings": _settings,
    "Who is": _menu("users"),
    "Shout": _menu("messages"),
}
