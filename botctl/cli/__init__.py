"""The command line. The arguments of a call come in; text or JSON, and an exit code, go out.

Read `main` first (all commands), then `boundary` (how errors become messages). A command has a folder: ``command.py``
reads its arguments, ``view.py`` prints.
"""
