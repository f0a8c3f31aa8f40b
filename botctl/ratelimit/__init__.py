"""Rate limits, counted in Redis, with a local fallback.

In: invocations and limits. Out: a `Verdict`, statistics, and what `botctl ratelimit` shows. Read `gcra` first, then
`limiter`.
"""
