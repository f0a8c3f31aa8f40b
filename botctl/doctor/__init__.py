"""``botctl doctor``: what is well and what is not, from the machine to the permissions in each guild.

A check has two halves. A probe (`machine_probe`, `store_probe`, `discord_api`, `code_reading`) gathers evidence, which
is a frozen dataclass. A pure function (`machine`, `stores`, `discord`, `supervisor`, `intents`, `permissions`) turns it
into `finding.Finding`s: well, a fault with its mend, or unknown with the reason. Read `finding` first, then `checks`,
which runs them. Nothing here changes anything; the one write to each store is removed again.
"""
