//! The fields of a client's HTTP/2 message as a [`Head`] (RFC 9113, 8.2 and 8.3).
//!
//! A message that another implementation could read differently is refused as malformed.

use std::ops::Range;

use crate::wire::head::{Head, Name, Version};

/// The longest registered method has 17 letters.
const MAX_METHOD: usize = 32;
/// Limit of the `http` crate's `Uri`.
const MAX_TARGET: usize = 65_534;
/// Overhead of a field in SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, 6.5.2).
const OVERHEAD: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    Malformed,
    TooLarge,
}

#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pseudo: Vec<u8>,
    cookies: Vec<u8>,
}

impl Scratch {
    pub(crate) fn shrink(&mut self) {
        for scratch in [&mut self.pseudo, &mut self.cookies] {
            if scratch.capacity() > 4 << 10 {
                *scratch = Vec::new();
            }
        }
    }

    pub(crate) fn forget(&mut self) {
        for scratch in [&mut self.pseudo, &mut self.cookies] {
            if scratch.capacity() > 256 {
                *scratch = Vec::new();
            }
        }
    }
}

type Said = Option<Range<usize>>;

pub(crate) struct Reader<'a> {
    head: &'a mut Head,
    scratch: &'a mut Scratch,
    /// Unpacked size so far, and its limit.
    unpacked: usize,
    max: usize,
    stage: Stage,
    malformed: bool,
    method: Said,
    scheme: Said,
    authority: Said,
    path: Said,
    protocol: Said,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Pseudo,
    Fields,
    Trailers,
}

impl<'a> Reader<'a> {
    pub(crate) fn request(head: &'a mut Head, scratch: &'a mut Scratch, max: usize) -> Reader<'a> {
        Reader::new(head, scratch, max, Stage::Pseudo)
    }

    pub(crate) fn trailers(head: &'a mut Head, scratch: &'a mut Scratch, max: usize) -> Reader<'a> {
        Reader::new(head, scratch, max, Stage::Trailers)
    }

    fn new(head: &'a mut Head, scratch: &'a mut Scratch, max: usize, stage: Stage) -> Reader<'a> {
        head.clear();
        head.version = Version::Http2;
        scratch.pseudo.clear();
        scratch.cookies.clear();
        let [method, scheme, authority, path, protocol] = [const { None }; 5];
        Reader { head, scratch, unpacked: 0, max, stage, malformed: false, method, scheme, authority, path, protocol }
    }

    /// Adds a field. Errors are reported by [`Reader::finish`], since the block has to be decoded to its end.
    pub(crate) fn take(&mut self, name: &[u8], value: &[u8]) {
        self.unpacked = self.unpacked.saturating_add(name.len() + value.len() + OVERHEAD);
        if !self.malformed && self.unpacked <= self.max {
            self.malformed = self.read(name, value).is_none();
        }
    }

    pub(crate) fn unpacked(&self) -> usize {
        self.unpacked
    }

    fn read(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if !is_value(value) {
            return None;
        }
        if name.first() == Some(&b':') {
            return self.pseudo(name, value);
        }
        if !is_name(name) {
            return None;
        }
        if self.stage == Stage::Pseudo {
            self.stage = Stage::Fields;
            self.begin()?;
        }
        let kind = Name::of(name);
        match kind {
            Name::Connection | Name::KeepAlive | Name::ProxyConnection | Name::TransferEncoding | Name::Upgrade => {
                return None;
            }
            Name::Te if !value.eq_ignore_ascii_case(b"trailers") => return None,
            // An equal value is redundant; a different one is malformed (RFC 9113, 8.3.1).
            Name::Host if self.authority.is_some() => {
                let authority = self.said(&self.authority)?;
                return authority.eq_ignore_ascii_case(value).then_some(());
            }
            // Cookies may arrive in pieces (RFC 9113, 8.2.3). An empty piece is dropped: joined, it would leave a
            // trailing space, which is malformed in HTTP/2.
            Name::Cookie if self.stage == Stage::Fields && value.is_empty() => return Some(()),
            Name::Cookie if self.stage == Stage::Fields => {
                if !self.scratch.cookies.is_empty() {
                    self.scratch.cookies.extend_from_slice(b"; ");
                }
                self.scratch.cookies.extend_from_slice(value);
                return Some(());
            }
            _ => {}
        }
        self.head.push_as(kind, name, value);
        Some(())
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if self.stage != Stage::Pseudo {
            return None;
        }
        let said = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return None,
        };
        if said.is_some() {
            return None;
        }
        let start = self.scratch.pseudo.len();
        self.scratch.pseudo.extend_from_slice(value);
        *said = Some(start..start + value.len());
        Some(())
    }

    fn said(&self, said: &Said) -> Option<&[u8]> {
        said.clone().map(|range| &self.scratch.pseudo[range])
    }

    fn begin(&mut self) -> Option<()> {
        let at = |said: &Said| said.clone().map(|range| &self.scratch.pseudo[range]);
        let method = at(&self.method).filter(|method| method.len() <= MAX_METHOD && is_token(method))?;
        let is_connect = method == b"CONNECT";
        let (scheme, authority, path) = (at(&self.scheme), at(&self.authority), at(&self.path));
        if at(&self.protocol).is_some_and(|protocol| !is_connect || !is_token(protocol)) {
            return None;
        }
        let target = if is_connect && self.protocol.is_none() {
            // CONNECT has another form of target, and is not served.
            let authority = authority.filter(|authority| !authority.is_empty())?;
            if scheme.is_some() || path.is_some() {
                return None;
            }
            authority
        } else {
            scheme.filter(|scheme| is_scheme(scheme))?;
            path.filter(|path| path.starts_with(b"/") || *path == b"*")?
        };
        if target.len() > MAX_TARGET {
            return None;
        }
        if is_connect && authority.is_none() {
            return None;
        }
        self.head.set_request_line(method, target);
        if let Some(protocol) = at(&self.protocol) {
            self.head.extended_connect = true;
            self.head.push_known(Name::Upgrade, protocol);
            self.head.push_known(Name::Connection, b"upgrade");
        }
        if let Some(authority) = authority {
            self.head.push_known(Name::Host, authority);
        }
        Some(())
    }

    pub(crate) fn finish(mut self) -> Result<(), Unusable> {
        if self.unpacked > self.max {
            return Err(Unusable::TooLarge);
        }
        if self.stage == Stage::Pseudo && !self.malformed {
            self.malformed = self.begin().is_none();
        }
        if self.malformed {
            return Err(Unusable::Malformed);
        }
        if !self.scratch.cookies.is_empty() {
            self.head.push_known(Name::Cookie, &self.scratch.cookies);
        }
        Ok(())
    }
}

const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        token[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut nth = 0;
    while nth < others.len() {
        token[others[nth] as usize] = true;
        nth += 1;
    }
    token
};

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[usize::from(*byte)])
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)] && !byte.is_ascii_uppercase())
}

/// RFC 3986, 3.1.
fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

/// No control characters, and no surrounding space, which HTTP/1.1 would strip (RFC 9113, 8.2.1).
fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    // No early exit, so that the loop is vectorized.
    let bad = value.iter().fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    !bad && !is_space(value.first()) && !is_space(value.last())
}

#[cfg(test)]
mod tests;
