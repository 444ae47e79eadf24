//! The check of a request's head, before anything is done with it.

use crate::proxy::error::ProxyError;
use crate::proxy::headers;
use crate::proxy::request::target;
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Framing;

/// Brings the target into origin form as well. Can be repeated. `no_body`: the transport has already said so
/// (END_STREAM).
pub(super) fn check(head: &mut Head, no_body: bool) -> Result<Framing, ProxyError> {
    check_head(head)?;
    Ok(Framing::of_request(head, no_body)?)
}

fn check_head(head: &mut Head) -> Result<(), ProxyError> {
    const TARGET: &str = "The request target is not valid.";
    if head.extended_connect {
        // Handled as an upgrade from here on (RFC 8441).
        head.set_method(b"GET");
    }
    if head.is_method("CONNECT") {
        return Err(ProxyError::bad_request("CONNECT is not served here."));
    }
    if headers::lists_too_many(head) {
        return Err(ProxyError::bad_request("The Connection field lists too many names."));
    }
    // Needed even where the target names the host (RFC 9112, 3.2).
    headers::host(head)?;
    if head.target_bytes().starts_with(b"/") {
        return target::check(head);
    }
    let target = head.target();
    if target == "*" {
        return if head.is_method("OPTIONS") { Ok(()) } else { Err(ProxyError::bad_request(TARGET)) };
    }
    // In `GET http://host/path` the authority counts, whatever `Host` says (RFC 9112, 3.2.2).
    let (authority, path) = headers::split_absolute(target).ok_or(ProxyError::bad_request(TARGET))?;
    let authority = authority.to_owned();
    head.set(Name::Host, authority.as_bytes());
    head.set_target(path.as_bytes());
    target::check(head)
}
