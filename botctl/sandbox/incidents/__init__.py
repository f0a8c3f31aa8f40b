"""Incidents: failures of Discord, simulated on purpose.

An incident changes the sandbox, and restores it at its end. A scenario is a list of incidents with start times.
`connections`, `guilds` and `requests` define the incidents, `runner` starts and stops them. Read `catalogue` first.
"""
