"""The Discord bot: it loads command files, runs each interaction through one pipeline, and answers.

In: files of ``commands/``, Discord's gateway, guild settings and limits. Out: answers, events and audit entries.
Read `pipeline` first, then `command` and `loader`.
"""
