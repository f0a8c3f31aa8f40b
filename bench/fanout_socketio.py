"""python-socketio as bench/fanout.py measures it, run by the Python of the peers: the control of fanout_server.py."""

import asyncio
import gc
import json
import sys
import time

import socketio
import uvloop
from aiohttp import web


async def main() -> None:
    # The heartbeat of clients that answer no ping must not end a round.
    server = socketio.AsyncServer(async_mode="aiohttp", ping_interval=600, http_compression=False)
    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"url": f"ws://127.0.0.1:{runner.addresses[0][1]}", "key": ""}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        message = json.loads(command["message"])
        for _ in range(command["ticks"]):
            for _ in range(command["per_tick"]):
                await server.emit("event", message)
            await asyncio.sleep(0)
        print(json.dumps({"cpu_s": time.process_time()}), flush=True)


if __name__ == "__main__":
    gc.set_threshold(20_000, 50, 100)  # as `botctl run`
    uvloop.run(main())
