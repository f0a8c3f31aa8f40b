"""Tests of the dice bot."""

import pytest

from botctl.sandbox.testing import Discord, Failed, Refused


async def test_roll(discord: Discord) -> None:
    ann = discord.guild().member("ann", roles=["moderator"])
    reply = await ann.slash("/roll", sides=20)
    assert "You rolled" in reply.content
    assert not reply.ephemeral
    bob = discord.guild().member("bob", nick="Bobby")
    await reply.button("again").click(as_=bob)
    assert reply.content.startswith("Bobby rolled")


async def test_wrong_option_is_refused_before_a_request(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    with pytest.raises(Refused, match="must be at least 2"):
        await ann.slash("/roll", sides=1)
    assert not discord.calls


async def test_only_moderators_can_cheat(discord: Discord) -> None:
    ann = discord.guild().member("ann", roles=["moderator"])
    bob = discord.guild().member("bob")
    reply = await ann.slash("/cheat", member=bob, result=6)
    assert reply.ephemeral
    assert reply.content == f"{bob.mention} will roll 6"
    with pytest.raises(Failed, match="There is no command “cheat”"):
        await bob.slash("/cheat", member=ann, result=1)


async def test_autocomplete_offers_dice(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    assert await ann.autocomplete("/roll", sides="1") == {"10": 10, "12": 12, "100": 100}


async def test_deferred_reply_is_edited_later(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    reply = await ann.impatient.slash("/tournament")
    assert reply.thinking
    assert (await reply.edited()).content == "ann wins"
    assert (await reply.followup()).content == "Congratulations!"
    discord.calls.assert_called("PATCH", "/webhooks/{app}/{token}/messages/{message}", body={"content": "ann wins"})


async def test_form_has_a_localised_reply(discord: Discord) -> None:
    ann = discord.guild().member("ann", locale="de")
    form = (await ann.slash("/name")).modal
    assert form.fields == ["Its name"]
    assert (await form.submit(name="Wilma")).content == "Hallo, Wilma!"
