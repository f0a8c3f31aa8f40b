"""``botctl init``: create the files of a new bot in a folder.

Read `command` first, then `scaffold`, which writes the files.
"""
