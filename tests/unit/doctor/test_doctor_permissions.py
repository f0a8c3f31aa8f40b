"""What the bot needs in a guild, how that is known, and what it lacks."""

import ast
import json
from urllib.parse import parse_qs, urlsplit

import disnake
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.doctor.code_reading import facts_in
from botctl.doctor.finding import Mark
from botctl.doctor.needs import Basis
from botctl.doctor.permission_names import (
    CALLS,
    EDITS,
    PERMISSION_BITS,
    SENDS,
    SPLIT,
    bits_of,
    names_in,
    permission_named,
)
from botctl.doctor.permissions import (
    GuildRights,
    LoggedRefusal,
    PermissionsEvidence,
    assess_permissions,
    bits_in_channel,
    invite_url,
    permission_needs,
    refusals_in,
    refused_needs,
    rights_of_member,
)
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.permission_bits import BITS
from botctl.sandbox.model.permissions import compute
from botctl.sandbox.model.world import Channel, Guild, Member, Overwrite, Role

WORLD = default_world(url="http://x")


def facts(code):
    return facts_in(ast.parse(code), "commands/a.py")


def needs(code):
    return permission_needs(facts(code))


def test_names_are_those_of_discord_and_of_disnake():
    assert PERMISSION_BITS == BITS
    for name, bit in disnake.Permissions.VALID_FLAGS.items():
        assert bits_of([permission_named(name)]) == bit, name
    assert permission_named("fly") is None
    used = [name for names in (*CALLS.values(), *SPLIT.values()) for name in names]
    assert {*used, *EDITS.values(), *SENDS.values(), *SPLIT} <= PERMISSION_BITS.keys()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("await message.pin()", ["PIN_MESSAGES"]),
        ("guild.create_scheduled_event(name='x')", ["CREATE_EVENTS"]),
        ("guild.create_custom_emoji(name='x')", ["CREATE_GUILD_EXPRESSIONS"]),
        ("asyncio.timeout(5)", []),
        ("member.timeout(5)", ["MODERATE_MEMBERS"]),
        ("member.edit(nick='x')", ["MANAGE_NICKNAMES"]),
        ("message.edit(content='x')", []),
        ("inter.channel.send('x', embed=e)", ["VIEW_CHANNEL", "SEND_MESSAGES", "EMBED_LINKS"]),
        ("inter.followup.send('x')", []),
        ("@commands.bot_has_permissions(manage_emojis=True)\ndef f(): ...", ["MANAGE_GUILD_EXPRESSIONS"]),
    ],
)
def test_needs(code, expected):
    assert [need.what for need in needs(code)] == expected


def test_basis_of_a_need():
    code = "@commands.slash_command()\n@commands.default_member_permissions(ban_members=True)\n"
    code += "@commands.bot_has_permissions(kick_members=True)\nasync def x(inter): inter.guild.purge()"
    assert {need.what: need.basis for need in needs(code)} == {
        "BAN_MEMBERS": Basis.PEOPLE,
        "KICK_MEMBERS": Basis.DECLARED,
        "MANAGE_MESSAGES": Basis.GUESSED,
        "READ_MESSAGE_HISTORY": Basis.GUESSED,
    }


def log_line(kind="Forbidden", trace=None):
    trace = trace or (
        'Traceback\n  File "/srv/bot/commands/a.py", line 2, in x\n    await message.pin()\n'
        '  File "/srv/bot/.venv/lib/disnake/http.py", line 9, in request\n'
        "disnake.errors.Forbidden: 403 Forbidden (error code: 50013): Missing Permissions"
    )
    error = {"type": kind, "message": "403 Forbidden (error code: 50013)", "trace": trace}
    return json.dumps({"at": "2026-02-24T00:00:00Z", "level": "ERROR", "guild": "9", "error": error})


def test_403_in_the_log_is_seen_at_the_call_that_was_refused():
    lines = ["no json 50013", "{}", '{"error": 50013}', log_line(), log_line("ValueError", "50013")]
    (refusal,) = refusals_in(lines, "/srv/bot")
    assert refusal == LoggedRefusal("2026-02-24T00:00:00Z", "9", (("commands/a.py", 2),))
    (need,) = refused_needs([refusal], facts("async def x(message):\n    await message.pin()"))
    assert (need.what, need.basis, need.where) == ("PIN_MESSAGES", Basis.SEEN, "commands/a.py:2")
    assert refused_needs([refusal], facts("x()")) == []  # the file has changed


def assess(code, *rights, application="77"):
    guilds = [GuildRights("9", "Den", bits_of(names)) for names in rights]
    return assess_permissions(PermissionsEvidence(needs(code), guilds, application))


def guild_line(code, *rights):
    (line,) = [finding for finding in assess(code, *rights) if finding.check == "guilds"]
    return line


def test_guild_that_lacks_something_is_a_fault_with_the_link():
    line = guild_line("message.pin()", ["MANAGE_MESSAGES"])
    assert line.mark is Mark.FAULT
    assert line.sentence == "Den (9) lacks PIN_MESSAGES (until February 2026, MANAGE_MESSAGES was enough)"
    assert f"permissions={1 << 51}" in line.mend
    assert guild_line("message.pin()", []).sentence == "Den (9) lacks PIN_MESSAGES"


def test_guild_that_gives_all_is_well():
    assert guild_line("message.pin()", ["PIN_MESSAGES"]).mark is Mark.OK
    assert guild_line("message.pin()", ["ADMINISTRATOR"]).mark is Mark.OK
    assert guild_line("x()", []).mark is Mark.OK


def test_what_only_people_need_is_not_known():
    code = "@commands.default_member_permissions(ban_members=True)\nasync def x(inter): ..."
    assert guild_line(code, []).mark is Mark.UNKNOWN


def test_many_guilds_that_are_well_are_one_line():
    lines = [f for f in assess("message.pin()", *[["PIN_MESSAGES"]] * 30, []) if f.check == "guilds"]
    assert [line.mark for line in lines] == [Mark.FAULT, Mark.OK]
    assert "30 guilds" in lines[1].sentence


def test_guilds_that_were_not_asked_are_not_known():
    found = assess_permissions(PermissionsEvidence((), None, unasked="no sandbox"))
    assert [(f.check, f.mark) for f in found] == [("needs", Mark.OK), ("guilds", Mark.UNKNOWN)]
    found = assess_permissions(PermissionsEvidence((), [], complete=False))
    assert found[-1].mark is Mark.UNKNOWN


@given(st.sets(st.sampled_from(sorted(PERMISSION_BITS.keys() - {"ADMINISTRATOR"}))))
def test_link_has_exactly_the_needed_bits(names):
    query = parse_qs(urlsplit(invite_url("77", names)).query)
    assert query["scope"] == ["bot applications.commands"]
    assert set(names_in(int(query["permissions"][0]))) == names


def overwrite(target, *, deny=0, allow=0, kind=0):
    return {"id": target, "type": kind, "deny": str(deny), "allow": str(allow)}


@given(st.data())
def test_overwrites_are_applied_as_discord_does(data):
    """As the sandbox computes it, apart from what is useless without another permission."""
    bit = PERMISSION_BITS["PIN_MESSAGES"]
    values = st.sampled_from([0, bit])
    listed = [overwrite("9", deny=data.draw(values), allow=data.draw(values))]
    listed += [overwrite(role, deny=data.draw(values), allow=data.draw(values)) for role in ("5", "6")]
    listed.append(overwrite("1", deny=data.draw(values), allow=data.draw(values), kind=1))
    view = PERMISSION_BITS["VIEW_CHANNEL"] | PERMISSION_BITS["SEND_MESSAGES"]
    base = data.draw(values) | view
    guild = Guild(
        "9", "Den", "2", roles={"9": Role("9", "@everyone", permissions=base), "5": Role("5", "a", permissions=0)}
    )
    guild.members["1"] = member = Member("1", ["5"], joined_at="")
    channel = Channel("7", "9", "general")
    for each in listed:
        channel.overwrites[each["id"]] = Overwrite(each["id"], each["type"], int(each["allow"]), int(each["deny"]))
    expected = compute(WORLD, guild, member, channel)
    assert bits_in_channel(base, data.draw(st.permutations(listed)), guild="9", own={"1", "5"}) == expected


def test_channel_that_denies_what_the_guild_gives_is_named():
    needed = needs("message.pin()")
    pin = bits_of(["PIN_MESSAGES"])
    guild = GuildRights("9", "Den", pin, (("general", pin), ("staff", 0)))
    (line,) = [f for f in assess_permissions(PermissionsEvidence(needed, [guild])) if f.check == "channels"]
    assert (line.mark, line.sentence) == (Mark.UNKNOWN, "PIN_MESSAGES is denied in #staff")
    admin = GuildRights("9", "Den", bits_of(["ADMINISTRATOR"]), (("staff", bits_of(["ADMINISTRATOR"])),))
    assert not [f for f in assess_permissions(PermissionsEvidence(needed, [admin])) if f.check == "channels"]


def test_rights_are_those_of_everyone_and_of_the_own_roles():
    roles = [{"id": "9", "permissions": "1"}, {"id": "5", "permissions": "4"}, {"id": "6", "permissions": "8"}]
    assert rights_of_member({"id": "9"}, roles, {"roles": ["5"]}) == 5
