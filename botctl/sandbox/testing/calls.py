"""Records the bot's REST requests ("calls"), for assertions in tests."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload
from urllib.parse import unquote

from aiohttp import web

from botctl.sandbox.rest.routing import PREFIX, ROUTES
from botctl.sandbox.testing.failures import Failed
from botctl.sandbox.testing.notifier import Notifier
from botctl.sandbox.web.keys import BODY

FIRST_ERROR_STATUS = 400
_MAX_BODY_CHARS = 300
_PLACEHOLDER = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Call:
    """A request and its response. ``route`` and ``path`` begin after ``/api/v10``."""

    method: str
    route: str  # with {names} in place of ids
    path: str
    status: int  # of the response
    body: Any = None  # JSON; None without a body
    query: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None  # for the guild's audit log
    answer: Any = field(default=None, repr=False)  # the JSON of the response; None without a body

    def __str__(self) -> str:
        path = re.sub(r"[^/]{40,}", "…", self.path)  # tokens
        body = "" if self.body is None else json.dumps(self.body, ensure_ascii=False)
        body = body if len(body) <= _MAX_BODY_CHARS else body[:_MAX_BODY_CHARS] + "…"
        return f"{self.method} {path} -> {self.status} {body}".rstrip()


class Calls(Sequence[Call]):
    """The bot's requests since it was ready, oldest first."""

    def __init__(self, notifier: Notifier) -> None:
        self._all: list[Call] = []
        self._notifier = notifier

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._all)

    def __repr__(self) -> str:
        return f"<{len(self)} calls>\n{self._listing()}"

    def clear(self) -> None:
        self._all.clear()

    def find(self, method: str, route: str, *, body: Mapping[str, Any] | None = None) -> list[Call]:
        """Find calls by path, or by route: ``/channels/{channel}/messages``; the names in braces do not matter.

        ``body`` selects calls whose body has at least these values. A route that Discord does not have fails the test,
        because it would never match.
        """
        __tracebackhide__ = True
        wanted, method = _PLACEHOLDER.sub("{}", route), method.upper()
        calls = [
            call
            for call in self._all
            if call.method == method and wanted in (_PLACEHOLDER.sub("{}", call.route), call.path)
        ]
        if not calls:
            _check_route(method, route)
        return [call for call in calls if body is None or _contains(call.body, body)]

    def assert_called(
        self, method: str, route: str, *, body: Mapping[str, Any] | None = None, times: int | None = None
    ) -> Call:
        """Return the last call that `find` returns; fail when there is none, or not exactly ``times``."""
        __tracebackhide__ = True
        calls = self.find(method, route, body=body)
        if not calls or times not in (None, len(calls)):
            body_text = "" if body is None else f" with {json.dumps(body, ensure_ascii=False, default=str)}"
            count = f"called {len(calls)} times instead of {times}" if calls else "not called"
            raise Failed(f"{method.upper()} {route}{body_text} was {count}. {self._listing()}")
        return calls[-1]

    def assert_not_called(self, method: str, route: str, *, body: Mapping[str, Any] | None = None) -> None:
        __tracebackhide__ = True
        calls = self.find(method, route, body=body)
        if calls:
            raise Failed(f"{method.upper()} {route} was called: {calls[0]}")

    def watch(self, app: web.Application) -> None:
        """Record every call to ``app`` when its response is ready."""
        app.on_response_prepare.append(self._record)

    async def _record(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith(f"{PREFIX}/"):
            resource = request.match_info.route.resource
            template = resource.canonical if resource else request.path
            reason = request.headers.get("X-Audit-Log-Reason")
            self._all.append(
                Call(
                    request.method,
                    template.removeprefix(PREFIX) if template.startswith(PREFIX) else request.path.removeprefix(PREFIX),
                    request.path.removeprefix(PREFIX),
                    response.status,
                    request.get(BODY),
                    dict(request.query),
                    unquote(reason) if reason else None,
                    _json(response),
                )
            )
        self._notifier.notify()

    def _listing(self) -> str:
        return "\n".join(["The calls were:", *(f"  {call}" for call in self._all)]) if self._all else "There were none."


def _check_route(method: str, route: str) -> None:
    """Fail when the sandbox has neither a route nor a path like ``route``."""
    __tracebackhide__ = True
    path = _PLACEHOLDER.sub("0", route)
    if not any(
        entry.method == method and re.fullmatch(_PLACEHOLDER.sub("[^/]+", entry.path), path) for entry in ROUTES
    ):
        names = [f"{entry.method} {entry.path}" for entry in ROUTES]
        similar = difflib.get_close_matches(f"{method} {route}", names, n=3)
        hint = f" Did you mean one of these? {', '.join(similar)}" if similar else ""
        raise Failed(f"There is no route {method} {route}.{hint}")


def _contains(body: Any, wanted: Any) -> bool:
    """Whether ``body`` has all values of ``wanted``."""
    if isinstance(wanted, Mapping):
        return isinstance(body, Mapping) and all(
            key in body and _contains(body[key], value) for key, value in wanted.items()
        )
    return bool(body == wanted)


def _json(response: web.StreamResponse) -> Any:
    raw = response.body if isinstance(response, web.Response) else None
    return json.loads(raw) if isinstance(raw, bytes) and raw and response.content_type == "application/json" else None
