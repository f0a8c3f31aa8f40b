"""The world (the simulated Discord's state) as plain data, and Discord's rules as functions of it.

Functions take the world and the JSON of a request; they return JSON or new data, change the world, or raise Discord's
error (`api_error`). Nothing here sends anything or imports another package of the sandbox. Read `world` first.
"""
