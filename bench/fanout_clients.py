"""The clients of bench/fanout.py, in one process: ``fanout_clients.py KIND URL KEY COUNT``.

They are as cheap as possible: plain sockets that are read, and a byte that each message has once (``MARK``) that is
counted. After a line ``ready`` on stdout, it answers each line of stdin, a number, when all clients together have got
so many messages in all.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from urllib.parse import urlsplit

MARK = b"^"
PATHS = {"socketio": "/socket.io/?EIO=4&transport=websocket"}
READ_BYTES = 262_144


def masked(data: bytes) -> bytes:
    """A client's text frame. RFC 6455, section 5.2."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + data


def _read_until(sock: socket.socket, *what: bytes) -> None:
    received = b""
    while not all(part in received for part in what):
        if not (data := sock.recv(65_536)):
            raise SystemExit(f"the server closed the connection: {received[-300:]!r}")
        received += data
        if b'"type":"error"' in received:
            raise SystemExit(f"refused: {received[-300:]!r}")


def connect(kind: str, url: str, key: str) -> socket.socket:
    """Connect, and do what ``kind`` asks for before it sends messages."""
    parts = urlsplit(url)
    sock = open_websocket(url, PATHS.get(kind, parts.path or "/"))
    if kind == "socketio":
        _read_until(sock, b"\r\n\r\n", b"pingInterval", b"}")
        sock.sendall(masked(b"40"))
        _read_until(sock, b'40{"sid"', b"}")
    elif kind == "botctl":
        authenticate(sock, key)
        sock.sendall(masked(json.dumps({"type": "subscribe", "topics": ["bench"]}).encode()))
        _read_until(sock, b'"type":"subscribe"')
    else:
        _read_until(sock, b"\r\n\r\n")
    return sock


def open_websocket(url: str, path: str) -> socket.socket:
    """Connect and send the handshake; its answer is not read."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    sock.sendall("\r\n".join((*lines, "", "")).encode())
    return sock


def authenticate(sock: socket.socket, key: str) -> None:
    """Wait for botctl's hello, send the key, and wait for the reply."""
    _read_until(sock, b'"hello"')
    sock.sendall(masked(json.dumps({"type": "auth", "key": key}).encode()))
    _read_until(sock, b'"type":"auth"')


def main() -> None:
    kind, url, key, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    sockets = [connect(kind, url, key) for _ in range(count)]
    by_fd, poll, buffer = {sock.fileno(): sock for sock in sockets}, select.epoll(), bytearray(READ_BYTES)
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    got = 0
    print("ready", flush=True)
    for line in sys.stdin:
        while got < int(line):
            for fd, _ in poll.poll():
                if not (size := by_fd[fd].recv_into(buffer)):
                    raise SystemExit("the server closed a connection")
                got += buffer.count(MARK, 0, size)
        print(got, flush=True)


if __name__ == "__main__":
    main()
