//! What hyper forgives in a request head and this proxy does not (product contract, chapter 9).
//!
//! hyper reads `Content-Length` beside `Transfer-Encoding` and drops the former, and takes a bare LF for the end of a
//! line. Both are allowed by RFC 9112 and both are what request smuggling is made of: another hop may read them another
//! way. So the bytes are looked through line by line on their way to hyper, and a head that is ambiguous is remembered by
//! its number. Complete lines are looked at in place; nothing is copied or allocated for a head that comes in one piece.

use memchr::memchr;

/// So much of a line that comes in pieces is kept: enough for the name of a field, and any length that is a number.
const KEPT: usize = 128;

/// Follows the heads of one connection.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    place: Place,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    head: Head,
    /// Heads that were complete.
    complete: u64,
    ambiguous: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Head,
    /// So many bytes of a body are left.
    Body(u64),
    /// Behind a chunked body nobody but hyper knows where the next head begins; when hyper is idle we know it again.
    Unknown,
}

/// What is known of the head that is being read.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    bare_lf: bool,
    coded: bool,
    length: Option<Option<u64>>,
}

impl Heads {
    /// The next bytes of the connection. `idle`: hyper waits for a head, after so many complete ones.
    pub(crate) fn came(&mut self, mut bytes: &[u8], idle: bool, served: u64) {
        if idle && self.place == Place::Unknown && self.ambiguous.is_none() {
            self.place = Place::Head;
            self.complete = served;
        }
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Unknown => return,
                Place::Body(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    bytes = &bytes[taken..];
                    if *left == 0 {
                        self.place = Place::Head;
                    }
                }
                Place::Head => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return;
                    };
                    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
                    bytes = rest;
                    if self.partial.is_empty() {
                        self.line(line);
                    } else {
                        self.keep(line);
                        let whole = std::mem::take(&mut self.partial);
                        self.line(&whole);
                    }
                }
            }
        }
    }

    /// The number of the first head that is ambiguous; the first head has number 1.
    pub(crate) fn ambiguous(&self) -> Option<u64> {
        self.ambiguous
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = KEPT.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&piece[..room.min(piece.len())]);
        // Whether the line ends in CR LF must be seen also where its middle is left out.
        if let (true, Some(last)) = (piece.len() > room, piece.last()) {
            self.partial.truncate(KEPT - 1);
            self.partial.push(*last);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let head = &mut self.head;
        let line = match line.split_last() {
            Some((b'\r', line)) => line,
            _ => {
                head.bare_lf = true;
                line
            }
        };
        if line.is_empty() {
            // Empty lines before a request are no part of it.
            if head.begun {
                self.ends();
            }
        } else if !head.begun {
            head.begun = true;
        } else if is_field(line, b"transfer-encoding") {
            head.coded = true;
        } else if is_field(line, b"content-length") {
            let value = std::str::from_utf8(&line["content-length:".len()..]).ok();
            head.length = Some(value.and_then(|value| value.trim().parse().ok()));
        }
    }

    fn ends(&mut self) {
        let head = std::mem::take(&mut self.head);
        self.complete += 1;
        let ambiguous = head.bare_lf || (head.coded && head.length.is_some());
        if ambiguous {
            self.ambiguous = Some(self.complete);
        }
        self.place = match head.length {
            _ if ambiguous || head.coded => Place::Unknown,
            None | Some(Some(0)) => Place::Head,
            Some(Some(length)) => Place::Body(length),
            // hyper refuses it.
            Some(None) => Place::Unknown,
        };
    }
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nGET\n\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    const BOTH: &str = "POST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\ncontent-LENGTH: 5\r\n\r\n";
    const BARE: &str = "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n";

    #[track_caller]
    fn check(bytes: &[&str], expected: Option<u64>) {
        let bytes = bytes.concat().into_bytes();
        for piece in [1, 2, 3, 7, 50, bytes.len()] {
            let mut heads = Heads::default();
            bytes.chunks(piece).for_each(|piece| heads.came(piece, false, 0));
            assert_eq!(heads.ambiguous(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn clean_heads_are_clean_however_they_are_cut_and_bodies_are_not_looked_at() {
        check(&[GET, GET, POST, GET, "\r\n", GET, POST, CHUNKED], None);
        let long = format!("GET /{} HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(300), "y".repeat(300));
        check(&[&long, &long], None);
    }

    #[test]
    fn two_framings_and_bare_line_feeds_are_found_in_the_head_that_has_them() {
        check(&[BOTH], Some(1));
        check(&[GET, POST, BOTH], Some(3));
        check(&[POST, BARE, GET], Some(2));
        check(&["\nGET / HTTP/1.1\r\n\r\n"], Some(1));
    }

    #[test]
    fn after_a_chunked_body_it_goes_on_when_hyper_is_idle() {
        let mut heads = Heads::default();
        heads.came(CHUNKED.as_bytes(), true, 0);
        heads.came(b"0\r\nnot a head\n\n", false, 1);
        heads.came(BOTH.as_bytes(), true, 1);
        assert_eq!(heads.ambiguous(), Some(2));
    }
}
