//! WebSockets between versions (RFC 6455, RFC 8441): what is an upgrade in HTTP/1.1 is an extended CONNECT in HTTP/2.
//!
//! In between it is told as an upgrade, whoever asked. The key, and the answer to it, only prove that HTTP/1.1 knows what
//! it does; in HTTP/2 there is none, so this hop makes them where the other side needs them.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::wire::head::{Head, Name, Version};

/// Completes the request for an upgrade, for an endpoint that speaks HTTP/2 or not.
pub(super) fn ask(head: &mut Head, http2: bool) {
    if !names_websocket(head) {
        return;
    }
    if head.extended_connect {
        head.set(Name::SecWebSocketKey, STANDARD.encode(fastrand::u128(..).to_be_bytes()).as_bytes());
    }
    head.extended_connect |= http2;
}

/// Whether this answer begins a tunnel.
pub(super) fn is_granted(answer: &Head, asked: &Head) -> bool {
    match answer.version {
        Version::Http10 | Version::Http11 => answer.status == 101,
        Version::Http2 => asked.extended_connect && (200..300).contains(&answer.status),
    }
}

/// Whether the tunnel that this answer begins is a WebSocket. To be asked before [`answer`] makes it another one.
pub(super) fn is_websocket(answer: &Head, asked: &Head) -> bool {
    match answer.version {
        Version::Http10 | Version::Http11 => names_websocket(answer),
        Version::Http2 => names_websocket(asked),
    }
}

fn names_websocket(head: &Head) -> bool {
    head.text(Name::Upgrade).is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// Makes the answer that begins a tunnel into one of the client's version.
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

/// The answer to a key (RFC 6455, 4.2.2).
fn accept(key: &[u8]) -> String {
    const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, MAGIC].concat());
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_in_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
