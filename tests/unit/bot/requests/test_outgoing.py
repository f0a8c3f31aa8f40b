"""What is changed of the texts that go to Discord."""

from __future__ import annotations

import json

import pytest

from botctl.bot.requests.outgoing import _clean_form


@pytest.mark.parametrize("text", ['{"a":  1.0}', "1e2", '"\\u00e9"', "[ ]", "no JSON"])
def test_text_of_a_form_is_sent_as_it_is(text: str):
    """Also if it looks like JSON: the fields of a sticker, a caption."""
    (field,) = _clean_form([{"name": "description", "value": text}])
    assert field == {"name": "description", "value": text}


def test_payload_of_a_form_is_the_same_json():
    body = {"content": "text", "flags": 64, "embeds": [{"title": "é"}]}
    (field,) = _clean_form([{"name": "payload_json", "value": json.dumps(body)}])
    assert json.loads(field["value"]) == body
