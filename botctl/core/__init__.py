"""The base of all other packages: services, settings, processes, telemetry, errors, and contracts between features.

Settings files, environment and child processes come in; typed settings, running services and events go out. Nothing
here imports a feature (a package such as `jobs`). Read `services.registry` first, then `contracts.protocols`, `errors`.
"""
