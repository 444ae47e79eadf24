"""A WebSocket application of one color, by `websockets`: says its color, then sends back what it gets."""
import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    await socket.send(sys.argv[1])
    try:
        async for message in socket:
            if message == "close 4001":
                return await socket.close(4001, "as you like")
            await socket.send(message)
    except ConnectionClosed:
        pass  # how, the client knows


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=8 << 20) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
