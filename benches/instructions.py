#!/usr/bin/env python3
"""Instructions in user space for one request, counted by callgrind.

    benches/instructions.py [--only KIND,KIND] target/dist/cutover [another/cutover]...

One connection asks one request after the other, or sends messages; of the kind `connection`, each request has a new one.
Prints a row for each kind and a column for each binary; the functions behind the figures are in NAME.KIND.out in the
current directory, for callgrind_annotate. Needs valgrind and openssl.
"""

import contextlib
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

# The cheapest of so many rounds counts: the others have some of the proxy's own work in them.
ROUNDS = 3
REQUESTS = 500
SIZES = {b"/small": 100, b"/16k": 16 << 10}
# 64 bytes, which the client masks with zeros; and 32 behind what gRPC puts before a message.
FRAME_OF_CLIENT = b"\x81\xc0\0\0\0\0" + b"." * 64
FRAME_OF_ENDPOINT = b"\x81\x40" + b"." * 64
MESSAGE = b"\0\0\0\0\x20" + b"." * 32


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def application(serve):
    """Where `serve` has each connection in a thread."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def serve_one(client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, contextlib.suppress(ConnectionError):
            serve(client)

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve_one, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def http1_application(client):
    """Answers with as many bytes as the path says, and echoes on a WebSocket."""
    unread = b""
    while piece := client.recv(65536):
        unread += piece
        while b"\r\n\r\n" in unread:
            head, unread = unread.split(b"\r\n\r\n", 1)
            if b"websocket" in head:
                client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                while client.recv(65536):
                    client.sendall(FRAME_OF_ENDPOINT)
                return
            size = SIZES.get(head.split(b" ", 2)[1], 0)
            fields = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size
            client.sendall(fields + b"x" * size)


def grpc_application(client):
    """Answers each call with the same message."""
    answer = b"\x88\x0f\x10\x10application/grpc"
    trailers = b"\x00\x0bgrpc-status\x010"
    frames = Frames(client)
    while len(frames.unread) < 24:
        frames.unread += received(client)
    frames.unread = frames.unread[24:]
    client.sendall(frame(4, 0, 0, b"") + frame(8, 0, 0, struct.pack(">I", 1 << 30)))
    while True:
        kind, flags, stream, payload = frames.next()
        if kind == 4 and not flags & 1:
            client.sendall(frame(4, 1, 0, b""))
        if kind == 6 and not flags & 1:
            client.sendall(frame(6, 1, 0, payload))
        if kind in (0, 1) and flags & 1:
            client.sendall(frame(1, 4, stream, answer) + frame(0, 0, stream, MESSAGE) + frame(1, 5, stream, trailers))


class Http1:
    def __init__(self, connection, path):
        self.connection = connection
        self.asks = b"GET " + path + b" HTTP/1.1\r\nHost: app.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
        self.size = SIZES[path]

    def ask(self):
        self.connection.sendall(self.asks)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += received(self.connection)
        head, body = answer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200"), head
        while len(body) < self.size:
            body += received(self.connection)


class Connections:
    """Asks on a new connection each time."""

    def __init__(self, connection, path):
        self.to = connection.getpeername()
        self.path = path
        connection.close()

    def ask(self):
        with connected(self.to[1]) as connection:
            Http1(connection, self.path).ask()


class WebSocket:
    def __init__(self, connection, path):
        self.connection = connection
        connection.sendall(
            b"GET " + path + b" HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += received(connection)
        assert head.startswith(b"HTTP/1.1 101"), head

    def ask(self):
        self.connection.sendall(FRAME_OF_CLIENT)
        echo = b""
        while len(echo) < len(FRAME_OF_ENDPOINT):
            echo += received(self.connection)
        assert echo == FRAME_OF_ENDPOINT, echo


class Frames:
    def __init__(self, connection):
        self.connection = connection
        self.unread = b""

    def next(self):
        while len(self.unread) < 9 or len(self.unread) < 9 + int.from_bytes(self.unread[:3]):
            self.unread += received(self.connection)
        length, kind, flags, stream = struct.unpack(">IBBI", b"\0" + self.unread[:9])
        payload, self.unread = self.unread[9 : 9 + length], self.unread[9 + length :]
        return kind, flags, stream, payload


class Http2:
    def __init__(self, connection, path):
        self.connection = connection
        self.path = path
        self.stream = 1
        self.frames = Frames(connection)
        # Windows of 1 GiB, so that none has to be opened.
        settings = struct.pack(">HI", 4, 1 << 30)
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, settings) + frame(8, 0, 0, struct.pack(">I", 1 << 30))
        )

    def request(self):
        fields = b"\x82\x86\x04" + bytes([len(self.path)]) + self.path + b"\x01\x0bapp.example\x0f\x2b\x05bench"
        return frame(1, 5, self.stream, fields)

    def ask(self):
        self.connection.sendall(self.request())
        while True:
            kind, flags, stream, payload = self.frames.next()
            assert kind not in (3, 7), (kind, payload)
            if kind == 4 and not flags & 1:
                self.connection.sendall(frame(4, 1, 0, b""))
            if kind == 6 and not flags & 1:
                self.connection.sendall(frame(6, 1, 0, payload))
            if stream == self.stream and kind in (0, 1) and flags & 1:
                self.stream += 2
                return


class Grpc(Http2):
    def request(self):
        fields = b"\x83\x86\x04" + bytes([len(self.path)]) + self.path + b"\x01\x0bapp.example"
        fields += b"\x0f\x10\x10application/grpc\x00\x02te\x08trailers"
        return frame(1, 4, self.stream, fields) + frame(0, 1, self.stream, MESSAGE)


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def received(connection):
    piece = connection.recv(1 << 20)
    if not piece:
        raise ConnectionError("the proxy closed the connection")
    return piece


def with_tls(connection):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname="app.example")


KINDS = {
    "http1-small": (Http1, b"/small", False),
    "connection": (Connections, b"/small", False),
    "http1-16k": (Http1, b"/16k", False),
    "http2-small": (Http2, b"/small", False),
    "tls-small": (Http1, b"/small", True),
    "websocket": (WebSocket, b"/socket", False),
    "grpc": (Grpc, b"/shop.Shop/Ask", False),
    # The analysis of releases: judged in both modes by default, in none here, and with a canary of 5 % under way.
    "analysis-off": (Http1, b"/small", False),
    "analysis-on-canary": (Http1, b"/small", False),
    "analysis-off-canary": (Http1, b"/small", False),
}


@contextlib.contextmanager
def proxy(binary, folder, endpoint, out, kind):
    mode = 'mode = "off"' if "analysis-off" in kind else ""
    protocol = "http2" if kind == "grpc" else "http1"
    plain, tls = free_port(), free_port()
    folder.joinpath("cutover.toml").write_text(
        f"""active = "blue"
[listen]
http = "127.0.0.1:{plain}"
https = "127.0.0.1:{tls}"
admin = "unix:{folder}/admin.sock"
workers = 1
idle_timeout = "10m"
[tls]
certificates = [{{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}]
[state]
dir = "{folder}/state"
[log]
access = "off"
[health]
interval = "1h"
timeout = "30s"
[blue]
release = "1"
endpoints = ["127.0.0.1:{endpoint}"]
[green]
release = "2"
endpoints = ["127.0.0.1:{endpoint}"]
[upstream.default]
protocol = "{protocol}"
[canary]
steps = ["5%"]
{mode}
[bake]
{mode}
"""
    )
    command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}", binary]
    with folder.joinpath("log").open("w") as log:
        running = subprocess.Popen([*command, "run", "--config", folder / "cutover.toml"], stdout=log, stderr=log)
    try:
        yield running.pid, plain, tls
    finally:
        running.kill()
        running.wait()


def start_canary(path):
    while not path.exists():
        time.sleep(0.1)
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(path))
        admin.sendall(b"POST /admin/canary HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        answer = b"".join(iter(lambda: admin.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer


def connected(port):
    until = time.monotonic() + 120
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def control(pid, order):
    subprocess.run(["callgrind_control", order, str(pid)], check=True, stdout=subprocess.DEVNULL)


def counted(binary, kind, endpoint):
    client, path, tls = KINDS[kind]
    out = pathlib.Path(f"{pathlib.Path(binary).resolve().parents[2].name}.{kind}.out")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=app.example", "-addext", "subjectAltName=DNS:app.example"]
            + ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        with proxy(binary, folder, endpoint, out, kind) as (pid, plain, encrypted):
            connection = connected(encrypted if tls else plain)
            client = client(with_tls(connection) if tls else connection, path)
            if kind.endswith("canary"):
                start_canary(folder / "admin.sock")
            # What comes with the start is over, and the analysis has made the path a route: ten answers in four seconds.
            for _ in range(12):
                client.ask()
                time.sleep(0.5)
            # The first of them warms up.
            for _ in range(1 + ROUNDS):
                for _ in range(REQUESTS):
                    client.ask()
                control(pid, "-d")
    # Of the threads the one that serves; the others read certificates again, and the like.
    count, cheapest = min(max(threads(out, number)) for number in range(2, 2 + ROUNDS))
    cheapest.rename(out)
    for dump in out.parent.glob(out.name + ".*"):
        dump.unlink()
    return count // REQUESTS


def threads(out, number):
    """What each thread did in a round, and the file with it."""
    for dump in out.parent.glob(f"{out.name}.{number}-*"):
        lines = dump.read_text(errors="replace").splitlines()
        totals = [line for line in lines if line.startswith(("totals:", "summary:"))]
        yield int(totals[0].split()[1]), dump


def main():
    binaries = sys.argv[1:]
    kinds = list(KINDS)
    if binaries[:1] == ["--only"]:
        kinds = binaries[1].split(",")
        binaries = binaries[2:]
    if not binaries:
        sys.exit(__doc__)
    endpoint, grpc = application(http1_application), application(grpc_application)
    print("| request |" + "".join(f" {binary} |" for binary in binaries))
    print("|---|" + "--:|" * len(binaries))
    for kind in kinds:
        row = [counted(binary, kind, grpc if kind == "grpc" else endpoint) for binary in binaries]
        print(f"| {kind} |" + "".join(f" {count:,} |" for count in row), flush=True)


main()
