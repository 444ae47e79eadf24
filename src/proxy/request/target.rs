//! Bytes of a request target: only those that both HTTP versions can carry to an endpoint unchanged.
//!
//! The rule does not depend on the version of client or endpoint. Otherwise a stranger could send a target that some
//! endpoints can't be asked for, and the proxy's own failure would count against them.

use crate::proxy::error::ProxyError;
use crate::wire::head::Head;

pub(super) fn check(head: &Head) -> Result<(), ProxyError> {
    if is_valid(head.target_bytes()) {
        return Ok(());
    }
    Err(ProxyError::bad_request("The request target has a byte that has to be percent-encoded."))
}

/// A target in origin form, or `*`. RFC 3986 allows fewer bytes; clients that write `{`, `|`, `^` or `\` without
/// percent-encoding are common, and those bytes pass. `<` and `>` pass nowhere, a backtick not in the path, a quotation
/// mark not in the query.
fn is_valid(target: &[u8]) -> bool {
    // No early return, so that the compiler compares many bytes at once.
    let suspect = target
        .iter()
        .fold(false, |found, byte| found | !byte.is_ascii_graphic() | matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#'));
    !suspect || is_valid_exactly(target)
}

#[cold]
fn is_valid_exactly(target: &[u8]) -> bool {
    let (path, query) = target.split_at(memchr::memchr(b'?', target).unwrap_or(target.len()));
    let is_in =
        |part: &[u8], refused: &[u8]| part.iter().all(|byte| byte.is_ascii_graphic() && !refused.contains(byte));
    is_in(path, b"<>`#") && is_in(query, b"\"<>#")
}

#[cfg(test)]
mod tests {
    use http::Method;
    use http::uri::PathAndQuery;

    use super::*;

    #[test]
    fn every_target_that_passes_can_be_written_in_http2() {
        for byte in 0..=255_u8 {
            for before in ["/a", "/a?b="] {
                let target = [before.as_bytes(), &[byte], b"c"].concat();
                let writable = PathAndQuery::try_from(&target[..]).is_ok_and(|path| path.as_str().as_bytes() == target);
                assert_eq!(is_valid(&target), writable && byte.is_ascii(), "{before}{byte:#x}");
            }
        }
        assert!(is_valid(b"*"));
        assert!(is_valid(b"/a?b?c=%zz\\^{|}"));
    }

    #[test]
    fn every_method_can_be_written_in_http2() {
        for byte in (0..=127_u8).filter(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)) {
            assert!(Method::from_bytes(&[b'A', byte]).is_ok(), "{byte:#x}");
        }
    }
}
