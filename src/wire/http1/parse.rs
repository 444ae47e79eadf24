//! Strict parsing of HTTP/1.1 heads (RFC 9112).
//!
//! httparse parses. It accepts lines that end in a bare LF, non-ASCII bytes in a target, and methods of any length;
//! these are legal to accept, but request smuggling is made of them, so they are refused here.

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Error, Header, ParserConfig, Status};
use memchr::memchr_iter;

use crate::wire::head::{Builder, Head, Version};

const MAX_FIELDS: usize = 100;
/// Fields of an answer that fit without an allocation.
const FIELDS_AT_ONCE: usize = 256;
/// The longest registered method has 17 letters.
const MAX_METHOD: usize = 32;
/// Limit of the `http` crate's `Uri`.
const MAX_TARGET: usize = 65_534;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerLimits {
    pub(crate) fields: usize,
    pub(crate) bytes: usize,
}

impl AnswerLimits {
    pub(crate) const DEFAULT: AnswerLimits = AnswerLimits { fields: FIELDS_AT_ONCE, bytes: 256 << 10 };

    /// Checks a head that came by HTTP/2.
    pub(crate) fn check(&self, head: &Head) -> Result<(), Refused> {
        let bytes: usize = head.fields().map(|(_, name, value)| name.len() + value.len() + 4).sum();
        match () {
            () if head.len() > self.fields => Err(Refused::TooManyFields),
            () if bytes > self.bytes => Err(Refused::TooLarge),
            () => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// 400; 502 for an answer.
    Malformed(&'static str),
    TargetTooLong,
    TooLarge,
    /// 503: the process is at its memory limit.
    NoMemory,
    TooManyFields,
}

/// Reads a head from the start of `input`: its length, or `None` while it is incomplete.
pub(crate) fn request(input: &[u8], head: &mut Head) -> Result<Option<usize>, Refused> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(input, &mut fields) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let raw = lines_end_well(&input[..length])?;
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    if method.len() > MAX_METHOD {
        return Err(Refused::Malformed("The method is not valid."));
    }
    if target.len() > MAX_TARGET {
        return Err(Refused::TargetTooLong);
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Refused::Malformed("The request target is not valid."));
    }
    let mut builder = Builder::new(head, raw);
    builder.request_line(version(parsed.version), method, target);
    parsed.headers.iter().for_each(|field| builder.field(field.name, field.value));
    Ok(Some(length))
}

/// The same for an answer with at most `max` fields.
pub(crate) fn answer_within(input: &[u8], head: &mut Head, max: usize) -> Result<Option<usize>, Refused> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_AT_ONCE];
    let few = max.min(FIELDS_AT_ONCE);
    match answer_with(input, head, &mut fields[..few]) {
        Err(Refused::TooManyFields) if max > few => {
            let mut fields = vec![MaybeUninit::<Header<'_>>::uninit(); max];
            answer_with(input, head, &mut fields)
        }
        read => read,
    }
}

fn answer_with<'a>(
    input: &'a [u8],
    head: &mut Head,
    fields: &mut [MaybeUninit<Header<'a>>],
) -> Result<Option<usize>, Refused> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, fields) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(Refused::TooManyFields),
        Err(error) => return Err(refused(error)),
    };
    let raw = lines_end_well(&input[..length])?;
    let status = parsed.code.unwrap_or_default();
    // It would count as an interim answer, which can't be forwarded (RFC 9110, 15).
    if status < 100 {
        return Err(Refused::Malformed("The status is not valid."));
    }
    let mut builder = Builder::new(head, raw);
    builder.status_line(version(parsed.version), status, parsed.reason.unwrap_or_default());
    parsed.headers.iter().for_each(|field| builder.field(field.name, field.value));
    Ok(Some(length))
}

pub(crate) fn trailers(input: &[u8], head: &mut Head) -> Result<Option<usize>, Refused> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let (length, fields) = match httparse::parse_headers(input, &mut fields) {
        Ok(Status::Complete(parsed)) => parsed,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let raw = lines_end_well(&input[..length])?;
    let mut builder = Builder::new(head, raw);
    fields.iter().for_each(|field| builder.field(field.name, field.value));
    Ok(Some(length))
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

fn refused(error: Error) -> Refused {
    match error {
        Error::TooManyHeaders => Refused::TooLarge,
        Error::Version => Refused::Malformed("The request line does not end in a version that is spoken here."),
        Error::HeaderName => Refused::Malformed("The name of a header field is not valid."),
        Error::HeaderValue => Refused::Malformed("The value of a header field is not valid."),
        Error::NewLine | Error::Token | Error::Status => Refused::Malformed("The head is not valid."),
    }
}

pub(crate) fn has_empty_line(bytes: &[u8], looked: usize) -> bool {
    let from = looked.saturating_sub(2);
    memchr_iter(b'\n', &bytes[from..]).any(|end| {
        let rest = &bytes[from + end + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

/// The line for which an answer's head was refused: the first that fails alone, else the first.
#[cold]
pub(crate) fn refused_line(input: &[u8]) -> &[u8] {
    let mut lines = input.split_inclusive(|byte| *byte == b'\n').take(1 << 10);
    let first = lines.next().unwrap_or_default();
    let is_bad = |line: &[u8], alone: &dyn Fn(&[u8]) -> bool| {
        lines_end_well(line).is_err() || (line.ends_with(b"\r\n") && !alone(&[line, b"\r\n"].concat()))
    };
    let is_status = |line: &[u8]| {
        let mut none = [];
        let mut answer = httparse::Response::new(&mut none);
        answer.parse(line).is_ok() && answer.code.is_some_and(|code| code >= 100)
    };
    let is_field = |line: &[u8]| httparse::parse_headers(line, &mut [EMPTY_HEADER]).is_ok();
    if is_bad(first, &is_status) {
        return first;
    }
    lines.take_while(|line| *line != b"\r\n").find(|line| is_bad(line, &is_field)).unwrap_or(first)
}

fn lines_end_well(head: &[u8]) -> Result<&[u8], Refused> {
    let well = memchr_iter(b'\n', head).all(|end| end > 0 && head[end - 1] == b'\r');
    if well { Ok(head) } else { Err(Refused::Malformed("A line ends in a bare line feed.")) }
}

#[cfg(test)]
mod tests;
