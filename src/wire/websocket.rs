//! The boundaries of WebSocket frames (RFC 6455, 5.2), and the close frame.
//!
//! Only the part of a header that locates the next frame is read; messages and compression are left to the two ends. A
//! control frame may be inserted between any two frames, even between fragments of a message (5.4).

/// Longest header: two bytes, eight of length, four of mask.
const HEADER: usize = 14;
const CLOSE: u8 = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// Frames of clients are masked, those of servers are not (5.1).
    masked: bool,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Within a header; with nothing known: between two frames.
    Header { bytes: [u8; HEADER], known: usize },
    /// Within a payload of which `left` bytes are missing.
    Payload { left: u64, closes: bool },
    /// A close frame is complete; nothing follows it.
    Closed,
    /// The framing was violated, so frame boundaries are unknown.
    Lost,
}

const BETWEEN: At = At::Header { bytes: [0; HEADER], known: 0 };

impl Frames {
    pub(crate) fn of_client() -> Frames {
        Frames { masked: true, at: BETWEEN }
    }

    pub(crate) fn of_endpoint() -> Frames {
        Frames { masked: false, at: BETWEEN }
    }

    pub(crate) fn is_between(&self) -> bool {
        matches!(self.at, At::Header { known: 0, .. })
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.at, At::Closed)
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.at, At::Lost)
    }

    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    pub(crate) fn rest(mut self, bytes: &[u8]) -> usize {
        if self.is_between() { 0 } else { self.step(bytes) }
    }

    fn step(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            match &mut self.at {
                At::Header { bytes: header, known } => {
                    let Some(next) = bytes.get(used) else { return used };
                    header[*known] = *next;
                    *known += 1;
                    used += 1;
                    if *known < length_of_header(&header[..*known]) {
                        continue;
                    }
                    self.at = after_header(&header[..*known], self.masked);
                    if matches!(self.at, At::Closed | At::Header { .. }) {
                        return used;
                    }
                }
                At::Payload { left, closes } => {
                    let there = (bytes.len() - used) as u64;
                    if there < *left {
                        *left -= there;
                        return bytes.len();
                    }
                    used += *left as usize;
                    self.at = if *closes { At::Closed } else { BETWEEN };
                    return used;
                }
                At::Closed | At::Lost => return bytes.len(),
            }
        }
    }
}

fn length_of_header(known: &[u8]) -> usize {
    let [_, second, ..] = known else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

fn after_header(header: &[u8], masked: bool) -> At {
    let (fin, opcode) = (header[0] & 0x80 != 0, header[0] & 0x0f);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let (length, least) = match header[1] & 0x7f {
        126 => (number(&header[2..4]), 126),
        127 => (number(&header[2..10]), 1 << 16),
        short => (u64::from(short), 0),
    };
    let is_control = opcode >= 8;
    if (header[1] & 0x80 != 0) != masked
        || length < least
        || length > i64::MAX as u64
        || is_control && (!fin || length > 125)
    {
        return At::Lost;
    }
    match (length, opcode) {
        (0, CLOSE) => At::Closed,
        (0, _) => BETWEEN,
        _ => At::Payload { left: length, closes: opcode == CLOSE },
    }
}

/// A close frame (RFC 6455, 5.5.1). A control frame holds at most 125 bytes, so the reason must be short.
pub(crate) fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    debug_assert!(payload.len() <= 125);
    let mut frame = vec![0x80 | CLOSE, payload.len() as u8];
    match mask {
        Some(mask) => {
            frame[1] |= 0x80;
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
        None => frame.extend(payload),
    }
    frame
}

#[cfg(test)]
mod tests;
