//! Flow control (RFC 9113, 5.2).
//!
//! Upload windows adapt to the line, so that they limit no more than TCP's do. A PING is sent with the first bytes of a
//! large body; the bytes that arrive until its answer are what the line carries in one round trip. Streams get twice
//! that, within the connection's budget, or four times while the window is the limit, since a wider window takes two
//! round trips to show. The first grant needs no measurement, and is made when the endpoint begins to read.
//!
//! A stream's window bounds its memory. The connection's window is given back on arrival, as far as the account allows,
//! so that a stalled upload does not stop the others.

use crate::wire::http2::frame::{self, Code, LARGEST_WINDOW, flag, kind};
use crate::wire::http2::server::{Core, PIECE, RESET, STREAM_WINDOW};

pub(super) const FIRST_CONNECTION_WINDOW: u32 = 256 << 10;
/// First grant for a large body, and at most half of what is left of the budget.
const FIRST_GRANT: u32 = 4 << 20;
/// Somewhat beyond TCP's default limit of 6 MiB. 8 MiB in each 100 ms are 670 Mbit/s.
const LARGEST_STREAM_WINDOW: u32 = 8 << 20;
const LARGEST_CONNECTION_WINDOW: u32 = 10 << 20;
/// WINDOW_UPDATE is sent for half of a window, or for this much if that is less.
const STEP: u32 = 256 << 10;
/// Step of the connection's window while it is below [`STREAM_WINDOW`].
const LITTLE: i64 = 16 << 10;
pub(super) const PROBE: &[u8; 8] = b"how wide";
/// Frames of this size belong to a large body.
const LARGE: usize = 8 << 10;
/// After this many fruitless measurements they become rarer, down to one in 64 frames.
const PATIENCE: u32 = 4;
const RAREST: u32 = 6;

#[derive(Debug)]
pub(super) struct Bandwidth {
    wanted: u32,
    /// Widest window given to a stream.
    granted: u32,
    measured: Option<usize>,
    /// Fruitless measurements, and frames to skip before the next one.
    misses: u32,
    skip: u32,
}

impl Default for Bandwidth {
    fn default() -> Bandwidth {
        Bandwidth { wanted: STREAM_WINDOW, granted: STREAM_WINDOW, measured: None, misses: 0, skip: 0 }
    }
}

impl Bandwidth {
    fn received(&mut self, bytes: usize) {
        if let Some(measured) = &mut self.measured {
            *measured += bytes;
        }
    }

    /// Handles the answer to a measuring PING. False: none was sent.
    pub(super) fn answered(&mut self) -> bool {
        let Some(measured) = self.measured.take() else { return false };
        let is_limited = measured >= self.wanted as usize / 4 * 3;
        let wanted = u32::try_from(measured * if is_limited { 4 } else { 2 }).unwrap_or(u32::MAX);
        if wanted > self.wanted {
            self.wanted = wanted.min(LARGEST_STREAM_WINDOW);
            self.misses = 0;
        } else {
            self.misses += 1;
            self.skip = (1 << self.misses.saturating_sub(PATIENCE).min(RAREST)) - 1;
        }
        true
    }

    fn begins(&mut self) -> bool {
        let due = self.measured.is_none() && self.wanted < LARGEST_STREAM_WINDOW;
        if due && self.skip > 0 {
            self.skip -= 1;
        } else if due {
            self.measured = Some(0);
            return true;
        }
        false
    }

    fn connection_window(&self) -> i64 {
        let widest = self.wanted.max(self.granted);
        widest.saturating_mul(2).clamp(FIRST_CONNECTION_WINDOW, LARGEST_CONNECTION_WINDOW).into()
    }
}

impl Core {
    /// Bytes of a response's body that can be sent now. 0: its stream is woken when some can.
    pub(super) fn room(&mut self, place: usize) -> usize {
        if self.is_stalled() {
            self.wait_for_room.add(place);
            return 0;
        }
        if self.send_window <= 0 {
            self.wait_for_window.add(place);
            return 0;
        }
        // A WINDOW_UPDATE of its own wakes a stream in any case.
        self.window(place)
    }

    pub(super) fn window(&self, place: usize) -> usize {
        usize::try_from(self.streams[place].send_window.min(self.send_window)).unwrap_or(0)
    }

    /// More of the response may be read from its endpoint. If not, the stream is woken when it may.
    pub(super) fn takes_response(&mut self, place: usize) -> bool {
        if self.streams[place].reset {
            return true;
        }
        if self.is_stalled() {
            self.wait_for_room.add(place);
            return false;
        }
        if !self.account.takes_responses() {
            self.wait_for_memory.add(place);
            return false;
        }
        true
    }

    pub(super) fn charge_response(&mut self, place: usize, bytes: usize) {
        let before = std::mem::replace(&mut self.streams[place].response, bytes);
        self.change_response(before, bytes);
    }

    pub(super) fn change_response(&mut self, before: usize, after: usize) {
        self.account.change_response(before, after);
        if !self.wait_for_memory.is_empty() && self.account.takes_responses() {
            let waiting = std::mem::take(&mut self.wait_for_memory);
            self.woken.add_all(waiting);
        }
    }

    /// Writes as much of an answer's piece as fits. 0: its stream will be woken. `ends`: the piece is the last one.
    pub(super) fn write_data(&mut self, place: usize, data: &[u8], ends: bool) -> usize {
        let n = self.room(place).min(self.largest_frame).min(PIECE).min(data.len());
        if n == 0 {
            return 0;
        }
        let stream = &mut self.streams[place];
        stream.send_window -= n as i64;
        self.send_window -= n as i64;
        let flags = if ends && n == data.len() { flag::END_STREAM } else { 0 };
        let out = self.output.tail_for(frame::HEAD + n);
        frame::write_head(n, kind::DATA, flags, self.ids[place], out);
        out.extend_from_slice(&data[..n]);
        self.limits.useful();
        n
    }

    pub(super) fn consumed(&mut self, place: usize, n: usize) {
        self.credit(place, n);
        let stream = &self.streams[place];
        if stream.is_large && stream.window == STREAM_WINDOW && self.may_open(place) {
            // Not earlier: a request that is held, or whose endpoint does not read, keeps its initial window.
            let grant = FIRST_GRANT.min(self.account.growth() as u32 / 3 * 2);
            if grant >= STREAM_WINDOW {
                self.open_window(place, STREAM_WINDOW + grant);
            }
        }
        self.taken(n);
    }

    fn may_open(&self, place: usize) -> bool {
        let stream = &self.streams[place];
        !stream.received && !stream.reset && self.ids[place] != RESET
    }

    /// `n` bytes of a stream's window were used; they are announced in larger steps.
    pub(super) fn credit(&mut self, place: usize, n: usize) {
        let stream = &mut self.streams[place];
        stream.used += n as u32;
        if stream.used >= STEP.min(stream.window / 2) && self.may_open(place) {
            self.open_window(place, self.line.wanted);
        }
    }

    fn open_window(&mut self, place: usize, wanted: u32) {
        let stream = &mut self.streams[place];
        let growth = wanted.saturating_sub(stream.window).min(self.account.growth() as u32);
        self.account.reserve_window(growth as usize);
        stream.window += growth;
        self.line.granted = self.line.granted.max(stream.window);
        let opened = std::mem::take(&mut stream.used) + growth;
        debug_assert!(opened > 0, "a frame that opens nothing is an error");
        stream.recv_window += i64::from(opened);
        frame::write_window_update(self.ids[place], opened, self.output.tail());
    }

    pub(super) fn measure(&mut self, place: usize, bytes: usize) {
        let stream = &self.streams[place];
        let is_large = !stream.received
            && stream.missing.is_none_or(|missing| missing > STREAM_WINDOW.into())
            && (bytes >= LARGE || stream.recv_window < i64::from(stream.window / 2));
        if is_large {
            if self.line.begins() {
                frame::write_ping(0, PROBE, self.output.tail());
            }
            self.streams[place].is_large = true;
        }
        self.line.received(bytes);
    }

    pub(super) fn taken(&mut self, n: usize) {
        self.account.release_upload(n);
        self.replenish();
    }

    pub(super) fn replenish(&mut self) {
        let wanted = self.line.connection_window();
        let room = wanted.min(self.account.most_uploads() as i64 - self.account.uploads() as i64) - self.recv_window;
        let is_small = self.recv_window < STREAM_WINDOW.into();
        if room >= STEP.into() || is_small && room >= LITTLE {
            self.recv_window += room;
            frame::write_window_update(0, room as u32, self.output.tail());
        }
    }

    /// An error ends the connection.
    pub(super) fn window_update(&mut self, id: u32, payload: &[u8]) -> Result<(), Code> {
        let increment = u32::from_be_bytes(payload.try_into().map_err(|_| Code::FrameSize)?) & 0x7fff_ffff;
        self.limits.useless();
        if id == 0 {
            if increment == 0 {
                return Err(Code::Protocol);
            }
            self.send_window += i64::from(increment);
            if self.send_window > LARGEST_WINDOW {
                return Err(Code::FlowControl);
            }
            let waiting = std::mem::take(&mut self.wait_for_window);
            self.woken.add_all(waiting);
            return Ok(());
        }
        let Some(place) = self.place(id) else { return if self.is_idle(id) { Err(Code::Protocol) } else { Ok(()) } };
        let stream = &mut self.streams[place];
        stream.send_window += i64::from(increment);
        if increment == 0 || stream.send_window > LARGEST_WINDOW {
            self.reset(place, if increment == 0 { Code::Protocol } else { Code::FlowControl });
        } else if stream.send_window > 0 {
            self.woken.add(place);
        }
        Ok(())
    }

    /// Applies SETTINGS_INITIAL_WINDOW_SIZE, also to open streams, whose windows may become negative (RFC 9113, 6.9.2).
    pub(super) fn first_window(&mut self, window: u32) -> Result<(), Code> {
        let window = i64::from(window);
        if window > LARGEST_WINDOW {
            return Err(Code::FlowControl);
        }
        let more = window - std::mem::replace(&mut self.first_window, window);
        for place in 0..self.ids.len() {
            if !matches!(self.ids[place], 0 | RESET) {
                self.streams[place].send_window += more;
                if self.streams[place].send_window > LARGEST_WINDOW {
                    return Err(Code::FlowControl);
                }
                if more > 0 {
                    self.woken.add(place);
                }
            }
        }
        Ok(())
    }
}
