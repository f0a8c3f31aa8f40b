"""The base of all other packages: services, settings, processes, telemetry, errors, and contracts between features.

Settings files, environment and child processes come in; typed settings, running services and events go out.
Nothing here imports a feature. Read `services.registry` first, then `contracts.protocols` and `errors`.
"""
