//! Reads frames (RFC 9113, 5.1 and 6) and applies them to streams and the connection.

use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Framing;
use crate::wire::http2::fields::{Reader, Unusable};
use crate::wire::http2::frame::{self, Code, FrameHead, LARGEST_WINDOW, flag, kind, setting};
use crate::wire::http2::hpack;
use crate::wire::http2::server::flow::PROBE;
use crate::wire::http2::server::{
    Block, Closed, Core, FAREWELL, Leaving, PREFACE, RESET, Received, STREAM_COST, STREAM_WINDOW, Stream,
};

/// Slack over the head limit: HPACK integers, and heads slightly too large, which get a 431 instead of a connection
/// error.
const BLOCK_MORE: usize = 16 << 10;
/// Frames in one field block: this many, and one for each KiB.
const BLOCK_FRAMES: usize = 16;

impl Core {
    /// Reads frames of `input` up to one that begins a request, whose head goes into `head`. Returns the bytes used.
    pub(crate) fn read(&mut self, input: &[u8], head: &mut Head) -> (usize, Received) {
        let mut used = 0;
        loop {
            if self.over {
                return (used, Received::Over);
            }
            match self.read_frame(&input[used..], head) {
                Ok(Some((length, began))) => {
                    used += length;
                    if self.limits.flood.is_some() {
                        self.end(Code::EnhanceYourCalm);
                    }
                    if let Some(place) = began {
                        return (used, Received::Request(place));
                    }
                }
                Ok(None) => return (used, Received::More),
                Err(code) => self.end(code),
            }
        }
    }

    /// Reads one frame: its length, and the place of the request that it began. `None`: it is incomplete.
    fn read_frame(&mut self, input: &[u8], head: &mut Head) -> Result<Option<(usize, Option<usize>)>, Code> {
        if !self.has_preface {
            let seen = input.len().min(PREFACE.len());
            if input[..seen] != PREFACE[..seen] {
                return Err(Code::Protocol);
            }
            self.has_preface = seen == PREFACE.len();
            return Ok(self.has_preface.then_some((PREFACE.len(), None)));
        }
        let Some(frame) = FrameHead::read(input) else { return Ok(None) };
        if frame.length > frame::LARGEST {
            return Err(Code::FrameSize);
        }
        // No other frame may come within a field block (RFC 9113, 4.3).
        let within = self.block.as_ref().map(|block| block.stream);
        if within.is_some_and(|stream| frame.kind != kind::CONTINUATION || frame.stream != stream)
            || within.is_none() && frame.kind == kind::CONTINUATION
            || !self.has_settings && frame.kind != kind::SETTINGS
        {
            return Err(Code::Protocol);
        }
        let Some(payload) = input.get(frame::HEAD..frame::HEAD + frame.length) else { return Ok(None) };
        let began = self.take_frame(frame, payload, head)?;
        Ok(Some((frame::HEAD + frame.length, began)))
    }

    fn take_frame(&mut self, frame: FrameHead, payload: &[u8], head: &mut Head) -> Result<Option<usize>, Code> {
        let of_stream = match frame.kind {
            kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION => Some(true),
            kind::SETTINGS | kind::PING | kind::GOAWAY => Some(false),
            _ => None,
        };
        if of_stream.is_some_and(|of_stream| of_stream != (frame.stream != 0)) {
            return Err(Code::Protocol);
        }
        match frame.kind {
            kind::DATA => self.data(frame, payload)?,
            kind::HEADERS => return self.headers(frame, payload, head),
            kind::CONTINUATION => return self.continuation(frame, payload, head),
            kind::RST_STREAM => self.rst_stream(frame.stream, payload)?,
            kind::SETTINGS => self.settings(frame, payload)?,
            kind::PING => self.ping(frame, payload)?,
            kind::WINDOW_UPDATE => self.window_update(frame.stream, payload)?,
            kind::PUSH_PROMISE => return Err(Code::Protocol),
            kind::PRIORITY if payload.len() != 5 => return Err(Code::FrameSize),
            kind::GOAWAY if payload.len() < 8 => return Err(Code::FrameSize),
            // PRIORITY and unknown frames are ignored (RFC 9113, 4.1 and 5.3).
            _ => self.limits.useless(),
        }
        Ok(None)
    }

    pub(super) fn place(&self, id: u32) -> Option<usize> {
        self.ids.iter().position(|known| *known == id).filter(|_| !matches!(id, 0 | RESET))
    }

    pub(super) fn is_idle(&self, id: u32) -> bool {
        id > self.last && !matches!(self.leaving, Leaving::After(_)) || id.is_multiple_of(2)
    }

    fn data(&mut self, frame: FrameHead, payload: &[u8]) -> Result<(), Code> {
        let id = frame.stream;
        if self.is_idle(id) {
            return Err(Code::Protocol);
        }
        self.recv_window -= payload.len() as i64;
        if self.recv_window < 0 {
            return Err(Code::FlowControl);
        }
        let data = unpadded(frame, payload)?;
        let ends = frame.has(flag::END_STREAM);
        let Some(place) = self.place(id) else {
            self.replenish();
            return self.after_the_end(id);
        };
        let stream = &mut self.streams[place];
        stream.recv_window -= payload.len() as i64;
        let wrong = if stream.received {
            Some(Code::StreamClosed)
        } else if stream.recv_window < 0 {
            Some(Code::FlowControl)
        } else {
            let length = data.len() as u64;
            // The body must match `content-length` (RFC 9113, 8.1.1).
            let fits = stream.missing.is_none_or(|missing| if ends { missing == length } else { missing >= length });
            if fits { None } else { Some(Code::Protocol) }
        };
        if let Some(code) = wrong {
            self.reset(place, code);
            self.replenish();
            return Ok(());
        }
        if let Some(missing) = &mut stream.missing {
            *missing -= data.len() as u64;
        }
        stream.incoming.extend_from_slice(data);
        stream.received = ends;
        self.woken.add(place);
        if data.is_empty() && !ends {
            self.limits.useless();
        } else {
            self.limits.useful();
        }
        self.account.charge_upload(data.len());
        self.measure(place, payload.len());
        // Padding is used on arrival.
        self.credit(place, payload.len() - data.len());
        self.replenish();
        Ok(())
    }

    fn after_the_end(&mut self, id: u32) -> Result<(), Code> {
        self.limits.useless();
        match self.closed.iter().rev().find(|(closed, _)| *closed == id) {
            // Sent before the client saw our reset.
            Some((_, Closed::ByUs)) => Ok(()),
            Some((_, Closed::Whole)) => Err(Code::StreamClosed),
            Some((_, Closed::ByClient)) | None if !self.is_late(id) => {
                self.refuse(id, Code::StreamClosed);
                Ok(())
            }
            Some((_, Closed::ByClient)) | None => Ok(()),
        }
    }

    /// Begun before the client read our GOAWAY.
    fn is_late(&self, id: u32) -> bool {
        matches!(self.leaving, Leaving::After(last) if id > last)
    }

    fn headers(&mut self, frame: FrameHead, payload: &[u8], head: &mut Head) -> Result<Option<usize>, Code> {
        if frame.stream.is_multiple_of(2) {
            return Err(Code::Protocol);
        }
        let mut fields = unpadded(frame, payload)?;
        if frame.has(flag::PRIORITY) {
            fields = fields.get(5..).ok_or(Code::FrameSize)?;
        }
        let ends = frame.has(flag::END_STREAM);
        if frame.has(flag::END_HEADERS) {
            return self.fields(frame.stream, ends, fields, head);
        }
        self.block = Some(Block { stream: frame.stream, ends, bytes: fields.to_vec(), frames: 0 });
        Ok(None)
    }

    fn continuation(&mut self, frame: FrameHead, payload: &[u8], head: &mut Head) -> Result<Option<usize>, Code> {
        let Some(block) = &mut self.block else { return Err(Code::Protocol) };
        block.bytes.extend_from_slice(payload);
        block.frames += 1;
        // The client decides where a block ends, so its size and frames are limited.
        if block.bytes.len() > self.max_head + BLOCK_MORE || block.frames > BLOCK_FRAMES + block.bytes.len() / 1024 {
            return Err(Code::EnhanceYourCalm);
        }
        if !frame.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let Some(block) = self.block.take() else { return Err(Code::Protocol) };
        self.fields(block.stream, block.ends, &block.bytes, head)
    }

    fn fields(&mut self, id: u32, ends: bool, block: &[u8], head: &mut Head) -> Result<Option<usize>, Code> {
        if let Some(place) = self.place(id) {
            self.trailers(place, ends, block)?;
            return Ok(None);
        }
        let read = self.unpack(block, head)?;
        if self.is_late(id) {
            self.limits.useless();
            return Ok(None);
        }
        if id <= self.last {
            let known = self.closed.iter().any(|(closed, _)| *closed == id);
            // The id was skipped, or the stream is forgotten: ids only grow (RFC 9113, 5.1.1).
            if !known {
                return Err(Code::Protocol);
            }
            self.after_the_end(id)?;
            return Ok(None);
        }
        self.last = id;
        if self.open >= self.max_streams {
            self.refused.streams += 1;
            self.refuse(id, Code::RefusedStream);
            return Ok(None);
        }
        match read.and_then(|()| length_of(head, ends).ok_or(Unusable::Malformed)) {
            Ok(missing) => {
                let cost = STREAM_COST + head.memory();
                if self.account.has_room_for(cost) {
                    return Ok(Some(self.begin(id, ends, missing, cost)));
                }
                self.refused.memory += 1;
                self.refuse(id, Code::RefusedStream);
                Ok(None)
            }
            Err(Unusable::Malformed) => {
                self.refused.malformed += 1;
                self.refuse(id, Code::Protocol);
                Ok(None)
            }
            Err(Unusable::TooLarge) => {
                head.clear();
                head.set_status_line(431, b"");
                head.push_known(Name::ContentLength, b"0");
                self.write_answer(id, head, true);
                self.refused.too_large += 1;
                self.limits.refused();
                if ends {
                    self.remember(id, Closed::Whole);
                } else {
                    self.refuse(id, Code::NoError);
                }
                Ok(None)
            }
        }
    }

    /// Decodes every block, even of a refused request: later blocks depend on its table changes.
    fn unpack(&mut self, block: &[u8], head: &mut Head) -> Result<Result<(), Unusable>, Code> {
        let mut reader = Reader::request(head, &mut self.scratch, self.max_head);
        let unpacked = self.fields.decode(block, |name, value| reader.take(name, value));
        unpacked.map_err(|hpack::Malformed| Code::Compression)?;
        self.limits.unpacked(block.len(), reader.unpacked());
        let read = reader.finish();
        self.fields.shrink();
        self.scratch.shrink();
        Ok(read)
    }

    fn trailers(&mut self, place: usize, ends: bool, block: &[u8]) -> Result<(), Code> {
        let stream = &mut self.streams[place];
        let mut reader = Reader::trailers(&mut stream.trailers, &mut self.scratch, self.max_head);
        let unpacked = self.fields.decode(block, |name, value| reader.take(name, value));
        unpacked.map_err(|hpack::Malformed| Code::Compression)?;
        self.limits.unpacked(block.len(), reader.unpacked());
        let wrong = if stream_is_over(reader.finish(), ends, stream.missing) { None } else { Some(Code::Protocol) };
        let cost = stream.trailers.memory();
        let wrong = if self.account.has_room_for(cost) { wrong } else { Some(Code::EnhanceYourCalm) };
        let wrong = if stream.received { Some(Code::StreamClosed) } else { wrong };
        match wrong {
            Some(code) => self.reset(place, code),
            None => {
                stream.received = true;
                stream.charged += cost;
                self.account.charge_request(cost);
                self.woken.add(place);
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: u32, ends: bool, missing: Option<u64>, cost: usize) -> usize {
        self.account.charge_request(cost);
        let place = self.ids.iter().position(|known| *known == 0).unwrap_or(self.ids.len());
        let stream = Stream {
            send_window: self.first_window,
            recv_window: STREAM_WINDOW.into(),
            window: STREAM_WINDOW,
            charged: cost,
            missing,
            received: ends,
            ..Stream::default()
        };
        if place == self.ids.len() {
            self.ids.push(id);
            self.streams.push(stream);
        } else {
            self.ids[place] = id;
            self.streams[place] = stream;
        }
        self.open += 1;
        self.woken.add(place);
        self.limits.useful();
        place
    }

    fn rst_stream(&mut self, id: u32, payload: &[u8]) -> Result<(), Code> {
        if payload.len() != 4 {
            return Err(Code::FrameSize);
        }
        match self.place(id) {
            Some(place) => {
                self.limits.reset();
                self.take_out(place, Closed::ByClient);
            }
            None if self.is_idle(id) => return Err(Code::Protocol),
            None => self.limits.useless(),
        }
        Ok(())
    }

    fn settings(&mut self, frame: FrameHead, payload: &[u8]) -> Result<(), Code> {
        self.limits.settings(payload.len() / 6);
        if frame.has(flag::ACK) {
            return if payload.is_empty() && self.has_settings { Ok(()) } else { Err(Code::FrameSize) };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Code::FrameSize);
        }
        // Only the last value is applied: each change costs work for every open stream (CVE-2020-11080).
        let mut window = None;
        for setting in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                setting::HEADER_TABLE_SIZE => self.written.allow(value),
                setting::ENABLE_PUSH if value > 1 => return Err(Code::Protocol),
                setting::INITIAL_WINDOW_SIZE if i64::from(value) > LARGEST_WINDOW => return Err(Code::FlowControl),
                setting::INITIAL_WINDOW_SIZE => window = Some(value),
                setting::MAX_FRAME_SIZE => {
                    if !(frame::LARGEST as u32..1 << 24).contains(&value) {
                        return Err(Code::Protocol);
                    }
                    self.largest_frame = value as usize;
                }
                _ => {}
            }
        }
        if let Some(window) = window {
            self.first_window(window)?;
        }
        self.has_settings = true;
        frame::write_head(0, kind::SETTINGS, flag::ACK, 0, self.output.tail());
        Ok(())
    }

    fn ping(&mut self, frame: FrameHead, payload: &[u8]) -> Result<(), Code> {
        if payload.len() != 8 {
            return Err(Code::FrameSize);
        }
        if frame.has(flag::ACK) && payload == PROBE && self.line.answered() {
            return Ok(());
        }
        self.limits.useless();
        if !frame.has(flag::ACK) {
            frame::write_ping(flag::ACK, payload, self.output.tail());
        } else if payload == FAREWELL && self.leaving == Leaving::Told {
            self.leaving = Leaving::After(self.last);
            frame::write_goaway(self.last, Code::NoError, self.output.tail());
        }
        Ok(())
    }
}

fn unpadded(frame: FrameHead, payload: &[u8]) -> Result<&[u8], Code> {
    if !frame.has(flag::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Code::FrameSize)?;
    let length = rest.len().checked_sub(usize::from(*padding)).ok_or(Code::Protocol)?;
    Ok(&rest[..length])
}

/// The body's length, if the head tells it. `None`: it contradicts END_STREAM.
fn length_of(head: &Head, ends: bool) -> Option<Option<u64>> {
    if !head.has(Name::ContentLength) {
        return Some(None);
    }
    let told = match Framing::of_request(head, false) {
        Ok(Framing::Length(length)) => length,
        Ok(_) => 0,
        Err(_) => return None,
    };
    (!ends || told == 0).then_some(Some(told))
}

/// These are valid trailers behind a complete body.
fn stream_is_over(read: Result<(), Unusable>, ends: bool, missing: Option<u64>) -> bool {
    read.is_ok() && ends && missing.is_none_or(|missing| missing == 0)
}
