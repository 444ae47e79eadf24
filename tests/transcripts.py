#!/usr/bin/env python3
"""Takes the transcripts of the documents again: real commands, in a terminal of 80 columns.

    tests/transcripts.py target/debug/cutover            all of them
    tests/transcripts.py target/debug/cutover dead       those of the plays with "dead" in their name

A document has a line `<!-- transcript: NAME -->` before a block, and the block is replaced. Needs tmux, and root for a network of
its own (`unshare --net`), so that the ports are free and the addresses always the same.
"""

import http.client
import http.server
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

HOME = pathlib.Path("/tmp/shop")
FILE = HOME / "cutover.toml"
CONFIG = """active = "{active}"

[listen]
http = "127.0.0.1:8080"
admin = "127.0.0.1:9900"
{tokens}
[state]
dir = "/tmp/shop/state"

[health]
path = "/healthz"
{more}
[blue]
release = "{releases[0]}"
endpoints = ["127.0.0.1:9001"]
{blue}
[green]
release = "{releases[1]}"
endpoints = ["127.0.0.1:9002"]
{green}"""
TOKENS = """
[admin]
tokens = [
  { name = "alice", role = "operator", file = "/tmp/shop/alice.token" },
  { name = "bob", role = "operator", file = "/tmp/shop/bob.token" },
]
"""
CHECK = """
[[gate.check]]
name = "login"
method = "POST"
path = "/api/session"
expect = "201"

[gate]
timeout = "3s"
"""


class Application:
    """An application on one port: well, failing its checks, or stopped."""

    def __init__(self, port):
        self.well, self.says, self.port, self.server = True, {}, port, None

    def start(self):
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                body = b"hello\n" if application.well else b"no database\n"
                self.send_response(application.says.get(self.path, 200 if application.well else 503))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def fail(self):
        self.well = False

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class Terminal:
    """A terminal of 80 columns, by tmux."""

    def __init__(self, name, token=None):
        self.name, self.mark = name, f"{name}$ " if name else "$ "
        environment = {
            "PATH": f"{HOME}/bin:{os.environ['PATH']}",
            "CUTOVER_CONFIG": str(FILE),
            "PS1": self.mark,
            "TERM": "screen",
            "TZ": "UTC",
            "NO_COLOR": "1",
        }
        if token:
            environment["CUTOVER_TOKEN"] = token
        self.tmux("kill-server", check=False)
        words = [f"{key}={value}" for key, value in environment.items()]
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "120", "env", "-i", *words, "bash", "--norc", "--noprofile")
        self.until(self.mark.strip())
        # An unfinished line of a progress display is no transcript.
        self.typed("clear")

    def tmux(self, *words, check=True):
        call = ["tmux", "-L", f"transcripts{self.name}", *words]
        return subprocess.run(call, check=check, capture_output=True, text=True).stdout

    def screen(self):
        return "\n".join(line.rstrip() for line in self.tmux("capture-pane", "-p").rstrip().split("\n"))

    def until(self, text):
        for _ in range(600):
            if text in self.screen():
                return
            time.sleep(0.1)
        sys.exit(f"{text!r} did not come:\n{self.screen()}")

    def begin(self, command):
        self.tmux("send-keys", "-l", command)
        self.tmux("send-keys", "Enter")

    def done(self):
        for _ in range(900):
            time.sleep(0.1)
            if self.screen().split("\n")[-1] == self.mark.strip():
                return
        sys.exit(f"no prompt:\n{self.screen()}")

    def typed(self, command):
        self.begin(command)
        self.done()

    def interrupt(self):
        self.tmux("send-keys", "C-c")
        self.done()

    def take(self):
        """The screen so far; the next transcript begins with an empty one."""
        lines = self.screen().split("\n")
        self.typed("clear")
        return "\n".join(lines[:-1])


class Shop:
    """The proxy in front of blue (9001), green (9002) and what a deploy brings (9003)."""

    def __init__(self, program):
        shutil.rmtree(HOME, ignore_errors=True)
        (HOME / "bin").mkdir(parents=True)
        (HOME / "bin" / "cutover").symlink_to(program)
        self.program, self.proxy, self.terminals = program, None, []
        self.blue, self.green, self.next = (Application(port).start() for port in (9001, 9002, 9003))

    def start(self, tokens="", more="", blue="", green="", active="blue", releases=("2.13.0", "2.14.0")):
        for name in ("alice", "bob"):
            (HOME / f"{name}.token").write_text(f"{name}-secret\n")
        text = CONFIG.format(tokens=tokens, more=more, blue=blue, green=green, active=active, releases=releases)
        FILE.write_text(text)
        log = open(HOME / "log", "w")
        self.proxy = subprocess.Popen([self.program, "run", "--config", FILE], stdout=log, stderr=log)
        self.call("wait", "--healthy", "blue")
        self.call("wait", "--healthy", "green")

    def call(self, *words):
        environment = {**os.environ, "CUTOVER_CONFIG": str(FILE), "CUTOVER_TOKEN": "alice-secret"}
        subprocess.run([self.program, *words], env=environment, check=True, capture_output=True)

    def ask(self, for_seconds):
        """Requests by users, one after the other."""
        end = time.time() + for_seconds
        connection = http.client.HTTPConnection("127.0.0.1", 8080)
        while time.time() < end:
            connection.request("GET", "/checkout")
            connection.getresponse().read()
            time.sleep(0.01)

    def terminal(self, name=""):
        self.terminals.append(Terminal(name, f"{name}-secret" if name else None))
        return self.terminals[-1]

    def end(self):
        for terminal in self.terminals:
            terminal.tmux("kill-server", check=False)
        if self.proxy:
            self.proxy.kill()
            self.proxy.wait()
        for application in (self.blue, self.green, self.next):
            application.stop()
        shutil.rmtree(HOME, ignore_errors=True)


def failing_deploy(shop):
    shop.start()
    shop.next.fail()
    terminal = shop.terminal()
    terminal.typed('cutover deploy --release 2.15.0 --endpoint 127.0.0.1:9003 --timeout 5s --reason "ticket 42"')
    terminal.typed("echo $?")
    terminal.typed("cutover status")
    yield "failing_deploy", terminal.take()


def good_deploy(shop):
    shop.start()
    terminal = shop.terminal()
    terminal.typed('cutover deploy --release 2.15.0 --endpoint 127.0.0.1:9003 --reason "ticket 42"')
    yield "good_deploy", terminal.take()


def interrupted_gate(shop):
    shop.start()
    shop.green.fail()
    terminal = shop.terminal()
    terminal.begin('cutover switch green --reason "release 2.14.0"')
    terminal.until("left")
    time.sleep(2)
    terminal.interrupt()
    terminal.typed("echo $?")
    yield "interrupted_gate", terminal.take()


def forced_rollback(shop):
    shop.start()
    shop.call("switch", "green", "--reason", "release 2.14.0")
    shop.blue.stop()
    time.sleep(8)
    terminal = shop.terminal()
    terminal.typed('cutover rollback --reason "errors in checkout"')
    terminal.typed('cutover rollback --force=health --yes --reason "errors in checkout"')
    terminal.typed("cutover status --check")
    terminal.typed('cutover switch green --reason "blue is down"')
    terminal.typed("cutover status --check")
    yield "forced_rollback", terminal.take()


def dead_color(shop):
    shop.start()
    shop.call("switch", "green", "--reason", "release 2.14.0")
    shop.green.stop()
    time.sleep(8)
    terminal = shop.terminal()
    terminal.typed("cutover status | head -n 7")
    yield "outage", terminal.take()
    terminal.typed("cutover status")
    terminal.typed('cutover rollback --reason "outage"')
    terminal.typed("cutover status --check")
    yield "dead_color", terminal.take()


def two_operators(shop):
    shop.start(tokens=TOKENS)
    shop.green.fail()
    alice, bob = shop.terminal("alice"), shop.terminal("bob")
    alice.begin('cutover switch green --reason "release 2.14.0"')
    alice.until("left")
    bob.typed('cutover switch green --reason "deploy"')
    bob.typed("cutover status --check")
    bob.typed('cutover rollback --reason "not during the sale"')
    alice.done()
    alice.typed("cutover history -n 2")
    yield "two_operators.alice", alice.take()
    yield "two_operators.bob", bob.take()


def failing_check(shop):
    shop.start(more=CHECK)
    shop.green.says = {"/api/session": 500}
    terminal = shop.terminal()
    terminal.typed('cutover switch green --reason "release 2.14.0"')
    yield "failing_check", terminal.take()


def renamed_column(shop):
    shop.start(
        blue='[blue.schema]\norders = { needs = "<=42", migrates_to = 42 }\n',
        green='[green.schema]\norders = { needs = ">=42", migrates_to = 43 }\n',
    )
    terminal = shop.terminal()
    terminal.typed("cutover switch green --dry-run")
    yield "renamed_column.refused", terminal.take()
    terminal.typed('cutover switch green --force=schema --yes --reason "the rename is urgent"')
    terminal.typed("cutover status | head -n 9")
    yield "renamed_column.forced", terminal.take()


def three_releases(shop):
    shop.start(
        blue='[blue.schema]\norders = { needs = ">=42, <=44", migrates_to = 43 }\n',
        green='[green.schema]\norders = { needs = ">=41, <=43", migrates_to = 42 }\n',
        active="green",
        releases=("2.15.0", "2.14.0"),
    )
    terminal = shop.terminal()
    terminal.typed("cutover switch blue --dry-run")
    terminal.typed('cutover switch blue --reason "backfill"')
    terminal.typed("cutover status | head -n 7")
    yield "three_releases.backfill", terminal.take()


def contracting_release(shop):
    shop.start(
        blue='[blue.schema]\norders = { needs = ">=42, <=44", migrates_to = 43 }\n',
        green='[green.schema]\norders = { needs = ">=43, <=44", migrates_to = 44, barrier = "applied" }\n',
        releases=("2.15.0", "2.16.0"),
    )
    terminal = shop.terminal()
    terminal.typed("cutover switch green --dry-run")
    terminal.typed('cutover switch green --reason "contract"')
    terminal.typed('cutover rollback --reason "errors in checkout"')
    yield "contracting_release", terminal.take()


def first_write(shop):
    shop.start(
        blue='[blue.schema]\norders = { needs = "<=43", migrates_to = 42 }\n',
        green='[green.schema]\norders = { needs = ">=42", migrates_to = 43, barrier = "first-write" }\n',
    )
    shop.call("switch", "green", "--reason", "release 2.14.0")
    terminal = shop.terminal()
    subprocess.run(["curl", "-s", "-o", "/dev/null", "-X", "POST", "http://127.0.0.1:8080/orders"], check=True)
    time.sleep(1)
    terminal.typed("cutover status | head -n 11")
    terminal.typed("cutover history -n 1")
    yield "first_write", terminal.take()


def canary(shop):
    shop.start()
    terminal = shop.terminal()
    terminal.typed('cutover canary start --weight 25% --reason "release 2.14.0"')
    shop.ask(for_seconds=10)
    terminal.typed("cutover canary status")
    terminal.typed('cutover canary abort --reason "enough seen"')
    yield "canary", terminal.take()


PLAYS = [
    failing_deploy,
    good_deploy,
    interrupted_gate,
    forced_rollback,
    dead_color,
    two_operators,
    failing_check,
    renamed_column,
    three_releases,
    contracting_release,
    first_write,
    canary,
]


def put(name, transcript):
    """Replaces the block behind each mark of this name."""
    block = re.compile(rf"(<!-- transcript: {re.escape(name)} -->\n\n```console\n).*?(\n```)", re.S)
    found = False
    for path in pathlib.Path("docs").rglob("*.md"):
        text = path.read_text()
        changed, times = block.subn(lambda match: match[1] + transcript + match[2], text)
        found |= times > 0
        if changed != text:
            path.write_text(changed)
    print(f"{name}: {'taken' if found else 'in no document'}\n{transcript}\n")


def main():
    program, rest = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    if os.environ.get("INSIDE") != "1":
        inside = 'ip link set lo up 2>/dev/null || ifconfig lo up; INSIDE=1 exec "$@"'
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", inside, "sh", sys.executable, __file__, str(program), *rest])
    os.chdir(pathlib.Path(__file__).parent.parent)
    for play in PLAYS:
        if rest and not any(word in play.__name__ for word in rest):
            continue
        shop = Shop(program)
        try:
            for name, transcript in play(shop):
                put(name, transcript)
        finally:
            shop.end()


main()
