"""The person's side of a running sandbox: typed calls of its control port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from botctl.core.errors import BotctlError, Unreachable
from botctl.core.escape import safe
from botctl.sandbox.person import MenuCall, SlashCall
from botctl.sandbox.shapes import Choice, Choices, Message, Messages, Reply, State
from botctl.sandbox.suggest import Question

ANSWER_S = 5.0  # how long a person waits for the bot, unless they say otherwise
_MARGIN_S = 5.0  # the sandbox itself keeps the limit; this much later it must be dead

Shown = TypeVar("Shown", bound=BaseModel)


@dataclass(frozen=True)
class Seat:
    """Who acts, where: names or ids. None leaves it to the sandbox: the guild's owner, the first channel, guild."""

    name: str | None = None
    channel: str | None = None
    guild: str | None = None

    def json(self) -> dict[str, str | None]:
        return {"as": self.name, "channel": self.channel, "guild": self.guild}


class SandboxClient:
    """The control port at ``url``. Use it as an async context manager.

    Every call raises Unreachable when nothing answers there, and BotctlError with the sandbox's own sentence when it
    refuses.
    """

    def __init__(self, url: str, secret: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def state(self) -> State:
        """The guilds with their channels and members, the bots and their commands."""
        return _read(State, await self._call("GET", "state"))

    async def send(self, what: SlashCall | MenuCall | str, seat: Seat, *, timeout_s: float = ANSWER_S) -> Reply:
        """Use a command and wait for what comes of it; or say a plain text, which is its own reply."""
        return await self._act("send", {**_sent(what), **seat.json()}, timeout_s)

    async def click(
        self,
        component: str,
        seat: Seat,
        *,
        message: str | None = None,
        values: Sequence[str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Reply:
        """Press a button, or choose ``values`` in a select, by its label or custom id; on the last message with any."""
        body = {"component": component, "message": message, "values": values, **seat.json()}
        return await self._act("click", body, timeout_s)

    async def submit(
        self, fields: Mapping[str, str], seat: Seat, *, modal: str | None = None, timeout_s: float = ANSWER_S
    ) -> Reply:
        """Send the form that is open for this person, its fields by label or custom id."""
        return await self._act("submit", {"fields": dict(fields), "modal": modal, **seat.json()}, timeout_s)

    async def complete(self, question: Question, seat: Seat, *, timeout_s: float = ANSWER_S) -> Sequence[Choice]:
        """What the bot suggests for the value of an option."""
        body = {
            "name": question.name,
            "options": dict(question.options),
            "focused": question.focused,
            "value": question.value,
            **seat.json(),
        }
        return _read(Choices, await self._post("complete", body, timeout_s)).choices

    async def messages(self, seat: Seat, *, limit: int = 20) -> Sequence[Message]:
        """The last messages of the channel that this person may see, oldest first."""
        asked = {name: value for name, value in seat.json().items() if value is not None}
        said = await self._call("GET", "messages", params={**asked, "limit": str(limit)})
        return _read(Messages, said).messages

    async def _act(self, verb: str, body: dict[str, Any], timeout_s: float) -> Reply:
        return _read(Reply, await self._post(verb, body, timeout_s))

    async def _post(self, verb: str, body: dict[str, Any], timeout_s: float) -> Any:
        return await self._call("POST", verb, json={**body, "timeout_s": timeout_s}, limit_s=timeout_s + _MARGIN_S)

    async def _call(self, method: str, verb: str, *, limit_s: float = _MARGIN_S, **given: Any) -> Any:
        if self._session is None:
            raise RuntimeError("SandboxClient must be entered with `async with` first")
        limit = aiohttp.ClientTimeout(total=limit_s)
        try:
            async with self._session.request(method, f"{self._url}/_control/{verb}", timeout=limit, **given) as answer:
                said = await answer.json(content_type=None)
                if answer.ok:
                    return said
                raise _refused(said, answer.status)
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise Unreachable(f"The sandbox at {self._url} does not answer.", hint=START_IT) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise _strange(error) from error


START_IT = "Start it with: botctl run"


def _sent(what: SlashCall | MenuCall | str) -> dict[str, Any]:
    match what:
        case SlashCall():
            return {"type": "slash", "name": what.name, "options": dict(what.options)}
        case MenuCall():
            return {"type": "message" if what.on_message else "user", "name": what.name, "target": what.target}
    return {"text": what}


def _read(shape: type[Shown], said: Any) -> Shown:
    try:
        return shape.model_validate(said)
    except ValidationError as error:
        raise _strange(error) from error


def _refused(said: Any, status: int) -> BotctlError:
    body = said if isinstance(said, dict) else {}
    sentence = body.get("error") or f"The sandbox refused with status {status}."
    kind = Unreachable if status == HTTPStatus.CONFLICT else BotctlError  # 409: the bot is not connected to it
    return kind(safe(sentence, limit=500), hint=safe(body.get("hint") or "", limit=500))


def _strange(error: Exception) -> BotctlError:
    return BotctlError(
        f"The sandbox answered something that this botctl does not understand: {safe(error)}",
        hint="Is it of another version? Restart it with: botctl run",
    )
