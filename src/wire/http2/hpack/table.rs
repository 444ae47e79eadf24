//! HPACK's static and dynamic tables (RFC 7541, 2.3).

use std::collections::VecDeque;

/// Overhead of an entry (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// RFC 7541, appendix A; its first index is 1.
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// Index of a name that is frequent in answers; 0: none.
pub(super) fn index_of(name: &[u8]) -> u8 {
    match name {
        b"accept-ranges" => 18,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-length" => 28,
        b"content-location" => 29,
        b"content-range" => 30,
        b"content-type" => 31,
        b"date" => 33,
        b"etag" => 34,
        b"expires" => 36,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => 0,
    }
}

const SPARE: usize = 1 << 10;

#[derive(Debug)]
struct Entry {
    /// Position in all bytes ever added.
    start: usize,
    name: usize,
    value: usize,
    mark: u64,
}

/// Dynamic table, newest entry first. All entries share one buffer, so that adding one does not allocate.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Bytes ever removed from the front of `bytes`.
    gone: usize,
    size: usize,
    max: usize,
}

impl Table {
    pub(super) fn new(max: usize) -> Table {
        Table { entries: VecDeque::new(), bytes: Vec::new(), gone: 0, size: 0, max }
    }

    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        if let Some(entry) = STATIC.get(index.checked_sub(1)?) {
            return Some(*entry);
        }
        let entry = self.entries.get(index - 1 - STATIC.len())?;
        let start = entry.start - self.gone;
        Some(self.bytes[start..start + entry.name + entry.value].split_at(entry.name))
    }

    pub(super) fn find(&self, mark: u64, name: &[u8], value: &[u8]) -> Option<usize> {
        let is = |entry: &Entry| {
            let start = entry.start - self.gone;
            let (known, same) = self.bytes[start..start + entry.name + entry.value].split_at(entry.name);
            same == value && known == name
        };
        self.entries.iter().position(|entry| entry.mark == mark && is(entry)).map(|at| at + 1 + STATIC.len())
    }

    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], mark: u64) {
        let size = name.len() + value.len() + OVERHEAD;
        if size > self.max {
            return self.evict(0);
        }
        self.evict(self.max - size);
        let start = self.gone + self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_front(Entry { start, name: name.len(), value: value.len(), mark });
        self.size += size;
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Moves the content into a fitting buffer if the present one is twice as large.
    pub(super) fn shrink(&mut self) {
        let oldest = self.entries.back().map_or(self.gone + self.bytes.len(), |entry| entry.start);
        let used = self.bytes.len() - (oldest - self.gone);
        if self.bytes.capacity() > 2 * used + SPARE {
            self.bytes.drain(..oldest - self.gone);
            self.gone = oldest;
            self.bytes.shrink_to_fit();
        }
        if self.entries.capacity() > 2 * self.entries.len() + SPARE / size_of::<Entry>() {
            self.entries.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(max);
    }

    fn evict(&mut self, most: usize) {
        while self.size > most {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.name + entry.value + OVERHEAD;
        }
        let oldest = self.entries.back().map_or(self.gone + self.bytes.len(), |entry| entry.start);
        let unused = oldest - self.gone;
        // In batches, because the remaining bytes are moved.
        if unused > self.max || unused == self.bytes.len() {
            self.bytes.drain(..unused);
            self.gone = oldest;
        }
    }
}
