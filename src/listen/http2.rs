//! One HTTP/2 connection of a client (RFC 9113): its streams are served like the requests of any other connection.
//!
//! The limits are against clients that cost more than they pay: streams that are opened and reset (CVE-2023-44487), heads
//! without an end, fields that unpack to much more than was sent, frames that ask for answers. What the `h2` crate
//! counts by itself (streams that are reset before they are seen, small frames, pings) is left at its own limits.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use tower::Service;

use crate::proxy::answer::After;
use crate::proxy::client::ClientConnection;
use crate::proxy::forward::Inquiry;
use crate::proxy::slot::{Fired, Phase, Slot};
use crate::proxy::stack::stack;
use crate::proxy::tunnel::ENDING;
use crate::wire::http2::{STREAM_WINDOW, Stream};
use crate::wire::side::Side;
use crate::wire::socket::Socket;

/// Requests of one connection at the same time.
const MAX_STREAMS: u32 = 256;
/// And of all of them.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What waits for a client that is slow to read, of one answer.
const SEND_BUFFER: usize = 128 << 10;
/// Streams that we had to reset; a client that makes more of them is cut off.
const MAX_RESETS: usize = 256;
/// How long a client that has nothing under way may take to hear that the connection ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long one may take whose streams are ended: as long as a tunnel, and a moment to be written.
const PARTING: Duration = Duration::from_secs(ENDING.as_secs() + 1);

/// A client that gives up more than this, and more than half of what it asks for, asks only to make work.
const MAX_GIVEN_UP: usize = 1000;

/// What the streams of a connection tell it.
#[derive(Default)]
struct Streams {
    open: Cell<usize>,
    begun: Cell<usize>,
    /// Ended without the whole of an answer.
    given_up: Cell<usize>,
}

impl Streams {
    fn are_a_flood(&self) -> bool {
        self.given_up.get() > MAX_GIVEN_UP && self.given_up.get() * 2 > self.begun.get()
    }
}

/// Serves it until it is closed.
pub(crate) async fn serve_http2(client: Rc<ClientConnection>, io: Socket) {
    let max_header_bytes = client.worker.live.with(|snapshot| snapshot.edge.max_header_bytes);
    client.head_began();
    let mut handshake = h2::server::Builder::new();
    handshake
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(max_header_bytes).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(Some(MAX_RESETS))
        .enable_connect_protocol();
    let mut handshake = std::pin::pin!(handshake.handshake::<_, bytes::Bytes>(io));
    let connection = std::future::poll_fn(|cx| match client.slot.fired() {
        Some(Fired::Deadline | Fired::Cut) => Poll::Ready(None),
        Some(Fired::Ended | Fired::Closing) | None => handshake.as_mut().poll(cx).map(Result::ok),
    });
    let Some(mut connection) = connection.await else { return };
    let streams = Rc::new(Streams::default());
    let mut closing = false;
    client.idle();
    std::future::poll_fn(|cx| {
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    streams.open.set(streams.open.get() + 1);
                    streams.begun.set(streams.begun.get() + 1);
                    // In a box, so that it is not moved from place to place until it stands in its task.
                    let stream = Box::pin(serve_stream(Rc::clone(&client), request, respond, Rc::clone(&streams)));
                    tokio::task::spawn_local(stream);
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        // It is polled whenever a stream ends.
        match (streams.open.get(), client.slot.phase()) {
            (0, Phase::Request) if closing => client.enter(Phase::Idle, GOODBYE),
            (0, Phase::Request) => client.idle(),
            (1.., Phase::Idle | Phase::Head) => client.slot.enter(Phase::Request, None),
            _ => {}
        }
        match client.slot.fired() {
            // What its streams say in the end goes out yet.
            Some(Fired::Cut) if streams.open.get() > 0 => {
                closing = true;
                connection.graceful_shutdown();
                client.enter(Phase::Ending, PARTING);
                cx.waker().wake_by_ref();
            }
            Some(Fired::Cut) => return Poll::Ready(()),
            Some(Fired::Deadline) if client.slot.phase() == Phase::Ending => return Poll::Ready(()),
            // It was told, and does not go.
            Some(Fired::Deadline) if closing && streams.open.get() == 0 => return Poll::Ready(()),
            Some(Fired::Deadline | Fired::Closing)
                if !closing && (client.slot.is_closing() || streams.open.get() == 0) =>
            {
                // GOAWAY: what is under way is finished, and nothing new is taken.
                closing = true;
                connection.graceful_shutdown();
                if streams.open.get() == 0 {
                    client.enter(Phase::Idle, GOODBYE);
                }
                cx.waker().wake_by_ref();
            }
            _ => {}
        }
        if streams.are_a_flood() && !closing {
            closing = true;
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            cx.waker().wake_by_ref();
        }
        client.slot.take_fired();
        Poll::Pending
    })
    .await;
}

async fn serve_stream(
    client: Rc<ClientConnection>,
    request: Request<RecvStream>,
    respond: SendResponse<bytes::Bytes>,
    streams: Rc<Streams>,
) {
    let slot = client.worker.slots.add(Phase::Request, None);
    let _open = Open { client: Rc::clone(&client), slot: Rc::clone(&slot), streams: Rc::clone(&streams) };
    let mut head = client.worker.take_head();
    let Some(stream) = Stream::accepted(request, respond, &mut head) else { return client.worker.give_head(head) };
    let side = Side::Http2(Box::new(stream));
    let inquiry = Inquiry { client: Rc::clone(&client), slot: Rc::clone(&slot), side, head };
    let mut serving = std::pin::pin!(stack().call(inquiry));
    let Ok(mut answered) = std::future::poll_fn(|cx| {
        client.worker.tick();
        slot.register(cx);
        serving.as_mut().poll(cx)
    })
    .await;
    client.worker.give_head(answered.head);
    if answered.after == After::Cut {
        streams.given_up.set(streams.given_up.get() + 1);
        answered.side.reset();
    }
}

/// A stream that is served.
struct Open {
    client: Rc<ClientConnection>,
    slot: Rc<Slot>,
    streams: Rc<Streams>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.client.worker.slots.remove(&self.slot);
        self.streams.open.set(self.streams.open.get() - 1);
        if self.streams.open.get() == 0 {
            // The connection has to notice that it is idle, also where no frame is to be written any more.
            self.client.slot.wake();
        }
    }
}
