"""Rate limits, counted in Redis, with a local fallback.

Invocations and limits come in. A `Verdict`, statistics, and what `botctl ratelimit` shows go out. Read `gcra` first,
then `limiter`.
"""
