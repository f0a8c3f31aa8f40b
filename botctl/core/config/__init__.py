"""The settings of a project. Files, environment variables and options come in, a frozen `Settings` goes out.

Read `settings` for what exists, then `loading` for how these sources (layers) are merged.
"""
