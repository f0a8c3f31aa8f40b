"""The parts of a message: content, embeds, components, mentions and files.

A request becomes a `Draft` (a valid body, not sent yet), and a draft becomes a message. Read `drafts` first.
"""
