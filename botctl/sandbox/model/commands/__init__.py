"""Application commands: registration, options and permissions.

JSON that a bot registers becomes a stored command. Words that a user typed become the data of an interaction. Read
`registration` first.
"""
