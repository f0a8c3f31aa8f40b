"""A bot's files with old module names still load."""

from __future__ import annotations

import subprocess
import sys

from botctl.run.moved_modules import MOVED_MODULES

OLD_COMMAND_FILE = """
from botctl.core.event_log import EventLog
from botctl.core.events import CommandFinished
from botctl.core.guilds import GuildSettings, plain, unknown
from botctl.core.protocols import GuildSettingsStore, StatusSource
from botctl.core.registry import Backoff, Tasks
from botctl.core.settings import Settings
"""


def test_old_names_import_the_current_modules() -> None:
    code = f"from botctl.run.moved_modules import alias_moved_modules; alias_moved_modules()\n{OLD_COMMAND_FILE}"
    code += "import botctl; assert CommandFinished is botctl.CommandFinished and Settings is botctl.Settings"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_old_name_and_every_new_name_is_a_module() -> None:
    code = "import importlib.util, sys\n"
    code += "assert not [old for old in sys.argv[1::2] if importlib.util.find_spec(old)]\n"
    code += "assert all(importlib.util.find_spec(new) for new in sys.argv[2::2])"
    words = [word for pair in MOVED_MODULES.items() for word in pair]
    subprocess.run([sys.executable, "-c", code, *words], check=True)
