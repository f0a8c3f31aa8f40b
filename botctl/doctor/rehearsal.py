"""What breaks when a privileged intent is withdrawn: the bot with it in the sandbox, compared with it without. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from botctl.core.escape import safe
from botctl.core.redact import redact
from botctl.doctor.finding import Finding, fault, ok, unknown
from botctl.doctor.needs import Need, of, shortened

_UNSEEN: Final = (
    "not rehearsed: commands, jobs and loops are not called, so what only they read is not seen; `guessed` names such "
    "places. The sandbox has a handful of people, and its listeners were called once or twice"
)


@dataclass(frozen=True, slots=True)
class RehearsedListener:
    """``count``: its calls. ``with_content``: those with a message that had content. ``errors``: what it raised."""

    events: Sequence[str]
    count: int
    with_content: int = 0
    errors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RehearsedRun:
    """A start of the bot in the sandbox. ``error``: why it did not start. ``members``: how many people it knew."""

    error: str = ""
    listeners: Mapping[str, RehearsedListener] = field(default_factory=dict)
    members: int = 0


@dataclass(frozen=True, slots=True)
class RehearsalEvidence:
    """``withdrawn``: how `botctl run` ends when Discord withdraws the intent while the bot requests it.

    ``needs``: those of the code. ``requested``: whether discord.intents requests it now. ``failure``: why there was no
    rehearsal.
    """

    intent: str
    requested: bool
    needs: Sequence[Need] = ()
    with_intent: RehearsedRun = RehearsedRun()
    withdrawn: str = ""
    without: RehearsedRun = RehearsedRun()
    failure: str = ""


def assess_rehearsal(seen: RehearsalEvidence) -> list[Finding]:
    if problem := seen.failure or seen.with_intent.error:
        why = f"there was no rehearsal: the bot does not start in the sandbox with {seen.intent}: {_text(problem)}"
        return [unknown("rehearsal", why, "Try `botctl run` without a token and without addresses of stores.")]
    found = [_assess_needs(seen), _assess_withdrawal(seen)]
    if seen.without.error:
        sentence = f"without {seen.intent} the bot does not start: {_text(seen.without.error)}"
        return [*found, fault("without", sentence, "Change what needs it at the start, or ask Discord for the intent.")]
    return [*found, *_assess_listeners(seen), _assess_members(seen), unknown("rehearsal", _UNSEEN)]


def _assess_needs(seen: RehearsalEvidence) -> Finding:
    needs = shortened(of(seen.needs, seen.intent))
    return ok(seen.intent, f"needed: {needs}" if needs else "nothing was found in the code that needs it")


def _assess_withdrawal(seen: RehearsalEvidence) -> Finding:
    if not seen.requested:
        return ok("withdrawn", f"discord.intents does not request {seen.intent}, so Discord has nothing to withdraw")
    if not seen.withdrawn:
        return unknown("withdrawn", "the bot went on when its session was closed with 4014")
    mend = f"Before Discord withdraws it, remove {seen.intent} from discord.intents: then the bot runs as below."
    return fault("withdrawn", f"Discord closes the gateway with 4014, and the bot ends: {_text(seen.withdrawn)}", mend)


def _assess_listeners(seen: RehearsalEvidence) -> list[Finding]:
    found, same, silent = [], [], []
    mend = f"It needs {seen.intent}: give it up, or find another way (a command, a button, a form)."
    for name, before in sorted(seen.with_intent.listeners.items()):
        after = seen.without.listeners.get(name, RehearsedListener(before.events, 0))
        events = ", ".join(before.events)
        if not before.count:
            silent.append(f"{name} ({events})")
        elif not after.count:
            found.append(fault("without", f"the listener {safe(name)} never runs ({events})", mend))
        elif set(after.errors) - set(before.errors):
            found.append(fault("without", f"the listener {safe(name)} fails: {_text(after.errors[0])}", mend))
        elif before.with_content and not after.with_content:
            found.append(fault("without", f"the listener {safe(name)} gets messages without their content", mend))
        elif after.count < before.count:
            found.append(fault("without", f"the listener {safe(name)} runs for fewer events ({events})", mend))
        else:
            same.append(name)
    if same:
        found.append(ok("without", f"run as before: {', '.join(map(safe, same))}"))
    if silent:
        found.append(unknown("without", f"not called by the rehearsal: {', '.join(map(safe, silent))}"))
    return found or [ok("without", "the bot starts, and has no listeners")]


def _assess_members(seen: RehearsalEvidence) -> Finding:
    before, after = seen.with_intent.members, seen.without.members
    if after >= before:
        return ok("without", f"the bot knows as many people as before ({before})")
    why = f"the bot knows {after} of {before} people: lists of members are short, get_member finds none"
    return unknown("without", why, "Look at what is `guessed` above.")


def _text(error: str) -> str:
    return safe(redact(error)).rstrip(".")
