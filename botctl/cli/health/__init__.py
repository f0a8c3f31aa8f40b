"""``botctl health``: ask the processes of this host for their verdicts. Read `check` first.

It is called every few seconds, by supervisors and containers, so it loads neither the settings nor a store's client.
"""
