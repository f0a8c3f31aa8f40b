"""The settings of a project. Files, variables and options come in, a frozen `Settings` goes out.

Read `settings` for what exists, then `loading` for how the layers are merged.
"""
