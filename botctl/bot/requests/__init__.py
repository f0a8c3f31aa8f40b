"""Requests to Discord: what leaves, how it is answered, and which answers count towards a ban."""
