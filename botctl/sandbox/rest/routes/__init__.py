"""The routes of REST, one module for each of Discord's resources.

A function with `@route` gets an `ApiCall` and returns JSON, None or an `ApiReply`. Read `reactions` first.
"""
