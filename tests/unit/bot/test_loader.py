"""Loading a folder of commands: all faults are reported together, with file and line."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from textwrap import dedent

import disnake
import pytest
from disnake.ext import commands

from botctl.bot.commands.compiled import ValidationContext
from botctl.bot.commands.definition_faults import collect_definition_faults
from botctl.bot.loader import load
from botctl.core.clock import Clock
from botctl.core.contracts.events import CommandFinished
from botctl.core.errors import CommandFaults, ConfigError
from botctl.core.services.registry import Services
from tests.support.bots import write_commands
from tests.support.offline import offline

GOOD = """
    from botctl import Command, Context

    class Good(Command):
        "Good."
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("good")
"""


def faults(folder: Path, **context) -> list[str]:
    with pytest.raises(CommandFaults) as caught:
        load(folder, ValidationContext(**context))
    return list(caught.value.faults)


def test_faults_of_all_files_are_reported_together(tmp_path: Path):
    """A syntax error, an import error, a class without execute, a wrong throttle, two of one name."""
    folder = write_commands(
        tmp_path / "commands",
        good=GOOD,
        syntax="x = 1\ndef broken(:\n",
        imports="import os\n\nimport nowhere_to_be_found\n",
        empty='from botctl import Command\n\nclass Empty(Command):\n    "Empty."\n',
        twice=GOOD.replace('"Good."', '"Good."\n        throttle = "often"'),
        again=GOOD,
    )
    found_faults = faults(folder)
    places = [fault.partition(": ")[0] for fault in found_faults]
    assert places == [
        "commands/empty.py:3",
        "commands/good.py:4",
        "commands/imports.py:3",
        "commands/syntax.py:2",
        "commands/twice.py:4",
    ]
    assert "nowhere_to_be_found" in found_faults[2]
    assert "also in again.py" in found_faults[1]


def test_skip_broken_loads_the_other_files(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = write_commands(tmp_path / "commands", good=GOOD, bad="1 / 0\n")
    catalog = load(folder, ValidationContext(), skip_broken=True)
    assert catalog.names == ["good"]
    assert "commands/bad.py:1: ZeroDivisionError" in caplog.text


def test_missing_folder_is_an_error_that_names_the_setting(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"commands\.folder: there is no folder .*nope"):
        load(tmp_path / "nope", ValidationContext())
    assert load(write_commands(tmp_path / "commands"), ValidationContext()).files == []


@pytest.mark.parametrize(
    "end", ["import sys\nsys.exit(3)\n", "raise KeyboardInterrupt\n", "raise BaseException('KeyboardInterrupt')\n"]
)
def test_file_that_exits_python_is_a_fault(tmp_path: Path, end: str):
    (found_faults,) = faults(write_commands(tmp_path / "commands", good=GOOD, odd=end))
    assert found_faults.startswith(f"commands/odd.py:{end.count(chr(10))}: ")
    assert found_faults.endswith(("SystemExit: 3", "KeyboardInterrupt"))


def test_faults_are_sorted_by_line_without_internal_names(tmp_path: Path):
    late = "from botctl import Command\n" + "\n" * 7
    late += "class Early(Command):\n    def __init__(self, x):\n        pass\n    async def execute(self, ctx): ...\n"
    late += "class Late(Command):\n    'x'\n    def __init__(self, x): ...\n    async def execute(self, ctx): ...\n"
    found_faults = faults(write_commands(tmp_path / "commands", odd=late))
    numbers = [int(fault.split(":")[1]) for fault in found_faults]
    assert numbers == sorted(numbers)
    assert numbers[0] == 9
    assert numbers[-1] > 9
    assert " odd:Late" in found_faults[-1]
    assert "_botctl" not in "".join(found_faults)


def test_skipped_file_does_not_reserve_its_names(tmp_path: Path):
    """The good file with the same name is loaded; of two good files the later one is skipped."""
    broken = GOOD + "class Bad(Command):\n    pass\n"
    catalog = load(
        write_commands(tmp_path / "commands", a=broken, b=GOOD, c=GOOD), ValidationContext(), skip_broken=True
    )
    assert [file.path.name for file in catalog.files] == ["b.py"]


def test_files_import_helpers_and_sys_path_is_restored(tmp_path: Path):
    folder = write_commands(
        tmp_path / "commands",
        _shared="WORD = 'shared'\n",
        helper_beside="WORD = 'beside'\n",
        random="WORD = 'not the library'\n",
        uses="""
            import random
            from ._shared import WORD
            import helper_beside

            assert WORD == "shared"
            assert helper_beside.WORD == "beside"
            assert random.choice
        """,
    )
    before = list(sys.path)
    load(folder, ValidationContext())
    load(folder, ValidationContext())
    assert sys.path == before
    assert "helper_beside" not in sys.modules


def test_files_are_read_again_at_each_load(tmp_path: Path):
    one = write_commands(tmp_path / "one", a=GOOD)
    two = write_commands(tmp_path / "two", a=GOOD.replace("Good", "Other"))
    assert load(one, ValidationContext()).names == ["good"]
    assert load(two, ValidationContext()).names == ["other"]
    write_commands(one, a=GOOD.replace("Good", "Better"))
    assert load(one, ValidationContext()).names == ["better"]


def test_event_handlers_and_their_services_are_found(tmp_path: Path):
    folder = write_commands(
        tmp_path / "commands",
        watch="""
            from botctl import Command, Context, on
            from botctl.bot.client import Bot
            from botctl.core.clock import Clock
            from botctl.core.contracts.events import CommandFinished

            @on(CommandFinished)
            async def watch(event: CommandFinished, bot: Bot, clock: Clock) -> None:
                pass
        """,
    )
    catalog = load(folder, ValidationContext())
    assert [(h.function.__name__, h.events) for h in catalog.handlers] == [("watch", (CommandFinished,))]
    assert catalog.dependencies == {Clock}
    assert "needs Clock" in faults(folder, provides=lambda key: key is not Clock)[0]


def test_all_commands_that_disnake_refuses_are_reported(tmp_path: Path):
    """It refuses the first one while the file is imported. Each has its line; what follows is checked, too."""
    body = """
        from disnake.ext import commands

        class Cog(commands.Cog):
            @commands.slash_command(name="Bad Name")
            async def one(self, inter): ...

            @one.sub_command(name="Also Bad")
            async def inner(self, inter): ...

            @commands.slash_command()
            async def two(self, inter, n: "Nowhere"): ...

            @commands.user_command(default_permission=True)
            async def three(self, inter): ...

            @commands.slash_command(description="x" * 200)
            async def four(self, inter): ...

        class Other(commands.Cog):
            @commands.slash_command(name="Bad Name")
            async def five(self, inter): ...
    """
    lines = faults(write_commands(tmp_path / "commands", a=body))
    assert [int(line.split(":")[1]) for line in lines] == [5, 8, 11, 14, 17, 21]
    assert ["should be lowercase" in line for line in lines] == [True, True, False, False, False, True]
    assert lines[2].endswith(": the annotation of parameter n of two cannot be read: name 'Nowhere' is not defined")
    assert "has 200 characters" in lines[4]
    catalog = load(tmp_path / "commands", ValidationContext(), skip_broken=True)
    assert (catalog.files, catalog.has_skipped_files) == ([], True)


def test_services_of_plain_cogs_are_checked(tmp_path: Path):
    """The bot is found by its name, services by type; with `setup` the file makes its cogs itself."""
    body = """
        from disnake.ext import commands
        from botctl.core.clock import Clock

        class Cog(commands.Cog):
            def __init__(self, bot, clock: Clock{more}) -> None: ...
    """
    folder = tmp_path / "commands"
    assert load(write_commands(folder, a=body.format(more="")), ValidationContext()).dependencies == {Clock}
    assert "needs Clock" in faults(folder, provides=lambda key: key is not Clock)[0]
    assert "has no annotation" in faults(write_commands(folder, a=body.format(more=", odd")))[0]
    unreadable = faults(write_commands(folder, a=body.format(more=", odd: 'Nowhere', other: 'Never'")))
    assert [fault.partition(": ")[2] for fault in unreadable] == [
        f"the annotation of parameter {name} of Cog cannot be read: name '{kind}' is not defined"
        for name, kind in (("odd", "Nowhere"), ("other", "Never"))
    ]
    assert (
        load(
            write_commands(folder, a=body.format(more=", odd") + "\n        def setup(bot): ...\n"), ValidationContext()
        ).dependencies
        == set()
    )


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("@on()\nasync def f(event: str): pass", "does not name events"),
        ("@on(str)\nasync def f(event: str): pass", "does not name events"),
        ("@on(CommandFinished)\nasync def f(): pass", "takes no event"),
        ("@on(CommandFinished)\nasync def f(event): pass", "no annotation"),
    ],
)
def test_invalid_event_handler_is_a_fault(tmp_path: Path, head: str, sentence: str):
    imports = "from botctl import on\nfrom botctl.core.contracts.events import CommandFinished\n\n"
    found_faults = faults(write_commands(tmp_path / "commands", watch=imports + head))
    assert found_faults[0].startswith("commands/watch.py:")
    assert sentence in found_faults[0]


def test_base_classes_and_imported_classes_are_not_commands(tmp_path: Path):
    folder = write_commands(
        tmp_path / "commands",
        base="""
            from botctl import Command

            class _Base(Command):
                "Base."
                async def execute(self, ctx) -> None: ...

            class One(_Base):
                "One."
        """,
        more='from .base import _Base, One\n\nclass Two(_Base):\n    "Two."\n',
    )
    assert load(folder, ValidationContext()).names == ["one", "two"]


COG = """
    from disnake.ext import commands

    class {name}(commands.Cog):
        @commands.slash_command(name="{command}", description="{text}")
        async def run(self, inter): ...
"""


def cog(name: str, command: str = "", text: str = "A cog's.") -> str:
    return COG.format(name=name, command=command or name.lower(), text=text)


def write_tree(folder: Path, files: dict[str, str]) -> Path:
    """Write files by path: ``fun/joke.py``."""
    for path, body in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(dedent(body))
    return folder


def loaded(folder: Path) -> list[str]:
    """The files that were loaded and hold anything, from the folder."""
    return [str(file.path.relative_to(folder)) for file in load(folder, ValidationContext()).files if not file.is_empty]


def test_sub_folders_and_packages_are_loaded(tmp_path: Path):
    folder = write_tree(
        tmp_path / "commands",
        {
            "fun/joke.py": GOOD,
            "fun/deep/er-file.py": cog("Deep"),
            "pack/__init__.py": "from .inner import Inner\n" + dedent(cog("Pack")),
            "pack/inner.py": cog("Inner"),
            "_hidden/no.py": "1 / 0\n",
            "fun/_helper.py": "1 / 0\n",
            ".git/hook.py": "1 / 0\n",
            "fun/__pycache__/x.py": "1 / 0\n",
        },
    )
    (folder / "fun" / "loop").symlink_to(folder)
    assert loaded(folder) == ["fun/deep/er-file.py", "fun/joke.py", "pack/__init__.py", "pack/inner.py"]
    assert load(folder, ValidationContext()).left_out == []


def test_package_with_setup_registers_its_own_cogs(tmp_path: Path):
    """Its other files are not registered a second time, but their Commands are botctl's."""
    folder = write_tree(
        tmp_path / "commands",
        {
            "pack/__init__.py": "from .cogs import One\n\ndef setup(bot):\n    bot.add_cog(One())\n",
            "pack/cogs.py": dedent(cog("One")) + "\ndef setup(bot): ...\n",
            "pack/deep/mine.py": GOOD,
            "same/__init__.py": "from .cogs import setup\n",
            "same/cogs.py": dedent(cog("Two")) + "\ndef setup(bot):\n    bot.add_cog(Two())\n",
        },
    )
    catalog = load(folder, ValidationContext())
    assert {file.path.name: bool(file.setup) for file in catalog.files if file.setup or file.cogs} == {
        "__init__.py": True
    }
    assert catalog.names == ["good"]
    assert catalog.left_out == ["commands/pack/cogs.py:8: setup is not called: that of the package around this file is"]


def test_package_of_the_whole_folder_is_loaded(tmp_path: Path):
    folder = write_tree(tmp_path / "commands", {"__init__.py": "from . import _words\n" + dedent(cog("Root")),
                                                "_words.py": "", "a.py": GOOD})  # fmt: skip
    assert loaded(folder) == ["__init__.py", "a.py"]


def test_broken_package_is_one_fault(tmp_path: Path):
    folder = write_tree(tmp_path / "commands", {"pack/__init__.py": "\n1 / 0\n", "pack/a.py": GOOD, "b.py": GOOD})
    assert faults(folder) == ["commands/pack/__init__.py:2: ZeroDivisionError: division by zero"]


def test_files_of_editors_and_systems_are_passed_over(tmp_path: Path):
    folder = write_tree(
        tmp_path / "commands", {"hi.py": GOOD, "._hi.py": "\0", ".hi.py": "x", "hi.py~": "x", "#hi.py#": "x"}
    )
    (folder / ".#hi.py").symlink_to("user@host.1:1")
    assert loaded(folder) == ["hi.py"]


def test_name_with_a_dot_is_a_fault_that_says_so(tmp_path: Path):
    (fault,) = faults(write_tree(tmp_path / "commands", {"fun/hi.bak.py": GOOD}))
    assert fault.startswith("commands/fun/hi.bak.py:1: Python cannot import a file with a dot in its name")


@pytest.mark.parametrize(
    ("body", "line", "sentence"),
    [
        ("", 1, "it has no command, cog, job or event handler"),
        ("WORD = 'helper'\n", 1, "the name of a helper begins with _"),
        (
            "from disnake.ext import commands\n\n@commands.command()\nasync def old(ctx): ...\n",
            3,
            "old is a prefix command, which botctl does not run",
        ),
        (
            (
                "from disnake.ext import commands\n\nclass C(commands.Cog):\n    @commands.command()\n"
                "    async def old(self, ctx): ...\n"
            ),
            4,
            "old is a prefix command",
        ),
        ("from disnake.ext import commands\n\nclass Mine(commands.Bot): ...\n", 3, "Mine is a bot class"),
        ("import disnake\nbot = disnake.Client()\n", 1, "bot is a bot of its own; botctl makes the bot"),
        (
            "from disnake.ext import commands\n\n@commands.Cog.listener()\nasync def on_ready(): ...\n",
            3,
            "on_ready is a listener outside a cog",
        ),
    ],
)
async def test_what_is_left_out_is_named(tmp_path: Path, body: str, line: int, sentence: str):
    (left_out,) = load(write_commands(tmp_path / "commands", a=body, b=GOOD), ValidationContext()).left_out
    assert left_out.startswith(f"commands/a.py:{line}: ")
    assert sentence in left_out


@pytest.mark.parametrize(
    ("body", "place", "sentence"),
    [
        (cog("Long", text="x" * 120), "a.py:5", "the description of /long has 120 characters"),
        (
            """
            from disnake.ext import commands

            @commands.slash_command(description="x" * 120)
            async def hi(inter): ...
            """,
            "a.py:4",
            "the description of /hi has 120 characters",
        ),
        (
            """
            from disnake.ext import commands

            class Cog(commands.Cog):
                @commands.slash_command(description="x")
                async def top(self, inter): ...

                @top.sub_command(description="x")
                async def sub(self, inter, word: str = commands.Param(choices={"y" * 101: "y"})): ...
            """,
            "a.py:8",
            "the name of choice 'yyy",
        ),
        (cog("Two", "good"), "b.py:4", "the command 'good' is also in a.py"),
        (
            "from disnake.ext import commands\n\nclass A(commands.Cog):\n    def bot_check(self, ctx): ...\n",
            "a.py:4",
            "bot_check is for prefix commands",
        ),
        (("from botctl import on\nfrom botctl.core.contracts.events import CommandFinished\n\n@on(CommandFinished)\n"
         "async def watch(event: CommandFinished):\n    yield 1\n"), "a.py:4", "watch yields"),
    ],
)  # fmt: skip
def test_refused_cog_or_plain_command_is_a_fault(tmp_path: Path, body: str, place: str, sentence: str):
    (fault,) = faults(write_commands(tmp_path / "commands", a=body, b=GOOD))
    assert fault.startswith(f"commands/{place}: ")
    assert sentence in fault
    if "is also in" not in sentence:  # what a ``setup`` registers is known when it has run, after the migrations
        set_up = write_commands(tmp_path / "set_up" / "commands", a=dedent(body) + "\n\ndef setup(bot): ...\n", b=GOOD)
        assert faults(set_up) == [fault]


def test_command_beyond_the_limit_is_a_fault(tmp_path: Path):
    body = "from disnake.ext import commands\n\n" + "".join(
        f"@commands.user_command(name='Menu {n}'{', guild_ids=[1]' if n > 15 else ''})\nasync def m{n}(inter): ...\n"
        for n in range(17)
    )
    (fault,) = faults(write_commands(tmp_path / "commands", a=body))
    assert fault == "commands/a.py:33: there are 16 user commands; Discord allows 15"


@pytest.mark.parametrize("guild", ["None", "[1]"])
async def test_commands_beyond_the_limit_are_not_registered(tmp_path: Path, guild: str):
    """Those that a ``setup`` adds are counted when it has run. With skip_broken, the others remain."""
    body = f"""
        from disnake.ext import commands

        def setup(bot):
            for n in range(18):
                guilds = {guild} if n < 16 else [2]

                @bot.user_command(name=f"Menu {{n}}", guild_ids=guilds)
                async def menu(inter): ...
    """
    catalog = load(write_commands(tmp_path / "commands", a=body), ValidationContext(), skip_broken=True)
    with offline() as rig:
        await catalog.install(rig.bot, Services({}))
        names = [command.name for command in rig.bot.user_commands]
        assert "Menu 15" not in names
        assert {"Menu 0", "Menu 14", "Menu 16", "Menu 17"} <= set(names)
        assert len(names) == 17


def test_two_cogs_of_one_name_are_a_fault(tmp_path: Path):
    folder = write_tree(tmp_path / "commands", {"a.py": cog("Same", "one"), "fun/b.py": cog("Same", "two")})
    assert faults(folder) == ["commands/fun/b.py:4: a cog called Same is also in a.py"]


def test_faults_are_collected_while_another_thread_ends_its_block():
    """As when a file that `botctl doctor` gave up on has loaded at last, in the middle of other files."""
    entered, leave = threading.Event(), threading.Event()

    def load_slowly() -> None:
        with collect_definition_faults(lambda *_: None):
            entered.set()
            leave.wait()

    async def one(inter: disnake.ApplicationCommandInteraction) -> None: ...

    other = threading.Thread(target=load_slowly)
    other.start()
    entered.wait()
    found: list[str] = []
    with collect_definition_faults(lambda _function, sentence: found.append(sentence)):
        leave.set()
        other.join()
        commands.slash_command(name="Bad Name")(one)
    assert len(found) == 1
    with pytest.raises(ValueError, match="Bad Name"):
        commands.slash_command(name="Bad Name")(one)
