"""What needs which privileged intent, whether it is granted, and the review."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.bot.login import PRIVILEGED as PRIVILEGED_OF_BOT
from botctl.doctor.code_reading import CodeRead, facts_in
from botctl.doctor.discord_api import DiscordAnswer
from botctl.doctor.discord_probe import GuildList, reach_of, read_guilds
from botctl.doctor.finding import Mark
from botctl.doctor.intents import (
    PRIVILEGED,
    IntentsEvidence,
    ReachEvidence,
    assess_code,
    assess_intents,
    intent_needs,
    is_granted,
)
from botctl.doctor.needs import Basis
from botctl.sandbox.model.gateway.opcodes import GUILD_MEMBERS, MESSAGE_CONTENT, PRESENCES
from botctl.sandbox.model.gateway.opcodes import PRIVILEGED as FLAGS

LIMITED = 1 << 13 | 1 << 15 | 1 << 19
REVIEWED = 1 << 12 | 1 << 14 | 1 << 18
SMALL = ReachEvidence(30, 20, 2, 1)


def needs(code):
    return intent_needs(facts_in(ast.parse(code), "a.py"))


def listener(name, body="..."):
    return f"@commands.Cog.listener()\nasync def {name}(self, message):\n    {body}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (listener("on_member_join"), [("members", Basis.DECLARED)]),
        (listener("on_raw_member_remove"), [("members", Basis.DECLARED)]),
        (listener("on_presence_update"), [("presences", Basis.DECLARED)]),
        (listener("on_message", "print(message.content)"), [("message_content", Basis.DECLARED)]),
        (listener("on_message", "print(message.author.id)"), []),
        (listener("on_reaction_add"), []),
        ("print(message.content)", [("message_content", Basis.GUESSED)]),
        ("print(response.content)", []),
        ("print(inter.message.content)", []),
        ("print(message.embeds)", []),
        (listener("on_message", "print(message.embeds)"), [("message_content", Basis.DECLARED)]),
        ("print(ctx.guild.members)", [("members", Basis.GUESSED)]),
        ("guild.fetch_members()", [("members", Basis.GUESSED)]),
        ("print(member.status)", [("presences", Basis.GUESSED)]),
        ("print(response.status)", []),
        ("class R(MessageCommand):\n    async def execute(self, ctx, message):\n        message.content", []),
        ("@commands.message_command()\nasync def r(inter, message):\n    message.content", []),
        ("message.content = 'x'", []),
    ],
)
def test_needs(code, expected):
    assert [(need.what, need.basis) for need in needs(code)] == expected


def assess(*, requested=(), flags=LIMITED, code="", reach=SMALL):
    found = assess_intents(IntentsEvidence(requested, flags, needs(code), reach))
    assert all(finding.mend for finding in found if finding.mark is Mark.FAULT)
    return {(finding.check, finding.mark): finding.sentence for finding in found}


def test_bot_without_privileged_intents_is_well():
    assert {mark for _, mark in assess()} == {Mark.OK}


def test_listener_whose_intent_is_not_requested_is_a_fault():
    found = assess(code=listener("on_member_join"))
    assert "the listener on_member_join waits for member_join (a.py:2)" in found["members", Mark.FAULT]
    assert ("members", Mark.UNKNOWN) in assess(code="guild.members")  # a guess


def test_intent_that_is_requested_must_be_granted():
    code = listener("on_member_join")
    assert ("members", Mark.FAULT) not in assess(requested=["members"], code=code)
    assert "4014" in assess(requested=["members"], code=code, flags=0)["members", Mark.FAULT]
    assert ("members", Mark.UNKNOWN) in assess(requested=["members"], code=code, flags=None)
    assert ("members", Mark.UNKNOWN) in assess(requested=["members"])  # nothing needs it


def reach(largest=0, members=0, installs=0, *, flags=LIMITED, complete=True):
    evidence = ReachEvidence(members, largest, 3, installs, complete)
    found = assess(requested=["members"], code="guild.members", reach=evidence, flags=flags)
    return next(mark for check, mark in found if check == "review")


def test_review():
    assert reach(members=9_999) is Mark.OK
    assert reach(members=10_000, largest=5_000) is Mark.UNKNOWN  # some may be in two guilds
    assert reach(members=10_000, largest=10_000) is Mark.FAULT
    assert reach(installs=10_000) is Mark.FAULT
    assert reach(members=10_000, largest=10_000, flags=REVIEWED) is Mark.UNKNOWN
    assert reach(members=5, complete=False) is Mark.UNKNOWN
    assert assess(reach=None)["review", Mark.OK]
    assert ("review", Mark.UNKNOWN) in assess(requested=["members"], reach=None)


@given(st.lists(st.integers(0, 10**6), max_size=5), st.integers(0, 10**6))
def test_reach_is_between_its_bounds(counts, installs):
    listed = GuildList(tuple({"approximate_member_count": count} for count in counts), complete=True)
    found = reach_of(DiscordAnswer(200, {"approximate_user_install_count": installs}), listed)
    assert found
    assert found.most is not None
    assert max([0, installs, *counts]) == found.fewest <= found.most == sum(counts) + installs


def test_reach_that_was_not_read_is_not_known():
    assert reach_of(DiscordAnswer(200, {}), GuildList((), complete=False)) is None
    found = reach_of(DiscordAnswer(200, {}), GuildList(({"id": "1"},), complete=True))
    assert found
    assert found.most is None


class Pages:
    """A Discord with so many guilds, which refuses the request with the number ``refuses``."""

    def __init__(self, count, refuses=None):
        self.guilds = [{"id": str(number), "approximate_member_count": 1} for number in range(1, count + 1)]
        self.asked, self.refuses = 0, refuses

    async def get(self, _path, query):
        self.asked += 1
        if self.asked == self.refuses:
            return DiscordAnswer(429, {"retry_after": 1})
        after = int(query["after"])
        return DiscordAnswer(200, self.guilds[after : after + int(query["limit"])])


async def test_all_pages_of_guilds_are_read():
    listed = await read_guilds(Pages(401))
    assert (len(listed.guilds), listed.complete) == (401, True)
    listed = await read_guilds(Pages(401, refuses=2))
    assert (len(listed.guilds), listed.complete) == (200, False)
    assert not (await read_guilds(Pages(401), max_pages=1)).complete


def test_code_that_cannot_be_read_is_named():
    (finding,) = assess_code(CodeRead((), 1, ("x.py",)))
    assert (finding.mark, "x.py" in finding.sentence) == (Mark.UNKNOWN, True)
    assert [finding.mark for finding in assess_code(CodeRead((), 0, ()))] == [Mark.UNKNOWN]
    assert assess_code(CodeRead((), 1, ())) == []


def test_names_and_flags_are_those_of_the_bot_and_of_the_sandbox():
    assert set(PRIVILEGED) == set(PRIVILEGED_OF_BOT)
    bits = {"members": GUILD_MEMBERS, "presences": PRESENCES, "message_content": MESSAGE_CONTENT}
    for intent, bit in bits.items():
        assert [flag for flag in range(24) if is_granted(intent, 1 << flag)] == [
            flag for flag in range(24) if FLAGS[bit] & 1 << flag
        ]
