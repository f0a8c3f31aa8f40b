"""What a message may be: its content, embeds, components, mentions and files.

The JSON of a request becomes a checked draft, and a draft becomes a message of the world. Read `drafts` first.
"""
