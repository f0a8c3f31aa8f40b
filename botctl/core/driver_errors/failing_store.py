"""What to log of an error that the code of an operator let through, if only a store is to blame."""

from __future__ import annotations

from pymongo.errors import OperationFailure, PyMongoError
from redis.exceptions import RedisError, ResponseError

from botctl.core.driver_errors import mongo, redis
from botctl.core.errors import STORE_FAULTS, DriverFault, Meaning, type_name

_OF_STORE = (DriverFault.TRANSIENT, DriverFault.WRONG)


def failing_store(error: BaseException) -> str | None:
    """A sentence without a full stop, if ``error`` says that a store fails: a traceback would not help.

    None for any other error, also for a reply of a server that the code itself may have caused.
    """
    if isinstance(error, STORE_FAULTS):
        return str(error).removesuffix(".")
    if isinstance(error, RedisError):
        return _sentence("Redis", error, redis.sort(error), is_reply=isinstance(error, ResponseError))
    if isinstance(error, PyMongoError):
        return _sentence("MongoDB", error, mongo.sort(error), is_reply=isinstance(error, OperationFailure))
    return None


def _sentence(store: str, error: BaseException, meaning: Meaning, *, is_reply: bool) -> str | None:
    if meaning.fault not in _OF_STORE or (is_reply and not meaning.hint):
        return None
    return f"{store} fails ({type_name(error)}{f': {meaning.cause}' if meaning.cause else ''})"
