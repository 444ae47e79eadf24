//! Where the frames of a WebSocket begin and end (RFC 6455, 5.2), and the frame that ends one.
//!
//! Only headers are looked at, and of those only what says where the next one is. Whether messages make sense is for
//! the two ends to say; compression changes nothing here. A frame of ours may stand between any two frames, also
//! between the fragments of a message, if it is a control frame (5.4).

/// The longest header: two bytes, eight for the length, four for the mask.
const HEADER: usize = 14;
/// The opcode of a close frame.
const CLOSE: u8 = 8;

/// How far one direction of a WebSocket has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frames {
    /// What comes from a client is masked, and nothing else is (5.1).
    masked: bool,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// So much of a header is known; nothing: between two frames.
    Header { bytes: [u8; HEADER], known: usize },
    /// So much of a payload is to come.
    Payload { left: u64, closes: bool },
    /// A close frame has come as a whole; nothing follows it.
    Closed,
    /// The framing was violated: from here on nobody knows where a frame begins.
    Lost,
}

const BETWEEN: At = At::Header { bytes: [0; HEADER], known: 0 };

impl Frames {
    /// Those that a client sends.
    pub(crate) fn of_client() -> Frames {
        Frames { masked: true, at: BETWEEN }
    }

    /// Those that an endpoint sends.
    pub(crate) fn of_endpoint() -> Frames {
        Frames { masked: false, at: BETWEEN }
    }

    /// A frame has ended, and the next one has not begun.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.at, At::Header { known: 0, .. })
    }

    /// A close frame has passed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.at, At::Closed)
    }

    /// The framing was violated.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.at, At::Lost)
    }

    /// These bytes have passed.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// How many of the next bytes belong to the frame under way; between two frames none does.
    pub(crate) fn rest(mut self, bytes: &[u8]) -> usize {
        if self.is_between() { 0 } else { self.step(bytes) }
    }

    /// Goes on to the end of the frame, or as far as these bytes go; how many of them that were.
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

/// How long a header is that begins like this.
fn length_of_header(known: &[u8]) -> usize {
    let [_, second, ..] = known else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

/// What follows a header that is complete.
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

/// A close frame (5.5.1). The reason is short: a control frame holds 125 bytes.
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
