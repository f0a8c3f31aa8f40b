"""Actions that change the world and dispatch the events to the bots.

An adapter calls a function with the sandbox and the action's data. Read `posting` first.
"""
