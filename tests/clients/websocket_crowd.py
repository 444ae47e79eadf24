"""A crowd of WebSockets by `websockets`, through the proxy: URL COUNT. Says `switch` when all are open; each that is closed
connects again at once. In the end one line of JSON: how they were closed, where they came to, and when, in milliseconds after
the first."""
import asyncio
import collections
import json
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

url, count = sys.argv[1], int(sys.argv[2])


async def member(old):
    try:
        await old.recv()
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else 1006
    async with connect(url) as new:
        return code, await new.recv(), time.monotonic()


async def main():
    crowd = []
    for _ in range(count):
        socket = await connect(url)
        assert await socket.recv() == "blue"
        crowd.append(socket)
    print("switch", flush=True)
    codes, colors, moments = zip(*await asyncio.gather(*map(member, crowd)))
    after = sorted(round(1000 * (moment - min(moments))) for moment in moments)
    print(json.dumps({"codes": collections.Counter(codes), "colors": collections.Counter(colors), "after": after}), flush=True)


asyncio.run(main())
