"""The pytest plugin in other projects: supported setups and error messages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

import botctl.sandbox.testing.launch  # noqa: F401 - so that the runs in this process share it
from botctl.sandbox.testing.plugin import _import_source
from tests.support.waiting import LIMIT_S
from tests.system.test_pages import blocks, pattern

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent.parent
PAGE = [*blocks(ROOT / "docs" / "testing.md")]
STRICT = "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
AUTO = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
QUIET = ("-q", "-p", "no:cacheprovider", "-W", "error")
HERE = (*QUIET, "-p", "pytest_asyncio.plugin", "-p", "botctl.sandbox.testing.plugin")  # without all the other plugins
BOT = '''
import disnake, pytest, pytest_asyncio
from disnake.ext import commands

def make_bot():
    bot = commands.InteractionBot()

    @bot.slash_command()
    async def ping(inter):
        """Ping."""
        await inter.response.send_message("pong")

    return bot
'''
ASK = 'assert (await discord.guild().member("ann").slash("/ping")).content == "pong"'
UNUSED = "async def test(discord): pass"


def test_dice_example_passes_under_xdist(tmp_path: Path) -> None:
    """It uses the installed plugin, and warnings are errors."""
    project = copytree(ROOT / "examples" / "dice", tmp_path / "dice", ignore=lambda *_: ["__pycache__"])
    other = (word for name in ("hypothesispytest", "looptime", "timeout", "randomly") for word in ("-p", f"no:{name}"))
    command = (sys.executable, "-m", "pytest", *QUIET, "-n", "2", "-c", "pytest.ini", *other)
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_plugin_imports_no_stores_terminal_or_metrics() -> None:
    """The plugin alone does not load the sandbox; the whole package loads no store, terminal or metrics."""
    code = """
import sys
import botctl.sandbox.testing.plugin
assert not {"aiohttp", "disnake", "loguru"} & set(sys.modules), "the plugin"
import botctl.sandbox.testing as testing
everything = [getattr(testing, name) for name in testing.__all__]
assert "loguru" not in sys.modules, "all of it"
import botctl.sandbox.__main__
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True, timeout=LIMIT_S)
    loaded = set(done.stdout.split())
    assert {"aiohttp", "disnake"} <= loaded
    rest = "redis pymongo bson typer rich apscheduler prometheus_client websockets prompt_toolkit pydantic psutil"
    assert not loaded & set(rest.split())


@pytest.fixture(autouse=True)
def _few_plugins(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Load only the named plugins: pytester would import the others again for each run."""
    if "pytester" in request.fixturenames:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def dice(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with the example's bot."""
    pytester.makeini(AUTO + "discord_bot = dice:make_bot\npythonpath = .\n")
    pytester.makepyfile(dice=(ROOT / "examples" / "dice" / "dice.py").read_text())
    return pytester


def test_examples_of_the_page_pass(dice: pytest.Pytester) -> None:
    files = {match[1]: block.text for block in PAGE if (match := re.match(r"# (test_\w+)\.py\n", block.text))}
    dice.makepyfile(**files)
    found = dice.runpytest_inprocess(*HERE)
    assert found.ret == 0, found.stdout.str()
    assert len(files) == 3


def test_module_level_bot_is_imported_again_for_each_test(pytester: pytest.Pytester) -> None:
    (conftest,) = (block.text for block in PAGE if block.text.startswith("# conftest.py\n"))
    pytester.makeini(AUTO + "pythonpath = .\n")
    pytester.makeconftest(conftest)
    pytester.makepyfile(
        mybot=f"{BOT}\nbot = make_bot()\n", test_it=f"async def test(discord): {ASK}\nasync def test_b(discord): {ASK}"
    )
    found = pytester.runpytest_inprocess(*HERE)
    found.assert_outcomes(passed=2)


def test_failure_messages_match_the_page(dice: pytest.Pytester) -> None:
    bot = """
import pytest
from dice import make_bot

@pytest.fixture
def bot():
    bot = make_bot()

    @bot.slash_command()
    async def broken(inter):
        raise ValueError("no such die")

    @bot.slash_command()
    async def silent(inter):
        pass

    return bot
"""
    dice.makepyfile(
        test_wrong="""
async def test_typo(discord):
    await discord.guild().member("ann").slash("/rol")

async def test_no_such_button(discord):
    reply = await discord.guild().member("ann").slash("/roll")
    reply.button("stop")
""",
        test_broken=f"""{bot}
async def test_broken(discord):
    await discord.guild().member("ann").slash("/broken")
""",
        test_silent=f"""{bot}
@pytest.fixture(autouse=True)
def hurry(discord):
    discord.limits(response_s=0.1)

async def test_silent(discord):
    await discord.guild().member("ann").slash("/silent")
""",
    )
    printed = dice.runpytest_inprocess(*HERE).stdout.str()
    shown = [block for block in PAGE if block.language == "text"]
    assert len(shown) == 4
    for block in shown:
        said = block.text.rstrip("\n").replace("within 3 s", "within 0.1 s")
        assert re.search(pattern(said.split("\n")), printed), f"{block}\n{printed}"
    assert "4 failed" in printed


def test_exception_after_the_answer_fails_the_test(pytester: pytest.Pytester) -> None:
    """The failure has the handler's traceback; the report of a failed test contains it, too."""
    pytester.makeini(AUTO)
    pytester.makepyfile(
        BOT
        + """
@pytest.fixture
def bot():
    bot = make_bot()

    @bot.slash_command()
    async def late(inter):
        await inter.response.send_message("so far")
        raise ValueError("too late")

    return bot

async def test_nothing_seen(discord):
    await discord.guild().member("ann").slash("/late")

async def test_something_else(discord):
    assert (await discord.guild().member("ann").slash("/late")).content == "so good"
"""
    )
    found = pytester.runpytest_inprocess(*HERE)
    found.assert_outcomes(failed=2)
    found.stdout.fnmatch_lines(
        [
            "*test_nothing_seen*",
            '>*raise ValueError("too late")',
            "E *ValueError: too late",
            "E *BotRaised: The bot raised ValueError: too late.",
            "*test_something_else*",
            "E *AssertionError: assert 'so far' == 'so good'",
            "*raised in the bot*",
            "ValueError: too late",
        ]
    )
    assert "disnake/ext" not in found.stdout.str(), "disnake's frames are removed"


@pytest.mark.parametrize("ini", [STRICT, AUTO, AUTO + "asyncio_default_test_loop_scope = module\n"])
def test_every_bot_fixture_and_loop_scope_works(pytester: pytest.Pytester, ini: str) -> None:
    """The bot is made in the test's event loop."""
    pytester.makeini(ini)
    mark = "import asyncio\nimport pytest\npytestmark = pytest.mark.asyncio\n"
    pytester.makepyfile(
        test_a_factory=f"{BOT}\n{mark}\n@pytest.fixture\ndef bot(): return make_bot\nasync def test(discord): {ASK}",
        test_a_bot=f"{BOT}\n{mark}\n@pytest.fixture\ndef bot(): yield make_bot()\nasync def test(discord): {ASK}",
        test_async_bot=f"""{BOT}\n{mark}
@pytest_asyncio.fixture(loop_scope=LOOP)
async def bot():
    yield make_bot()
async def test(discord): {ASK}
""".replace("LOOP", "'module'" if "module" in ini else "None"),
        test_scopes=f"""{BOT}
pytestmark = pytest.mark.asyncio(loop_scope="module")
@pytest.fixture
def bot(): return make_bot
async def test_one(discord): {ASK}
async def test_two(discord): {ASK}
class TestClass:
    @pytest.mark.asyncio(loop_scope="class")
    async def test(self, discord): {ASK}
""",
    )
    pytester.runpytest_inprocess(*HERE).assert_outcomes(passed=6)


def test_missing_bot_has_a_clear_error(pytester: pytest.Pytester) -> None:
    pytester.makeini(AUTO)
    early = "early = commands.InteractionBot(loop=asyncio.new_event_loop())"
    fixture = "@pytest.fixture\ndef bot():"
    pytester.makepyfile(
        test_1_none=UNUSED,
        test_2_no_bot=f"import pytest\n{fixture} return 'me'\n{UNUSED}",
        test_3_early=f"import asyncio\n{BOT}\n{early}\n{fixture} yield early; early.loop.close()\n{UNUSED}",
        test_4_missing=f"import pytest\n{fixture[:-2]}settings): pass\n{UNUSED}",
    )
    found = pytester.runpytest_inprocess(*HERE, "-p", "no:randomly")
    found.assert_outcomes(errors=4)
    found.stdout.fnmatch_lines(
        [
            "*There is no bot to test: write a fixture `bot`*",
            "*The bot must be a disnake client or a function that makes one, not 'me'.",
            "*Each test needs a bot of its own, made in its event loop*",
            "*fixture 'settings' not found",
        ]
    )


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("nowhere:make_bot", "No module named 'nowhere'"),
        ("re:make_bot", "no attribute"),
        ("re", "no attribute"),
        (":x", "Empty"),
    ],
)
def test_wrong_discord_bot_option_has_a_clear_error(named: str, words: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=f"`discord_bot = {named}` cannot be imported: .*{words}"):
        _import_source(named)
