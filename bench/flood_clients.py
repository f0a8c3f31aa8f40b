"""Peers without a key, in one process: ``flood_clients.py URL CONNECTIONS FRAMES_PER_S``.

They keep so many connections open, from several loopback addresses, and send so many frames a second in all: empty
pongs (``8a 80 00 00 00 00``), and pings that ask for an answer. What the server closes is opened again. It runs until
stdin ends, and then prints ``{"frames", "connects", "refused", "open"}``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import sys
import time
from urllib.parse import urlsplit

ADDRESSES = 20
PONG, PING = b"\x8a\x80" + bytes(4), b"\x89\x84" + bytes(4) + b"ping"
FRAMES = itertools.cycle((PONG, PONG, PONG, PING))
TICK_S = 0.02
CONNECTS_PER_TICK = 2  # so 100 a second


class Flood:
    """The connections. ``frames``, ``connects``, ``refused``: what was sent, opened, and could not be opened."""

    def __init__(self, url: str, count: int) -> None:
        self.parts = urlsplit(url)
        self.count = count
        self.addresses = itertools.cycle(f"127.0.0.{number + 2}" for number in range(ADDRESSES))
        self.sockets: dict[int, socket.socket] = {}
        self.poll = select.epoll()
        self.frames = self.connects = self.refused = 0

    def connect(self) -> None:
        sock = socket.socket()
        sock.settimeout(1)
        try:
            sock.bind((next(self.addresses), 0))
            sock.connect((self.parts.hostname, self.parts.port))
            lines = f"GET {self.parts.path} HTTP/1.1\r\nHost: {self.parts.netloc}\r\nUpgrade: websocket\r\n"
            lines += "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
            sock.sendall(lines.encode() + b"\r\n\r\n")
        except OSError:
            self.refused += 1
            sock.close()
            return
        sock.setblocking(False)
        self.sockets[sock.fileno()] = sock
        self.poll.register(sock.fileno(), select.EPOLLIN)
        self.connects += 1

    def drop(self, fd: int) -> None:
        self.poll.unregister(fd)
        self.sockets.pop(fd).close()

    def read(self) -> None:
        """Drop what the server sent, and the connections that it closed or turned away."""
        for fd, _ in self.poll.poll(0):
            data = b""
            with contextlib.suppress(OSError):
                data = self.sockets[fd].recv(65_536)
            if not data or data.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"\x88")):
                self.refused += data.startswith(b"HTTP")
                self.drop(fd)

    def tick(self, frames: float) -> None:
        for _ in range(min(CONNECTS_PER_TICK, self.count - len(self.sockets))):
            self.connect()
        self.read()
        for fd in itertools.islice(itertools.cycle(tuple(self.sockets)), int(frames) if self.sockets else 0):
            if fd in self.sockets:
                try:
                    self.sockets[fd].send(next(FRAMES))
                    self.frames += 1
                except BlockingIOError:
                    pass  # the server does not read: it takes no more from this peer
                except OSError:
                    self.drop(fd)


def main() -> None:
    flood, rate = Flood(sys.argv[1], int(sys.argv[2])), float(sys.argv[3])
    began_s, due = time.monotonic(), 0.0
    while not select.select([sys.stdin], [], [], TICK_S)[0]:
        now = (time.monotonic() - began_s) * rate
        flood.tick(min(now - due, rate))  # after a pause, at most a second's frames
        due = now
    counts = {"frames": flood.frames, "connects": flood.connects, "refused": flood.refused, "open": len(flood.sockets)}
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
