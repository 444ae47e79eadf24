//! One HTTP/2 connection of a client (RFC 9113), without its socket: frames that came go in, requests come out, and
//! what is to be written gathers in one buffer.
//!
//! Everything of a connection happens in one task. Its streams write heads and pieces of bodies one behind the other
//! into that buffer, and their task writes it out when all of them have had their turn: many answers are one write.
//! What a stream waits for is told as the number of its place ([`Core::take_woken`]); nothing here knows a waker.
//!
//! Memory is bounded by windows for bodies that come ([`flow`]), by [`WAITING`] for what goes: while more than that
//! waits for a client that does not read, no stream may write, and nothing is read from it; and by an account for the
//! rest ([`account`]).

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
use crate::wire::http2::server::flow::{FIRST_CONNECTION_WINDOW, Line};
use crate::wire::http2::server::limits::{Flood, Limits};
use crate::wire::http2::server::places::{PLACES, Places};
use crate::wire::socket::buffer::Output;

/// What a client begins with that knows that HTTP/2 is spoken (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first window of each stream; it grows with the line.
pub(crate) const STREAM_WINDOW: u32 = 64 << 10;
/// So much may wait to be written before streams have to wait, too.
const WAITING: usize = 64 << 10;
/// A piece of a body is no larger, so that streams take turns.
const PIECE: usize = frame::LARGEST;
/// Streams that ended last, of which it is known how.
const REMEMBERED: usize = 256;
/// In the place of a stream that was reset, until its exchange is over.
const RESET: u32 = u32::MAX;
/// The PING that tells that a client has read our GOAWAY.
const FAREWELL: &[u8; 8] = b"farewell";
/// What a stream costs beside its head.
const STREAM_COST: usize = 4 << 10;
/// Memory that an idle connection may keep, as a number of streams.
const KEPT_IDLE: usize = 8;
/// Ended streams that an idle connection remembers.
const REMEMBERED_IDLE: usize = 32;

/// How a stream ended. What may still come of it depends on that (RFC 9113, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// By a reset of ours, which the client may not have seen.
    ByUs,
    /// By a reset of the client's.
    ByClient,
    /// By the end of both messages.
    Whole,
}

/// Why the proxy ended a stream; to its exchange that looks as if the client had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The request is malformed.
    Malformed,
    /// There is no memory for its trailers.
    Memory,
    /// The client broke the rules or a limit of the connection, which is told of the connection.
    Connection,
}

/// What was found in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// More has to be read.
    More,
    /// A request has begun in this place; its head is where it was asked for.
    Request(usize),
    /// The client broke the rules; all that is left is to write what waits.
    Over,
}

/// How far a connection is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// The client was told, and may have sent requests before it has read that.
    Told,
    /// What comes with a higher number is not looked at.
    After(u32),
}

/// A stream that is open.
#[derive(Debug, Default)]
struct Stream {
    /// What may be sent to the client, and what it may send.
    send_window: i64,
    recv_window: i64,
    /// The size of its receive window, and the part that was used and not announced yet.
    window: u32,
    used: u32,
    /// Its body is worth a larger window.
    is_large: bool,
    /// Bytes of memory that are charged for the request, and for the response.
    charged: usize,
    response: usize,
    /// Came, and was not taken.
    incoming: Vec<u8>,
    trailers: Head,
    /// So much of the length that was told has not come.
    missing: Option<u64>,
    /// All of the request came.
    received: bool,
    reset: bool,
    /// The proxy ended it.
    cut: Option<Cut>,
}

/// A block of fields of which a part came.
#[derive(Debug)]
struct Block {
    stream: u32,
    ends: bool,
    bytes: Vec<u8>,
    frames: usize,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Core {
    output: Output,
    fields: hpack::Decoder,
    written: hpack::Encoder,
    scratch: Scratch,
    max_head: usize,
    max_streams: usize,
    account: Account,
    line: Line,
    /// The number of the stream in each place; 0: none.
    ids: Vec<u32>,
    streams: Vec<Stream>,
    open: usize,
    /// The highest number of a stream so far.
    last: u32,
    closed: VecDeque<(u32, Closed)>,
    block: Option<Block>,
    /// Have something to look at.
    woken: Places,
    /// Wait for room in the buffer, or in the window of the connection.
    wait_for_room: Places,
    wait_for_window: Places,
    /// Wait until the account has room for their responses.
    wait_for_memory: Places,
    send_window: i64,
    recv_window: i64,
    /// The client's settings.
    first_window: i64,
    largest_frame: usize,
    has_preface: bool,
    has_settings: bool,
    leaving: Leaving,
    over: bool,
    /// Why we ended it.
    code: Code,
    limits: Limits,
    refused: Refused,
}

/// Requests that were refused since [`Core::take_refused`] was called, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Answered with 431.
    pub(crate) too_large: u32,
    pub(crate) malformed: u32,
    /// More streams than [`Settings::max_streams`].
    pub(crate) streams: u32,
    /// The connection holds too much memory.
    pub(crate) memory: u32,
}

/// What a connection allows its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Size of the fields of a message, unpacked.
    pub(crate) max_head: usize,
    /// Streams at the same time.
    pub(crate) max_streams: usize,
}

impl Core {
    /// A connection on which nothing has happened.
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
            line: Line::default(),
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

    /// What is to be written.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The client has begun as HTTP/2 begins.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_settings
    }

    /// So much waits for the client that nothing more may be done for it.
    pub(crate) fn is_stalled(&self) -> bool {
        self.output.bytes().len() >= WAITING
    }

    /// Takes the places of the streams that have something to look at.
    pub(crate) fn take_woken(&mut self) -> Places {
        std::mem::take(&mut self.woken)
    }

    /// A stream has something to look at.
    pub(crate) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// The buffer has room again. Whether somebody waits for that.
    pub(crate) fn wake_for_room(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.wait_for_room);
        self.woken.add_all(waiting);
        !waiting.is_empty()
    }

    /// Sets the time, before anything is done with the connection.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.limits.now = now;
    }

    /// The limit for which the connection was ended.
    pub(crate) fn flood(&self) -> Option<Flood> {
        self.limits.flood
    }

    /// The code with which the client was told that it broke the rules.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Requests that were refused since this was called.
    pub(crate) fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    /// Ends a connection that costs more than it pays.
    pub(crate) fn end_flood(&mut self, flood: Flood) {
        self.limits.flood.get_or_insert(flood);
        self.end(Code::EnhanceYourCalm);
    }

    /// A field block has begun, and its end has not come.
    pub(crate) fn is_in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Gives the memory back that many or large streams took. To be called while no stream is open.
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

    /// The exchange in this place has nobody to answer to any more.
    pub(crate) fn is_reset(&self, place: usize) -> bool {
        self.streams[place].reset
    }

    /// Why the proxy ended the stream in this place; `None`: it did not.
    pub(crate) fn cut(&self, place: usize) -> Option<Cut> {
        self.streams[place].cut
    }

    /// The connection is gone: no stream gets anything out of it any more.
    pub(crate) fn abandon(&mut self) {
        self.over = true;
        for stream in &mut self.streams {
            stream.reset = true;
        }
    }

    /// Says that the connection ends: what is under way is finished.
    pub(crate) fn leave(&mut self) {
        if self.leaving == Leaving::No && !self.over {
            self.leaving = Leaving::Told;
            let out = self.output.tail();
            frame::write_goaway(i32::MAX as u32, Code::NoError, out);
            frame::write_ping(0, FAREWELL, out);
        }
    }

    /// The client was told what it did wrong, or is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Nothing more will come of it.
    pub(crate) fn is_finished(&self) -> bool {
        self.over || matches!(self.leaving, Leaving::After(_)) && self.open == 0
    }

    /// Ends it.
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

    /// Remembers how a stream ended.
    fn remember(&mut self, id: u32, how: Closed) {
        // As few as an idle connection keeps, once no stream is open: else each request of a quiet client takes memory
        // for more.
        let most = if self.open == 0 { REMEMBERED_IDLE } else { REMEMBERED };
        while self.closed.len() >= most {
            self.closed.pop_front();
        }
        self.closed.push_back((id, how));
    }

    /// Takes a stream out of its place, which stays taken until its exchange is over.
    fn take_out(&mut self, place: usize, how: Closed) {
        let id = std::mem::replace(&mut self.ids[place], RESET);
        self.remember(id, how);
        let stream = &mut self.streams[place];
        stream.reset = true;
        let unread = std::mem::take(&mut stream.incoming).len();
        self.woken.add(place);
        self.taken(unread);
    }

    /// Ends a stream because the client broke the rules.
    fn reset(&mut self, place: usize, code: Code) {
        self.limits.violation();
        frame::write_reset(self.ids[place], code, self.output.tail());
        self.streams[place].cut = Some(if code == Code::EnhanceYourCalm { Cut::Memory } else { Cut::Malformed });
        self.take_out(place, Closed::ByUs);
    }

    /// Resets a stream that was never begun.
    fn refuse(&mut self, id: u32, code: Code) {
        if !matches!(code, Code::RefusedStream | Code::NoError) {
            self.limits.violation();
        }
        self.limits.useless();
        frame::write_reset(id, code, self.output.tail());
        self.remember(id, Closed::ByUs);
    }

    /// Begins a block of fields; returns where.
    fn begin_fields(&mut self, id: u32, ends: bool) -> usize {
        // Of most.
        let out = self.output.tail_for(1024);
        let start = out.len();
        let flags = flag::END_HEADERS | if ends { flag::END_STREAM } else { 0 };
        frame::write_head(0, kind::HEADERS, flags, id, out);
        self.written.begin(out);
        start
    }

    /// Writes the head of an answer.
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

    /// Writes the end of an answer's body: with what stands behind it, if there is anything.
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

/// What HTTP/2 has no field for: its framing says it.
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
