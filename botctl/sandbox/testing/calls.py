"""What the bot asked of Discord's REST API, for tests to look at."""

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

FIRST_ERROR_STATUS = 400  # and above: a status that says no
_MAX_BODY_CHARS = 300  # characters of a body
_PLACEHOLDER = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Call:
    """One request and its answer. ``route`` has ``{names}`` for the ids in ``path``; both begin after ``/api/v10``.

    ``body`` and ``answer`` are JSON (None: there was none); ``reason`` is what goes to the guild's audit log.
    """

    method: str
    route: str
    path: str
    status: int
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    answer: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        path = re.sub(r"[^/]{40,}", "…", self.path)  # tokens
        body = "" if self.body is None else json.dumps(self.body, ensure_ascii=False)
        return f"{self.method} {path} -> {self.status} {body if len(body) <= _MAX_BODY_CHARS else body[:_MAX_BODY_CHARS] + '…'}".rstrip()


class Calls(Sequence[Call]):
    """The calls since the bot was ready, oldest first."""

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
        """The calls of ``method`` to ``route``: ``/channels/{channel}/messages``, whatever the names, or a real path.

        With ``body``, those whose body has at least these values. Fails when there is no such route: a test that
        misspells it would find nothing for ever.
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
        """The last of the calls that `find` finds; fails when there is none, or not exactly ``times``."""
        __tracebackhide__ = True
        calls = self.find(method, route, body=body)
        if not calls or times not in (None, len(calls)):
            body_text = "" if body is None else f" with {json.dumps(body, ensure_ascii=False, default=str)}"
            count = f"called {len(calls)} times, and not {times}" if calls else "not called"
            raise Failed(f"{method.upper()} {route}{body_text} was {count}. {self._listing()}")
        return calls[-1]

    def assert_not_called(self, method: str, route: str, *, body: Mapping[str, Any] | None = None) -> None:
        """Fails when `find` finds a call."""
        __tracebackhide__ = True
        calls = self.find(method, route, body=body)
        if calls:
            raise Failed(f"{method.upper()} {route} was called: {calls[0]}")

    def watch(self, app: web.Application) -> None:
        """Take down every call to ``app``, once its answer is known."""
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
    """Fails when the sandbox has no such route, for ``{names}`` or for real ids."""
    __tracebackhide__ = True
    path = _PLACEHOLDER.sub("0", route)
    if not any(call.method == method and re.fullmatch(_PLACEHOLDER.sub("[^/]+", call.path), path) for call in ROUTES):
        near = difflib.get_close_matches(f"{method} {route}", [f"{call.method} {call.path}" for call in ROUTES], n=3)
        hint = f" Is it one of these? {', '.join(near)}" if near else ""
        raise Failed(f"There is no route {method} {route}.{hint}")


def _contains(body_text: Any, wanted: Any) -> bool:
    """Does ``body_text`` have everything that ``wanted`` names?"""
    if isinstance(wanted, Mapping):
        return isinstance(body_text, Mapping) and all(
            key in body_text and _contains(body_text[key], call) for key, call in wanted.items()
        )
    return bool(body_text == wanted)


def _json(response: web.StreamResponse) -> Any:
    raw = response.body if isinstance(response, web.Response) else None
    return json.loads(raw) if isinstance(raw, bytes) and raw and response.content_type == "application/json" else None
