//! The fields of an HTTP/2 message as a client sends them, made into a [`Head`] (RFC 9113, 8.2 and 8.3).
//!
//! A message is malformed, and nothing of it is used, when it could be read in two ways by somebody further on.

use std::ops::Range;

use crate::wire::head::{Head, Name, Version};

/// The longest method that is registered has 17 letters.
const MAX_METHOD: usize = 32;
/// Nobody needs a longer target, and what keeps it in 16 bits would cut it.
const MAX_TARGET: usize = 65_534;
/// What a field costs beside its bytes (RFC 9113, 6.5.2).
const OVERHEAD: usize = 32;

/// Why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    Malformed,
    TooLarge,
}

/// Memory that each reader of a connection uses.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pseudo: Vec<u8>,
    cookies: Vec<u8>,
}

impl Scratch {
    /// Gives memory back that only unusual requests need.
    pub(crate) fn shrink(&mut self) {
        for scratch in [&mut self.pseudo, &mut self.cookies] {
            if scratch.capacity() > 4 << 10 {
                *scratch = Vec::new();
            }
        }
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn forget(&mut self) {
        for scratch in [&mut self.pseudo, &mut self.cookies] {
            if scratch.capacity() > 256 {
                *scratch = Vec::new();
            }
        }
    }
}

/// What a pseudo-header said, as a place in [`Scratch`].
type Said = Option<Range<usize>>;

/// Takes the fields of one block, one after the other.
pub(crate) struct Reader<'a> {
    head: &'a mut Head,
    scratch: &'a mut Scratch,
    /// The size of the fields so far, unpacked, and the largest that is allowed.
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

    /// Takes a field. What is wrong is said in the end, because the rest has to be unpacked all the same.
    pub(crate) fn take(&mut self, name: &[u8], value: &[u8]) {
        self.unpacked = self.unpacked.saturating_add(name.len() + value.len() + OVERHEAD);
        if !self.malformed && self.unpacked <= self.max {
            self.malformed = self.read(name, value).is_none();
        }
    }

    /// The size of the fields so far.
    pub(crate) fn unpacked(&self) -> usize {
        self.unpacked
    }

    /// `None`: it is malformed.
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
            // What says the same again is not needed; what says something else could be believed (RFC 9113, 8.3.1).
            Name::Host if self.authority.is_some() => {
                let authority = self.said(&self.authority)?;
                return authority.eq_ignore_ascii_case(value).then_some(());
            }
            // They may have been sent in pieces (RFC 9113, 8.2.3). Behind an empty one no blank may stay: it is
            // malformed in HTTP/2.
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

    /// All pseudo-headers are here: they begin the head.
    fn begin(&mut self) -> Option<()> {
        let at = |said: &Said| said.clone().map(|range| &self.scratch.pseudo[range]);
        let method = at(&self.method).filter(|method| method.len() <= MAX_METHOD && is_token(method))?;
        let is_connect = method == b"CONNECT";
        let (scheme, authority, path) = (at(&self.scheme), at(&self.authority), at(&self.path));
        if at(&self.protocol).is_some_and(|protocol| !is_connect || !is_token(protocol)) {
            return None;
        }
        let target = if is_connect && self.protocol.is_none() {
            // It is not served here, and says where to in another form.
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

    /// The block is over.
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

/// No control characters; and no space around it, which is no part of a value in HTTP/1.1, but would be one here
/// (RFC 9113, 8.2.1).
fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    // Without a way out in the middle, so that many bytes are looked at together.
    let bad = value.iter().fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f));
    !bad && !is_space(value.first()) && !is_space(value.last())
}

#[cfg(test)]
mod tests;
