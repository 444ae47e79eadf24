//! HTTP/2 frames (RFC 9113, 4 and 6): constants, frame heads, and writing short frames.

pub(crate) const HEAD: usize = 9;
/// Largest frame accepted and sent (RFC 9113, 4.2).
pub(crate) const LARGEST: usize = 16 << 10;
/// RFC 9113, 6.9.1.
pub(crate) const LARGEST_WINDOW: i64 = (1 << 31) - 1;
pub(crate) const FIRST_WINDOW: i64 = 65_535;

pub(crate) mod kind {
    //! RFC 9113, 6.
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

pub(crate) mod flag {
    //! RFC 9113, 6.
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

pub(crate) mod setting {
    //! RFC 9113, 6.5.2; RFC 8441, 3.
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Code {
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Compression = 9,
    EnhanceYourCalm = 11,
}

impl Code {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Code::NoError => "NO_ERROR",
            Code::Protocol => "PROTOCOL_ERROR",
            Code::Internal => "INTERNAL_ERROR",
            Code::FlowControl => "FLOW_CONTROL_ERROR",
            Code::StreamClosed => "STREAM_CLOSED",
            Code::FrameSize => "FRAME_SIZE_ERROR",
            Code::RefusedStream => "REFUSED_STREAM",
            Code::Compression => "COMPRESSION_ERROR",
            Code::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl FrameHead {
    pub(crate) fn read(input: &[u8]) -> Option<FrameHead> {
        let [a, b, c, kind, flags, stream @ ..] = *input.first_chunk::<HEAD>()?;
        Some(FrameHead {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The first bit is reserved.
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        })
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

pub(crate) fn write_head(length: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    debug_assert!(length < 1 << 24);
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, d, e, f, g]);
}

pub(crate) fn write_reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    write_head(4, kind::RST_STREAM, 0, stream, out);
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

pub(crate) fn write_window_update(stream: u32, by: u32, out: &mut Vec<u8>) {
    write_head(4, kind::WINDOW_UPDATE, 0, stream, out);
    out.extend_from_slice(&by.to_be_bytes());
}

pub(crate) fn write_ping(flags: u8, payload: &[u8], out: &mut Vec<u8>) {
    write_head(payload.len(), kind::PING, flags, 0, out);
    out.extend_from_slice(payload);
}

pub(crate) fn write_goaway(last: u32, code: Code, out: &mut Vec<u8>) {
    write_head(8, kind::GOAWAY, 0, 0, out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

pub(crate) fn write_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    write_head(6 * settings.len(), kind::SETTINGS, 0, 0, out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Fills in the length of the frame that extends from `start` to the end of `out`. A field block longer than a frame is
/// cut into CONTINUATION frames.
pub(crate) fn close_fields(start: usize, stream: u32, largest: usize, out: &mut Vec<u8>) {
    let length = out.len() - start - HEAD;
    if length <= largest {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        out[start..start + 3].copy_from_slice(&[a, b, c]);
        return;
    }
    let rest = out.split_off(start + HEAD + largest);
    let [_, a, b, c] = (largest as u32).to_be_bytes();
    out[start..start + 3].copy_from_slice(&[a, b, c]);
    out[start + 4] &= !flag::END_HEADERS;
    let mut pieces = rest.chunks(largest).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        write_head(piece.len(), kind::CONTINUATION, flags, stream, out);
        out.extend_from_slice(piece);
    }
}
