//! The compression of HTTP/2's fields (RFC 7541).
//!
//! What comes may use all of it, within a table of the size that is the default. What goes out uses the fixed table,
//! and the other one for fields that come again: the second time one is put in, from then on it is a byte or two.
//! Strings are written as they are; the Huffman code costs more than it saves where fields that come again are no
//! strings any more.

mod huffman;
mod table;

use crate::wire::http2::hpack::table::{STATIC, Table, index_of};

/// The size of the table that a peer may use (RFC 9113, 6.5.2).
const TABLE: usize = 4096;

/// Scratch memory that an idle connection keeps.
const IDLE: usize = 256;

/// A block that can't be unpacked; what the tables hold is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Undoes the compression of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// What a literal field's name is.
enum NameOf<'a> {
    Plain(&'a [u8]),
    Unpacked,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { table: Table::new(TABLE), name: Vec::new(), value: Vec::new() }
    }

    /// Reads a whole block. Each field is given to `take`; nothing is kept of it.
    pub(crate) fn decode(&mut self, block: &[u8], mut take: impl FnMut(&[u8], &[u8])) -> Result<(), Malformed> {
        let mut rest = block;
        let mut begun = false;
        while let Some(first) = rest.first().copied() {
            // A change of the size stands before the fields (RFC 7541, 4.2).
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
                    // It may have to make room for the new one.
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

    /// Gives back what an idle connection does not need; the table is part of the protocol.
    pub(crate) fn shrink_idle(&mut self) {
        shrink_scratch(&mut self.name);
        shrink_scratch(&mut self.value);
        self.table.shrink();
    }

    /// Memory that it has.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.name.capacity() + self.value.capacity() + self.table.capacity()
    }

    /// Gives memory back that only unusual fields need.
    pub(crate) fn shrink(&mut self) {
        for scratch in [&mut self.name, &mut self.value] {
            if scratch.capacity() > TABLE {
                *scratch = Vec::new();
            }
        }
    }
}

/// Gives back what an idle connection does not need.
fn shrink_scratch(scratch: &mut Vec<u8>) {
    if scratch.capacity() > IDLE {
        *scratch = Vec::new();
    }
}

/// A number (RFC 7541, 5.1), in so many bits of the first byte.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let (first, mut bytes) = rest.split_first().ok_or(Malformed)?;
    let most = (1_usize << prefix) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        // No number that means anything here is larger than 28 bits.
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

/// A string (RFC 7541, 5.2): as it stands, or `None` and unpacked.
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

/// Fields of which it is known that they were written, though they are not in the table.
const SEEN: usize = 32;
/// A field that is longer takes too much of the table.
const LONGEST: usize = 512;

/// Compresses one direction of a connection.
#[derive(Debug)]
pub(crate) struct Encoder {
    table: Table,
    /// What the other end lets the table be, and the least since it was told.
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

    /// The other end's table may be so large.
    pub(crate) fn allow(&mut self, size: u32) {
        self.allowed = TABLE.min(size as usize);
        self.least = self.least.min(self.allowed);
    }

    /// Begins a block: what changed with the table has to be said first (RFC 7541, 4.2).
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

    /// Gives back what an idle connection does not need.
    pub(crate) fn shrink_idle(&mut self) {
        shrink_scratch(&mut self.name);
        self.table.shrink();
    }

    fn resize(&mut self, size: usize, out: &mut Vec<u8>) {
        self.table.resize(size);
        write_integer(size, 5, 0x20, out);
    }

    /// Writes a field, its name in lower case.
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
        // What is new each time would only put out what is not; and what identifies somebody is in no table.
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

/// `set-cookie` in the fixed table.
const SET_COOKIE: usize = 55;

/// Something that two fields seldom have in common, and that costs little: what is found by it is compared.
fn mark(name: &[u8], value: &[u8]) -> u64 {
    let end = |bytes: &[u8]| match bytes.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
    };
    let lengths = (name.len() as u64) << 32 | value.len() as u64;
    // Zero is the mark of nothing.
    (end(value) ^ lengths.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Writes `:status`.
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

/// Writes a number (RFC 7541, 5.1), in so many bits of a byte that begins with `first`.
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
