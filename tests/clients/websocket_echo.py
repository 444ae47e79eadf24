"""Echoes what comes over a WebSocket. Prints its port; ends with its input."""
import asyncio
import logging
import sys

from websockets.asyncio.server import serve

# What clients do wrong is what they are here for.
logging.getLogger("websockets").addHandler(logging.NullHandler())
logging.getLogger("websockets").propagate = False


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=1 << 20) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
