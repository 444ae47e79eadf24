//! The request as an endpoint shall see it.

use std::rc::Rc;

use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::headers;
use crate::proxy::request::admit::Admitted;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::upgrade;
use crate::proxy::request::upload::Upload;
use crate::wire::head::{Name, Version};
use crate::wire::http1::body::Framing;

pub(super) fn prepare(exchange: &mut Exchange, admitted: Admitted) -> Result<(Upload, bool), ProxyError> {
    let Admitted { framing, trusted, max_body, trailers } = admitted;
    if matches!((framing, max_body), (Framing::Length(length), Some(max)) if length > max) {
        return Err(ErrorKind::BodyTooLarge.into());
    }
    let client = Rc::clone(&exchange.client);
    let head = &mut exchange.head;
    let from = headers::From {
        peer: &client.peer_text,
        trusted,
        port: client.worker.port(client.listener),
        scheme: if client.listener.is_tls() { "https" } else { "http" },
        via: exchange.via,
    };
    head.remove(Name::XClientCertSubject);
    head.remove_look_alikes(&headers::VOUCHED);
    if let Some(subject) = &client.subject {
        head.push_known(Name::XClientCertSubject, subject.as_bytes());
    }
    if head.version == Version::Http10 {
        // RFC 9110, 7.8.
        head.remove(Name::Upgrade);
    }
    let upgrade = headers::to_endpoint(head, &from);
    if head.extended_connect && !upgrade {
        // HTTP/2 inside of the tunnel would carry requests that the proxy can't see.
        return Err(ErrorKind::NoUpgrade.into());
    }
    let http2 = exchange.admission().pool.rules().http2;
    let upgrade = upgrade && upgrade::ask(&mut exchange.head, http2, framing != Framing::None);
    let head = &mut exchange.head;
    if framing == Framing::Chunked {
        head.push_known(Name::TransferEncoding, b"chunked");
    }
    let expects = head.version != Version::Http10 && framing != Framing::None && head.has(Name::Expect);
    Ok((Upload::new(framing, max_body, expects, trailers), upgrade))
}
