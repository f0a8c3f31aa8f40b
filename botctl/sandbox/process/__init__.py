"""Runs a sandbox on a port: as its own process, or as a service of `botctl run`.

A port, a state file and a secret come in; a listening sandbox comes out. Read `serve` first, then `standalone`.
"""
