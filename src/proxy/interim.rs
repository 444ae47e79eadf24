//! Interim answers (1xx) on their way to the client (RFC 9110, 15.2: a proxy has to forward them).
//!
//! hyper reads over them without showing their fields, so they are looked for in the endpoint's bytes as they come, and
//! are written to the client before its next bytes. `100 Continue` is for this hop alone: hyper sends its own when the
//! body is asked for. A `101` is no interim answer.

use std::mem;

/// The longest one: longer ones are not passed on.
const MAX: usize = 16 << 10;
const FIELDS: usize = 64;
/// How each of them begins; `HTTP/1.0` has none.
const BEGINS: &[u8] = b"HTTP/1.1 1";

/// Looks through the bytes of one endpoint's connection.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    /// A request was sent, and its final head has not come.
    looking: bool,
    partial: Vec<u8>,
    found: Vec<u8>,
}

impl Interim {
    /// A request is sent: what comes next is a head.
    pub(crate) fn begin(&mut self) {
        self.looking = true;
        self.partial.clear();
        self.found.clear();
    }

    /// These bytes came.
    pub(crate) fn came(&mut self, bytes: &[u8]) {
        if !self.looking {
            return;
        }
        // Almost always it is a final head.
        if self.partial.is_empty() && bytes.len() >= BEGINS.len() && !bytes.starts_with(BEGINS) {
            self.looking = false;
            return;
        }
        self.partial.extend_from_slice(bytes);
        self.look();
    }

    /// Complete ones, ready for the client's wire.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        if self.found.is_empty() { None } else { Some(mem::take(&mut self.found)) }
    }

    fn look(&mut self) {
        while !self.partial.is_empty() {
            let known = self.partial.len().min(BEGINS.len());
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            let mut head = httparse::Response::new(&mut fields);
            let is_one = self.partial[..known] == BEGINS[..known] && self.partial.len() <= MAX;
            let parsed = if is_one { head.parse(&self.partial) } else { Err(httparse::Error::Status) };
            match parsed {
                Ok(httparse::Status::Partial) => return,
                Ok(httparse::Status::Complete(length))
                    if head.code.is_some_and(|code| code / 100 == 1 && code != 101) =>
                {
                    write(&head, &mut self.found);
                    self.partial.drain(..length);
                }
                // The final head; or what hyper will complain of.
                Ok(httparse::Status::Complete(_)) | Err(_) => {
                    self.looking = false;
                    self.partial = Vec::new();
                }
            }
        }
    }
}

/// Writes a head without what is meant for the endpoint's hop only.
fn write(head: &httparse::Response<'_, '_>, wire: &mut Vec<u8>) {
    let code = head.code.unwrap_or_default();
    if code == 100 {
        return;
    }
    wire.extend_from_slice(format!("HTTP/1.1 {code} {}\r\n", head.reason.unwrap_or_default()).as_bytes());
    let hop = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length"];
    for field in head.headers.iter().filter(|field| hop.iter().all(|name| !field.name.eq_ignore_ascii_case(name))) {
        wire.extend_from_slice(field.name.as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(field.value);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x\r\n\r\n";
    const FINAL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    fn found(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let mut interim = Interim::default();
        interim.begin();
        pieces.iter().for_each(|piece| interim.came(piece));
        interim.take()
    }

    #[test]
    fn hints_are_found_however_they_are_cut() {
        let whole = [HINTS, HINTS, FINAL].concat();
        let expected = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n".repeat(2);
        for cut in 0..whole.len() {
            assert_eq!(found(&[&whole[..cut], &whole[cut..]]).as_deref(), Some(&*expected), "cut at {cut}");
        }
    }

    #[test]
    fn a_final_head_a_continue_and_a_switch_of_protocols_are_none() {
        let others = [
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.0 103 No\r\n\r\n",
            "nonsense\r\n\r\n",
        ];
        for other in others {
            assert_eq!(found(&[other.as_bytes()]), None, "{other}");
        }
        assert_eq!(found(&[FINAL, HINTS]), None, "what follows the final head is a body");
    }
}
