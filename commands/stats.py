"""A job: it runs on a schedule, in one process of the bot. `botctl jobs` shows it."""

import logging

from botctl import EventLog, JobRun, job

log = logging.getLogger(__name__)


@job("*/10 * * * *", missed="skip")
async def tell_activity(events: EventLog, run: JobRun) -> None:
    """Log the number of events so far, by topic."""
    positions = await events.topics()
    counts = ", ".join(f"{topic} {position.offset}" for topic, position in sorted(positions.items()))
    log.info("until %s: %s", run.due.strftime("%H:%M"), counts or "nothing happened")
