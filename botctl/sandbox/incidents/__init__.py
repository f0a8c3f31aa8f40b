"""Incidents: failures of Discord, simulated on purpose.

An incident is started by name or by a scenario. It changes the sandbox, and restores it when it ends. `connections`,
`guilds` and `requests` define the incidents, `runner` starts and stops them. Read `catalogue` first.
"""
