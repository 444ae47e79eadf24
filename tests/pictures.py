#!/usr/bin/env python3
"""Takes the pictures of the page in docs/images again: a real proxy, four applications, requests, and Chromium.

    tests/pictures.py target/release/cutover

Takes seven minutes, so that the charts have something to show. Needs Chromium and the Node modules that `tests/run` installs.
"""

import asyncio
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
ADMIN, TRAFFIC = 19900, 18080
APPLICATIONS = {"blue": (19001, 19002), "green": (19003, 19004)}
CONFIG = """active = "blue"

[listen]
http = "127.0.0.1:18080"
admin = "127.0.0.1:19900"

[state]
dir = "{folder}/state"

[health]
path = "/healthz"
interval = "1s"

[blue]
release = "2.13.0"
endpoints = ["127.0.0.1:19001", "127.0.0.1:19002"]

[green]
release = "2.14.0"
endpoints = ["127.0.0.1:19003", "127.0.0.1:19004"]

[canary]
steps = ["10%", "50%"]
dwell = "5m"
"""


class Applications:
    def __init__(self):
        self.slow, self.failing, self.servers = set(), set(), {}

    async def start(self, color):
        self.servers[color] = [
            await asyncio.start_server(lambda r, w: self.serve(color, r, w), "127.0.0.1", port)
            for port in APPLICATIONS[color]
        ]

    def stop(self, color):
        for server in self.servers.pop(color):
            server.close()

    async def serve(self, color, reader, writer):
        try:
            while color in self.servers and (head := await reader.readuntil(b"\r\n\r\n")):
                path = head.split(b" ", 2)[1]
                status, body = b"200 OK", color.encode()
                if path == b"/export":
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for _ in range(60):
                        writer.write(b"4\r\nrow\n\r\n")
                        await writer.drain()
                        await asyncio.sleep(1)
                elif path != b"/healthz":
                    await asyncio.sleep(random.lognormvariate(-3.9, 0.3) * (6 if color in self.slow else 1))
                    if color in self.failing and random.random() < 0.4:
                        status, body = b"500 Internal Server Error", b"no database"
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()


async def request(path="/"):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", TRAFFIC)
        writer.write(b"GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n" % path.encode())
        await reader.read(-1)
        writer.close()
    except ConnectionError:
        pass


TASKS = set()


def begin(work):
    """Keeps the task: the loop has only a weak reference to it."""
    task = asyncio.ensure_future(work)
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)


async def requests():
    while True:
        begin(request())
        await asyncio.sleep(random.expovariate(12))


class Browser:
    async def start(self, scheme="light", width="1280"):
        modules = os.environ.get("CUTOVER_TEST_NODE_MODULES", str(ROOT / "target/test-tools/node_modules"))
        self.process = await asyncio.create_subprocess_exec(
            "node", ROOT / "tests/clients/browser.js", f"http://127.0.0.1:{ADMIN}/", scheme, width,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"NODE_PATH": modules},
        )  # fmt: skip
        await self.process.stdout.readline()
        await self.run("open()")
        return self

    async def run(self, script):
        self.process.stdin.write(script.encode() + b"\n")
        said = json.loads(await self.process.stdout.readline())
        if isinstance(said, dict) and "error" in said:
            sys.exit(f"{script}: {said}")
        return said

    async def picture(self, name):
        await asyncio.sleep(2)
        await self.run(f"page.screenshot({{ path: {json.dumps(str(IMAGES / f'{name}.png'))} }}).then(() => null)")
        print(name, flush=True)

    async def end(self):
        self.process.stdin.close()
        await self.process.wait()


async def take(binary, folder):
    file = folder / "cutover.toml"
    file.write_text(CONFIG.format(folder=folder))
    log = (folder / "log").open("w")
    proxy = await asyncio.create_subprocess_exec(binary, "run", "--config", file, stdout=log, stderr=log)

    async def cutover(*words):
        command = await asyncio.create_subprocess_exec(binary, "--config", file, *words)
        if await command.wait() != 0:
            sys.exit(f"cutover {' '.join(words)}: exit code {command.returncode}")

    applications = Applications()
    await applications.start("blue")
    await applications.start("green")
    begin(requests())
    try:
        while not (folder / "state").exists():
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        page = await Browser().start()
        await asyncio.sleep(90)
        await page.picture("steady")

        for _ in range(3):
            begin(request("/export"))
        await asyncio.sleep(2)
        await cutover("switch", "green", "--reason", "release 2.14.0")
        await page.picture("draining")

        applications.slow.add("green")
        await asyncio.sleep(45)
        await page.run('ask("rollback")')
        await page.picture("rollback")
        await page.run('confirm("INC-412: checkout is slow")')
        applications.slow.clear()
        file.write_text(file.read_text().replace("2.14.0", "2.15.0"))
        await asyncio.sleep(45)

        await cutover("canary", "start", "--reason", "release 2.15.0")
        await asyncio.sleep(90)
        await page.picture("canary")
        dark = await Browser().start("dark")
        await dark.picture("dark")
        await dark.end()
        phone = await Browser().start("light", "360")
        await phone.picture("phone")
        await phone.end()

        applications.failing.add("green")
        await asyncio.sleep(60)
        await page.picture("back")

        applications.stop("green")
        await asyncio.sleep(8)
        await page.run('ask("switch")')
        await page.picture("refused")
        await page.run("press('Escape')")

        applications.stop("blue")
        await asyncio.sleep(8)
        await page.picture("outage")

        proxy.kill()
        await page.run("until('#lost', '')")
        await page.picture("lost")
        await page.end()
    finally:
        if proxy.returncode is None:
            proxy.kill()
        await proxy.wait()
        log.close()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="shop-"))
    try:
        asyncio.run(take(pathlib.Path(sys.argv[1]).resolve(), folder))
    finally:
        shutil.rmtree(folder)


main()
