"""The self-check: compares the responses of a running sandbox's REST API with Discord's OpenAPI description.

It is on when ``BOTCTL_DISCORD_OPENAPI`` names the description's file and the package jsonschema-rs is installed (the
extra ``judge``: pip install 'botctl[judge]'). A mismatch is logged and listed in ``GET /_control/faults``; the response
itself does not change.
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
ENVIRONMENT_VARIABLE: Final = "BOTCTL_DISCORD_OPENAPI"
_API_PREFIX = re.compile(r"/api(?:/v\d+)?(?=/)")
_MAX_KEPT = 100  # newest mismatches; all are counted
_SERVER_ERROR = 500
_OAUTH_EXCHANGE = "/oauth2/token"  # its errors have the form of RFC 6749


@dataclass(frozen=True)
class Repair:
    """A known defect of the description: replace ``wrong`` at ``path`` by ``right``."""

    path: tuple[str, ...]
    wrong: Any
    right: Any
    reason: str


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
        "A deferred answer is a loading message, and discord.js's deferReply returns it.",
    ),
)

UNDESCRIBED: Final[dict[tuple[str, str], str]] = {}
"""Routes that the description lacks: (method, path with {} for variables) to the reason."""


class Description:
    """The OpenAPI description, with a cached validator for each response."""

    def __init__(self, document: Json) -> None:
        """Raises ConfigError without jsonschema-rs, KeyError when ``document`` is no OpenAPI description."""
        self._validator_for, registry = _import_validators()
        self._document = apply_repairs(document)
        self._registry = registry([("urn:d", self._document)])
        self._tree: Json = {}
        for path, operations in self._document["paths"].items():
            node = self._tree
            for part in path.split("/"):
                node = node.setdefault("{}" if part.startswith("{") else part, {})
            node["/"] = path, operations

    def template(self, method: str, path: str) -> str | None:
        """The description's path, such as ``/users/{user_id}``, that matches ``path`` best; None without a match."""
        return _find_template(self._tree, path.split("/"), method.lower())

    def mismatches(self, method: str, path: str, status: int, body: Any) -> list[tuple[str, str]]:
        """The mismatches of a response: JSON path and sentence. ``body`` is None when it has none."""
        template = self.template(method, path)
        if template is None:
            return self._mismatches_without_template(method, path, status, body)
        pointer = self._schema(template, method.lower(), status)
        if pointer is None:
            return [("$", f"the status {status} is not described")]
        if not pointer:
            return [] if body is None else [("$", "a body where none is described")]
        return self._validate(pointer, body)

    def _mismatches_without_template(self, method: str, path: str, status: int, body: Any) -> list[tuple[str, str]]:
        if status // 100 == 4:  # noqa: PLR2004 - all errors have one form
            return self._validate("/components/schemas/ErrorResponse", body)
        is_known = any(method == known_method and _matches(pattern, path) for known_method, pattern in UNDESCRIBED)
        return [] if is_known else [("$", f"there is no {method} {path} in the description")]

    def _validate(self, pointer: str, body: Any) -> list[tuple[str, str]]:
        validator = self._validator(pointer)
        if validator.is_valid(body):
            return []
        return [fault for error in validator.iter_errors(body) for fault in explain(error)]

    @functools.cache  # noqa: B019 - a description lives as long as the process
    def _schema(self, template: str, method: str, status: int) -> str | None:
        """The JSON pointer to the body's schema; "" when there is no body, None when the status is not described."""
        responses = self._document["paths"][template][method]["responses"]
        key = next((candidate for candidate in (str(status), f"{status // 100}XX") if candidate in responses), None)
        if key is None:
            return None
        pointer = template.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
        location = str(responses[key].get("$ref", f"#/paths/{pointer}/{method}/responses/{key}")).removeprefix("#/")
        content = _follow(self._document, location.split("/")) if "$ref" in responses[key] else responses[key]
        return f"/{location}/content/application~1json/schema" if "content" in content else ""

    @functools.cache  # noqa: B019
    def _validator(self, pointer: str) -> Any:
        return self._validator_for({"$ref": f"urn:d#{pointer}"}, registry=self._registry, validate_formats=True)


@dataclass(frozen=True)
class Mismatch:
    """A response that differs from the description: ``what`` is the sentence, ``where`` the JSON path in the body."""

    method: str
    route: str
    status: int
    where: str
    what: str


class OpenApiCheck:
    """Compares an application's responses with ``description``; counts mismatches and keeps the newest."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.checked = 0
        self.count = 0
        self.mismatches: deque[Mismatch] = deque(maxlen=_MAX_KEPT)

    def install(self, app: web.Application) -> None:
        """Check every response of ``app`` before it is sent."""
        app.on_response_prepare.append(self._check)

    def report(self) -> Json:
        return {
            "judged": self.checked,
            "count": self.count,
            "faults": [asdict(mismatch) for mismatch in self.mismatches],
        }

    async def _check(self, request: web.Request, response: web.StreamResponse) -> None:
        version = _API_PREFIX.match(request.path)
        if version is None or not isinstance(response, web.Response) or _is_from_edge(response):
            return
        path = request.path[version.end() :]
        if path.startswith(_OAUTH_EXCHANGE):
            return
        self.checked += 1
        for where, what in self._mismatches(request.method, path, response):
            route = self.description.template(request.method, path) or path
            self._record(Mismatch(request.method, route, response.status, where, what))

    def _mismatches(self, method: str, path: str, response: web.Response) -> Iterable[tuple[str, str]]:
        if response.status >= _SERVER_ERROR:
            return [("$", "the sandbox failed")]
        raw = response.body
        if raw is None or raw == b"":
            return self.description.mismatches(method, path, response.status, None)
        if not isinstance(raw, bytes) or response.headers["Content-Type"] != "application/json":
            return [("$", f"the Content-Type is {response.headers['Content-Type']}")]
        try:
            return self.description.mismatches(method, path, response.status, json.loads(raw))
        except ValueError:
            return [("$", "the body is not JSON")]

    def _record(self, mismatch: Mismatch) -> None:
        self.count += 1
        if mismatch not in self.mismatches:
            template = "A response differs from Discord's OpenAPI description: %s %s (%s), %s: %s"
            _log.error(
                template, mismatch.method, safe(mismatch.route), mismatch.status, mismatch.where, safe(mismatch.what)
            )
        self.mismatches.append(mismatch)


OPENAPI_CHECK: web.AppKey[OpenApiCheck | None] = web.AppKey("openapi_check")


def from_environment(environment: Mapping[str, str]) -> OpenApiCheck | None:
    """The check, when ``BOTCTL_DISCORD_OPENAPI`` is set; raises ConfigError."""
    path = environment.get(ENVIRONMENT_VARIABLE)
    return OpenApiCheck(load(Path(path))) if path else None


@functools.cache
def load(path: Path) -> Description:
    """The description in the file ``path``, read once; raises ConfigError."""
    hint = f"Set {ENVIRONMENT_VARIABLE} to the openapi.json of Discord's discord-api-spec repository, or unset it."
    try:
        return Description(json.loads(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"Discord's description {path} cannot be read: {error.strerror}.", hint=hint) from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ConfigError(f"{path} is not an OpenAPI description.", hint=hint) from None


def apply_repairs(document: Json) -> Json:
    """A copy of the description without the defects in `REPAIRS`."""
    repaired = copy.deepcopy(document)
    for repair in REPAIRS:
        with contextlib.suppress(KeyError, IndexError):  # other editions may lack the path
            parent, last = _follow(repaired, repair.path[:-1]), repair.path[-1]
            if _follow(parent, (last,)) == repair.wrong:
                parent[int(last) if isinstance(parent, list) else last] = repair.right
    return repaired


def explain(error: Any) -> list[tuple[str, str]]:
    """JSON path and message of a validation error; if all alternatives of ``anyOf`` fail, those of the closest one."""
    branches = getattr(error.kind, "context", None)
    if not branches:
        return [(_json_path(error.instance_path), error.message)]
    path = list(error.instance_path)
    closest = [branch for branch in branches if not any(_is_other_type(error, path) for error in branch)] or branches
    return min(([fault for error in branch for fault in explain(error)] for branch in closest), key=len)


def _is_other_type(error: Any, path: list[str | int]) -> bool:
    """Whether ``error`` only says that the ``type`` of the object at ``path`` is not the one of this alternative."""
    return error.kind.name in ("const", "enum") and list(error.instance_path) == [*path, "type"]


def _import_validators() -> tuple[Any, Any]:
    try:
        import jsonschema_rs  # noqa: PLC0415 - an extra: a sandbox runs without it
    except ImportError:
        hint = f"Type: pip install 'botctl[judge]'. Or unset {ENVIRONMENT_VARIABLE}."
        raise ConfigError("The sandbox's self-check needs the package jsonschema-rs.", hint=hint) from None
    return jsonschema_rs.validator_for, jsonschema_rs.Registry


def _is_from_edge(response: web.Response) -> bool:
    """Whether it imitates Cloudflare, in front of Discord: an HTML page, or a server error with the header Via."""
    if response.content_type == "text/html":
        return True
    return response.status >= _SERVER_ERROR and "Via" in response.headers


def _find_template(node: Json, parts: list[str], method: str) -> str | None:
    if not parts:
        path, operations = node.get("/", ("", {}))
        return path if method in operations else None
    for key in (parts[0], "{}"):
        if key in node and (template := _find_template(node[key], parts[1:], method)):
            return template
    return None


def _matches(pattern: str, path: str) -> bool:
    expected, parts = pattern.split("/"), path.split("/")
    return len(expected) == len(parts) and all(
        pattern_part in ("{}", part) for pattern_part, part in zip(expected, parts, strict=True)
    )


def _follow(data: Any, keys: Iterable[str]) -> Any:
    """The value at the path ``keys`` in nested JSON."""
    for key in keys:
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def _json_path(parts: Iterable[str | int]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
