"""The self-check: every answer of a running sandbox against Discord's own OpenAPI description.

On where ``BOTCTL_DISCORD_OPENAPI`` names the description (a file; it is not part of botctl) and the package
jsonschema-rs is installed (``botctl[judge]``). A fault is one line in the log and in ``GET /_control/faults``; what the
client gets stays as it is. `REPAIRS` is where the description is known to be wrong.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from botctl.core.errors import ConfigError
from botctl.core.escape import safe

_log = logging.getLogger(__name__)
Json = dict[str, Any]
VARIABLE: Final = "BOTCTL_DISCORD_OPENAPI"
_API = re.compile(r"/api(?:/v\d+)?(?=/)")
_KEPT = 100  # of the newest faults; all are counted
_SERVER_ERROR = 500
_NOT_DESCRIBED = "/oauth2/token"  # left to RFC 6749, whose form of errors is its own


@dataclass(frozen=True)
class Repair:
    """A known defect of the description: at ``at`` it has ``wrong``, and is read as if it had ``right``."""

    at: tuple[str, ...]
    wrong: Any
    right: Any
    why: str


REPAIRS: Final = (
    Repair(
        ("components", "schemas", "RatelimitedResponse", "allOf", "0"),
        {"$ref": "#/components/schemas/Error"},
        {"type": "object", "properties": {"message": {"type": "string"}, "code": {"type": "integer"}}},
        "A 429 has a code in some cases only (Discord: Rate Limits > Rate Limit Response Structure: `code?`).",
    ),
    Repair(
        ("components", "schemas", "InnerErrors", "properties", "_errors", "items"),
        {"$ref": "#/components/schemas/Error"},
        {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        },
        "The code of a field's error is a word: BASE_TYPE_REQUIRED (Discord: Reference > Error Messages).",
    ),
    Repair(
        ("components", "schemas", "MessageReferenceType", "oneOf"),
        [{"title": "DEFAULT", "description": "Reference to a message", "const": 0}],
        [{"const": 0}, {"const": 1}],
        "A forward has the reference type 1 (Discord: Message resource > Message Reference Types).",
    ),
    Repair(
        ("components", "schemas", "CreateMessageInteractionCallbackResponse", "properties", "type", "enum"),
        [4],
        [4, 5],
        "A deferred answer is a message too, which is loading: bots take it from discord.js's deferReply.",
    ),
)

UNDESCRIBED: Final[dict[tuple[str, str], str]] = {}
"""Routes that Discord has and the description has not, as (method, path with {} for its variables), and why."""


class Description:
    """The description, made ready for many answers."""

    def __init__(self, described: Json) -> None:
        """Raises ConfigError without jsonschema-rs; KeyError when ``described`` is no such description."""
        self._validator_for, registry = _validators()
        self._described = repaired(described)
        self._registry = registry([("urn:d", self._described)])
        self._tree: Json = {}
        for path, operations in self._described["paths"].items():
            node = self._tree
            for part in path.split("/"):
                node = node.setdefault("{}" if part.startswith("{") else part, {})
            node["/"] = path, operations

    def template(self, method: str, path: str) -> str | None:
        """The described path that ``path`` is one of, if any; a literal part wins over a variable one."""
        return _find(self._tree, path.split("/"), method.lower())

    def faults(self, method: str, path: str, status: int, body: Any) -> list[tuple[str, str]]:
        """What is wrong with an answer: JSON path and sentence. ``body`` is None where there is none."""
        template = self.template(method, path)
        if template is None:
            return self._faults_of_a_stranger(method, path, status, body)
        where = self._schema(template, method.lower(), status)
        if where is None:
            return [("$", f"the status {status} is not described")]
        if not where:
            return [] if body is None else [("$", "a body where none is described")]
        return self._against(where, body)

    def _faults_of_a_stranger(self, method: str, path: str, status: int, body: Any) -> list[tuple[str, str]]:
        if status // 100 == 4:  # noqa: PLR2004 - all errors have one form
            return self._against("/components/schemas/ErrorResponse", body)
        known = any(method == one and _matches(pattern, path) for one, pattern in UNDESCRIBED)
        return [] if known else [("$", f"there is no {method} {path} in the description")]

    def _against(self, where: str, body: Any) -> list[tuple[str, str]]:
        validator = self._validator(where)
        if validator.is_valid(body):
            return []
        return [fault for error in validator.iter_errors(body) for fault in blame(error)]

    @functools.cache  # noqa: B019 - a description lives as long as the process
    def _schema(self, template: str, method: str, status: int) -> str | None:
        """Where the schema of the body stands; "" for no body; None when the status is not described."""
        responses = self._described["paths"][template][method]["responses"]
        key = next((one for one in (str(status), f"{status // 100}XX") if one in responses), None)
        if key is None:
            return None
        pointer = template.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
        where = str(responses[key].get("$ref", f"#/paths/{pointer}/{method}/responses/{key}")).removeprefix("#/")
        content = _at(self._described, where.split("/")) if "$ref" in responses[key] else responses[key]
        return f"/{where}/content/application~1json/schema" if "content" in content else ""

    @functools.cache  # noqa: B019
    def _validator(self, where: str) -> Any:
        return self._validator_for({"$ref": f"urn:d#{where}"}, registry=self._registry, validate_formats=True)


@dataclass(frozen=True)
class Mismatch:
    """One answer that is not as described."""

    method: str
    route: str
    status: int
    where: str
    what: str


class OpenApiCheck:
    """Watches the answers of one sandbox."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.judged = 0
        self.count = 0
        self.faults: deque[Mismatch] = deque(maxlen=_KEPT)

    def watch(self, app: web.Application) -> None:
        """Have every answer of ``app`` looked at before it is sent."""
        app.on_response_prepare.append(self._look)

    def report(self) -> Json:
        """For the control API: how many answers were judged, and what was wrong with them."""
        return {"judged": self.judged, "count": self.count, "faults": [asdict(one) for one in self.faults]}

    async def _look(self, request: web.Request, response: web.StreamResponse) -> None:
        version = _API.match(request.path)
        if version is None or not isinstance(response, web.Response) or _not_discords(response):
            return
        path = request.path[version.end() :]
        if path.startswith(_NOT_DESCRIBED):
            return
        self.judged += 1
        for where, what in self._faults(request.method, path, response):
            route = self.description.template(request.method, path) or path
            self._found(Mismatch(request.method, route, response.status, where, what))

    def _faults(self, method: str, path: str, response: web.Response) -> Iterable[tuple[str, str]]:
        if response.status >= _SERVER_ERROR:
            return [("$", "the sandbox itself has failed")]
        raw = response.body
        if raw is None or raw == b"":
            return self.description.faults(method, path, response.status, None)
        if not isinstance(raw, bytes) or response.headers["Content-Type"] != "application/json":
            return [("$", f"the type of the body is {response.headers['Content-Type']}")]
        try:
            return self.description.faults(method, path, response.status, json.loads(raw))
        except ValueError:
            return [("$", "the body is no JSON")]

    def _found(self, fault: Mismatch) -> None:
        self.count += 1
        if fault not in self.faults:
            line = "Not as Discord's description says: %s %s (%s), %s: %s"
            _log.error(line, fault.method, safe(fault.route), fault.status, fault.where, safe(fault.what))
        self.faults.append(fault)


JUDGE: web.AppKey[OpenApiCheck | None] = web.AppKey("judge")


def from_environment(environment: Mapping[str, str]) -> OpenApiCheck | None:
    """The judge that ``BOTCTL_DISCORD_OPENAPI`` asks for; None when it is not set. Raises ConfigError."""
    named = environment.get(VARIABLE)
    return OpenApiCheck(load(Path(named))) if named else None


@functools.cache
def load(path: Path) -> Description:
    """The description in the file ``path``, read once. Raises ConfigError."""
    hint = f"{VARIABLE} names the openapi.json of Discord's discord-api-spec repository."
    try:
        return Description(json.loads(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"Discord's description {path} cannot be read: {error.strerror}.", hint=hint) from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ConfigError(f"{path} is no OpenAPI description.", hint=hint) from None


def repaired(described: Json) -> Json:
    """The description with its known defects set right."""
    result = copy.deepcopy(described)
    for repair in REPAIRS:
        with contextlib.suppress(KeyError, IndexError):  # another edition of the description need not have the place
            parent, last = _at(result, repair.at[:-1]), repair.at[-1]
            if _at(parent, (last,)) == repair.wrong:
                parent[int(last) if isinstance(parent, list) else last] = repair.right
    return result


def blame(error: Any) -> list[tuple[str, str]]:
    """Where and what a validation error is; of alternatives that all fail, in the one that comes closest."""
    branches = getattr(error.kind, "context", None)
    if not branches:
        return [(_path(error.instance_path), error.message)]
    here = list(error.instance_path)
    near = [branch for branch in branches if not any(_another_kind(one, here) for one in branch)] or branches
    return min(([fault for one in branch for fault in blame(one)] for branch in near), key=len)


def _another_kind(error: Any, here: list[str | int]) -> bool:
    """Is the alternative with ``error`` of another kind than the object ``here``, whose ``type`` says which it is?"""
    return error.kind.name in ("const", "enum") and list(error.instance_path) == [*here, "type"]


def _validators() -> tuple[Any, Any]:
    try:
        import jsonschema_rs  # noqa: PLC0415 - an extra: a sandbox runs without it
    except ImportError:
        hint = f"Install botctl[judge], or unset {VARIABLE}."
        raise ConfigError("The sandbox's self-check needs the package jsonschema-rs.", hint=hint) from None
    return jsonschema_rs.validator_for, jsonschema_rs.Registry


def _not_discords(response: web.Response) -> bool:
    """An HTML page is Cloudflare's, and a server error with Via an incident that somebody asked for."""
    if response.content_type == "text/html":
        return True
    return response.status >= _SERVER_ERROR and "Via" in response.headers


def _find(node: Json, parts: list[str], method: str) -> str | None:
    if not parts:
        path, operations = node.get("/", ("", {}))
        return path if method in operations else None
    for key in (parts[0], "{}"):
        if key in node and (found := _find(node[key], parts[1:], method)):
            return found
    return None


def _matches(pattern: str, path: str) -> bool:
    wanted, parts = pattern.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(one in ("{}", part) for one, part in zip(wanted, parts, strict=True))


def _at(data: Any, keys: Iterable[str]) -> Any:
    """The part of ``data`` that ``keys`` lead to."""
    for key in keys:
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def _path(parts: Iterable[str | int]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
