"""The files of a project: where they are, who may write them, and modules that are loaded from them.

Paths come in; checked paths, files with safe modes and loaded modules go out. Read `paths` first.
"""
