"""A sandbox on a port, in a process of its own or as a service of `botctl run`.

A port, a file for the world and a secret come in; a sandbox that listens comes out. Read `serve` first, then
`standalone`.
"""
