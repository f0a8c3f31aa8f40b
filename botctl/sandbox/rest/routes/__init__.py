"""The routes of REST.

There is one module for each of Discord's resources, so there are more of them than a folder should have. A function
with `@route` gets the `Call` and returns JSON, None or a `Reply`. Read `reactions` first.
"""
