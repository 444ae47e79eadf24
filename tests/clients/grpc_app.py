"""A gRPC application of one color, by grpcio: prints its port, and serves until its input ends."""
import sys
import threading
import time
from concurrent import futures

import grpc

color = sys.argv[1].encode()
seen = {"cancelled": 0}


def color_of(request, context):
    context.set_trailing_metadata((("x-color", color.decode()),))
    return color


def echo(request, context):
    return request


def big(request, context):
    sent = dict(context.invocation_metadata()).get("x-big", "")
    context.send_initial_metadata((("x-big", sent),))
    return str(len(sent)).encode()


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ünï %")


def slow(request, context):
    """Answers with the time that is left, once that is over, or the client is gone."""
    gone = threading.Event()
    context.add_callback(gone.set)
    if context.time_remaining() is None:
        return b"no deadline"
    gone.wait(30)
    seen["cancelled"] += 1
    return b"too late"


def cancelled(request, context):
    return str(seen["cancelled"]).encode()


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode() + b" " + color


def total(requests, context):
    return str(sum(len(part) for part in requests)).encode()


def chat(requests, context):
    for part in requests:
        yield part.upper() + b" " + color


handlers = {
    "Color": grpc.unary_unary_rpc_method_handler(color_of),
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Big": grpc.unary_unary_rpc_method_handler(big),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
    "Cancelled": grpc.unary_unary_rpc_method_handler(cancelled),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}
limits = [("grpc.max_metadata_size", 128 << 10), ("grpc.max_receive_message_length", 16 << 20)]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=limits)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
