"""A small client of the realtime server: events, states and actions, over a connection that comes back by itself.

    async with RealtimeClient(url, key) as client:
        async for event in client.events("commands"):
            print(event)

docs/client.md has a longer example. It needs `websockets` and nothing else of botctl's surroundings.
"""

from botctl.client.client import RealtimeClient as RealtimeClient
from botctl.client.outcomes import ConnectionEnded as ConnectionEnded
from botctl.client.outcomes import EventGap as EventGap
from botctl.client.outcomes import OutcomeUnknown as OutcomeUnknown
from botctl.client.outcomes import ReceivedEvent as ReceivedEvent
from botctl.client.outcomes import RequestFailed as RequestFailed
from botctl.client.outcomes import WatchedState as WatchedState
