"""Requests to Discord: what leaves, which answers count towards a ban, and what time Discord has."""
