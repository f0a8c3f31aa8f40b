"""A bot that rolls dice, with disnake only."""

import asyncio
import random

import disnake
from disnake.ext import commands

Inter = disnake.ApplicationCommandInteraction
SIDES = (4, 6, 8, 10, 12, 20, 100)


class Again(disnake.ui.View):
    """The button below a roll. Every user may click it."""

    def __init__(self, sides: int) -> None:
        super().__init__()
        self.sides = sides

    @disnake.ui.button(label="again")
    async def again(self, _: disnake.ui.Button, inter: disnake.MessageInteraction) -> None:
        await inter.response.edit_message(f"{inter.author.display_name} rolled {random.randint(1, self.sides)}")


def make_bot() -> commands.InteractionBot:
    bot = commands.InteractionBot()

    @bot.slash_command()
    async def roll(inter: Inter, sides: commands.Range[int, 2, 1000] = 6) -> None:
        """Roll a die.

        Parameters
        ----------
        sides: How many sides the die has.
        """
        await inter.response.send_message(f"You rolled {random.randint(1, sides)}", view=Again(sides))

    @roll.autocomplete("sides")
    async def dice(_: Inter, typed: str) -> list[int]:
        return [sides for sides in SIDES if str(sides).startswith(typed)]

    @bot.slash_command()
    @commands.default_member_permissions(manage_messages=True)
    async def cheat(inter: Inter, member: disnake.Member, result: int) -> None:
        """Choose the next result of a member."""
        await inter.response.send_message(f"{member.mention} will roll {result}", ephemeral=True)

    @bot.slash_command()
    async def tournament(inter: Inter) -> None:
        """Reply after a while."""
        await inter.response.defer()
        await asyncio.sleep(0)
        await inter.edit_original_response("ann wins")
        await inter.followup.send("Congratulations!")

    @bot.slash_command()
    async def name(inter: Inter) -> None:
        """Name your die."""
        field = disnake.ui.TextInput(label="Its name", custom_id="name", max_length=20)
        await inter.response.send_modal(title="A name", custom_id="name", components=[field])

    @bot.event
    async def on_modal_submit(inter: disnake.ModalInteraction) -> None:
        greeting = "Hallo" if inter.locale is disnake.Locale.de else "Hello"
        await inter.response.send_message(f"{greeting}, {inter.text_values['name']}!")

    return bot


if __name__ == "__main__":
    import os

    make_bot().run(os.environ["DISCORD_TOKEN"])
