//! HTTP/1.1 body framing (RFC 9112, 6 and 7): determined, decoded and encoded. [`Framing`] says how a body ends, and
//! [`Decoder::step`] where it does; in HTTP/2 both are END_STREAM.
//!
//! Chunks are always re-encoded, so a sender's chunk extensions and unusual sizes are not forwarded.

use memchr::memchr;

use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::parse;

/// Longest chunk-size line, with its extensions.
const MAX_CHUNK_LINE: usize = 1024;
const MAX_EXTENSIONS: usize = 16 << 10;
const MAX_TRAILERS: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    /// At least one byte.
    Length(u64),
    Chunked,
    UntilEnd,
}

/// Framing that can be read in two ways, or in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous(pub(crate) &'static str);

impl Framing {
    /// Exactly one `Content-Length`, or `chunked` alone, or no body.
    ///
    /// `bodiless`: the transport has already said so (END_STREAM).
    pub(crate) fn of_request(head: &Head, bodiless: bool) -> Result<Framing, Ambiguous> {
        let declared = declared(head)?;
        Ok(match head.version {
            Version::Http2 if bodiless || head.extended_connect => Framing::None,
            Version::Http2 => declared.unwrap_or(Framing::Chunked),
            Version::Http10 | Version::Http11 => declared.unwrap_or(Framing::None),
        })
    }

    /// `to_head`: the answer to a HEAD request, which has no body.
    pub(crate) fn of_answer(head: &Head, to_head: bool) -> Result<Framing, Ambiguous> {
        let declared = declared(head)?;
        if to_head || matches!(head.status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        Ok(declared.unwrap_or(Framing::UntilEnd))
    }
}

fn declared(head: &Head) -> Result<Option<Framing>, Ambiguous> {
    let mut lengths = head.all(Name::ContentLength);
    let mut codings = head.all(Name::TransferEncoding);
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Ambiguous("There are both a length and a transfer coding.")),
        (Some(length), None) => {
            // Equal values are one that was repeated (RFC 9110, 8.6).
            if lengths.any(|other| other != length) {
                return Err(Ambiguous("There are several lengths."));
            }
            let digits = !length.is_empty() && length.len() <= 19 && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok().filter(|_| digits).and_then(|length| length.parse().ok());
            match length {
                Some(0) => Ok(Some(Framing::None)),
                // Beyond this another implementation may read a negative number.
                Some(length) if length > i64::MAX as u64 => Err(Ambiguous("The length is too large.")),
                Some(length) => Ok(Some(Framing::Length(length))),
                None => Err(Ambiguous("The length is not a number.")),
            }
        }
        (None, Some(coding)) => {
            // Only `chunked` is decoded here; any other coding would be forwarded with the wrong framing.
            let chunked = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
            if chunked && head.version == Version::Http11 {
                Ok(Some(Framing::Chunked))
            } else {
                Err(Ambiguous("The transfer coding is not understood."))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Data(usize),
    Skip(usize),
    More,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoder {
    state: State,
    extensions: usize,
    searched: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// After a request's head, until its framing is set: neither body nor next request can be read.
    Unknown,
    Over,
    Length(u64),
    UntilEnd,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Decoder {
        let state = match framing {
            Framing::None => State::Over,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilEnd => State::UntilEnd,
        };
        Decoder { state, extensions: 0, searched: 0 }
    }

    pub(crate) fn unknown() -> Decoder {
        Decoder { state: State::Unknown, extensions: 0, searched: 0 }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(crate) fn is_until_end(&self) -> bool {
        self.state == State::UntilEnd
    }

    pub(crate) fn length_left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Decodes the beginning of `input`. Complete trailers are put into `trailers`.
    pub(crate) fn step(&mut self, input: &[u8], trailers: &mut Head) -> Result<Step, Malformed> {
        let available = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        match self.state {
            State::Unknown => Err(Malformed("its framing is not known")),
            State::Over => Ok(Step::End),
            State::Length(_) | State::UntilEnd | State::ChunkData(_) if input.is_empty() => Ok(Step::More),
            State::Length(left) | State::ChunkData(left) => Ok(Step::Data(available(left))),
            State::UntilEnd => Ok(Step::Data(input.len())),
            State::ChunkSize => {
                let Some(line) = chunk_size(input)? else { return Ok(Step::More) };
                self.extensions += line.extensions;
                if self.extensions > MAX_EXTENSIONS {
                    return Err(Malformed("the extensions of the chunks are too long"));
                }
                self.state = if line.size == 0 { State::Trailers } else { State::ChunkData(line.size) };
                Ok(Step::Skip(line.length))
            }
            State::ChunkEnd => match input {
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkSize;
                    Ok(Step::Skip(2))
                }
                [] | [b'\r'] => Ok(Step::More),
                _ => Err(Malformed("a chunk does not end where its size says")),
            },
            State::Trailers => self.trailers(input, trailers),
        }
    }

    fn trailers(&mut self, input: &[u8], trailers: &mut Head) -> Result<Step, Malformed> {
        const LONG: Malformed = Malformed("the trailers are too long");
        if let [b'\r', b'\n', ..] = input {
            self.state = State::Over;
            return Ok(Step::Skip(2));
        }
        // An empty line is the end of the body; the parser refuses a bare LF.
        if input.first() != Some(&b'\n') && !parse::has_empty_line(input, self.searched) {
            self.searched = input.len();
            return if input.len() >= MAX_TRAILERS { Err(LONG) } else { Ok(Step::More) };
        }
        match parse::trailers(input, trailers).map_err(|_| Malformed("the trailers are not valid"))? {
            Some(length) if length > MAX_TRAILERS => Err(LONG),
            Some(length) => {
                self.state = State::Over;
                Ok(Step::Skip(length))
            }
            None if input.len() >= MAX_TRAILERS => Err(LONG),
            None => Ok(Step::More),
        }
    }

    pub(crate) fn consumed(&mut self, n: usize) {
        match &mut self.state {
            State::Length(left) => {
                *left -= n as u64;
                if *left == 0 {
                    self.state = State::Over;
                }
            }
            State::ChunkData(left) => {
                *left -= n as u64;
                if *left == 0 {
                    self.state = State::ChunkEnd;
                }
            }
            State::Unknown | State::Over | State::UntilEnd | State::ChunkSize | State::ChunkEnd | State::Trailers => {}
        }
    }

    /// Bytes still to come; 0: unknown.
    pub(crate) fn hint(&self) -> u64 {
        match self.state {
            State::Length(left) | State::ChunkData(left) => left,
            State::UntilEnd => u64::MAX,
            State::Unknown | State::Over | State::ChunkSize | State::ChunkEnd | State::Trailers => 0,
        }
    }
}

struct ChunkLine {
    size: u64,
    length: usize,
    extensions: usize,
}

fn chunk_size(input: &[u8]) -> Result<Option<ChunkLine>, Malformed> {
    const BAD: Malformed = Malformed("the size of a chunk is not valid");
    let seen = &input[..input.len().min(MAX_CHUNK_LINE)];
    let Some(end) = memchr(b'\n', seen) else {
        let digits = seen.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let plausible = digits <= 16 && seen.get(digits).is_none_or(|next| digits > 0 && b";\r".contains(next));
        return if plausible && seen.len() < MAX_CHUNK_LINE { Ok(None) } else { Err(BAD) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(BAD)?;
    let digits = memchr(b';', line).unwrap_or(line.len());
    let (digits, extensions) = line.split_at(digits);
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BAD);
    }
    if extensions.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(BAD);
    }
    let size = digits.iter().fold(0_u64, |size, digit| size << 4 | u64::from(hex(*digit)));
    // Beyond this another implementation may read a negative number.
    if size > i64::MAX as u64 {
        return Err(BAD);
    }
    Ok(Some(ChunkLine { size, length: end + 1, extensions: extensions.len() }))
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Encodes the body, and enforces the order of a message: interim heads, final head, body, trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// No final head yet; interim answers are written in no other state.
    Heads,
    /// The body is complete, or absent.
    Over,
    Length(u64),
    Chunked {
        left: u64,
    },
    UntilEnd,
}

impl Encoder {
    pub(crate) fn new(framing: Framing) -> Encoder {
        match framing {
            Framing::None => Encoder::Over,
            Framing::Length(length) => Encoder::Length(length),
            Framing::Chunked => Encoder::Chunked { left: 0 },
            Framing::UntilEnd => Encoder::UntilEnd,
        }
    }
}

pub(crate) fn write_chunk_size(size: usize, wire: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = size;
    loop {
        at -= 1;
        digits[at] = HEX[rest & 15];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    wire.extend_from_slice(&digits[at..]);
    wire.extend_from_slice(b"\r\n");
}

/// Trailers must not frame, route or authenticate a message (RFC 9110, 6.5.1).
pub(crate) fn is_trailer(kind: Name, name: &[u8]) -> bool {
    const NOT: [&str; 9] = [
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "max-forwards",
        "set-cookie",
        "trailer",
        "proxy-authorization",
    ];
    kind == Name::Other && NOT.iter().all(|not| !name.eq_ignore_ascii_case(not.as_bytes()))
}

#[cfg(test)]
mod tests;
