"""What is said about an option of `redis.url` that the driver refuses."""

import pytest

from botctl.core.errors import ConfigError
from botctl.stores.redis import connect
from tests.support.waiting import LIMIT_S


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("socket_timeot=2", "redis.url has an unknown option socket_timeot; did you mean socket_timeout?"),
        ("db=1&colour=red", "redis.url has an unknown option colour."),
        ("db=1&protocol=x&timeout=1", "The option protocol of redis.url has a value that is not valid."),
        ("protocol=9", "The option protocol of redis.url has a value that is not valid."),
        ("retry=often", "The option retry of redis.url has a value that is not valid."),
        ("max_connections=-1", "The option max_connections of redis.url has a value that is not valid."),
    ],
)
def test_refused_option_is_named_without_its_value(query: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        connect(f"redis://localhost:6379/0?{query}", timeout_s=LIMIT_S)
    assert str(refused.value) == sentence
    assert refused.value.hint.endswith("in redis.url, or remove it.")


def test_address_without_a_refused_option_gets_its_form() -> None:
    with pytest.raises(ConfigError, match=r"redis\.url is not the address of a Redis") as refused:
        connect("redis://localhost:nine?db=1", timeout_s=LIMIT_S)
    assert refused.value.hint.startswith("The form is redis://")
