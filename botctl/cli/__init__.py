"""The command line. In: the arguments of a call. Out: text or JSON, and an exit code.

Read `main` first (all verbs), then `boundary` (how errors become messages). A verb has a folder: ``command.py`` reads
its arguments, ``view.py`` prints.
"""
