"""What all other rooms stand on: services, settings, processes, telemetry, errors, and the contracts between features.

Settings files, environment and child processes come in; typed settings, running services and events go out.
Nothing here imports a feature. Read `services.registry` first, then `contracts.protocols` and `errors`.
"""
