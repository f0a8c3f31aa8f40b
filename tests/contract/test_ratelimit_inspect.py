"""What operators see of rate limits and do to them, on a real server, beside limiters that count."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as RedisDown

from botctl.core.contracts.throttle import Scope, parse
from botctl.core.errors import Unreachable, UsageError
from botctl.ratelimit import statistics
from botctl.ratelimit.inspect import Inspector, LimitStatus, reset
from botctl.ratelimit.keys import policies_key, subject_of
from botctl.ratelimit.limiter import RedisLimiter
from tests.support.clock import ManualClock
from tests.support.stores import tasks_for
from tests.support.waiting import until

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
async def limiting(redis, bot, **policies):
    async with tasks_for("limiter") as (tasks, _):
        limiter = RedisLimiter(redis, bot, tasks, deadline_s=30)  # a busy machine is no dead Redis
        limiter.declare("bot", policies or {"roll": LIMITS})
        async with limiter.running():
            await until(lambda: bool(limiter._books._written), what="the table of policies in Redis")
            yield limiter


async def use(limiter, times=1, *, user="9", guild="7", policy="roll", limits=LIMITS):
    who = {Scope.USER: user, Scope.GUILD: guild, Scope.MEMBER: f"{guild}-{user}"}
    return [(await limiter.check_subjects(policy, who, limits)).allowed for _ in range(times)]


async def test_declared_policies_are_listed_with_what_became_of_them(redis, bot, inspector):
    """Counts outlast the process; names as the audit log has them, spaces as dots, components with their colon."""
    policies = {"ops status": LIMITS, "poll:vote": LIMITS, "free": (), "roll": LIMITS}
    async with limiting(redis, bot, **policies) as limiter:
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


async def test_the_commands_are_what_the_bot_declared_also_those_without_limits(redis, bot, inspector):
    assert await inspector.commands() == []
    async with limiting(redis, bot, **{"roll": LIMITS, "ops status": (), "poll:vote": LIMITS}):
        assert await inspector.commands() == ["ops status", "roll"]


async def test_what_a_start_no_longer_declares_is_gone(redis, bot, inspector):
    async with limiting(redis, bot, old=LIMITS, roll=LIMITS):
        pass
    async with limiting(redis, bot, roll=LIMITS):
        pass
    assert [row.policy for row in await inspector.policies(0)] == ["roll"]


async def test_policies_are_told_once_and_again_to_a_redis_that_has_lost_them(redis, bot, inspector):
    """Declaring the same again writes nothing."""
    book = statistics.PolicyStats(redis, bot, ManualClock())
    for _ in range(2):
        book.declare("bot", {"roll": LIMITS})
        await book.write()
    await redis.hset(policies_key(bot), "bot", "{}")  # what another process declares stands
    book.declare("bot", {"roll": LIMITS})
    await book.write()
    assert await inspector.policies(0) == []
    await redis.delete(policies_key(bot))
    for _ in range(2):  # one look to notice
        await book.write()
    assert [row.policy for row in await inspector.policies(0)] == ["roll"]


async def test_nothing_is_known_of_a_bot_that_never_ran(inspector):
    assert await inspector.policies(0) == []
    assert await inspector.places(subject_of("user:9")) == []
    assert await inspector.reset(subject_of("user:9")) == []


async def test_where_somebody_stands_limit_by_limit(redis, bot, inspector):
    async with limiting(redis, bot, roll=LIMITS, poll=LIMITS) as limiter:
        await use(limiter, 6)
        await use(limiter, 1, policy="poll", user="19")
        await use(limiter, 1, policy="gone")
    places = await inspector.places(subject_of("user:9"))
    assert [(p.policy, p.scope, p.subject, p.used, p.left) for p in places] == [
        ("gone", "member", "7-9", None, None),
        ("gone", "user", "9", None, None),
        ("roll", "member", "7-9", 5, 4),
        ("roll", "user", "9", 5, 0),
    ]
    assert [place.limit for place in places] == [None, None, "2/1h burst 9 per member", "5/1h per user"]
    assert [place.retry_after_s for place in places[:3]] == [None, None, 0]
    assert 600 < places[3].retry_after_s <= 720
    assert 3500 < places[3].full_in_s <= 3600
    (guild,) = await inspector.places(subject_of("guild:7"), "roll")
    assert isinstance(guild, LimitStatus)
    assert (guild.used, guild.left) == (5, 45)


@pytest.mark.parametrize("call", ["places", "reset"])
async def test_a_policy_that_does_not_exist_is_refused(redis, bot, inspector, call):
    """With what may have been meant. One that nobody declared, and that was used, is known."""
    ask, who = getattr(inspector, call), subject_of("user:9")
    assert await ask(who, "rol") == []  # no bot has ever told what there is
    async with limiting(redis, bot, **{"roll": LIMITS, "ops status": LIMITS}) as limiter:
        await use(limiter, policy="page:3")
    with pytest.raises(UsageError, match="there is no policy 'rol'; did you mean roll"):
        await ask(who, "rol")
    assert await ask(who, "ops status") == await ask(who, "ops.status") == []
    assert len(await ask(who, "page:3")) == 2


async def test_a_place_is_what_the_limiter_will_say(redis, bot, inspector):
    async with limiting(redis, bot) as limiter:
        await use(limiter, 2)
        left = next(p.left for p in await inspector.places(subject_of("user:9")) if p.scope == "user")
        assert await use(limiter, left + 1) == [True] * left + [False]


async def test_a_reset_acts_at_once_and_only_on_its_subject(redis, bot, inspector):
    async with limiting(redis, bot) as limiter:
        assert await use(limiter, 6) == [True] * 5 + [False]
        await use(limiter, 5, user="19")
        gone = await inspector.reset(subject_of("user:9"))
        assert {(key.policy, key.limit, key.subject) for key in gone} == {
            ("roll", "user", "9"),
            ("roll", "member", "7-9"),
        }
        assert await use(limiter) == [True]
        assert await use(limiter, user="19") == [False]


async def test_a_reset_of_one_policy_leaves_the_others(redis, bot, inspector):
    async with limiting(redis, bot) as limiter:
        await use(limiter, 5, policy="ops status")
        await use(limiter, 5)
        assert len(await inspector.reset(subject_of("user:9"), "ops status")) == 2
        assert await use(limiter) == [False]
        assert await use(limiter, policy="ops status") == [True]


async def test_a_reset_reaches_what_a_process_remembers_of_a_time_without_redis(redis, bot, inspector):
    """In the next outage it counts alone again, and must not refuse by what it knew of the last one."""
    async with limiting(redis, bot) as limiter:
        limiter._outage.begin("Redis is away")
        assert await use(limiter, 6) == [True] * 5 + [False]
        limiter._outage.end()
        await until(lambda: limiter._books._resets is not None)
        assert len(limiter._local) > 0
        await inspector.reset(subject_of("user:9"))
        await until(lambda: len(limiter._local) == 0)


async def test_subjects_are_taken_by_the_letter(redis, bot, inspector):
    """What is special in a pattern is not special in a subject."""
    async with limiting(redis, bot) as limiter:
        for user in ("1*", "12", "1?", "[12]", "1", "\\1"):
            await use(limiter, user=user)
        for user in ("1*", "1?", "[12]", "\\1"):
            gone = await inspector.reset(subject_of(f"user:{user}"))
            assert {key.subject for key in gone} == {user, f"7-{user}"}
        assert len(await inspector.places(subject_of("user:12"))) == 2


async def test_many_subjects_are_counted_and_found(redis, bot, inspector):
    """More than one turn of SCAN."""
    async with limiting(redis, bot) as limiter:
        await asyncio.gather(*(use(limiter, user=f"{n}", guild=f"g{n}") for n in range(3000)))
    (row,) = await inspector.policies(limiter.clock.now().timestamp())
    assert (row.subjects, row.checks) == (9000, 3000)
    assert len(await inspector.places(subject_of("user:2999"))) == 2


async def test_a_reset_is_on_the_record(redis, bot, inspector):
    async with limiting(redis, bot) as limiter:
        await use(limiter)
    auditor = Auditor()
    assert len(await reset(inspector, auditor, ManualClock(), subject_of("user:9"), "roll")) == 2
    (entry,) = auditor
    assert (entry.action, entry.actor.type, entry.target.type, entry.target.id) == (
        "ratelimit.reset",
        "cli",
        "user",
        "9",
    )
    assert {change.k: change.new for change in entry.changes} == {"limits": 2, "policy": "roll"}


async def test_a_redis_that_fails_is_a_sentence(redis, inspector, monkeypatch):
    async def fail(*_args, **_options):
        raise RedisDown("gone")

    monkeypatch.setattr(redis, "execute_command", fail)
    with pytest.raises(Unreachable, match=r"Redis fails \(ConnectionError\)"):
        await inspector.policies(0)


async def test_counts_that_could_not_be_written_are_written_later(redis, bot, inspector, monkeypatch):
    book = statistics.PolicyStats(redis, bot, ManualClock())
    book.declare("bot", {"roll": LIMITS})
    book.tally("roll").checks = 3
    with monkeypatch.context() as patched:
        patched.setattr(type(redis), "pipeline", lambda *_a, **_o: (_ for _ in ()).throw(RedisDown("gone")))
        with pytest.raises(RedisDown):
            await book.write()
    await book.write()
    await book.write()
    (row,) = await inspector.policies(ManualClock().now().timestamp())
    assert (row.policy, row.checks) == ("roll", 3)
