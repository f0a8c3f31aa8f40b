"""When a job is due: ``every 10s``, ``every 1h``, or the five fields of cron, all in UTC.

Due times do not depend on the start of a process: ``every 1h`` is on the hour, on every host. So all processes agree on
the due times, and only one of them can claim each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

EXAMPLE: Final = "'every 10s', 'every 1h' or '*/5 * * * *'"
MAX_PERIOD_S: Final = 366 * 86_400
MAX_COUNTED: Final = 1000
"""The most due times that `Schedule.count_due` counts."""

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EVERY: Final = re.compile(r"every\s+(\d{1,9})\s*([smhdw])", re.ASCII)
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY: Final = re.compile(
    r"(?P<all>\*)(?:/(?P<each>\d+))?|(?P<first>[a-z]+|\d)(?:-(?P<last>[a-z]+|\d)(?:/(?P<step>\d+))?)?", re.ASCII
)
_ORIGIN: Final = datetime(2000, 1, 3, tzinfo=UTC)  # a Monday: the start of a week
_RESOLUTION: Final = timedelta(microseconds=1)
# `Schedule._latest` searches from this long before now on, in this order, and not from a due time years ago.
_LOOK_BACK: Final = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=31))


class Trigger(Protocol):
    """A trigger of APScheduler."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None: ...


@dataclass(frozen=True)
class Schedule:
    """A series of due times. ``text`` is its source, with single spaces."""

    text: str
    trigger: Trigger

    def next_after(self, at: datetime) -> datetime:
        """The first due time later than ``at``. Raises ValueError if there is none."""
        due = self._next_due(at + _RESOLUTION)
        if due is None:
            raise ValueError(f"the schedule {self.text!r} has no due time after {at.isoformat()}")
        return due

    def count_due(self, first: datetime, now: datetime) -> tuple[datetime, int]:
        """The latest due time up to ``now``, and the number of due times from ``first`` to it, both counted."""
        count, at = 1, first
        while count < MAX_COUNTED and (following := self.next_after(at)) <= now:
            count, at = count + 1, following
        return (at if count < MAX_COUNTED else self._latest(at, now)), count

    def _latest(self, at: datetime, now: datetime) -> datetime:
        """The latest due time up to ``now``. ``at`` is an earlier one."""
        for back in _LOOK_BACK:
            due = self._next_due(max(at, now - back))
            if due is not None and due <= now:
                at = due
                break
        while (following := self.next_after(at)) <= now:
            at = following
        return at

    def _next_due(self, at: datetime) -> datetime | None:
        """The first due time at or after ``at``."""
        due = self.trigger.get_next_fire_time(None, at)
        return None if due is None else due.astimezone(UTC)


def parse(text: str) -> Schedule:
    """Parse ``text``. Raises ValueError: a sentence with an example."""
    text = " ".join(text.lower().split())
    schedule = Schedule(text, _parse_interval(text) if text.startswith("every") else _parse_cron(text))
    if schedule._next_due(datetime.now(UTC)) is None:  # noqa: SLF001  same module
        raise _schedule_error(text, "is never due")
    return schedule


def _parse_interval(text: str) -> Trigger:
    match = _EVERY.fullmatch(text)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 1 <= seconds <= MAX_PERIOD_S:
        raise _schedule_error(text, "is no period from 1 s to 366 days")
    trigger: Trigger = IntervalTrigger(seconds=seconds, start_date=_ORIGIN, timezone=UTC)
    return trigger


def _parse_cron(text: str) -> Trigger:
    fields = text.split()
    if len(fields) != 5:  # noqa: PLR2004  minute, hour, day, month, weekday
        raise _schedule_error(text, "is neither a period nor the five fields of cron")
    minute, hour, day, month, weekday = fields
    weekdays = _to_apscheduler_days(weekday, text)
    if day != "*" and weekdays != "*":
        raise _schedule_error(text, "names days of the month and of the week, which crons understand differently")
    try:
        trigger: Trigger = CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=weekdays, timezone=UTC
        )
    except ValueError as error:
        raise _schedule_error(text, f"is no cron expression ({error})") from None
    return trigger


def _to_apscheduler_days(field: str, text: str) -> str:
    """``field`` with names of days: in cron 0 and 7 are Sunday, in APScheduler 0 is Monday. ``text``: for errors."""
    days: set[int] = set()
    for part in field.split(","):
        match = _DAY.fullmatch(part)
        if match is None:
            raise _schedule_error(text, f"has no weekdays in {part!r}")
        if match["all"]:
            days.update(range(0, 7, int(match["each"] or 1) or 1))
            continue
        first, last = _parse_day(match["first"], text), _parse_day(match["last"] or match["first"], text)
        if last < first and match["last"] in ("0", "sun"):
            last = 7
        if last < first:
            raise _schedule_error(text, f"has weekdays {part!r} that go backwards")
        days.update(day % 7 for day in range(first, last + 1, int(match["step"] or 1) or 1))
    return "*" if len(days) == len(_DAYS) else ",".join(_DAYS[day] for day in sorted(days))


def _parse_day(word: str, text: str) -> int:
    if word.isdigit() and int(word) <= len(_DAYS):
        return int(word)
    if word in _DAYS:
        return _DAYS.index(word)
    raise _schedule_error(text, f"has no weekday {word!r}")


def _schedule_error(text: str, problem: str) -> ValueError:
    return ValueError(f"the schedule {text[:60]!r} {problem}; write for example {EXAMPLE}")
