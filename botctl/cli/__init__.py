"""The command line. In: the arguments of a call. Out: text or JSON, and an exit code.

Read `main` first (all commands), then `boundary` (how errors become messages). A command has a folder: ``command.py``
reads its arguments, ``view.py`` prints.
"""
