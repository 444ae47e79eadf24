"""HTTP/1.1 by the standard library: HOST PORT."""
import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=30)


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r} and not {expected!r}")


def ask(method, path, body=None, **more):
    connection.request(method, path, body, **more)
    answer = connection.getresponse()
    return answer.status, answer.read()


for _ in range(50):
    check("GET", ask("GET", "/"), (200, b"blue"))
body = bytes(range(256)) * 4096
check("a body with a length", ask("POST", "/echo", body) == (200, body), True)
chunks = (body[at : at + 1000] for at in range(0, 100_000, 1000))
check("a body in chunks", ask("POST", "/echo", chunks, encode_chunked=True), (200, body[:100_000]))
check("a large answer", len(ask("GET", "/bytes?3000000")[1]), 3_000_000)
connection.request("HEAD", "/")
answer = connection.getresponse()
check("HEAD", (answer.status, answer.getheader("content-length"), answer.read()), (200, "1234", b""))
check("an empty answer", ask("GET", "/empty"), (204, b""))
check("an answer in chunks", ask("GET", "/ticks?2")[1], b"blue 0\nblue 1\n")
# It sends all of a body before it reads anything; the answer is there all the same.
for body in (bytes(16 << 20), (bytes(1 << 16) for _ in range(256))):
    connection.request("POST", "/echo", body, encode_chunked=not isinstance(body, bytes))
    answer = connection.getresponse()
    check("an upload beyond the limit", (answer.status, answer.getheader("connection")), (413, "close"))
    answer.read()
    connection.close()
check("the next request", ask("GET", "/"), (200, b"blue"))
print("done")
