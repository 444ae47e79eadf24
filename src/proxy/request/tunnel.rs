//! A tunnel after an upgrade: bytes go both ways unchanged, until both ends are done or the tunnel is closed.
//!
//! A WebSocket is closed politely (RFC 6455, 5.5.1): the present frame is completed, a close frame with 1012 follows in
//! both directions, and then only the close frames of both ends are waited for. So the client knows that it may come
//! again at once. Other protocols are cut.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_lc_rs::rand;

use crate::proxy::deadlines::Fired;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::exchange::Exchange;
use crate::telemetry::meter::InFlightKind;
use crate::wire::copy::{Copied, CopyError, poll_copy_seen};
use crate::wire::head::Head;
use crate::wire::http1::connection::Piece;
use crate::wire::side::Side;
use crate::wire::websocket::{Frames, close_frame};

/// The time for closing a WebSocket: enough for the rest of a frame and an answer over a slow line, and little beside
/// `drain.timeout`, to which it is added.
pub(crate) const ENDING: Duration = Duration::from_secs(5);

type Closing = (u16, &'static str);
/// The client may come again (registered by IANA).
const RESTART: Closing = (1012, "service restart");
const IDLE: Closing = (1001, "idle for too long");

/// Joins the two sides under the request's lease. True if both ended regularly.
pub(super) async fn tunnel(exchange: &mut Exchange, side: &mut Side, upstream: &mut Side, websocket: bool) -> bool {
    exchange.set_in_flight_kind(InFlightKind::Tunnel);
    side.become_tunnel();
    upstream.become_tunnel();
    let mut up = Half::new(websocket.then(Frames::of_client));
    let mut down = Half::new(websocket.then(Frames::of_endpoint));
    exchange.extend_tunnel();
    let joined = poll_fn(|cx| {
        if let Some(fired @ (Fired::Deadline | Fired::Ended | Fired::Cut)) = exchange.slot().fired() {
            return Poll::Ready(Joined::Ended(fired));
        }
        let before = up.copied.bytes + down.copied.bytes;
        let sent = up.poll_pass(cx, side, upstream);
        let received = down.poll_pass(cx, upstream, side);
        if up.copied.bytes + down.copied.bytes > before {
            exchange.extend_tunnel();
        }
        match () {
            () if sent.is_err() || received.is_err() => Poll::Ready(Joined::Broke),
            () if up.over && down.over => Poll::Ready(Joined::Over),
            () if exchange.slot().fired() == Some(Fired::Idle) => Poll::Ready(Joined::Ended(Fired::Idle)),
            () => Poll::Pending,
        }
    });
    let whole = match joined.await {
        Joined::Over => true,
        Joined::Broke => false,
        Joined::Ended(why) => {
            let (kind, farewell) = match why {
                Fired::Cut => (ErrorKind::Stopping, RESTART),
                // Bytes for the client have waited all the time.
                Fired::Idle if !down.over && !down.copied.waits_for_source => (ErrorKind::ClientStalled, IDLE),
                Fired::Idle => (ErrorKind::StreamIdle, IDLE),
                Fired::Deadline | Fired::Ended | Fired::Closing => (ErrorKind::DrainTimeout, RESTART),
            };
            exchange.broke(kind);
            exchange.begin_closing(ENDING, kind == ErrorKind::DrainTimeout);
            websocket && end(exchange, (side, &mut up), (upstream, &mut down), farewell).await
        }
    };
    exchange.report.set_bytes_in(up.copied.bytes);
    exchange.report.set_bytes_out(down.copied.bytes);
    whole
}

enum Joined {
    Over,
    Broke,
    Ended(Fired),
}

async fn end(
    exchange: &Exchange,
    (client, up): (&mut Side, &mut Half),
    (endpoint, down): (&mut Side, &mut Half),
    farewell @ (code, reason): Closing,
) -> bool {
    // An end that has had a close frame answers it; that answer is worth more than a frame of ours.
    let mut up = Farewell::new(up, down.has_closed(), masked(farewell));
    let mut down = Farewell::new(down, up.half.has_closed(), Some(close_frame(code, reason, None)));
    poll_fn(|cx| {
        let sent = up.poll(cx, client, endpoint);
        let received = down.poll(cx, endpoint, client);
        if sent.is_pending() || received.is_pending() {
            return if exchange.slot().fired() == Some(Fired::Deadline) { Poll::Ready(()) } else { Poll::Pending };
        }
        Poll::Ready(())
    })
    .await;
    for side in [&mut *client, &mut *endpoint] {
        side.finish(&Head::default());
    }
    // One try; a full socket is not waited for.
    poll_fn(|cx| {
        let _ = endpoint.poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
    down.told
}

/// The close frame for the endpoint. Frames of a client are masked by an unpredictable number (RFC 6455, 5.3).
fn masked((code, reason): Closing) -> Option<Vec<u8>> {
    let mut mask = [0; 4];
    rand::fill(&mut mask).ok()?;
    Some(close_frame(code, reason, Some(mask)))
}

struct Half {
    copied: Copied,
    /// The source is done, and the sink was told.
    over: bool,
    frames: Option<Frames>,
}

impl Half {
    fn new(frames: Option<Frames>) -> Half {
        Half { copied: Copied::default(), over: false, frames }
    }

    fn has_closed(&self) -> bool {
        self.frames.is_some_and(|frames| frames.is_closed())
    }

    fn poll_pass(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Result<(), CopyError> {
        let Half { copied, over, frames } = self;
        let seen = |sent: &[u8]| {
            if let Some(frames) = frames {
                frames.pass(sent);
            }
        };
        if !*over && let Poll::Ready(ended) = poll_copy_seen(cx, from, to, copied, seen) {
            ended?;
            if let Poll::Ready(told) = to.poll_shutdown(cx) {
                told.map_err(CopyError::Sink)?;
                *over = true;
            }
        }
        Ok(())
    }
}

struct Farewell<'a> {
    half: &'a mut Half,
    frames: Frames,
    step: Step,
    /// The sink took a close frame, or the end.
    told: bool,
}

enum Step {
    /// The present frame is completed. Without a frame to say, everything passes up to the source's close frame.
    Completing {
        word: Option<Vec<u8>>,
    },
    /// A close frame goes out; `written` bytes of it are sent.
    Saying {
        word: Vec<u8>,
        written: usize,
    },
    /// The sink was told. Later bytes are dropped; the source's close frame is waited for.
    Listening,
    Done,
}

impl<'a> Farewell<'a> {
    fn new(half: &'a mut Half, answers: bool, word: Option<Vec<u8>>) -> Farewell<'a> {
        let over = half.over || half.copied.is_finished();
        let frames = half.frames.unwrap_or_else(Frames::of_client);
        let step = if over { Step::Done } else { Step::Completing { word: word.filter(|_| !answers) } };
        Farewell { half, frames, step, told: over }
    }

    /// An end that broke does not keep the other from being told.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<()> {
        if ready!(self.poll_steps(cx, from, to)).is_err() {
            self.step = Step::Done;
        }
        Poll::Ready(())
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), CopyError>> {
        loop {
            match &mut self.step {
                Step::Completing { .. } if self.frames.is_lost() => self.step = Step::Done,
                Step::Completing { .. } if self.frames.is_closed() => self.step = Step::Listening,
                Step::Completing { word } if word.is_some() && self.frames.is_between() => {
                    self.step = Step::Saying { word: word.take().unwrap_or_default(), written: 0 };
                }
                Step::Completing { word } => {
                    let Poll::Ready(piece) = from.poll_body(cx) else {
                        ready!(to.poll_flush(cx)).map_err(CopyError::Sink)?;
                        return Poll::Pending;
                    };
                    let Piece::Data(data) = piece.map_err(CopyError::Source)? else {
                        self.step = Step::Listening;
                        continue;
                    };
                    let rest = if word.is_some() { self.frames.rest(data) } else { data.len() };
                    let sent = ready!(to.poll_send(cx, &data[..rest])).map_err(CopyError::Sink)?;
                    self.frames.pass(&data[..sent]);
                    from.consume(sent);
                    self.half.copied.bytes += sent as u64;
                }
                Step::Saying { word, written } if *written < word.len() => {
                    *written += ready!(to.poll_send(cx, &word[*written..])).map_err(CopyError::Sink)?;
                }
                Step::Saying { .. } => self.step = Step::Listening,
                Step::Listening => {
                    ready!(to.poll_flush(cx)).map_err(CopyError::Sink)?;
                    self.told = true;
                    if self.frames.is_closed() || self.frames.is_lost() {
                        self.step = Step::Done;
                        continue;
                    }
                    match ready!(from.poll_body(cx)).map_err(CopyError::Source)? {
                        Piece::Data(data) => {
                            self.frames.pass(data);
                            let read = data.len();
                            from.consume(read);
                        }
                        Piece::End => self.step = Step::Done,
                    }
                }
                Step::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}
