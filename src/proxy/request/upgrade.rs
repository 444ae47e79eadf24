//! WebSockets across versions (RFC 6455, RFC 8441): an upgrade in HTTP/1.1 is an extended CONNECT in HTTP/2.
//!
//! In between both have the form of an upgrade. The key and its answer only prove that an HTTP/1.1 peer understands;
//! HTTP/2 has neither, so this hop makes them where the other side needs them.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::proxy::error_kind::ErrorKind;
use crate::wire::head::{Head, Name, Version};

/// Completes the request for an endpoint. Returns true if the endpoint is asked for an upgrade. HTTP/2 has only
/// WebSockets, and those without a body; other upgrades are left out, as a server may do (RFC 9110, 7.8).
pub(super) fn ask(head: &mut Head, http2: bool, has_body: bool) -> bool {
    if head.extended_connect {
        if !http2 && names_websocket(head) {
            head.set(Name::SecWebSocketKey, STANDARD.encode(fastrand::u128(..).to_be_bytes()).as_bytes());
        }
        return true;
    }
    if http2 && (has_body || !names_websocket(head)) {
        head.remove(Name::Upgrade);
        head.remove(Name::Connection);
        return false;
    }
    head.extended_connect = http2;
    true
}

pub(super) fn is_granted(answer: &Head, asked: &Head, upgrade: bool) -> Result<bool, ErrorKind> {
    let http2 = answer.version == Version::Http2;
    match answer.status {
        101 if !http2 && upgrade && names_one_of(answer, asked) => Ok(true),
        101 => Err(ErrorKind::BadAnswer),
        200..=299 if http2 => Ok(asked.extended_connect),
        // The client would take it for an open tunnel (RFC 8441, 5). An endpoint may ignore an upgrade, so it did
        // nothing wrong.
        200..=299 if asked.extended_connect => Err(ErrorKind::NotUpgraded),
        _ => Ok(false),
    }
}

fn names_one_of(answer: &Head, asked: &Head) -> bool {
    let mut named = protocols(answer).peekable();
    named.peek().is_some() && named.all(|named| protocols(asked).any(|offered| offered.eq_ignore_ascii_case(named)))
}

fn protocols(head: &Head) -> impl Iterator<Item = &[u8]> {
    let members = head.all(Name::Upgrade).flat_map(|value| value.split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// Call it before [`answer`] changes the version.
pub(super) fn is_websocket(answer: &Head, asked: &Head) -> bool {
    match answer.version {
        Version::Http10 | Version::Http11 => names_websocket(answer),
        Version::Http2 => names_websocket(asked),
    }
}

fn names_websocket(head: &Head) -> bool {
    head.text(Name::Upgrade).is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// Translates the answer that begins a tunnel into the client's version.
pub(super) fn answer(answer: &mut Head, asked: &Head, version: Version) {
    match version {
        Version::Http2 => {
            answer.set_status_line(200, b"OK");
            for name in [Name::Upgrade, Name::Connection, Name::SecWebSocketAccept] {
                answer.remove(name);
            }
        }
        Version::Http10 | Version::Http11 if answer.version == Version::Http2 => {
            answer.set_status_line(101, b"Switching Protocols");
            answer.set(Name::Upgrade, b"websocket");
            answer.set(Name::Connection, b"upgrade");
            if let Some(key) = asked.get(Name::SecWebSocketKey) {
                answer.set(Name::SecWebSocketAccept, accept(key).as_bytes());
            }
        }
        Version::Http10 | Version::Http11 => {}
    }
}

/// RFC 6455, 4.2.2.
fn accept(key: &[u8]) -> String {
    const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, MAGIC].concat());
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_protocol_that_was_asked_for_is_granted() {
        let head = |status: u16, upgrade: &[&str]| {
            let mut head = Head::default();
            head.set_status_line(status, b"");
            upgrade.iter().for_each(|value| head.push_known(Name::Upgrade, value.as_bytes()));
            head
        };
        let asked = head(0, &["tcp, shout", "whisper/2"]);
        for good in [&["TCP"][..], &["whisper/2"], &["shout", "tcp"], &["tcp, whisper/2"]] {
            assert_eq!(is_granted(&head(101, good), &asked, true), Ok(true), "{good:?}");
            assert_eq!(is_granted(&head(101, good), &asked, false), Err(ErrorKind::BadAnswer), "{good:?}");
        }
        for bad in [&[][..], &[""], &["whisper"], &["tcp, other"]] {
            assert_eq!(is_granted(&head(101, bad), &asked, true), Err(ErrorKind::BadAnswer), "{bad:?}");
        }
        assert_eq!(is_granted(&head(200, &[]), &asked, true), Ok(false));
    }

    #[test]
    fn a_key_is_answered_as_in_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
