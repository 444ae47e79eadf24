#!/usr/bin/env python3
"""What one client connection makes a proxy hold: Cutover, nginx and HAProxy side by side.

    benches/limits.py target/release/cutover

Prints resident memory for each of CONNECTIONS connections, in KiB, for each proxy that is installed.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

CONNECTIONS = 1000
LARGE = 60_000


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def application(port):
    """Answers every request with an empty 200."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)

    def serve(client):
        unread = b""
        # The proxy is ended by force.
        with client, contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                unread += piece
                while b"\r\n\r\n" in unread:
                    unread = unread.split(b"\r\n\r\n", 1)[1]
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def cutover(binary, folder, port, endpoint):
    with open(f"{folder}/cutover.toml", "w") as file:
        file.write(
            f"""active = "blue"
[listen]
http = "127.0.0.1:{port}"
admin = "unix:{folder}/admin.sock"
workers = 2
header_timeout = "5m"
[state]
dir = "{folder}/state"
[log]
access = "off"
[blue]
release = "1"
endpoints = ["127.0.0.1:{endpoint}"]
[green]
release = "2"
endpoints = ["127.0.0.1:{endpoint}"]
"""
        )
    return [binary, "run", "--config", f"{folder}/cutover.toml"]


def nginx(folder, port, endpoint):
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(
            f"""daemon off; master_process off; worker_rlimit_nofile 65536; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 16384; }}
http {{
  access_log off; client_header_timeout 300s; large_client_header_buffers 4 64k;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream app {{ server 127.0.0.1:{endpoint}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffer_size 64k; proxy_busy_buffers_size 128k; proxy_buffers 8 64k; }} }}
}}
"""
        )
    return ["nginx", "-c", f"{folder}/nginx.conf"]


def haproxy(folder, port, endpoint):
    with open(f"{folder}/haproxy.cfg", "w") as file:
        file.write(
            f"""global
  maxconn 4000
  nbthread 2
  tune.bufsize 65536
defaults
  mode http
  timeout client 300s
  timeout server 300s
  timeout connect 5s
  timeout http-request 300s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{endpoint}
"""
        )
    return ["haproxy", "-f", f"{folder}/haproxy.cfg", "-db"]


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def settled(pid):
    """After what is read was read, and what is free was given back."""
    time.sleep(3)
    return resident(pid)


def ask(client, head):
    client.sendall(head)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = client.recv(65536)
        if not piece:
            raise ConnectionError(answer)
        answer += piece


SMALL_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * LARGE + b"\r\n\r\n"
CASES = {
    "idle after a small request": lambda client: ask(client, SMALL_HEAD),
    "idle after a head of 60 KB": lambda client: ask(client, LARGE_HEAD),
    "half a head of 1 byte": lambda client: client.sendall(b"G"),
    "half a head of 60 KB": lambda client: client.sendall(LARGE_HEAD[:-4]),
}


def measure(command, port, act):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", port)) as client:
                    ask(client, SMALL_HEAD)
                break
            except OSError:
                time.sleep(0.05)
        warm = []
        for _ in range(16):
            warm.append(socket.create_connection(("127.0.0.1", port)))
            act(warm[-1])
        before = settled(process.pid)
        clients = []
        for _ in range(CONNECTIONS):
            clients.append(socket.create_connection(("127.0.0.1", port)))
            act(clients[-1])
        return (settled(process.pid) - before) / CONNECTIONS
    finally:
        process.kill()
        process.wait()


def main():
    endpoint = free_port()
    application(endpoint)
    proxies = {"Cutover": lambda folder, port: cutover(os.path.abspath(sys.argv[1]), folder, port, endpoint)}
    if shutil.which("nginx"):
        proxies["nginx"] = lambda folder, port: nginx(folder, port, endpoint)
    if shutil.which("haproxy"):
        proxies["HAProxy"] = lambda folder, port: haproxy(folder, port, endpoint)
    print("KiB a connection".ljust(30), *(name.rjust(10) for name in proxies))
    for case, act in CASES.items():
        figures = []
        for command in proxies.values():
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o777)
                port = free_port()
                figures.append(measure(command(folder, port), port, act))
        print(case.ljust(30), *(f"{figure:10.1f}" for figure in figures), flush=True)


main()
