"""The Discord bot: it loads command files, runs each interaction through one pipeline, and answers.

Files of ``commands/``, Discord's gateway, guild settings and limits come in. Answers, events and audit entries go out.
Read `pipeline` first, then `command` and `loader`. The connections to the gateway are in `gateway/`.
"""
