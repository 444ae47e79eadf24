//! One HTTP/2 connection of a client (RFC 9113), without its socket: received frames go in, requests come out, and
//! output gathers in one buffer.
//!
//! One task serves a connection and its streams, and writes the buffer after all of them had their turn, so many
//! answers are one write. Streams to wake are returned as places ([`Core::take_woken`]); there are no wakers here.
//!
//! Memory is bounded by windows for request bodies ([`flow`]); by [`WAITING`] for output, beyond which no stream writes
//! and nothing is read from the client; and by an account for the rest ([`account`]).

mod account;
mod flow;
mod frames;
pub(crate) mod limits;
pub(crate) mod places;
pub(crate) mod stream;

use std::collections::VecDeque;
use std::time::Instant;

use crate::wire::head::{Head, Name};
use crate::wire::http1::body::is_trailer;
use crate::wire::http2::fields::Scratch;
use crate::wire::http2::frame::{self, Code, FIRST_WINDOW, flag, kind, setting};
use crate::wire::http2::hpack;
use crate::wire::http2::server::account::Account;
use crate::wire::http2::server::flow::{Bandwidth, FIRST_CONNECTION_WINDOW};
use crate::wire::http2::server::limits::{Flood, Limits};
use crate::wire::http2::server::places::{PLACES, Places};
use crate::wire::socket::buffer::Output;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const STREAM_WINDOW: u32 = 64 << 10;
/// Output beyond this makes streams wait.
const WAITING: usize = 64 << 10;
/// Largest piece of a body in one frame, so that streams take turns.
const PIECE: usize = frame::LARGEST;
const REMEMBERED: usize = 256;
/// Stream id in a place whose stream was reset, until its exchange is over.
const RESET: u32 = u32::MAX;
/// PING behind GOAWAY; its answer shows that the client has read both.
const FAREWELL: &[u8; 8] = b"farewell";
const STREAM_COST: usize = 4 << 10;
const KEPT_IDLE: usize = 8;
const REMEMBERED_IDLE: usize = 32;

/// The end of a stream, which decides what may still arrive for it (RFC 9113, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// Our RST_STREAM, which the client may not have seen.
    ByUs,
    ByClient,
    Whole,
}

/// The proxy's reason to end a stream; its exchange sees a client that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Malformed,
    Memory,
    /// The client broke the protocol or a limit; the connection reports which.
    Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    More,
    /// A request began in this place; its head is in the caller's [`Head`].
    Request(usize),
    /// The connection is over; only the output remains to be written.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// GOAWAY was sent, and requests may still be on their way.
    Told,
    /// Streams above this number are ignored.
    After(u32),
}

#[derive(Debug, Default)]
struct Stream {
    send_window: i64,
    recv_window: i64,
    /// Size of the receive window, and the used part that was not announced yet.
    window: u32,
    used: u32,
    /// The body is large enough for a wider window.
    is_large: bool,
    charged: usize,
    response: usize,
    incoming: Vec<u8>,
    trailers: Head,
    missing: Option<u64>,
    received: bool,
    reset: bool,
    cut: Option<Cut>,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    ends: bool,
    bytes: Vec<u8>,
    frames: usize,
}

#[derive(Debug)]
pub(crate) struct Core {
    output: Output,
    fields: hpack::Decoder,
    written: hpack::Encoder,
    scratch: Scratch,
    max_head: usize,
    max_streams: usize,
    account: Account,
    line: Bandwidth,
    ids: Vec<u32>,
    streams: Vec<Stream>,
    open: usize,
    last: u32,
    closed: VecDeque<(u32, Closed)>,
    block: Option<Block>,
    woken: Places,
    /// Streams that wait for room in the output or in the connection's window.
    wait_for_room: Places,
    wait_for_window: Places,
    /// Streams that wait for memory for their responses.
    wait_for_memory: Places,
    send_window: i64,
    recv_window: i64,
    first_window: i64,
    largest_frame: usize,
    has_preface: bool,
    has_settings: bool,
    leaving: Leaving,
    over: bool,
    code: Code,
    limits: Limits,
    refused: Refused,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) too_large: u32,
    pub(crate) malformed: u32,
    pub(crate) streams: u32,
    pub(crate) memory: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Size of a message's fields, unpacked (RFC 9113, 6.5.2).
    pub(crate) max_head: usize,
    pub(crate) max_streams: usize,
}

impl Core {
    pub(crate) fn new(Settings { max_head, max_streams }: Settings, now: Instant) -> Core {
        let max_streams = max_streams.min(PLACES);
        let mut core = Core {
            output: Output::default(),
            fields: hpack::Decoder::new(),
            written: hpack::Encoder::new(),
            scratch: Scratch::default(),
            max_head,
            max_streams,
            account: Account::default(),
            line: Bandwidth::default(),
            ids: Vec::new(),
            streams: Vec::new(),
            open: 0,
            last: 0,
            closed: VecDeque::new(),
            block: None,
            woken: Places::default(),
            wait_for_room: Places::default(),
            wait_for_window: Places::default(),
            wait_for_memory: Places::default(),
            send_window: FIRST_WINDOW,
            recv_window: FIRST_CONNECTION_WINDOW.into(),
            first_window: FIRST_WINDOW,
            largest_frame: frame::LARGEST,
            has_preface: false,
            has_settings: false,
            leaving: Leaving::No,
            over: false,
            code: Code::NoError,
            limits: Limits::new(now),
            refused: Refused::default(),
        };
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, max_streams as u32),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, u32::try_from(max_head).unwrap_or(u32::MAX)),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        frame::write_settings(&settings, core.output.tail());
        frame::write_window_update(0, FIRST_CONNECTION_WINDOW - FIRST_WINDOW as u32, core.output.tail());
        core
    }

    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_settings
    }

    /// The output is full: nothing more is read or produced for this client.
    pub(crate) fn is_stalled(&self) -> bool {
        self.output.bytes().len() >= WAITING
    }

    pub(crate) fn take_woken(&mut self) -> Places {
        std::mem::take(&mut self.woken)
    }

    pub(crate) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Wakes streams that wait for room in the output. True: there were some.
    pub(crate) fn wake_for_room(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.wait_for_room);
        self.woken.add_all(waiting);
        !waiting.is_empty()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.limits.now = now;
    }

    pub(crate) fn flood(&self) -> Option<Flood> {
        self.limits.flood
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    pub(crate) fn end_flood(&mut self, flood: Flood) {
        self.limits.flood.get_or_insert(flood);
        self.end(Code::EnhanceYourCalm);
    }

    pub(crate) fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Frees memory that many or large streams took. Called while no stream is open.
    pub(crate) fn shrink(&mut self) {
        debug_assert_eq!(self.open, 0);
        if self.ids.capacity() > KEPT_IDLE {
            self.ids = Vec::new();
            self.streams = Vec::new();
        } else {
            self.ids.clear();
            self.streams.clear();
        }
        if self.closed.capacity() > REMEMBERED_IDLE {
            let all = self.closed.len();
            self.closed.drain(..all.saturating_sub(REMEMBERED_IDLE));
            self.closed.shrink_to_fit();
        }
        self.fields.shrink_idle();
        self.written.shrink_idle();
        self.scratch.forget();
    }

    pub(crate) fn is_reset(&self, place: usize) -> bool {
        self.streams[place].reset
    }

    pub(crate) fn cut(&self, place: usize) -> Option<Cut> {
        self.streams[place].cut
    }

    pub(crate) fn abandon(&mut self) {
        self.over = true;
        for stream in &mut self.streams {
            stream.reset = true;
        }
    }

    /// Sends GOAWAY; in-flight streams finish.
    pub(crate) fn leave(&mut self) {
        if self.leaving == Leaving::No && !self.over {
            self.leaving = Leaving::Told;
            let out = self.output.tail();
            frame::write_goaway(i32::MAX as u32, Code::NoError, out);
            frame::write_ping(0, FAREWELL, out);
        }
    }

    /// The client is gone, or was sent a GOAWAY with an error.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.over || matches!(self.leaving, Leaving::After(_)) && self.open == 0
    }

    pub(crate) fn end(&mut self, code: Code) {
        if !self.over {
            frame::write_goaway(self.last, code, self.output.tail());
            self.code = code;
            for stream in self.streams.iter_mut().filter(|stream| !stream.reset) {
                stream.cut = Some(Cut::Connection);
            }
            self.abandon();
        }
    }

    fn remember(&mut self, id: u32, how: Closed) {
        // Few once no stream is open, so that the requests of a quiet client do not grow an idle connection.
        let most = if self.open == 0 { REMEMBERED_IDLE } else { REMEMBERED };
        while self.closed.len() >= most {
            self.closed.pop_front();
        }
        self.closed.push_back((id, how));
    }

    /// Ends a stream. Its place stays occupied until its exchange is over.
    fn take_out(&mut self, place: usize, how: Closed) {
        let id = std::mem::replace(&mut self.ids[place], RESET);
        self.remember(id, how);
        let stream = &mut self.streams[place];
        stream.reset = true;
        let unread = std::mem::take(&mut stream.incoming).len();
        self.woken.add(place);
        self.taken(unread);
    }

    fn reset(&mut self, place: usize, code: Code) {
        self.limits.violation();
        frame::write_reset(self.ids[place], code, self.output.tail());
        self.streams[place].cut = Some(if code == Code::EnhanceYourCalm { Cut::Memory } else { Cut::Malformed });
        self.take_out(place, Closed::ByUs);
    }

    fn refuse(&mut self, id: u32, code: Code) {
        if !matches!(code, Code::RefusedStream | Code::NoError) {
            self.limits.violation();
        }
        self.limits.useless();
        frame::write_reset(id, code, self.output.tail());
        self.remember(id, Closed::ByUs);
    }

    fn begin_fields(&mut self, id: u32, ends: bool) -> usize {
        let out = self.output.tail_for(1024);
        let start = out.len();
        let flags = flag::END_HEADERS | if ends { flag::END_STREAM } else { 0 };
        frame::write_head(0, kind::HEADERS, flags, id, out);
        self.written.begin(out);
        start
    }

    fn write_answer(&mut self, id: u32, head: &Head, ends: bool) {
        let start = self.begin_fields(id, ends);
        let out = self.output.tail();
        hpack::write_status(head.status, out);
        for (kind, name, value) in head.fields() {
            if !is_for_http1(kind) {
                self.written.write(name, value, out);
            }
        }
        frame::close_fields(start, id, self.largest_frame, out);
    }

    fn write_end(&mut self, id: u32, trailers: &Head) {
        let mut trailers = trailers.fields().filter(|(kind, name, _)| is_trailer(*kind, name)).peekable();
        if trailers.peek().is_none() {
            return frame::write_head(0, kind::DATA, flag::END_STREAM, id, self.output.tail());
        }
        let start = self.begin_fields(id, true);
        let out = self.output.tail();
        trailers.for_each(|(_, name, value)| self.written.write(name, value, out));
        frame::close_fields(start, id, self.largest_frame, out);
    }
}

/// Fields that framing replaces in HTTP/2.
fn is_for_http1(name: Name) -> bool {
    matches!(
        name,
        Name::Host
            | Name::Connection
            | Name::TransferEncoding
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::Upgrade
    )
}

#[cfg(test)]
mod tests;
