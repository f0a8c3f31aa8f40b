"""The parts of a message: content, embeds, components, mentions and files.

The JSON of a request becomes a valid draft, and a draft becomes a message of the world. Read `drafts` first.
"""
