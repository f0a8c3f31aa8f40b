"""botctl runs a Discord bot the way a good operations team would run it."""

__version__ = "0.1.0"
