"""Every kind of gRPC call by grpcio, through the proxy: TARGET [CA]. Says `switch` where the color has to be switched, and
waits for a line; says `done` in the end."""
import queue
import sys
import time

import grpc

target, authority = sys.argv[1], sys.argv[2:]
options = [
    ("grpc.max_metadata_size", 128 << 10),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.ssl_target_name_override", "localhost"),
]
if authority:
    credentials = grpc.ssl_channel_credentials(open(authority[0], "rb").read())
    channel = grpc.secure_channel(target, credentials, options)
else:
    channel = grpc.insecure_channel(target, options)


def unary(method):
    return channel.unary_unary(f"/test.Service/{method}")


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r} and not {expected!r}")


def until(what, look):
    end = time.monotonic() + 30
    while not look():
        if time.monotonic() > end:
            sys.exit(f"waited in vain until {what}")
        time.sleep(0.01)


def refused(what, call, code):
    try:
        call()
    except grpc.RpcError as error:
        check(what, error.code(), code)
        return error
    sys.exit(f"{what}: there was an answer")


answer, call = unary("Color").with_call(b"", wait_for_ready=True, timeout=30)
check("unary", answer, b"blue")
check("trailing metadata", dict(call.trailing_metadata())["x-color"], "blue")
check("an empty message", unary("Echo")(b"", timeout=30), b"")
large = bytes(range(256)) * (4 << 12)
check("4 MiB both ways", unary("Echo")(large, timeout=30) == large, True)
counted = list(channel.unary_stream("/test.Service/Count")(b"100", timeout=30))
check("server streaming", (len(counted), counted[-1]), (100, b"99 blue"))
parts = channel.stream_unary("/test.Service/Total")
check("client streaming", parts((b"x" * 1000 for _ in range(200)), timeout=30), b"200000")

said = queue.Queue()
heard = channel.stream_stream("/test.Service/Chat")(iter(said.get, None))
for word in (b"one", b"two"):
    said.put(word)
    check("both streaming", next(heard), word.upper() + b" blue")

answer, call = unary("Big").with_call(b"", metadata=(("x-big", "m" * (32 << 10)),), timeout=30)
check("big metadata there", answer, str(32 << 10).encode())
check("big metadata back", len(dict(call.initial_metadata())["x-big"]), 32 << 10)
error = refused("a status", lambda: unary("Fail")(b"", timeout=30), grpc.StatusCode.FAILED_PRECONDITION)
check("its message", error.details(), "not today: ünï %")
check("its metadata", dict(error.trailing_metadata())["x-why"], "because")
refused("a method that is not there", lambda: unary("None")(b"", timeout=30), grpc.StatusCode.UNIMPLEMENTED)
refused("a deadline", lambda: unary("Slow")(b"", timeout=0.3), grpc.StatusCode.DEADLINE_EXCEEDED)
until("the server sees the deadline", lambda: unary("Cancelled")(b"", timeout=30) == b"1")
under_way = unary("Slow").future(b"", timeout=60)
time.sleep(0.2)
under_way.cancel()
until("the server sees the cancellation", lambda: unary("Cancelled")(b"", timeout=30) == b"2")

print("switch", flush=True)
sys.stdin.readline()
check("a call after the switch, on the same channel", unary("Color")(b"", timeout=30), b"green")
said.put(b"three")
check("a stream that began before it", next(heard), b"THREE blue")
said.put(None)
check("its end", list(heard), [])

print("kill", flush=True)
sys.stdin.readline()
refused("an application that is gone", lambda: unary("Color")(b"", timeout=30), grpc.StatusCode.UNAVAILABLE)
print("done", flush=True)
