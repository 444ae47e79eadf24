//! The framing of HTTP/1.1 bodies (RFC 9112, 6 and 7): which it is, undoing it, and making it.
//!
//! Chunks are undone and made anew, so what the sender put beside the data (sizes in another form, extensions) goes no
//! further than here.

use memchr::memchr;

use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::parse;

/// A line with the size of a chunk is no longer, its extensions included.
const MAX_CHUNK_LINE: usize = 1024;
/// The extensions of all chunks of a body are no longer than this.
const MAX_EXTENSIONS: usize = 16 << 10;
/// The fields behind a body are no longer than this.
const MAX_TRAILERS: usize = 16 << 10;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    None,
    /// So many bytes; at least one.
    Length(u64),
    /// Chunks, and then trailers.
    Chunked,
    /// Everything until the connection, or its stream, ends.
    UntilEnd,
}

/// Framing that can be read in two ways, or in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous(pub(crate) &'static str);

impl Framing {
    /// Of a request. Exactly one `Content-Length`, or `chunked` and nothing else, or no body.
    /// `bodiless`: that there is none is known by other means.
    pub(crate) fn of_request(head: &Head, bodiless: bool) -> Result<Framing, Ambiguous> {
        let declared = declared(head)?;
        Ok(match head.version {
            Version::Http2 if bodiless || head.extended_connect => Framing::None,
            Version::Http2 => declared.unwrap_or(Framing::Chunked),
            Version::Http10 | Version::Http11 => declared.unwrap_or(Framing::None),
        })
    }

    /// Of an answer to a request with HEAD, or any other.
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
            // Equal ones are one that was repeated on the way (RFC 9110, 8.6).
            if lengths.any(|other| other != length) {
                return Err(Ambiguous("There are several lengths."));
            }
            let digits = !length.is_empty() && length.len() <= 19 && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok().filter(|_| digits).and_then(|length| length.parse().ok());
            match length {
                Some(0) => Ok(Some(Framing::None)),
                // As with the size of a chunk: somebody further on may take it for a negative number.
                Some(length) if length > i64::MAX as u64 => Err(Ambiguous("The length is too large.")),
                Some(length) => Ok(Some(Framing::Length(length))),
                None => Err(Ambiguous("The length is not a number.")),
            }
        }
        (None, Some(coding)) => {
            // Whoever passes another coding on without having undone it changes the body.
            let chunked = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
            if chunked && head.version == Version::Http11 {
                Ok(Some(Framing::Chunked))
            } else {
                Err(Ambiguous("The transfer coding is not understood."))
            }
        }
    }
}

/// A body that breaks its own framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// What stands at the beginning of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes of the body.
    Data(usize),
    /// So many bytes of framing.
    Skip(usize),
    /// Not enough to say.
    More,
    /// The body is over.
    End,
}

/// Undoes the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoder {
    state: State,
    /// Bytes of chunk extensions in this body so far.
    extensions: usize,
    /// Bytes of the input that were searched for the end of the trailers.
    searched: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A request's head was read, and its framing is not known.
    Unknown,
    /// No body, or all of it was read.
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

    /// Before the framing of a message is known: nothing of it can be read, and nothing behind it.
    pub(crate) fn unknown() -> Decoder {
        Decoder { state: State::Unknown, extensions: 0, searched: 0 }
    }

    /// The whole body was read.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The end of the connection is the end of the body.
    pub(crate) fn is_until_end(&self) -> bool {
        self.state == State::UntilEnd
    }

    /// What is left of a body with a length.
    pub(crate) fn length_left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Looks at the input. Trailers, once they are complete, are put into `trailers`.
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

    /// Trailers are parsed once, when all of them are here.
    fn trailers(&mut self, input: &[u8], trailers: &mut Head) -> Result<Step, Malformed> {
        const LONG: Malformed = Malformed("the trailers are too long");
        if let [b'\r', b'\n', ..] = input {
            self.state = State::Over;
            return Ok(Step::Skip(2));
        }
        // A line feed alone is refused by the parser.
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

    /// So many bytes of the data that [`Decoder::step`] found were taken.
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

    /// How much is still to come, if that is known.
    pub(crate) fn hint(&self) -> u64 {
        match self.state {
            State::Length(left) | State::ChunkData(left) => left,
            State::UntilEnd => u64::MAX,
            State::Unknown | State::Over | State::ChunkSize | State::ChunkEnd | State::Trailers => 0,
        }
    }
}

/// The line before a chunk.
struct ChunkLine {
    size: u64,
    length: usize,
    extensions: usize,
}

/// Reads the line before a chunk. Hexadecimal digits and nothing else; extensions are passed over.
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
    // A size in which the sign bit is set is not a size: somebody further on may take it for a negative number.
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

/// Makes the framing, and keeps the order of a message: interim heads, the final head, the body, its trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// The final head of an answer has not begun. Interim answers are written in no other state.
    Heads,
    /// The body is complete, or there is none.
    Over,
    Length(u64),
    Chunked {
        /// Of the chunk whose size was written.
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

/// Writes the line with the size of a chunk.
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

/// Whether a trailer may be passed on: nothing that frames, routes or authenticates a message (RFC 9110, 6.5.1).
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
