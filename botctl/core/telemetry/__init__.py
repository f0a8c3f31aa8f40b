"""Logs and metrics of one process. Log records and events come in; log files and Prometheus metrics go out.

Read `logs` and `metrics` first.
"""
