"""WebSockets by `websockets`, through the proxy: URL [CA]. Says `switch` and waits for a line; `done` in the end."""
import asyncio
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

url, authority = sys.argv[1], sys.argv[2:]
context = ssl.create_default_context(cafile=authority[0]) if authority else None


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r} and not {expected!r}")


async def main():
    for compression in ("deflate", None):
        async with connect(url, ssl=context, compression=compression, max_size=8 << 20) as socket:
            check("the color", await socket.recv(), "blue")
            for message in ("hello", "", b"\x00\xff" * 100, "x" * (1 << 20), bytes(1 << 20)):
                await socket.send(message)
                check("an echo", await socket.recv() == message, True)
            await socket.send(["in ", "three ", "frames"])
            check("fragments", await socket.recv(), "in three frames")
            await asyncio.wait_for(await socket.ping(b"there?"), 30)
    old = await connect(url, ssl=context)
    check("the color", await old.recv(), "blue")
    print("switch", flush=True)
    sys.stdin.readline()
    await old.send("still there")
    check("a socket that was open", await old.recv(), "still there")
    async with connect(url, ssl=context) as new:
        check("the color after the switch", await new.recv(), "green")
    await old.send("close 4001")
    try:
        await old.recv()
    except ConnectionClosed as closed:
        check("how it was closed", (closed.rcvd.code, closed.rcvd.reason), (4001, "as you like"))
    print("done", flush=True)


asyncio.run(main())
