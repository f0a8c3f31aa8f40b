"""`botctl doctor intents --without INTENT`: run `rehearsal_child` in a process of its own, and read what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from botctl.core.config.loading import Loaded
from botctl.core.errors import UsageError
from botctl.core.files.private import write_private
from botctl.core.processes.process import die_with_parent
from botctl.doctor.checks import Check, in_own_thread, run_checks
from botctl.doctor.finding import Finding
from botctl.doctor.intents import PRIVILEGED, intent_needs
from botctl.doctor.rehearsal import RehearsalEvidence, RehearsedListener, RehearsedRun, assess_rehearsal
from botctl.run.oneshot.doctor_needs import code_of, requested_intents

LIMIT_S: Final = 180.0
"""Two starts of a bot with embedded stores; each has a minute on a machine that is busy."""
STOP_S: Final = 20.0
_LATE: Final = "Look for code of the bot that blocks its start, or stop other programs on this machine."
# -P: no imports from the working directory. -B: no __pycache__ in the project
_PROGRAM: Final = (sys.executable, "-P", "-B", "-c", "from botctl.run.oneshot.rehearsal_child import main; main()")


async def rehearse_without(loaded: Loaded, intent: str) -> list[Finding]:
    """What breaks without ``intent``. Raises UsageError if it is no privileged intent."""
    if intent not in PRIVILEGED:
        raise UsageError(f"{intent!r} is no privileged intent.", hint=f"There are {', '.join(PRIVILEGED)}.")

    async def look() -> list[Finding]:
        return assess_rehearsal(await _run_child(loaded, intent))

    return await run_checks([Check("rehearsal", look, LIMIT_S, _LATE)])


async def _run_child(loaded: Loaded, intent: str) -> RehearsalEvidence:
    requested = intent in requested_intents(loaded)
    with _temporary_folder() as folder:
        request = {"project": str(loaded.root), "profile": loaded.settings.profile, "intent": intent}
        write_private(folder / "request.json", json.dumps(request))
        async with _child(folder) as process:
            await process.wait()
        try:
            result = json.loads((folder / "result.json").read_bytes())
        except (OSError, ValueError):
            return RehearsalEvidence(intent, requested, failure=_last_line(folder / "output.txt"))
    needs = intent_needs((await in_own_thread(lambda: code_of(loaded))).facts)
    with_intent, without = _run_of(result["with"]), _run_of(result["without"])
    return RehearsalEvidence(intent, requested, needs, with_intent, str(result["withdrawn"]), without)


def _run_of(seen: Mapping[str, Any]) -> RehearsedRun:
    listeners = {
        name: RehearsedListener(each["events"], each["count"], each["with_content"], each["errors"])
        for name, each in seen["listeners"].items()
    }
    return RehearsedRun(seen["error"], listeners, seen["members"])


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for one rehearsal, with a short path: Unix sockets are in it."""
    folder = Path(tempfile.mkdtemp(prefix="botctl-rehearsal-"))  # mode 0700
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _child(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The rehearsal in ``folder``; ended when the block ends, with what it has started."""
    with (folder / "output.txt").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *die_with_parent((*_PROGRAM, str(folder))), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_S):
                        await process.wait()
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.kill()
                await process.wait()


def _last_line(output: Path) -> str:
    lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "its process ended without a word"
