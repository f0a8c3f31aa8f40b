"""Files of bots that were made before modules moved still load."""

from __future__ import annotations

import subprocess
import sys

from botctl.run.moved_modules import MOVED

OLD_COMMAND_FILE = """
from botctl.core.event_log import EventLog
from botctl.core.events import CommandFinished
from botctl.core.guilds import GuildSettings, plain, unknown
from botctl.core.protocols import GuildSettingsStore, StatusSource
from botctl.core.registry import Backoff, Tasks
from botctl.core.settings import Settings
"""


def test_old_names_are_the_modules_of_today() -> None:
    code = f"from botctl.run.moved_modules import keep_old_names; keep_old_names()\n{OLD_COMMAND_FILE}"
    code += "import botctl; assert CommandFinished is botctl.CommandFinished and Settings is botctl.Settings"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_old_name_is_gone_and_each_new_one_exists() -> None:
    """An entry is needed only while its old name is no module."""
    code = "import importlib.util, sys\n"
    code += "assert not [old for old in sys.argv[1::2] if importlib.util.find_spec(old)]\n"
    code += "assert all(importlib.util.find_spec(new) for new in sys.argv[2::2])"
    words = [word for pair in MOVED.items() for word in pair]
    subprocess.run([sys.executable, "-c", code, *words], check=True)
