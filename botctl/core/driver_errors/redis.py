"""What each error of redis-py means: one table by class, one by the first word of the server's reply.

A test goes through all classes of the driver and all replies of the packaged server, so that none is undecided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from redis import exceptions, sentinel
from redis.asyncio import sentinel as async_sentinel

from botctl.core.driver_errors.by_class import meaning_by_class
from botctl.core.driver_errors.tls import causes, is_wrong_tls
from botctl.core.errors import DriverFault, Meaning, store_hint, translated

LOGIN_HINT: Final = "Correct user and password in redis.url (BOTCTL_REDIS__URL)."
_RIGHTS: Final = Meaning(
    DriverFault.WRONG,
    "Give the user of redis.url the rights that botctl needs (ACL SETUSER): ~botctl:* &botctl:* +@all.",
)
_LOGIN: Final = Meaning(DriverFault.WRONG, LOGIN_HINT)
_CLUSTER: Final = Meaning(DriverFault.WRONG, "botctl needs a Redis that is not a cluster: name one in redis.url.")
_OTHER_SERVER: Final = Meaning(
    DriverFault.WRONG,
    "What answers at redis.url is not a Redis that botctl knows. It needs Redis 6.2 or Valkey, or newer.",
)
_URL: Final = Meaning(DriverFault.WRONG, "Correct redis.url (BOTCTL_REDIS__URL).")
_TLS: Final = Meaning(
    DriverFault.WRONG,
    "Check redis.url: rediss:// needs a server with TLS, and ssl_ca_certs=FILE the authority of its certificate.",
    is_tls=True,
)
_LATER: Final = Meaning(DriverFault.TRANSIENT)
_REPLICA: Final = Meaning(
    DriverFault.TRANSIENT,
    "That Redis is a replica. Wait for the end of its failover, or name the primary in redis.url.",
)
_FULL: Final = Meaning(
    DriverFault.TRANSIENT, "That Redis has no memory left: raise maxmemory, or delete keys of others."
)
_NO_DISK: Final = Meaning(
    DriverFault.TRANSIENT,
    "See the log of that Redis, and free space on its disk.",
    "it cannot write to its disk",
)
_DAMAGED: Final = Meaning(
    DriverFault.DAMAGED,
    "Another program uses keys of botctl, or they are damaged. Delete the keys that begin with botctl:. No data are "
    "only in Redis.",
)
_BUG: Final = Meaning(DriverFault.BUG)

BY_CLASS: Final[Mapping[type[BaseException], Meaning | None]] = {
    exceptions.RedisError: _LATER,
    exceptions.ConnectionError: _LATER,
    exceptions.AuthenticationError: _LOGIN,
    exceptions.AuthorizationError: _RIGHTS,
    exceptions.BusyLoadingError: _LATER,
    exceptions.MaxConnectionsError: _LATER,
    exceptions.ExternalAuthProviderError: _LATER,
    sentinel.MasterNotFoundError: _LATER,
    sentinel.SlaveNotFoundError: _LATER,
    async_sentinel.MasterNotFoundError: _LATER,
    async_sentinel.SlaveNotFoundError: _LATER,
    exceptions.TimeoutError: _LATER,
    exceptions.InvalidResponse: _OTHER_SERVER,
    exceptions.ResponseError: None,  # by its first word
    exceptions.NoScriptError: _LATER,
    exceptions.OutOfMemoryError: _FULL,
    exceptions.ExecAbortError: _LATER,
    exceptions.ReadOnlyError: _REPLICA,
    exceptions.NoPermissionError: _RIGHTS,
    exceptions.ModuleError: _OTHER_SERVER,
    exceptions.NoSuchFieldsetError: _BUG,
    exceptions.AuthenticationWrongNumberOfArgsError: _LOGIN,
    exceptions.ClusterDownError: _LATER,
    exceptions.MasterDownError: _LATER,
    exceptions.AskError: _LATER,
    exceptions.MovedError: _CLUSTER,
    exceptions.TryAgainError: _LATER,
    exceptions.ClusterCrossSlotError: _CLUSTER,
    exceptions.DataError: _BUG,
    exceptions.PubSubError: _BUG,
    exceptions.WatchError: _LATER,
    exceptions.LockError: _BUG,
    exceptions.LockNotOwnedError: _BUG,
    exceptions.ClusterError: _LATER,
    exceptions.RedisClusterException: _CLUSTER,
    exceptions.SlotNotCoveredError: _LATER,
    exceptions.CrossSlotTransactionError: _CLUSTER,
    exceptions.ChildDeadlockedError: _BUG,
    exceptions.InvalidPipelineStack: _BUG,
    exceptions.IncorrectPolicyType: _BUG,
}
"""Each class of the driver. None: the server's reply decides."""

BY_PREFIX: Final[Mapping[str, Meaning]] = {
    **dict.fromkeys(("NOAUTH", "WRONGPASS"), _LOGIN),
    "NOPERM": _RIGHTS,
    "DENIED": Meaning(
        DriverFault.WRONG, "That Redis is in protected mode: set a password (requirepass), and name it in redis.url."
    ),
    "NOPROTO": _OTHER_SERVER,
    **dict.fromkeys(("MOVED", "CROSSSLOT"), _CLUSTER),
    "READONLY": _REPLICA,
    "OOM": _FULL,
    **dict.fromkeys(("MISCONF", "IOERR"), _NO_DISK),
    **dict.fromkeys(("WRONGTYPE", "INVALIDOBJ"), _DAMAGED),
    **dict.fromkeys(("BUSYGROUP", "BUSYKEY", "NOGROUP", "NOTBUSY"), _BUG),
    **dict.fromkeys(
        (
            "ASK",
            "BUSY",
            "CLUSTERDOWN",
            "ERR",
            "EXECABORT",
            "INPROG",
            "LOADING",
            "MASTERDOWN",
            "NOGOODPRIMARY",
            "NOGOODSLAVE",
            "NOMASTERLINK",
            "NOQUORUM",
            "NOREPLICAS",
            "NOSCRIPT",
            "NOTREADY",
            "REDIRECT",
            "TRYAGAIN",
            "UNBLOCKED",
            "UNKILLABLE",
        ),
        _LATER,
    ),
}
"""Each first word of a server's error. One that is not here is taken for transient."""

BY_TEXT: Final[Mapping[str, Meaning]] = {
    "invalid db index": _URL,
    "db index is out of range": _URL,
    "invalid database": _URL,  # the driver, after a SELECT that failed
    "invalid password": _LOGIN,
    "client sent auth": _LOGIN,
    "auth <password> called": _LOGIN,
    "unknown command": _OTHER_SERVER,
    "unknown subcommand": _OTHER_SERVER,
    "select is not allowed in cluster mode": _CLUSTER,
    "syntax error": _BUG,
    "wrong number of arguments": _BUG,
}
"""Replies without a word of their own, in lower case: most begin with ERR."""

_NO_WORD: Final = "ERR"  # the reply has no word of its own
_WORD: Final = re.compile(r"^-?([A-Z]{2,})\b")
_WORD_OF_SCRIPT: Final = re.compile(r"@user_script: ?\d+: -?([A-Z]{2,})\b")  # before Redis 7


def sort(error: BaseException) -> Meaning:
    """What ``error``, of redis-py or of a socket, means."""
    if is_wrong_tls(error):
        return _TLS
    for cause in causes(error):  # the driver may wrap a refusal in a ConnectionError
        if isinstance(cause, exceptions.AuthenticationError):
            return _LOGIN
    own = meaning_by_class(error, BY_CLASS, _LATER)
    if own is None or own is _LATER:
        return _by_reply(error) or _LATER
    return own


def _by_reply(error: BaseException) -> Meaning | None:
    """By the first word of the reply. What comes after it may be a name of the user's, so it decides only for ERR."""
    text, status = str(error), getattr(error, "status_code", None)  # the driver may cut off the word
    found = _WORD_OF_SCRIPT.search(text) or (None if status else _WORD.search(text))
    word = found[1] if found else str(status)
    if word in BY_PREFIX and word != _NO_WORD:
        return BY_PREFIX[word]
    by_text = (meaning for part, meaning in BY_TEXT.items() if part in text.lower())
    return next(by_text, BY_PREFIX.get(word))


def reaching_redis(sentence: str, hint: str = store_hint("Redis")) -> translated:
    """Errors of Redis in the block become ``sentence``, as in `translated`."""
    return translated(exceptions.RedisError, OSError, sentence=sentence, hint=hint, sort=sort)
