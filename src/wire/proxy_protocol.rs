//! The PROXY protocol, versions 1 and 2: the client's address, sent by a balancer in front of the proxy.
//!
//! Follows <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. The sender may be anybody who reaches the
//! port, so parsing is strict, and fails with a reason at the first byte that can't be part of a header.
//! [`Parsed::Partial`] therefore means that the bytes can become a header; only a wrong checksum shows as late as the
//! last byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const NAME: &[u8; 6] = b"PROXY ";
/// Longest line of version 1 with CR LF, by the specification.
const MOST_V1: usize = 107;
/// Limit on version 2 behind its 16 fixed bytes. The specification allows 65535, which every new connection could make
/// the proxy hold; real headers (unix addresses, names of a TLS client certificate, an endpoint id) stay far below.
const MOST_V2: usize = 4096;
const FIXED_V2: usize = 16;
/// TLV type `PP2_TYPE_CRC32C`.
const CHECKSUM: u8 = 0x03;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    Partial,
    Complete {
        length: usize,
        /// The client's address. `None`: the peer's own address counts, because the header has no usable one (`LOCAL`,
        /// as in a balancer's health checks, `UNKNOWN`, an unspecified family, a unix socket, datagrams).
        source: Option<SocketAddr>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the PROXY header is not valid: {0}")]
pub struct Malformed(pub &'static str);

/// Parses a header at the start of a connection.
///
/// # Errors
///
/// The bytes can't become a header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    if agree(bytes, NAME) {
        parse_v1(bytes)
    } else if agree(bytes, SIGNATURE) {
        parse_v2(bytes)
    } else {
        Err(Malformed("it begins with neither `PROXY ` nor the signature of version 2"))
    }
}

/// The bytes could start a header. Certain from 6 bytes on in version 1 and 12 in version 2; `P` may become `PUT`.
#[cfg(feature = "internals")]
#[must_use]
pub fn begins(bytes: &[u8]) -> bool {
    agree(bytes, NAME) || agree(bytes, SIGNATURE)
}

/// True if one of them starts with the other.
fn agree(bytes: &[u8], start: &[u8]) -> bool {
    let length = bytes.len().min(start.len());
    bytes[..length] == start[..length]
}

enum Stop {
    Partial,
    Malformed(&'static str),
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, Malformed> {
    match line(&mut Line { bytes, at: NAME.len() }) {
        Ok((length, source)) => Ok(Parsed::Complete { length, source }),
        Err(Stop::Partial) => Ok(Parsed::Partial),
        Err(Stop::Malformed(reason)) => Err(Malformed(reason)),
    }
}

/// Reader of version 1. Each byte that it accepts leaves something that can become a line.
struct Line<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn line(line: &mut Line<'_>) -> Result<(usize, Option<SocketAddr>), Stop> {
    const FAMILY: &str = "the family is not TCP4, TCP6 or UNKNOWN";
    let v6 = match line.next()? {
        b'U' => {
            line.expect(b"NKNOWN", FAMILY)?;
            return line.ignored_rest().map(|length| (length, None));
        }
        b'T' => {
            line.expect(b"CP", FAMILY)?;
            match line.next()? {
                b'4' => false,
                b'6' => true,
                _ => return Err(Stop::Malformed(FAMILY)),
            }
        }
        _ => return Err(Stop::Malformed(FAMILY)),
    };
    line.expect(b" ", "one space must follow the family")?;
    let source = line.address(v6)?;
    line.address(v6)?;
    let port = line.port(b' ')?;
    line.port(b'\r')?;
    line.expect(b"\n", "the line does not end with CR LF")?;
    Ok((line.at, Some(SocketAddr::new(source, port))))
}

impl Line<'_> {
    fn next(&mut self) -> Result<u8, Stop> {
        let byte = self.bytes.get(self.at).copied().ok_or(Stop::Partial)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, expected: &[u8], reason: &'static str) -> Result<(), Stop> {
        expected.iter().try_for_each(
            |expected| {
                if self.next()? == *expected { Ok(()) } else { Err(Stop::Malformed(reason)) }
            },
        )
    }

    /// Skips everything behind `UNKNOWN` up to CR LF. A lone CR or LF is refused: another reader may take it for the
    /// end.
    fn ignored_rest(&mut self) -> Result<usize, Stop> {
        let mut first = true;
        loop {
            if self.at > MOST_V1 - 2 {
                return Err(Stop::Malformed("the line is longer than 107 bytes"));
            }
            match self.next()? {
                b'\r' => {
                    self.expect(b"\n", "the line does not end with CR LF")?;
                    return Ok(self.at);
                }
                b'\n' => return Err(Stop::Malformed("the line does not end with CR LF")),
                byte if first && byte != b' ' => return Err(Stop::Malformed("one space must follow the family")),
                _ => first = false,
            }
        }
    }

    fn address(&mut self, v6: bool) -> Result<IpAddr, Stop> {
        if v6 { self.v6().map(IpAddr::V6) } else { self.v4(None).map(IpAddr::V4) }
    }

    /// Four numbers without leading zeros, and a space. `first`: this number and its dot were already read.
    fn v4(&mut self, first: Option<u8>) -> Result<Ipv4Addr, Stop> {
        const REASON: &str = "an IPv4 address is not valid";
        let mut octets = [first.unwrap_or(0), 0, 0, 0];
        for (index, octet) in octets.iter_mut().enumerate().skip(usize::from(first.is_some())) {
            let end = if index == 3 { b' ' } else { b'.' };
            *octet = u8::try_from(self.number(255, end, REASON)?).map_err(|_| Stop::Malformed(REASON))?;
        }
        Ok(octets.into())
    }

    fn port(&mut self, end: u8) -> Result<u16, Stop> {
        const REASON: &str = "a port is not valid";
        u16::try_from(self.number(u32::from(u16::MAX), end, REASON)?).map_err(|_| Stop::Malformed(REASON))
    }

    /// A decimal number up to `most` without leading zeros, and the byte behind it.
    fn number(&mut self, most: u32, end: u8, reason: &'static str) -> Result<u32, Stop> {
        let mut number = None;
        loop {
            match (self.next()?, number) {
                (digit @ b'0'..=b'9', None) => number = Some(u32::from(digit - b'0')),
                (digit @ b'0'..=b'9', Some(so_far @ 1..)) if so_far * 10 + u32::from(digit - b'0') <= most => {
                    number = Some(so_far * 10 + u32::from(digit - b'0'));
                }
                (byte, Some(number)) if byte == end => return Ok(number),
                _ => return Err(Stop::Malformed(reason)),
            }
        }
    }

    /// Groups of one to four hexadecimal digits, `::` once for at least one group, and a space. The specification omits
    /// the dotted form that `inet_ntop` writes (`::ffff:192.0.2.1`); senders use it, so it is accepted.
    fn v6(&mut self) -> Result<Ipv6Addr, Stop> {
        const BAD: Stop = Stop::Malformed("an IPv6 address is not valid");
        let mut groups = [0u16; 8];
        let mut count = 0;
        let mut gap = None;
        let mut digits = 0;
        let mut before = b' ';
        loop {
            let byte = self.next()?;
            // A single `:` needs a group behind it; eight groups, or seven and a gap, are complete.
            let full = count == if gap.is_some() { 7 } else { 8 };
            let dangling = before == b':' && digits == 0 && gap != Some(count);
            match byte {
                _ if byte.is_ascii_hexdigit() => {
                    if digits == 4 || (digits == 0 && (full || (dangling && count == 0))) {
                        return Err(BAD);
                    }
                    if digits == 0 {
                        count += 1;
                    }
                    let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok()).ok_or(BAD)?;
                    groups[count - 1] = groups[count - 1] << 4 | digit;
                    digits += 1;
                }
                b':' if digits > 0 => {
                    if full {
                        return Err(BAD);
                    }
                    digits = 0;
                }
                // Second colon of `::`. A first one at the start of the address was accepted in expectation of it.
                b':' if dangling && gap.is_none() => gap = Some(count),
                b':' if before == b' ' => {}
                b' ' if !dangling && (gap.is_some() || count == 8) => {
                    let gap = gap.unwrap_or(count);
                    groups[gap..].rotate_right(8 - count);
                    return Ok(groups.into());
                }
                b'.' if digits > 0 && gap == Some(0) && count <= 2 => {
                    // The group before the dot was a decimal number.
                    let text = &self.bytes[self.at - 1 - digits..self.at - 1];
                    let octet = decimal(text).ok_or(BAD)?;
                    let low = u32::from(self.v4(Some(octet)).map_err(|stop| match stop {
                        Stop::Partial => Stop::Partial,
                        Stop::Malformed(_) => BAD,
                    })?);
                    let high = if count == 2 { u128::from(groups[0]) << 32 } else { 0 };
                    return Ok(Ipv6Addr::from_bits(high | u128::from(low)));
                }
                _ => return Err(BAD),
            }
            before = byte;
        }
    }
}

fn decimal(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok()?;
    let octet: u8 = text.parse().ok()?;
    (text == "0" || !text.starts_with('0')).then_some(octet)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let Some(version) = bytes.get(12) else { return Ok(Parsed::Partial) };
    let local = match version {
        0x20 => true,
        0x21 => false,
        0x22..=0x2f => return Err(Malformed("the command is neither LOCAL nor PROXY")),
        _ => return Err(Malformed("the version is not 2")),
    };
    let Some(family) = bytes.get(13) else { return Ok(Parsed::Partial) };
    // The address of a LOCAL header is ignored.
    let addresses = match family >> 4 {
        _ if local => 0,
        _ if family & 0xf > 2 => return Err(Malformed("the transport is unknown")),
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Malformed("the address family is unknown")),
    };
    let Some(high) = bytes.get(14) else { return Ok(Parsed::Partial) };
    if usize::from(*high) << 8 > MOST_V2 {
        return Err(Malformed("it is longer than 4096 bytes"));
    }
    let Some(low) = bytes.get(15) else { return Ok(Parsed::Partial) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MOST_V2 {
        return Err(Malformed("it is longer than 4096 bytes"));
    }
    if length < addresses {
        return Err(Malformed("it is too short for its addresses"));
    }
    let total = FIXED_V2 + length;
    let header = &bytes[..total.min(bytes.len())];
    // With an unspecified family the end of the addresses is unknown, so TLVs can't be found.
    if addresses > 0 {
        check_tlvs(header, FIXED_V2 + addresses, total)?;
    }
    if header.len() < total {
        return Ok(Parsed::Partial);
    }
    let source = match (family, &header[FIXED_V2..]) {
        _ if local => None,
        (0x11, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            Some(SocketAddr::from(([*a, *b, *c, *d], u16::from_be_bytes([*high, *low]))))
        }
        (0x21, addresses) => v6_source(addresses),
        _ => None,
    };
    Ok(Parsed::Complete { length: total, source })
}

fn v6_source(addresses: &[u8]) -> Option<SocketAddr> {
    let (address, rest) = addresses.split_first_chunk::<16>()?;
    let port = rest.get(16..)?.first_chunk::<2>()?;
    Some(SocketAddr::from((*address, u16::from_be_bytes(*port))))
}

/// Checks the TLVs received so far: their framing, and the checksum.
fn check_tlvs(header: &[u8], mut at: usize, total: usize) -> Result<(), Malformed> {
    const CUT: Malformed = Malformed("a TLV does not fit into it");
    const CHECKSUMS: Malformed = Malformed("it has a second checksum, or one that is not of four bytes");
    let mut checksum = None;
    while at < total {
        let value = at + 3;
        let Some(left) = total.checked_sub(value) else { return Err(CUT) };
        let Some(kind) = header.get(at) else { return Ok(()) };
        // A checksum is four bytes, followed by nothing or by another TLV.
        if *kind == CHECKSUM && (checksum.is_some() || matches!(left, 0..=3 | 5 | 6)) {
            return Err(CHECKSUMS);
        }
        let Some(high) = header.get(at + 1) else { return Ok(()) };
        if usize::from(*high) << 8 > left {
            return Err(CUT);
        }
        if *kind == CHECKSUM && *high != 0 {
            return Err(CHECKSUMS);
        }
        let Some(low) = header.get(at + 2) else { return Ok(()) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > left {
            return Err(CUT);
        }
        if *kind == CHECKSUM {
            if length != 4 {
                return Err(CHECKSUMS);
            }
            checksum = Some(value);
        }
        at = value + length;
    }
    let Some(place) = checksum.filter(|_| header.len() == total) else { return Ok(()) };
    let (before, rest) = header.split_at(place);
    let Some((expected, after)) = rest.split_first_chunk::<4>() else { return Ok(()) };
    let found = [before, &[0; 4], after].into_iter().fold(!0, crc32c);
    if !found == u32::from_be_bytes(*expected) { Ok(()) } else { Err(Malformed("the checksum is wrong")) }
}

/// CRC-32C (Castagnoli), which `crc32fast` does not compute. Bit by bit is fast enough for some
/// hundred bytes in each connection.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests;
