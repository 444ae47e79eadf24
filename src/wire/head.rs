//! The head of a message in either version: its start line and fields in one block of memory.
//!
//! Fields keep their order and the case of their names. Known names are recognized once, when a field is added.

use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
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
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Name { $($variant,)* Other }

        const KNOWN: &[Name] = &[$(Name::$variant,)*];
        const TEXTS: &[&str] = &[$($text,)* ""];
    };
}

// Sorted by length: a name is compared only with those of its own length.
names! {
    Te "te",
    Via "via",
    Date "date",
    Host "host",
    Accept "accept",
    Cookie "cookie",
    Expect "expect",
    Upgrade "upgrade",
    Forwarded "forwarded",
    Connection "connection",
    Tracestate "tracestate",
    KeepAlive "keep-alive",
    Traceparent "traceparent",
    ContentType "content-type",
    XRequestId "x-request-id",
    CutoverEvent "cutover-event",
    ContentLength "content-length",
    Http2Settings "http2-settings",
    XCutoverColor "x-cutover-color",
    XForwardedFor "x-forwarded-for",
    ProxyConnection "proxy-connection",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    SecWebSocketKey "sec-websocket-key",
    TransferEncoding "transfer-encoding",
    XForwardedProto "x-forwarded-proto",
    SecWebSocketAccept "sec-websocket-accept",
    XClientCertSubject "x-client-cert-subject",
}

/// Start of each length's names in [`KNOWN`]; the next length's start is their end.
const OF_LENGTH: [u8; 33] = {
    let mut begins = [0; 33];
    let mut length = 0;
    while length < begins.len() {
        let mut index = 0;
        while index < KNOWN.len() && TEXTS[index].len() < length {
            index += 1;
        }
        begins[length] = index as u8;
        length += 1;
    }
    begins
};

impl Name {
    /// In lower case; empty for [`Name::Other`].
    pub(crate) const fn as_str(self) -> &'static str {
        TEXTS[self as usize]
    }

    pub(crate) fn of(name: &[u8]) -> Name {
        let (Some(from), Some(to)) = (OF_LENGTH.get(name.len()), OF_LENGTH.get(name.len() + 1)) else {
            return Name::Other;
        };
        let candidates = &KNOWN[usize::from(*from)..usize::from(*to)];
        let is = |known: &&Name| {
            let text = known.as_str().as_bytes();
            text[0] == name[0] | 0x20 && name.eq_ignore_ascii_case(text)
        };
        candidates.iter().find(is).copied().unwrap_or(Name::Other)
    }

    fn is_like(self, name: &[u8]) -> bool {
        let own = self.as_str().as_bytes();
        let same = |(own, other): (&u8, &u8)| other.eq_ignore_ascii_case(own) || (*own, *other) == (b'-', b'_');
        own.len() == name.len() && own.iter().zip(name).all(same)
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Every server accepts a head of this size.
const LARGE: usize = 4 << 10;
/// Overhead of a field; and of `:method`, `:scheme` and `:path` beside the target (RFC 9113, 6.5.2).
const FIELD: usize = 32;
const PSEUDO_FIELDS: usize = 3 * FIELD + 30;

/// The memory of a larger head is not kept for the next one.
const KEPT: usize = 16 << 10;

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

/// A field. Neighbors that stand in the block as `name: value\r\n`, as almost all do, are written in one copy.
#[derive(Clone, Copy, Debug)]
struct Field {
    kind: Name,
    plain: bool,
    name: Span,
    value: Span,
}

#[derive(Clone, Default)]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) status: u16,
    /// Method and target; in an answer the reason phrase, and nothing.
    start_line: (Span, Span),
    bytes: Vec<u8>,
    fields: Vec<Field>,
    known: u32,
    /// The protocol of an extended CONNECT (RFC 8441), which is represented as an upgrade.
    pub(crate) extended_connect: bool,
}

impl Head {
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

    pub(crate) fn target(&self) -> &str {
        std::str::from_utf8(self.at(self.start_line.1)).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &str {
        std::str::from_utf8(self.path_bytes()).unwrap_or_default()
    }

    pub(crate) fn reason(&self) -> &[u8] {
        self.at(self.start_line.0)
    }

    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let kind = Name::of(name);
        self.push_as(kind, name, value);
    }

    /// `kind` is not [`Name::Other`]; its name is written in lower case.
    pub(crate) fn push_known(&mut self, kind: Name, value: &[u8]) {
        self.push_as(kind, kind.as_str().as_bytes(), value);
    }

    pub(crate) fn push_copy(&mut self, kind: Name, of: Name) {
        let value = self.fields.iter().find(|field| field.kind == of).map(|field| field.value);
        if let Some(value) = value {
            let name = self.keep(kind.as_str().as_bytes());
            self.bytes.extend_from_slice(b": ");
            let start = self.bytes.len();
            self.bytes.extend_from_within(value.start as usize..value.end as usize);
            let value = span(start, self.bytes.len());
            self.bytes.extend_from_slice(b"\r\n");
            self.add(Field { kind, plain: true, name, value });
        }
    }

    pub(super) fn push_as(&mut self, kind: Name, name: &[u8], value: &[u8]) {
        self.bytes.reserve(name.len() + value.len() + 4);
        let name = self.keep(name);
        self.bytes.extend_from_slice(b": ");
        let value = self.keep(value);
        self.bytes.extend_from_slice(b"\r\n");
        self.add(Field { kind, plain: true, name, value });
    }

    fn add(&mut self, field: Field) {
        if field.kind != Name::Other {
            self.known |= field.kind.bit();
        }
        self.fields.push(field);
    }

    pub(crate) fn set(&mut self, kind: Name, value: &[u8]) {
        self.remove(kind);
        self.push_known(kind, value);
    }

    pub(crate) fn has(&self, kind: Name) -> bool {
        self.known & kind.bit() != 0
    }

    pub(crate) fn get(&self, kind: Name) -> Option<&[u8]> {
        self.all(kind).next()
    }

    pub(crate) fn text(&self, kind: Name) -> Option<&str> {
        std::str::from_utf8(self.get(kind)?).ok()
    }

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

    /// `name` in any case, as in a `Connection` field.
    pub(crate) fn remove_named(&mut self, name: &[u8]) {
        let kind = Name::of(name);
        if kind != Name::Other {
            return self.remove(kind);
        }
        let bytes = &self.bytes;
        self.fields.retain(|field| {
            field.kind != Name::Other
                || !bytes[field.name.start as usize..field.name.end as usize].eq_ignore_ascii_case(name)
        });
    }

    /// Removes fields whose names differ from these only by `_` for `-`: CGI and its successors map both to one
    /// variable, so a client could forge it.
    pub(crate) fn remove_look_alikes(&mut self, kinds: &[Name]) {
        let bytes = &self.bytes;
        self.fields.retain(|field| {
            let name = &bytes[field.name.start as usize..field.name.end as usize];
            field.kind != Name::Other
                || memchr::memchr(b'_', name).is_none()
                || !kinds.iter().any(|kind| kind.is_like(name))
        });
    }

    /// The first value; `name` in lower case.
    pub(crate) fn named<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.all_named(name).next()
    }

    /// Every value, in order; `name` in any case.
    pub(crate) fn all_named<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter(|(_, found, _)| found.eq_ignore_ascii_case(name)).map(|(_, _, value)| value)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.fields.iter().map(|field| (field.kind, self.at(field.name), self.at(field.value)))
    }

    /// Clears it, and keeps its memory only if that is small.
    pub(crate) fn shed(&mut self) {
        if self.size() > KEPT { *self = Head::default() } else { self.clear() }
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    pub(crate) fn memory(&self) -> usize {
        self.bytes.len() + self.fields.len() * size_of::<Field>()
    }

    /// An endpoint may refuse this request for the size of its head alone. The size counts as
    /// SETTINGS_MAX_HEADER_LIST_SIZE does (RFC 9113, 6.5.2); the endpoint's own setting is hidden by the `h2` crate.
    pub(crate) fn is_large(&self) -> bool {
        // `bytes` still includes removed fields, so this is an upper bound.
        self.bytes.len() + FIELD * self.fields.len() + PSEUDO_FIELDS > LARGE && {
            let fields: usize = self.fields().map(|(_, name, value)| name.len() + value.len() + FIELD).sum();
            fields + self.target_bytes().len() + PSEUDO_FIELDS > LARGE
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Methods are case-sensitive (RFC 9110, 9.1).
    pub(crate) fn is_method(&self, method: &str) -> bool {
        self.method_bytes() == method.as_bytes()
    }

    pub(crate) fn method_bytes(&self) -> &[u8] {
        self.at(self.start_line.0)
    }

    pub(crate) fn target_bytes(&self) -> &[u8] {
        self.at(self.start_line.1)
    }

    pub(crate) fn path_bytes(&self) -> &[u8] {
        let target = self.target_bytes();
        memchr::memchr(b'?', target).map_or(target, |end| &target[..end])
    }

    pub(crate) fn write_fields(&self, wire: &mut Vec<u8>) {
        wire.reserve(self.bytes.len() + 4 * self.fields.len());
        let mut run = 0..0;
        for field in &self.fields {
            let (start, end) = (field.name.start as usize, field.value.end as usize + 2);
            if field.plain && start == run.end {
                run.end = end;
                continue;
            }
            wire.extend_from_slice(&self.bytes[run.clone()]);
            if field.plain {
                run = start..end;
            } else {
                run = 0..0;
                wire.extend_from_slice(self.at(field.name));
                wire.extend_from_slice(b": ");
                wire.extend_from_slice(self.at(field.value));
                wire.extend_from_slice(b"\r\n");
            }
        }
        wire.extend_from_slice(&self.bytes[run]);
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

#[expect(clippy::cast_possible_truncation, reason = "a head is at most a few MiB")]
fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// The parser's way in: it takes over the bytes of a head, and its parts become places in them.
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
        // An empty reason may point outside of the head.
        let reason = if reason.is_empty() { Span::default() } else { self.place(reason.as_bytes()) };
        self.head.start_line = (reason, Span::default());
    }

    pub(super) fn field(&mut self, name: &str, value: &[u8]) {
        let value = value.trim_ascii();
        let kind = Name::of(name.as_bytes());
        let name = self.place(name.as_bytes());
        // An empty value may point outside of the head.
        let value = if value.is_empty() { Span::default() } else { self.place(value) };
        let plain = value.start == name.end + 2
            && self.raw[name.end as usize + 1] == b' '
            && self.raw.get(value.end as usize) == Some(&b'\r');
        self.head.add(Field { kind, plain, name, value });
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
mod tests;
