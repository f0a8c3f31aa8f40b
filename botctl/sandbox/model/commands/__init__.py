"""Application commands: how they are registered, what their options are, and who may use them.

What a bot registers comes in as JSON and is kept as Discord shows it. What a person typed becomes the data of an
interaction. Read `registration` first.
"""
