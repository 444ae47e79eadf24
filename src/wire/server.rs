//! One HTTP/2 connection of a client (RFC 9113), without its socket: frames that came go in, requests come out, and what is to
//! be written gathers in one buffer.
//!
//! Everything of a connection happens in one task. Its streams write heads and pieces of bodies one behind the other into
//! that buffer, and their task writes it out when all of them have had their turn: many answers are one write. What a
//! stream waits for is told as the number of its place ([`Core::take_woken`]); nothing here knows a waker.
//!
//! Memory is bounded by windows for what comes, and by [`WAITING`] for what goes: while more than that waits for a client
//! that does not read, no stream may write, and nothing is read from it.

mod flow;
mod frames;
pub(crate) mod places;
pub(crate) mod stream;

use std::collections::VecDeque;

use crate::wire::body::is_trailer;
use crate::wire::buffer::Output;
use crate::wire::frame::{self, Code, FIRST_WINDOW, flag, kind, setting};
use crate::wire::head::{Head, Name};
use crate::wire::hpack;
use crate::wire::request::Scratch;
use crate::wire::server::places::{PLACES, Places};

/// What a client begins with that knows that HTTP/2 is spoken (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a client may send of one body before the endpoint takes it.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;
/// And of all of them.
const CONNECTION_WINDOW: u32 = 1 << 20;
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
    /// Was used, and the client was not told yet.
    used: u32,
    /// Came, and was not taken.
    incoming: Vec<u8>,
    trailers: Head,
    /// So much of the length that was told has not come.
    missing: Option<u64>,
    /// All of the request came.
    received: bool,
    reset: bool,
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
    send_window: i64,
    recv_window: i64,
    used: u32,
    /// The client's settings.
    first_window: i64,
    largest_frame: usize,
    has_preface: bool,
    has_settings: bool,
    leaving: Leaving,
    over: bool,
    /// Frames that brought nothing on, less those that did.
    fruitless: u32,
    /// Streams that were reset because the client broke the rules.
    resets: u32,
}

impl Core {
    /// A connection on which nothing has happened. `max_head`: the fields of a message, as they are when they are unpacked.
    pub(crate) fn new(max_head: usize) -> Core {
        let mut core = Core {
            output: Output::default(),
            fields: hpack::Decoder::new(),
            written: hpack::Encoder::new(),
            scratch: Scratch::default(),
            max_head,
            ids: Vec::new(),
            streams: Vec::new(),
            open: 0,
            last: 0,
            closed: VecDeque::new(),
            block: None,
            woken: Places::default(),
            wait_for_room: Places::default(),
            wait_for_window: Places::default(),
            send_window: FIRST_WINDOW,
            recv_window: CONNECTION_WINDOW.into(),
            used: 0,
            first_window: FIRST_WINDOW,
            largest_frame: frame::LARGEST,
            has_preface: false,
            has_settings: false,
            leaving: Leaving::No,
            over: false,
            fruitless: 0,
            resets: 0,
        };
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, PLACES as u32),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, u32::try_from(max_head).unwrap_or(u32::MAX)),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        frame::write_settings(&settings, core.output.tail());
        frame::write_window_update(0, CONNECTION_WINDOW - FIRST_WINDOW as u32, core.output.tail());
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

    /// The buffer has room again. Whether somebody waits for that.
    pub(crate) fn has_room(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.wait_for_room);
        self.woken.add_all(waiting);
        !waiting.is_empty()
    }

    /// Frames that brought nothing on since this was asked for.
    pub(crate) fn fruitless(&self) -> u32 {
        self.fruitless
    }

    pub(crate) fn forget_fruitless(&mut self) {
        self.fruitless = 0;
    }

    /// Streams that were reset because the client broke the rules.
    pub(crate) fn resets(&self) -> u32 {
        self.resets
    }

    /// The exchange in this place has nobody to answer to any more.
    pub(crate) fn is_reset(&self, place: usize) -> bool {
        self.streams[place].reset
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
            self.abandon();
        }
    }

    /// Remembers how a stream ended.
    fn remember(&mut self, id: u32, how: Closed) {
        if self.closed.len() == REMEMBERED {
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
        self.give_back(unread);
    }

    /// Ends a stream because the client broke the rules.
    fn reset(&mut self, place: usize, code: Code) {
        self.resets += 1;
        frame::write_reset(self.ids[place], code, self.output.tail());
        self.take_out(place, Closed::ByUs);
    }

    /// Says no to what has no place.
    fn refuse(&mut self, id: u32, code: Code) {
        self.resets += u32::from(code != Code::RefusedStream);
        self.fruitless += 1;
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
        self.brought_on();
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

    /// Something came, or went, that somebody wanted.
    fn brought_on(&mut self) {
        self.fruitless = self.fruitless.saturating_sub(4);
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
