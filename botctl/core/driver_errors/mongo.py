"""What each error of pymongo means: one table by class, one by the server's code.

A test goes through all classes of the driver, so that none is undecided. The embedded document store has no codes for
what SQLite says, so that is known by its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bson.errors import BSONError, InvalidBSON, InvalidDocument, InvalidId, InvalidStringData
from pymongo import errors, pool_shared

from botctl.core.driver_errors.by_class import meaning_by_class
from botctl.core.driver_errors.tls import causes, is_wrong_tls
from botctl.core.errors import DriverFault, Meaning, store_hint, translated, type_name

LOGIN_HINT: Final = "Correct user and password in mongo.url (BOTCTL_MONGO__URL)."
_LATER: Final = Meaning(DriverFault.TRANSIENT)
_NO_DNS: Final = Meaning(
    DriverFault.TRANSIENT,
    "Check that this machine can resolve names, and that the name in mongo.url (mongodb+srv://) exists.",
)
_NO_DISK: Final = Meaning(
    DriverFault.TRANSIENT, "Free space on the disk of that store, then try again.", "its disk is full"
)
_LOGIN: Final = Meaning(DriverFault.WRONG, LOGIN_HINT)
_RIGHTS: Final = Meaning(
    DriverFault.WRONG,
    "Name user and password in mongo.url (BOTCTL_MONGO__URL), and give that user the role readWrite for the bot's "
    "database.",
)
_TLS: Final = Meaning(
    DriverFault.WRONG,
    "Check mongo.url: tls=true needs a server with TLS, and tlsCAFile=FILE the authority of its certificate.",
    is_tls=True,
)
_URL: Final = Meaning(DriverFault.WRONG, "Correct mongo.url (BOTCTL_MONGO__URL).")
_SERVER: Final = Meaning(DriverFault.WRONG, "That server cannot do what botctl needs: it needs MongoDB 4.4 or newer.")
_FILES: Final = Meaning(
    DriverFault.WRONG, "The folder .botctl/mongo must belong to the user who runs botctl, and be writable."
)
_DAMAGED: Final = Meaning(
    DriverFault.DAMAGED, "Examine that server's data (its log, and `validate`), and restore them from a backup."
)
_CONTRADICTION: Final = Meaning(
    DriverFault.DAMAGED, "A collection of botctl is not as botctl left it: examine it, or restore it from a backup."
)
_SQLITE: Final = Meaning(
    DriverFault.DAMAGED,
    "Stop botctl. Restore .botctl/mongo from a backup, or set it aside on purpose (mv .botctl/mongo "
    ".botctl/mongo.damaged): then the audit log, the ledger of migrations and the guild settings begin empty. "
    "docs/production.md says how to save what can still be read.",
)
_BUG: Final = Meaning(DriverFault.BUG)

BY_CLASS: Final[Mapping[type[BaseException], Meaning | None]] = {
    errors.PyMongoError: _LATER,
    errors.ProtocolError: _LATER,
    errors.ConnectionFailure: _LATER,
    errors.WaitQueueTimeoutError: _LATER,
    errors.AutoReconnect: _LATER,
    errors.NetworkTimeout: _LATER,
    errors.NotPrimaryError: _LATER,
    errors.ServerSelectionTimeoutError: _LATER,
    errors._OperationCancelled: _LATER,  # noqa: SLF001  every class is decided
    pool_shared._PoolClosedError: _LATER,  # noqa: SLF001
    errors.ConfigurationError: _URL,
    errors.InvalidURI: _URL,
    errors.OperationFailure: None,  # by its code
    errors.CursorNotFound: _LATER,
    errors.ExecutionTimeout: _LATER,
    errors.WriteConcernError: None,
    errors.WTimeoutError: _LATER,
    errors.WriteError: None,
    errors.DuplicateKeyError: _CONTRADICTION,
    errors.BulkWriteError: None,
    errors.ClientBulkWriteException: None,
    errors.InvalidOperation: _BUG,
    errors.InvalidName: _BUG,
    errors.CollectionInvalid: _BUG,
    errors.DocumentTooLarge: _BUG,
    errors.EncryptionError: _BUG,
    errors.EncryptedCollectionError: _BUG,
    BSONError: _BUG,
    InvalidBSON: _DAMAGED,
    InvalidStringData: _BUG,
    InvalidDocument: _BUG,
    InvalidId: _BUG,
}
"""Each class of the driver. None: the server's code decides."""

# The names are those of MongoDB's error_codes.yml.
BY_CODE: Final[Mapping[int, Meaning]] = {
    **dict.fromkeys(
        (
            11,  # UserNotFound
            18,  # AuthenticationFailed
            214,  # AuthenticationRestrictionUnmet
            334,  # MechanismUnavailable
            337,  # AuthenticationAbandoned
            8000,  # AtlasError: nearly always a wrong login
        ),
        _LOGIN,
    ),
    **dict.fromkeys((13, 31, 33), _RIGHTS),  # Unauthorized, RoleNotFound, PrivilegeNotFound
    **dict.fromkeys(
        (
            20,  # IllegalOperation
            59,  # CommandNotFound
            101,  # OutdatedClient
            115,  # CommandNotSupported
            126,  # RPCProtocolNegotiationFailed
            148,  # ReadConcernMajorityNotEnabled
            166,  # CommandNotSupportedOnView
            167,  # OptionNotSupportedOnView
            188,  # IncompatibleServerVersion
            224,  # QueryFeatureNotAllowed
            235,  # InternalErrorNotSupported
            238,  # NotImplemented
            243,  # IncompatibleWithUpgradedServer
            322,  # APIVersionError
            323,  # APIStrictError
            324,  # APIDeprecationError
            347,  # APIMismatchError
            352,  # UnsupportedOpQueryCommand
        ),
        _SERVER,
    ),
    **dict.fromkeys(
        (
            71,  # ReplicaSetNotFound
            72,  # InvalidOptions
            73,  # InvalidNamespace
            79,  # UnknownReplWriteConcern
            100,  # UnsatisfiableWriteConcern
            354,  # LoadBalancerSupportMismatch
        ),
        _URL,
    ),
    **dict.fromkeys((22, 301, 430), _DAMAGED),  # InvalidBSON, DataCorruptionDetected, IndexKeyOrderViolation
    **dict.fromkeys(
        (
            26,  # NamespaceNotFound
            27,  # IndexNotFound
            48,  # NamespaceExists
            67,  # CannotCreateIndex
            68,  # IndexAlreadyExists
            85,  # IndexOptionsConflict
            86,  # IndexKeySpecsConflict
            121,  # DocumentValidationFailure
            361,  # CollectionUUIDMismatch
            11000,  # DuplicateKey
            11001,
            12582,
        ),
        _CONTRADICTION,
    ),
    14031: _NO_DISK,  # OutOfDiskSpace
    **dict.fromkeys(
        (
            1,  # InternalError
            6,  # HostUnreachable
            7,  # HostNotFound
            8,  # UnknownError
            24,  # LockTimeout
            43,  # CursorNotFound
            46,  # LockBusy
            50,  # MaxTimeMSExpired
            64,  # WriteConcernTimeout
            89,  # NetworkTimeout
            90,  # CallbackCanceled
            91,  # ShutdownInProgress
            94,  # NotYetInitialized
            95,  # NotSecondary
            96,  # OperationFailed
            107,  # LockFailed
            112,  # WriteConflict
            117,  # ConflictingOperationInProgress
            133,  # FailedToSatisfyReadPreference
            134,  # ReadConcernMajorityNotAvailableYet
            136,  # CappedPositionLost
            145,  # PooledConnectionsDropped
            146,  # ExceededMemoryLimit
            175,  # QueryPlanKilled
            189,  # PrimarySteppedDown
            202,  # NetworkInterfaceExceededTimeLimit
            206,  # NoSuchSession
            215,  # DatabaseDropPending
            216,  # ElectionInProgress
            237,  # CursorKilled
            251,  # NoSuchTransaction
            261,  # TooManyLogicalSessions
            262,  # ExceededTimeLimit
            264,  # TooManyFilesOpen
            276,  # IndexBuildAborted
            279,  # ClientDisconnect
            285,  # IndexBuildAlreadyInProgress
            290,  # TransactionExceededLifetimeLimitSeconds
            303,  # SplitHorizonChange
            314,  # ObjectIsBusy
            365,  # TemporarilyUnavailable
            371,  # UserWritesBlocked
            391,  # ReauthenticationRequired
            402,  # ResourceExhausted
            404,  # LDAPRoleAcquisitionError
            433,  # AdmissionQueueOverflow
            449,  # RateLimitExceeded
            9001,  # SocketException
            10058,  # LegacyNotPrimary
            10107,  # NotWritablePrimary
            11600,  # InterruptedAtShutdown
            11601,  # Interrupted
            11602,  # InterruptedDueToReplStateChange
            13388,  # StaleConfig
            13435,  # NotPrimaryNoSecondaryOk
            13436,  # NotPrimaryOrSecondary
        ),
        _LATER,
    ),
    **dict.fromkeys(
        (
            9,  # FailedToParse
            40,  # ConflictingUpdateOperators
            52,  # DollarPrefixedFieldName
            53,  # InvalidIdField
            56,  # EmptyFieldName
            57,  # DottedFieldName
            66,  # ImmutableField
            168,  # InvalidPipelineOperator
            10334,  # BSONObjectTooLarge
        ),
        _BUG,
    ),
}
"""Each code that a client may meet. One that is not here is taken for transient."""

BY_TEXT: Final[Mapping[str, Meaning]] = {
    "database disk image is malformed": _SQLITE,
    "file is not a database": _SQLITE,
    "file is encrypted or is not a database": _SQLITE,
    "malformed database schema": _SQLITE,
    "database corruption": _SQLITE,
    "disk i/o error": _LATER,
    "database or disk is full": _NO_DISK,
    "the disk may be full": _NO_DISK,  # document_server.py
    "database is locked": _LATER,
    "attempt to write a readonly database": _FILES,
    "unable to open database file": _FILES,
    "unique constraint failed": _CONTRADICTION,
}
"""What SQLite says in the embedded document store, in lower case."""

_WITHOUT_CODE: Final = (0, 1, 8)  # none, InternalError, UnknownError: nx-27017 knows no better one


def sort(error: BaseException) -> Meaning:
    """What ``error``, of pymongo or of a socket, means."""
    if not isinstance(error, errors.OperationFailure) and is_wrong_tls(error):  # its text holds documents
        return _TLS
    if isinstance(error, errors.ConfigurationError) and _is_dns(error):
        return _NO_DNS
    if isinstance(error, errors.InvalidOperation) and "after close" in str(error):
        return _LATER  # at the stop
    own = meaning_by_class(error, BY_CLASS, _LATER)
    return own or _by_reply(error)


def _is_dns(error: BaseException) -> bool:
    """Whether the name of a mongodb+srv:// address could not be resolved. dnspython may be missing."""
    return any(isinstance(cause, OSError) or type(cause).__module__.startswith("dns.") for cause in causes(error))


def _by_reply(error: BaseException) -> Meaning:
    """The worst of what a reply of the server says: one of many writes may have failed."""
    found = [_by_text(code, text) or BY_CODE.get(code, _LATER) for code, text in _parts(error)]
    return min(found, key=lambda meaning: _WORST_FIRST.index(meaning.fault), default=_LATER)


_WORST_FIRST: Final = (DriverFault.DAMAGED, DriverFault.WRONG, DriverFault.BUG, DriverFault.TRANSIENT)


def _by_text(code: int, text: str) -> Meaning | None:
    if code not in _WITHOUT_CODE:
        return None
    return next((meaning for part, meaning in BY_TEXT.items() if part in text.lower()), None)


def _parts(error: BaseException) -> Iterator[tuple[int, str]]:
    """Code and message of the error itself, and of each write that failed.

    Not the text of the error: where there are details, it holds all of them, and so what documents contain.
    """
    details = getattr(error, "details", None)
    if not isinstance(details, Mapping):
        yield getattr(error, "code", None) or 0, str(error)
        return
    yield getattr(error, "code", None) or 0, str(details.get("errmsg", ""))
    listed: list[Any] = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    listed += [getattr(error, "error", None), details.get("writeConcernError")]
    for item in listed:
        if isinstance(item, Mapping):
            yield item.get("code") or 0, str(item.get("errmsg", ""))


def describe(error: BaseException) -> str:
    """The class of ``error``, with the server's code and a known cause. A driver's text holds addresses."""
    code, cause = getattr(error, "code", None), sort(error).cause
    name = type_name(error) if code is None else f"{type_name(error)}, code {code}"
    return f"{name}: {cause}" if cause else name


def reaching_mongo(
    sentence: str,
    hint: str = store_hint("MongoDB"),
    describe: Callable[[BaseException], str] = describe,
) -> translated:
    """Errors of MongoDB in the block become ``sentence``, as in `translated`."""
    return translated(errors.PyMongoError, InvalidBSON, sentence=sentence, hint=hint, describe=describe, sort=sort)
