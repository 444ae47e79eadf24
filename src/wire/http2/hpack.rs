//! HPACK, the compression of HTTP/2 fields (RFC 7541).
//!
//! The decoder supports all of it, with a table of the default size. The encoder uses the static table, and the dynamic
//! one from the second time it sees a field; later uses cost one or two bytes. Strings are not Huffman-coded: repeated
//! fields are indexes, so the CPU time would not pay.

mod huffman;
mod table;

use crate::wire::http2::hpack::table::{STATIC, Table, index_of};

/// Size of the decoder's table (RFC 9113, 6.5.2).
const TABLE: usize = 4096;

const IDLE: usize = 256;

/// A block that can't be decoded; the tables are out of step from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

enum NameOf<'a> {
    Plain(&'a [u8]),
    Unpacked,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { table: Table::new(TABLE), name: Vec::new(), value: Vec::new() }
    }

    pub(crate) fn decode(&mut self, block: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Result<(), Malformed> {
        let mut rest = block;
        let mut begun = false;
        while let Some(first) = rest.first().copied() {
            // Table size updates come before the fields (RFC 7541, 4.2).
            if first & 0xe0 == 0x20 {
                let size = integer(&mut rest, 5)?;
                if begun || size > TABLE {
                    return Err(Malformed);
                }
                self.table.resize(size);
                continue;
            }
            begun = true;
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                let (name, value) = self.table.get(index).ok_or(Malformed)?;
                take(name, value);
                continue;
            }
            let indexed = first & 0x40 != 0;
            let index = integer(&mut rest, if indexed { 6 } else { 4 })?;
            let name = match index {
                0 => match string(&mut rest, &mut self.name)? {
                    Some(plain) => NameOf::Plain(plain),
                    None => NameOf::Unpacked,
                },
                known if known <= STATIC.len() => NameOf::Plain(STATIC[known - 1].0),
                other => {
                    // Copied: making room for the new entry may evict this one.
                    self.name.clear();
                    self.name.extend_from_slice(self.table.get(other).ok_or(Malformed)?.0);
                    NameOf::Unpacked
                }
            };
            let value = string(&mut rest, &mut self.value)?.unwrap_or(&self.value);
            let name = match name {
                NameOf::Plain(plain) => plain,
                NameOf::Unpacked => &self.name,
            };
            take(name, value);
            if indexed {
                self.table.insert(name, value, 0);
            }
        }
        Ok(())
    }

    /// Frees memory that an idle connection does not need. The table has to stay.
    pub(crate) fn shrink_idle(&mut self) {
        shrink_scratch(&mut self.name);
        shrink_scratch(&mut self.value);
        self.table.shrink();
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.name.capacity() + self.value.capacity() + self.table.capacity()
    }

    pub(crate) fn shrink(&mut self) {
        for scratch in [&mut self.name, &mut self.value] {
            if scratch.capacity() > TABLE {
                *scratch = Vec::new();
            }
        }
    }
}

fn shrink_scratch(scratch: &mut Vec<u8>) {
    if scratch.capacity() > IDLE {
        *scratch = Vec::new();
    }
}

/// RFC 7541, 5.1; `prefix` bits of the first byte.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let (first, mut bytes) = rest.split_first().ok_or(Malformed)?;
    let most = (1_usize << prefix) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        // Integers beyond 28 bits have no use in HTTP/2.
        for shift in [0, 7, 14, 21, 28] {
            let (byte, behind) = bytes.split_first().ok_or(Malformed)?;
            bytes = behind;
            if shift == 28 {
                return Err(Malformed);
            }
            number += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = bytes;
    Ok(number)
}

/// RFC 7541, 5.2. `None`: the string was Huffman-coded, and is in `unpacked`.
fn string<'a>(rest: &mut &'a [u8], unpacked: &mut Vec<u8>) -> Result<Option<&'a [u8]>, Malformed> {
    let coded = rest.first().ok_or(Malformed)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (bytes, behind) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = behind;
    if !coded {
        return Ok(Some(bytes));
    }
    unpacked.clear();
    if huffman::decode(bytes, unpacked) { Ok(None) } else { Err(Malformed) }
}

/// Fields seen once, and not in the table yet.
const SEEN: usize = 32;
/// Longer fields would take too much of the table.
const LONGEST: usize = 512;

#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table,
    /// Limit set by the peer, and the lowest value since the last update was sent.
    allowed: usize,
    least: usize,
    seen: [u64; SEEN],
    next: usize,
    name: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Encoder {
        Encoder { table: Table::new(TABLE), allowed: TABLE, least: TABLE, seen: [0; SEEN], next: 0, name: Vec::new() }
    }

    /// Follows the peer's SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn allow(&mut self, size: u32) {
        self.allowed = TABLE.min(size as usize);
        self.least = self.least.min(self.allowed);
    }

    /// Begins a block with pending table size updates (RFC 7541, 4.2).
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        let told = self.table.max();
        if self.least < told.min(self.allowed) {
            self.resize(self.least, out);
        }
        if self.allowed != self.table.max() {
            self.resize(self.allowed, out);
        }
        self.least = self.allowed;
    }

    pub(crate) fn shrink_idle(&mut self) {
        shrink_scratch(&mut self.name);
        self.table.shrink();
    }

    fn resize(&mut self, size: usize, out: &mut Vec<u8>) {
        self.table.resize(size);
        write_integer(size, 5, 0x20, out);
    }

    pub(crate) fn write(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.name.make_ascii_lowercase();
        let name = &self.name[..];
        out.reserve(name.len() + value.len() + 12);
        let mark = mark(name, value);
        if let Some(index) = self.table.find(mark, name, value) {
            return write_integer(index, 7, 0x80, out);
        }
        let known = usize::from(index_of(name));
        // One-time values would evict useful ones, and cookies stay out of the table.
        if self.seen.contains(&mark) && name.len() + value.len() <= LONGEST && known != SET_COOKIE {
            write_integer(known, 6, 0x40, out);
            self.table.insert(name, value, mark);
        } else {
            self.seen[self.next % SEEN] = mark;
            self.next = self.next.wrapping_add(1);
            write_integer(known, 4, 0, out);
        }
        if known == 0 {
            write_integer(name.len(), 7, 0, out);
            out.extend_from_slice(name);
        }
        write_integer(value.len(), 7, 0, out);
        out.extend_from_slice(value);
    }
}

const SET_COOKIE: usize = 55;

/// A cheap hash; entries found by it are compared in full.
fn mark(name: &[u8], value: &[u8]) -> u64 {
    let end = |bytes: &[u8]| match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
    };
    let lengths = (name.len() as u64) << 32 | value.len() as u64;
    // Never zero, which marks an empty place.
    (end(value) ^ lengths.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

pub(crate) fn write_status(status: u16, out: &mut Vec<u8>) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            out.extend([8, 3]);
            out.extend([status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + (digit % 10) as u8));
            return;
        }
    };
    out.push(0x80 | index);
}

/// RFC 7541, 5.1; `prefix` bits of a byte that begins with `first`.
fn write_integer(number: usize, prefix: u32, first: u8, out: &mut Vec<u8>) {
    let most = (1_usize << prefix) - 1;
    if number < most {
        return out.push(first | number as u8);
    }
    out.push(first | most as u8);
    let mut rest = number - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests;
