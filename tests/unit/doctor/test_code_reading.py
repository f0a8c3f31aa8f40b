"""What is seen in a bot's code, and where."""

import ast
from pathlib import Path

from botctl.doctor.code_reading import CodeFact, FactKind, facts_in, read_code

CODE = '''
import disnake
from disnake.ext import commands
from botctl import Command, MessageCommand

class Roll(Command):
    async def execute(self, ctx):
        await self.help(ctx)

    async def execute_all(self, ctx):
        for member in ctx.guild.members:
            await member.add_roles(1, reason="x")

class Report(MessageCommand):
    async def execute(self, ctx, message):
        print(message.content)

class Welcome(commands.Cog):
    @commands.Cog.listener()
    async def on_member_join(self, member):
        await member.guild.system_channel.send("hi", embed=1)

    @commands.Cog.listener("on_message")
    async def read(self, message):
        def inner():
            return message.content
        await self.bot.wait_for("presence_update")

    @commands.Cog.listener(disnake.Event.member_remove)
    async def gone(self, member): ...

    @commands.slash_command(name="ban", default_member_permissions=disnake.Permissions(ban_members=True))
    @commands.bot_has_permissions(ban_members=True, kick_members=False)
    async def ban(self, inter, user: disnake.User):
        """Ban."""

def helper(guild):
    return guild.members
'''
FACTS = facts_in(ast.parse(CODE), "commands/a.py")


def found(kind: FactKind, name: str) -> list[CodeFact]:
    return [fact for fact in FACTS if (fact.kind, fact.name) == (kind, name)]


def test_listeners_are_found_however_they_are_named():
    listeners = {fact.name: fact.owner for fact in FACTS if fact.kind is FactKind.LISTENER}
    assert listeners == {
        "member_join": "the listener Welcome.on_member_join",
        "message": "the listener Welcome.read",
        "presence_update": "the listener Welcome.read",
        "member_remove": "the listener Welcome.gone",
    }


def test_what_is_read_has_its_owner_and_the_listener_around_it():
    assert [(fact.owner, fact.where, fact.receiver) for fact in found(FactKind.READ, "members")] == [
        ("the command Roll.execute_all", "commands/a.py:11", "ctx.guild"),
        ("the function helper", "commands/a.py:38", "guild"),
    ]
    report, read = found(FactKind.READ, "content")
    assert (report.owner, report.in_context_menu, report.listener) == ("the command Report", True, "")
    assert (read.owner, read.in_context_menu, read.listener) == ("the function Welcome.read.inner", False, "message")


def test_calls_have_receiver_and_keywords():
    (call,) = found(FactKind.CALL, "send")
    assert (call.receiver, call.keywords) == ("member.guild.system_channel", ("embed",))
    assert not found(FactKind.READ, "send")
    assert found(FactKind.CALL, "add_roles")[0].owner == "the command Roll.execute_all"


def test_declared_permissions_are_found():
    (needed,) = found(FactKind.REQUIRES, "ban_members")
    (asked,) = found(FactKind.ASKS_PEOPLE, "ban_members")
    assert needed.owner == asked.owner == "the command Welcome.ban"
    assert not found(FactKind.REQUIRES, "kick_members")


def test_files_are_read_and_those_that_cannot_be_are_named(tmp_path: Path):
    folder = tmp_path / "commands"
    for name in ("a.py", "_helper.py", "sub/b.py", ".hidden/c.py", "__pycache__/d.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x.members\n")
    (folder / "broken.py").write_text("def\n")
    (folder / "null.py").write_bytes(b"\0")
    seen = read_code(tmp_path, [folder, folder / "a.py", tmp_path / "none"])
    assert sorted(fact.file for fact in seen.facts) == ["commands/_helper.py", "commands/a.py", "commands/sub/b.py"]
    assert sorted(seen.unread) == ["commands/broken.py", "commands/null.py"]
    assert seen.files == 3
