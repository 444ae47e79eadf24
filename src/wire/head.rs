//! The head of a message: its start line and its fields, in one block of memory, whatever version brought it.
//!
//! Fields keep their order and the way their names are written. Which of the names that a proxy has to know is there is
//! found out once, when a field is added, so that nobody has to look through the names again.

use std::fmt;

/// The version a message came with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
    /// As access logs write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

macro_rules! names {
    ($($variant:ident $text:literal,)*) => {
        /// The names that this proxy knows; all others are [`Name::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Name { Other, $($variant,)* }

        impl Name {
            /// In lower case; empty for [`Name::Other`].
            pub(crate) const fn as_str(self) -> &'static str {
                match self { Name::Other => "", $(Name::$variant => $text,)* }
            }

            fn of_candidates(name: &[u8]) -> Name {
                $(if name.eq_ignore_ascii_case($text.as_bytes()) { return Name::$variant; })*
                Name::Other
            }
        }

        /// Which lengths and first letters the known names have, to let most of the others pass at once.
        const BEGINNINGS: [u32; 32] = {
            let mut beginnings = [0; 32];
            $(beginnings[$text.len()] |= 1 << ($text.as_bytes()[0] & 31);)*
            beginnings
        };
    };
}

names! {
    Host "host",
    ContentLength "content-length",
    TransferEncoding "transfer-encoding",
    Connection "connection",
    KeepAlive "keep-alive",
    ProxyConnection "proxy-connection",
    Upgrade "upgrade",
    Te "te",
    Expect "expect",
    Http2Settings "http2-settings",
    Accept "accept",
    ContentType "content-type",
    Cookie "cookie",
    Date "date",
    Via "via",
    Forwarded "forwarded",
    XForwardedFor "x-forwarded-for",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    XForwardedProto "x-forwarded-proto",
    XRequestId "x-request-id",
    XClientCertSubject "x-client-cert-subject",
    Traceparent "traceparent",
    SecWebSocketKey "sec-websocket-key",
    SecWebSocketAccept "sec-websocket-accept",
}

impl Name {
    /// What this name is, in any case.
    pub(crate) fn of(name: &[u8]) -> Name {
        match (BEGINNINGS.get(name.len()), name.first()) {
            (Some(letters), Some(first)) if letters & 1 << (first & 31) != 0 => Name::of_candidates(name),
            _ => Name::Other,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    kind: Name,
    name: Span,
    value: Span,
}

/// A head. Kept and used again: an emptied one has its memory still.
#[derive(Clone, Default)]
pub(crate) struct Head {
    pub(crate) version: Version,
    /// Of an answer.
    pub(crate) status: u16,
    /// Method and target; or the reason phrase, and nothing.
    start_line: (Span, Span),
    bytes: Vec<u8>,
    fields: Vec<Field>,
    known: u32,
    /// The protocol of an extended CONNECT (RFC 8441), which is then told as an upgrade.
    pub(crate) extended_connect: bool,
}

impl Head {
    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.known = 0;
        self.status = 0;
        self.start_line = Default::default();
        self.extended_connect = false;
    }

    pub(crate) fn set_request_line(&mut self, method: &[u8], target: &[u8]) {
        self.start_line = (self.keep(method), self.keep(target));
    }

    pub(crate) fn set_target(&mut self, target: &[u8]) {
        self.start_line.1 = self.keep(target);
    }

    pub(crate) fn set_method(&mut self, method: &[u8]) {
        self.start_line.0 = self.keep(method);
    }

    pub(crate) fn set_status_line(&mut self, status: u16, reason: &[u8]) {
        self.status = status;
        self.start_line = (self.keep(reason), Span::default());
    }

    pub(crate) fn method(&self) -> &str {
        std::str::from_utf8(self.at(self.start_line.0)).unwrap_or_default()
    }

    /// What is asked for, as it was sent.
    pub(crate) fn target(&self) -> &str {
        std::str::from_utf8(self.at(self.start_line.1)).unwrap_or_default()
    }

    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        let target = self.target();
        memchr::memchr(b'?', target.as_bytes()).map_or(target, |end| &target[..end])
    }

    pub(crate) fn reason(&self) -> &[u8] {
        self.at(self.start_line.0)
    }

    /// Adds a field.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let kind = Name::of(name);
        self.push_as(kind, name, value);
    }

    /// Adds a field that is known, with its name in lower case.
    pub(crate) fn push_known(&mut self, kind: Name, value: &[u8]) {
        self.push_as(kind, kind.as_str().as_bytes(), value);
    }

    /// Adds a field with the value of another one, if that is there.
    pub(crate) fn push_copy(&mut self, kind: Name, of: Name) {
        let value = self.fields.iter().find(|field| field.kind == of).map(|field| field.value);
        if let Some(value) = value {
            let name = self.keep(kind.as_str().as_bytes());
            self.add(Field { kind, name, value });
        }
    }

    fn push_as(&mut self, kind: Name, name: &[u8], value: &[u8]) {
        let field = Field { kind, name: self.keep(name), value: self.keep(value) };
        self.add(field);
    }

    fn add(&mut self, field: Field) {
        if field.kind != Name::Other {
            self.known |= field.kind.bit();
        }
        self.fields.push(field);
    }

    /// Has this field and no other one of its name.
    pub(crate) fn set(&mut self, kind: Name, value: &[u8]) {
        self.remove(kind);
        self.push_known(kind, value);
    }

    pub(crate) fn has(&self, kind: Name) -> bool {
        self.known & kind.bit() != 0
    }

    /// The first value.
    pub(crate) fn get(&self, kind: Name) -> Option<&[u8]> {
        self.all(kind).next()
    }

    /// The value as text, where it is.
    pub(crate) fn text(&self, kind: Name) -> Option<&str> {
        std::str::from_utf8(self.get(kind)?).ok()
    }

    /// Every value, in order.
    pub(crate) fn all(&self, kind: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        let fields = if self.has(kind) { &self.fields[..] } else { &[] };
        fields.iter().filter(move |field| field.kind == kind).map(|field| self.at(field.value))
    }

    pub(crate) fn remove(&mut self, kind: Name) {
        if self.has(kind) {
            self.fields.retain(|field| field.kind != kind);
            self.known &= !kind.bit();
        }
    }

    /// Removes what a peer has named, in any case.
    pub(crate) fn remove_named(&mut self, name: &str) {
        let kind = Name::of(name.as_bytes());
        if kind != Name::Other {
            return self.remove(kind);
        }
        let bytes = &self.bytes;
        self.fields.retain(|field| {
            field.kind != Name::Other
                || !bytes[field.name.start as usize..field.name.end as usize].eq_ignore_ascii_case(name.as_bytes())
        });
    }

    /// Every field, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.fields.iter().map(|field| (field.kind, self.at(field.name), self.at(field.value)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// `GET`, `HEAD` and the like answer to this in their exact form (RFC 9110, 9.1).
    pub(crate) fn is_method(&self, method: &str) -> bool {
        self.at(self.start_line.0) == method.as_bytes()
    }

    /// Writes the fields as HTTP/1.1 does; without the empty line.
    pub(crate) fn write_fields(&self, wire: &mut Vec<u8>) {
        wire.reserve(self.bytes.len() + 4 * self.fields.len());
        for field in &self.fields {
            wire.extend_from_slice(self.at(field.name));
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(self.at(field.value));
            wire.extend_from_slice(b"\r\n");
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        span(start, self.bytes.len())
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }
}

/// A head is far below 4 GiB: its reader has a limit.
#[expect(clippy::cast_possible_truncation, reason = "a head is at most a few MiB")]
fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// For the parser: a head whose bytes are taken over as a whole, and whose parts are places in them.
pub(super) struct Builder<'a> {
    head: &'a mut Head,
    raw: &'a [u8],
}

impl<'a> Builder<'a> {
    pub(super) fn new(head: &'a mut Head, raw: &'a [u8]) -> Builder<'a> {
        head.clear();
        head.bytes.extend_from_slice(raw);
        Builder { head, raw }
    }

    /// Where this part of the raw head stands.
    fn place(&self, part: &[u8]) -> Span {
        let start = part.as_ptr() as usize - self.raw.as_ptr() as usize;
        span(start, start + part.len())
    }

    pub(super) fn request_line(&mut self, version: Version, method: &str, target: &str) {
        self.head.version = version;
        self.head.start_line = (self.place(method.as_bytes()), self.place(target.as_bytes()));
    }

    pub(super) fn status_line(&mut self, version: Version, status: u16, reason: &str) {
        self.head.version = version;
        self.head.status = status;
        // An absent reason is no part of the head.
        let reason = if reason.is_empty() { Span::default() } else { self.place(reason.as_bytes()) };
        self.head.start_line = (reason, Span::default());
    }

    pub(super) fn field(&mut self, name: &str, value: &[u8]) {
        let value = value.trim_ascii();
        // An empty value may stand anywhere.
        let place = if value.is_empty() { Span::default() } else { self.place(value) };
        let field = Field { kind: Name::of(name.as_bytes()), name: self.place(name.as_bytes()), value: place };
        self.head.add(field);
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_map();
        for (_, name, value) in self.fields() {
            fields.entry(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
        }
        fields.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_known_in_any_case_and_others_are_not() {
        assert_eq!(Name::of(b"HOST"), Name::Host);
        assert_eq!(Name::of(b"X-Forwarded-For"), Name::XForwardedFor);
        assert_eq!(Name::of(b"transfer-encodinG"), Name::TransferEncoding);
        for other in ["", "x", "hosts", "content_length", "transfer-encoding ", "aaaa", "x-forwarded-foo"] {
            assert_eq!(Name::of(other.as_bytes()), Name::Other, "{other:?}");
        }
    }

    #[test]
    fn fields_are_found_replaced_and_removed() {
        let mut head = Head::default();
        head.set_request_line(b"GET", b"/a?b=c");
        head.push(b"Host", b"a");
        head.push(b"X-One", b"1");
        head.push(b"via", b"x");
        head.push(b"Via", b"y");
        assert_eq!((head.method(), head.target(), head.path()), ("GET", "/a?b=c", "/a"));
        assert_eq!(head.all(Name::Via).collect::<Vec<_>>(), [b"x", b"y"]);
        head.set(Name::Host, b"b");
        head.remove_named("x-ONE");
        head.remove_named("VIA");
        assert_eq!(head.get(Name::Host), Some(&b"b"[..]));
        assert!(!head.has(Name::Via));
        let mut wire = Vec::new();
        head.write_fields(&mut wire);
        assert_eq!(wire, b"host: b\r\n");
    }
}
