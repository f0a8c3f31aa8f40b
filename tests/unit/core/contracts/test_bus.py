"""The bus: publishing never waits and never fails because of a reader."""

import asyncio
import logging

import pytest

from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import DrainStarted, Event, GatewayChanged, StoreRestarted
from tests.support.waiting import until


def gateway(shard):
    return GatewayChanged(shard=shard, state="ready")


RESTART = StoreRestarted(store="redis", exit_status=-9, down_s=0.5)


@pytest.fixture
def bus():
    return Bus()


class TestSubscribe:
    def test_subscriber_gets_events_of_its_types_in_order(self, bus):
        with bus.subscribe(GatewayChanged, DrainStarted, name="r") as events:
            bus.publish(gateway(1))
            bus.publish(RESTART)
            bus.publish(gateway(2))
            assert events.take() == [gateway(1), gateway(2)]
            assert events.take() == []

    def test_subscription_to_base_class_includes_subclasses(self, bus):
        with bus.subscribe(Event, name="r") as events:
            bus.publish(RESTART)
            bus.publish(gateway(1))
            assert events.take() == [RESTART, gateway(1)]

    def test_full_queue_drops_and_counts_oldest_events(self, bus):
        with bus.subscribe(Event, name="slow", size=2) as events, bus.subscribe(Event, name="fast"):
            for shard in range(5):
                bus.publish(gateway(shard))
            assert events.dropped == 3
            assert bus.dropped() == {"slow": 3}
            assert events.take() == [gateway(3), gateway(4)]

    def test_each_reader_gets_every_event(self, bus):
        with bus.subscribe(Event, name="a") as a, bus.subscribe(Event, name="b") as b:
            bus.publish(RESTART)
            assert a.take() == b.take() == [RESTART]

    def test_subscription_ends_with_its_block(self, bus):
        with bus.subscribe(Event, name="r") as events:
            pass
        bus.publish(RESTART)
        assert events.take() == []
        assert bus.dropped() == {}

    async def test_iterating_waits_for_the_next_event(self, bus):
        got = []

        async def read(events):
            async for event in events:
                got.append(event)  # noqa: PERF401  one at a time is the point

        with bus.subscribe(Event, name="r") as events:
            bus.publish(gateway(1))
            reader = asyncio.create_task(read(events))
            await until(lambda: len(got) == 1)
            bus.publish(gateway(2))
            bus.publish(gateway(3))
            await until(lambda: len(got) == 3)
            assert events.take() == []
            bus.publish(gateway(4))
            await until(lambda: len(got) == 4)
            reader.cancel()
            await asyncio.wait({reader})
        assert got == [gateway(n) for n in (1, 2, 3, 4)]


class TestListen:
    def test_listener_is_called_immediately_until_block_ends(self, bus):
        got = []
        with bus.listen(got.append, GatewayChanged):
            bus.publish(gateway(1))
            assert got == [gateway(1)]
            bus.publish(RESTART)
        bus.publish(gateway(2))
        assert got == [gateway(1)]

    def test_failing_listener_is_logged_and_others_are_called(self, bus, caplog):
        def broken(_):
            raise ValueError("no")

        got = []
        with bus.listen(broken, Event), bus.listen(got.append, Event), bus.subscribe(Event, name="r") as events:
            bus.publish(RESTART)
            assert got == events.take() == [RESTART]
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert "store.restarted" in record.getMessage()

    def test_same_listener_can_be_registered_twice(self, bus):
        got = []
        with bus.listen(got.append, GatewayChanged):
            with bus.listen(got.append, StoreRestarted):
                bus.publish(gateway(1))
                bus.publish(RESTART)
            bus.publish(RESTART)
            bus.publish(gateway(2))
        assert got == [gateway(1), RESTART, gateway(2)]

    def test_listener_can_register_another_listener(self, bus):
        with bus.listen(lambda _: listening.__enter__(), Event):
            got = []
            listening = bus.listen(got.append, Event)
            bus.publish(RESTART)
        bus.publish(gateway(1))
        assert got == [gateway(1)]
        listening.__exit__(None, None, None)


def test_publish_works_without_subscribers(bus):
    bus.publish(RESTART)
