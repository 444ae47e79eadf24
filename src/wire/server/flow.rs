//! Windows (RFC 9113, 5.2): what may be sent, and what the client may send.

use crate::wire::frame::{self, Code, LARGEST_WINDOW, flag, kind};
use crate::wire::server::{CONNECTION_WINDOW, Core, PIECE, RESET, STREAM_WINDOW};

impl Core {
    /// Writes a piece of an answer's body, as large as may be sent now; 0: its stream will be woken. `ends`: with all of it the
    /// body is over.
    pub(super) fn write_data(&mut self, place: usize, data: &[u8], ends: bool) -> usize {
        if self.is_stalled() {
            self.wait_for_room.add(place);
            return 0;
        }
        let stream = &mut self.streams[place];
        let window = usize::try_from(stream.send_window.min(self.send_window)).unwrap_or(0);
        let room = window.min(self.largest_frame).min(PIECE);
        if room == 0 {
            // An update of its own window wakes a stream in any case.
            if self.send_window <= 0 {
                self.wait_for_window.add(place);
            }
            return 0;
        }
        let n = room.min(data.len());
        stream.send_window -= n as i64;
        self.send_window -= n as i64;
        let flags = if ends && n == data.len() { flag::END_STREAM } else { 0 };
        let out = self.output.tail_for(frame::HEAD + n);
        frame::write_head(n, kind::DATA, flags, self.ids[place], out);
        out.extend_from_slice(&data[..n]);
        self.brought_on();
        n
    }

    /// So much of what came in this place was used.
    pub(super) fn consumed(&mut self, place: usize, n: usize) {
        let stream = &mut self.streams[place];
        stream.used += n as u32;
        if stream.used >= STREAM_WINDOW / 2 && !stream.received && !stream.reset && self.ids[place] != RESET {
            let used = std::mem::take(&mut stream.used);
            stream.recv_window += i64::from(used);
            frame::write_window_update(self.ids[place], used, self.output.tail());
        }
        self.give_back(n);
    }

    /// So much of the connection's window is free again.
    pub(super) fn give_back(&mut self, n: usize) {
        self.used += n as u32;
        if self.used >= CONNECTION_WINDOW / 2 {
            let used = std::mem::take(&mut self.used);
            self.recv_window += i64::from(used);
            frame::write_window_update(0, used, self.output.tail());
        }
    }

    /// WINDOW_UPDATE.
    pub(super) fn window_update(&mut self, id: u32, payload: &[u8]) -> Result<(), Code> {
        let increment = u32::from_be_bytes(payload.try_into().map_err(|_| Code::FrameSize)?) & 0x7fff_ffff;
        self.fruitless += 1;
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

    /// The client lets streams begin with another window; those that are open change with it, and may be below zero then.
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
