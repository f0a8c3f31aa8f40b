"""What is well with the project: its settings, its commands and its migrations. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from botctl.core.errors import BotctlError, FileFaults
from botctl.core.escape import safe
from botctl.core.redact import redact
from botctl.doctor.finding import Finding, fault, ok, unknown

_NO_SETTINGS = "the settings cannot be read"
_EXPLAIN = "`botctl run --explain-config` shows every setting and where it comes from."


def assess_settings(root: str, profile: str, set_count: int, notices: Sequence[str]) -> list[Finding]:
    """``notices``: what is probably a mistake, one sentence each. ``set_count``: settings that are no defaults."""
    found = [ok("settings", f"{safe(root)}, profile {profile}, {set_count} settings differ from their defaults")]
    return found + [unknown("settings", redact(notice)) for notice in notices]


def assess_refused(check: str, error: BotctlError) -> list[Finding]:
    """A finding for each fault in ``error``, which names several in lines of their own."""
    if isinstance(error, FileFaults):
        return [fault(check, redact(line), error.hint) for line in error.faults]
    first, *others = redact(str(error)).split("\n")
    lines = [line.strip() for line in others] or [first]
    mend = redact(error.hint) or _EXPLAIN
    return [fault(check, line, mend) for line in lines]


def without_settings(names: Sequence[str]) -> list[Finding]:
    """The checks ``names`` need settings that could not be loaded."""
    return [unknown(name, f"not checked: {_NO_SETTINGS}") for name in names]


@dataclass(frozen=True, slots=True)
class CommandsEvidence:
    """The commands folder, loaded. ``left_out``: lines about what is not used although nothing is wrong with it."""

    folder: str
    files: int
    commands: Sequence[str]
    jobs: int
    left_out: Sequence[str]


def assess_commands(seen: CommandsEvidence) -> list[Finding]:
    if not seen.files:
        mend = "docs/commands.md shows how to write one."
        return [fault("commands", f"{safe(seen.folder)} has no command", mend)]
    counted = ((len(seen.commands), "command"), (seen.jobs, "job"), (seen.files, "file"))
    commands, jobs, files = (f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counted)
    sentence = f"{commands} and {jobs} in {files} of {safe(seen.folder)}: all of it loads"
    return [ok("commands", sentence), *(unknown("commands", f"left out: {redact(line)}") for line in seen.left_out)]


@dataclass(frozen=True, slots=True)
class MigrationsEvidence:
    """The names of migrations by their status in `botctl migrate status`. ``total``: all of them."""

    total: int
    by_status: Mapping[str, Sequence[str]]
    malformed: Sequence[str]  # ids of records in the ledger that cannot be read
    on_start: bool  # the setting: `botctl run` applies what is pending


def assess_migrations(seen: MigrationsEvidence) -> list[Finding]:
    found = []
    for status in ("failed", "running", "changed", "vanished", "late"):
        if names := seen.by_status.get(status):
            sentence = f"{status}: {', '.join(map(safe, names))}"
            if status == "running":
                mend = "Wait for it; `botctl migrate status` says who runs it."
                found.append(unknown("migrations", sentence, mend))
            else:
                found.append(fault("migrations", sentence, "`botctl migrate status` says what to do."))
    if seen.malformed:
        sentence = f"records that cannot be read: {', '.join(map(safe, seen.malformed))}"
        found.append(fault("migrations", sentence, "`botctl migrate status` says what is wrong with them."))
    if names := seen.by_status.get("pending"):
        sentence = f"{len(names)} pending: {', '.join(map(safe, names))}"
        if seen.on_start:
            found.append(ok("migrations", f"{sentence}; `botctl run` applies them"))
        else:
            found.append(
                fault("migrations", sentence, "`botctl migrate up`. Until then `botctl run` ends with code 3.")
            )
    return found or [ok("migrations", f"all {seen.total} are applied" if seen.total else "there are none")]
