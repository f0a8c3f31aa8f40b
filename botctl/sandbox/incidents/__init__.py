"""Incidents: failures of Discord, simulated on purpose.

The name of an incident or a scenario comes in; a changed sandbox goes out, which is restored when the incident ends.
`connections`, `guilds` and `requests` define the incidents, `runner` starts and stops them. Read `catalogue` first.
"""
