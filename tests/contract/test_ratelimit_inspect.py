"""What operators see of rate limits and reset, on a real Redis, with limiters that count."""

import asyncio
import signal
import uuid
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisDown

from botctl.core.contracts.throttle import Scope, parse
from botctl.core.errors import Unreachable, UsageError
from botctl.ratelimit import statistics
from botctl.ratelimit.inspect import Inspector, LimitStatus, reset
from botctl.ratelimit.keys import Subject, parse_subject, policies_key
from botctl.ratelimit.limiter import RedisLimiter
from botctl.stores import embedded_redis
from botctl.stores import redis as redis_clients
from tests.support.clock import ManualClock
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until

ALL = frozenset(Scope)
LIMITS = parse("5/1h per user, 50/1h per guild, 2/1h burst 9 per member", scopes=ALL)


class Auditor(list):
    record = list.append


@pytest.fixture
def bot():
    return uuid.uuid4().hex


@pytest.fixture
def inspector(redis, bot):
    return Inspector(redis, bot)


@asynccontextmanager
async def running_limiter(redis, bot, **policies):
    async with tasks_for("limiter") as (tasks, _):
        limiter = RedisLimiter(redis, bot, tasks, deadline_s=LIMIT_S)  # a busy machine must not look like a dead Redis
        limiter.declare("bot", policies or {"roll": LIMITS})
        async with limiter.running():
            await until(lambda: bool(limiter._statistics._written), what="the table of policies in Redis")
            yield limiter


async def use(limiter, times=1, *, user="9", guild="7", policy="roll", limits=LIMITS):
    subjects = {Scope.USER: user, Scope.GUILD: guild, Scope.MEMBER: f"{guild}-{user}"}
    return [(await limiter.check_subjects(policy, subjects, limits)).allowed for _ in range(times)]


async def test_declared_policies_are_listed_with_counts(redis, bot, inspector):
    """Counts outlive the process. Names are as in the audit log: spaces as dots, components with their colon."""
    policies = {"ops status": LIMITS, "poll:vote": LIMITS, "free": (), "roll": LIMITS}
    async with running_limiter(redis, bot, **policies) as limiter:
        limiter.declare("realtime", {"realtime.connect": parse("9/1m per address", scopes=ALL)})
        await use(limiter, 7)
        await use(limiter, 1, policy="poll:vote", user="8")
        await use(limiter, 3, policy="page:3")
    now_s = limiter.clock.now().timestamp()
    rows = {row.policy: row for row in await inspector.policies(now_s)}
    assert set(rows) == {"ops.status", "poll:vote", "roll", "realtime.connect", "page:3", statistics.OTHERS}
    assert (rows["roll"].owner, rows["roll"].limits) == ("bot", str(", ".join(map(str, LIMITS))))
    assert (rows["roll"].subjects, rows["roll"].checks, rows["roll"].denied) == (3, 7, 2)
    assert (rows["poll:vote"].subjects, rows["poll:vote"].checks) == (3, 1)
    assert (rows[statistics.OTHERS].checks, rows["page:3"].subjects) == (3, 3)
    assert rows["realtime.connect"].checks == 0
    assert {row.checks for row in await inspector.policies(now_s + 26 * 3600)} == {0}


async def test_names_that_look_alike_are_counted_apart(redis, bot, inspector):
    names = ["ops status", "user/ops status", "user/ops.status", "realtime connect", "realtime.connect", "a:b", "a%3Ab"]
    async with running_limiter(redis, bot, **dict.fromkeys(names, LIMITS)) as limiter:
        for name in names:
            assert await use(limiter, 6, policy=name, user="8") == [True] * 5 + [False]
    for name in names:
        assert len(await inspector.reset(parse_subject("user:8"), name)) == 2


async def test_commands_include_those_without_limits(redis, bot, inspector):
    assert await inspector.commands() == []
    async with running_limiter(redis, bot, **{"roll": LIMITS, "ops status": (), "poll:vote": LIMITS, "user/Ban": ()}):
        assert await inspector.commands() == ["ops status", "roll", "user/Ban"]


async def test_policy_that_is_not_declared_again_is_gone(redis, bot, inspector):
    async with running_limiter(redis, bot, old=LIMITS, roll=LIMITS):
        pass
    async with running_limiter(redis, bot, roll=LIMITS):
        pass
    assert [row.policy for row in await inspector.policies(0)] == ["roll"]


async def test_policies_are_written_again_after_redis_lost_them(redis, bot, inspector):
    stats = statistics.PolicyStats(redis, bot, ManualClock())
    for _ in range(2):
        stats.declare("bot", {"roll": LIMITS})
        await stats.write()
    await redis.hset(policies_key(bot), "bot", "{}")  # another process declared this, and it is kept
    stats.declare("bot", {"roll": LIMITS})
    await stats.write()
    assert await inspector.policies(0) == []
    await redis.delete(policies_key(bot))
    for _ in range(2):  # the first write notices the loss
        await stats.write()
    assert [row.policy for row in await inspector.policies(0)] == ["roll"]


async def test_abandoned_write_that_took_effect_is_counted_once(tmp_path):
    """The server runs it later, from its buffer, before or after the next one."""
    with server(embedded_redis.PART, tmp_path) as running:
        async with redis_clients.connect(running.url, timeout_s=LIMIT_S) as redis:
            stats = statistics.PolicyStats(redis, "dice", ManualClock())
            stats.declare("bot", {"roll": LIMITS})
            await stats.write()
            for round_ in (1, 2, 3):
                stats.counter("roll").checks += 2
                stats.counter("roll").denied += 1
                running.process.send_signal(signal.SIGSTOP)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(expires(0.02)):
                        await stats.write()
                running.process.send_signal(signal.SIGCONT)
                stats.counter("roll").checks += 1
                await stats.write()
                [row] = await Inspector(redis, "dice").policies(ManualClock().now().timestamp())
                assert (row.checks, row.denied) == (3 * round_, round_)


async def test_bot_that_never_ran_has_no_policies(inspector):
    assert await inspector.policies(0) == []
    assert await inspector.statuses(parse_subject("user:9")) == []
    assert await inspector.reset(parse_subject("user:9")) == []


async def test_statuses_show_each_used_limit(redis, bot, inspector):
    async with running_limiter(redis, bot, roll=LIMITS, poll=LIMITS) as limiter:
        await use(limiter, 6)
        await use(limiter, 1, policy="poll", user="19")
        await use(limiter, 1, policy="gone")
    statuses = await inspector.statuses(parse_subject("user:9"))
    assert [(p.policy, p.scope, p.subject, p.used, p.left) for p in statuses] == [
        ("gone", "member", "7-9", None, None),
        ("gone", "user", "9", None, None),
        ("roll", "member", "7-9", 5, 4),
        ("roll", "user", "9", 5, 0),
    ]
    assert [status.limit for status in statuses] == [None, None, "2/1h burst 9 per member", "5/1h per user"]
    assert [status.retry_after_s for status in statuses[:3]] == [None, None, 0]
    assert 600 < statuses[3].retry_after_s <= 720
    assert 3500 < statuses[3].full_in_s <= 3600
    (guild,) = await inspector.statuses(parse_subject("guild:7"), "roll")
    assert isinstance(guild, LimitStatus)
    assert (guild.used, guild.left) == (5, 45)


@pytest.mark.parametrize("call", ["statuses", "reset"])
async def test_unknown_policy_is_refused_with_a_suggestion(redis, bot, inspector, call):
    """The error suggests a similar name. A used policy is known even if it was not declared."""
    method, subject = getattr(inspector, call), parse_subject("user:9")
    assert await method(subject, "rol") == []  # no bot has declared policies yet
    async with running_limiter(redis, bot, **{"roll": LIMITS, "ops status": LIMITS}) as limiter:
        await use(limiter, policy="page:3")
    with pytest.raises(UsageError, match="there is no policy 'rol'; did you mean roll"):
        await method(subject, "rol")
    assert await method(subject, "ops status") == await method(subject, "ops.status") == []
    assert len(await method(subject, "page:3")) == 2


async def test_status_agrees_with_the_limiter(redis, bot, inspector):
    async with running_limiter(redis, bot) as limiter:
        await use(limiter, 2)
        left = next(p.left for p in await inspector.statuses(parse_subject("user:9")) if p.scope == "user")
        assert await use(limiter, left + 1) == [True] * left + [False]


async def test_reset_acts_at_once_on_its_subject_only(redis, bot, inspector):
    async with running_limiter(redis, bot) as limiter:
        assert await use(limiter, 6) == [True] * 5 + [False]
        await use(limiter, 5, user="19")
        removed = await inspector.reset(parse_subject("user:9"))
        assert {(key.policy, key.limit, key.subject) for key in removed} == {
            ("roll", "user", "9"),
            ("roll", "member", "7-9"),
        }
        assert await use(limiter) == [True]
        assert await use(limiter, user="19") == [False]


async def test_reset_of_one_policy_keeps_the_others(redis, bot, inspector):
    async with running_limiter(redis, bot) as limiter:
        await use(limiter, 5, policy="ops status")
        await use(limiter, 5)
        assert len(await inspector.reset(parse_subject("user:9"), "ops status")) == 2
        assert await use(limiter) == [False]
        assert await use(limiter, policy="ops status") == [True]


async def test_reset_clears_local_counts(redis, bot, inspector):
    """In the next outage the process counts alone again, and must not deny by old counts."""
    async with running_limiter(redis, bot) as limiter:
        limiter._batcher._outage.begin("Redis is away")
        assert await use(limiter, 6) == [True] * 5 + [False]
        limiter._batcher._outage.end()
        await until(lambda: limiter._statistics._resets is not None)
        assert len(limiter._local) > 0
        await inspector.reset(parse_subject("user:9"))
        await until(lambda: len(limiter._local) == 0)


async def test_special_characters_in_subjects_are_escaped(redis, bot, inspector):
    """Special characters of patterns are not special in a subject."""
    async with running_limiter(redis, bot) as limiter:
        for user in ("1*", "12", "1?", "[12]", "1", "\\1"):
            await use(limiter, user=user)
        for user in ("1*", "1?", "[12]", "\\1"):
            removed = await inspector.reset(Subject(Scope.USER, user))
            assert {key.subject for key in removed} == {user, f"7-{user}"}
        assert len(await inspector.statuses(parse_subject("user:12"))) == 2


async def test_many_subjects_are_found_with_several_scans(redis, bot, inspector):
    """SCAN needs more than one call."""
    async with running_limiter(redis, bot) as limiter:
        await asyncio.gather(*(use(limiter, user=f"{n}", guild=f"g{n}") for n in range(3000)))
    (row,) = await inspector.policies(limiter.clock.now().timestamp())
    assert (row.subjects, row.checks) == (9000, 3000)
    assert len(await inspector.statuses(parse_subject("user:2999"))) == 2


async def test_reset_is_audited(redis, bot, inspector):
    async with running_limiter(redis, bot) as limiter:
        await use(limiter)
    auditor = Auditor()
    assert len(await reset(inspector, auditor, ManualClock(), parse_subject("user:9"), "roll")) == 2
    (entry,) = auditor
    assert (entry.action, entry.actor.type, entry.target.type, entry.target.id) == (
        "ratelimit.reset",
        "cli",
        "user",
        "9",
    )
    assert {change.k: change.new for change in entry.changes} == {"limits": 2, "policy": "roll"}


async def test_redis_failure_raises_unreachable(redis, inspector, monkeypatch):
    async def fail(*_args, **_options):
        raise RedisDown("gone")

    monkeypatch.setattr(redis, "execute_command", fail)
    with pytest.raises(Unreachable, match=r"Redis fails \(ConnectionError\)"):
        await inspector.policies(0)


async def test_failed_write_of_counts_is_repeated(redis, bot, inspector, monkeypatch):
    stats = statistics.PolicyStats(redis, bot, ManualClock())
    stats.declare("bot", {"roll": LIMITS})
    stats.counter("roll").checks = 3
    with monkeypatch.context() as patched:
        patched.setattr(type(redis), "pipeline", lambda *_a, **_o: (_ for _ in ()).throw(RedisDown("gone")))
        with pytest.raises(RedisDown):
            await stats.write()
    await stats.write()
    await stats.write()
    (row,) = await inspector.policies(ManualClock().now().timestamp())
    assert (row.policy, row.checks) == ("roll", 3)
