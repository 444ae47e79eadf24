//! What is added to and taken from the headers on the way through (RFC 9110, 7.6; RFC 7230 names for the old ones).

use std::net::{IpAddr, SocketAddr};

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, FORWARDED, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderValue, Version};
use ipnet::IpNet;

use crate::proxy::error::ProxyError;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

const HTTP: HeaderValue = HeaderValue::from_static("http");
const VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 cutover");
const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 cutover");
const UPGRADE_TOKEN: HeaderValue = HeaderValue::from_static("upgrade");

/// What the forwarding headers say about this side.
pub(crate) struct From<'a> {
    /// The peer's address as a header value, made once for each connection.
    pub(crate) peer: &'a HeaderValue,
    /// The peer is one of `trusted_proxies`, so what it forwarded is kept.
    pub(crate) trusted: bool,
    /// Of the listener.
    pub(crate) port: &'a HeaderValue,
}

/// The one `Host` of a request. HTTP/1.1 asks for exactly one (RFC 9112, 3.2).
pub(crate) fn host(headers: &HeaderMap, version: Version) -> Result<Option<&HeaderValue>, ProxyError> {
    let mut hosts = headers.get_all(HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(ProxyError::bad_request("The request has several Host fields."));
    }
    if first.is_none() && version == Version::HTTP_11 {
        return Err(ProxyError::bad_request("The request has no Host field."));
    }
    Ok(first)
}

/// Whether the body has one framing, and one that is undone here: a length, or chunks and nothing else. Whoever passes
/// another coding on without having undone it changes the body.
pub(crate) fn is_framed_once(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match codings.next() {
        None => true,
        Some(coding) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && codings.next().is_none()
                && !headers.contains_key(CONTENT_LENGTH)
        }
    }
}

/// Whether these are the bytes of a host and port (RFC 9110, 7.2; RFC 3986, 3.2.2): no user, no path, no spaces. An
/// empty one is valid.
pub(crate) fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(byte))
}

/// Makes the client's headers into those for the endpoint. Returns whether the client asks for an upgrade.
pub(crate) fn to_endpoint(headers: &mut HeaderMap, version: Version, from: &From<'_>) -> bool {
    // Once, for all that is added below and by the caller.
    headers.reserve(8);
    // HTTP/2 inside of the tunnel would be requests that nobody here sees (RFC 9113 has dropped this upgrade).
    let upgrade = remove_hop_by_hop(headers).filter(|protocol| !names_h2c(protocol));
    let trailers = headers.remove(TE).is_some_and(|te| {
        te.to_str().is_ok_and(|te| te.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
    });
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(UPGRADE, protocol.clone());
        headers.insert(CONNECTION, UPGRADE_TOKEN);
    }

    if from.trusted {
        match headers.entry(X_FORWARDED_FOR) {
            Entry::Occupied(mut known) => {
                let mut chain = Vec::with_capacity(64);
                for value in known.iter() {
                    chain.extend_from_slice(value.as_bytes());
                    chain.extend_from_slice(b", ");
                }
                chain.extend_from_slice(from.peer.as_bytes());
                // Joined from valid values, so it is one.
                known.insert(
                    HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).unwrap_or_else(|_| from.peer.clone()),
                );
            }
            Entry::Vacant(free) => {
                free.insert(from.peer.clone());
            }
        }
        headers.entry(X_FORWARDED_PROTO).or_insert(HTTP);
        headers.entry(X_FORWARDED_PORT).or_insert_with(|| from.port.clone());
        if !headers.contains_key(X_FORWARDED_HOST)
            && let Some(host) = headers.get(HOST).cloned()
        {
            headers.insert(X_FORWARDED_HOST, host);
        }
    } else {
        headers.remove(FORWARDED);
        headers.insert(X_FORWARDED_FOR, from.peer.clone());
        headers.insert(X_FORWARDED_PROTO, HTTP);
        headers.insert(X_FORWARDED_PORT, from.port.clone());
        match headers.get(HOST).cloned() {
            Some(host) => headers.insert(X_FORWARDED_HOST, host),
            None => headers.remove(X_FORWARDED_HOST),
        };
    }
    headers.append(VIA, if version == Version::HTTP_10 { VIA_1_0 } else { VIA_1_1 });
    upgrade.is_some()
}

fn names_h2c(protocols: &HeaderValue) -> bool {
    protocols.as_bytes().split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

/// Makes the endpoint's headers into those for the client; for a 101, `Upgrade` stays.
pub(crate) fn to_client(headers: &mut HeaderMap, version: Version, switching: bool) {
    let upgrade = remove_hop_by_hop(headers);
    if let Some(protocol) = upgrade.filter(|_| switching) {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, UPGRADE_TOKEN);
    }
    headers.append(VIA, if version == Version::HTTP_10 { VIA_1_0 } else { VIA_1_1 });
}

/// Removes what is meant for this hop only: what `Connection` lists, and the fields that are so by definition.
/// Returns the protocol of an upgrade that `Connection` announces.
fn remove_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    // One pass over the few names that are there is cheaper than looking for each name that might be.
    let (mut connection, mut upgrade, mut others) = (false, false, false);
    for name in headers.keys() {
        connection |= name == CONNECTION;
        upgrade |= name == UPGRADE;
        others |= name == TRANSFER_ENCODING || name == KEEP_ALIVE || name == PROXY_CONNECTION;
    }
    let upgrades = connection && remove_listed(headers);
    if others {
        headers.remove(KEEP_ALIVE);
        headers.remove(PROXY_CONNECTION);
        headers.remove(TRANSFER_ENCODING);
    }
    let protocol = if upgrade { headers.remove(UPGRADE) } else { None };
    protocol.filter(|_| upgrades)
}

/// Removes `Connection` and the fields that it lists; whether it lists `upgrade`.
fn remove_listed(headers: &mut HeaderMap) -> bool {
    let mut fields = headers.get_all(CONNECTION).iter();
    let first = fields.next().cloned();
    let more: Vec<HeaderValue> = fields.cloned().collect();
    headers.remove(CONNECTION);
    let mut upgrades = false;
    for field in first.iter().chain(&more) {
        if field == "keep-alive" || field == "close" {
            continue;
        }
        for token in field.to_str().unwrap_or_default().split(',').map(str::trim) {
            if token.eq_ignore_ascii_case("upgrade") {
                upgrades = true;
            } else if !token.eq_ignore_ascii_case("te") && !end_to_end(token) {
                headers.remove(token);
            }
        }
    }
    upgrades
}

/// Fields that a peer can't have removed by listing them in `Connection`: the message would change its meaning, or the
/// endpoint would lose what it trusts this proxy for.
fn end_to_end(token: &str) -> bool {
    const KEPT: [&str; 10] = [
        "host",
        "content-length",
        "content-type",
        "authorization",
        "cookie",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-request-id",
    ];
    KEPT.iter().any(|kept| token.eq_ignore_ascii_case(kept))
}

/// Whether `X-Request-Id` from a trusted peer is one that can be passed on and logged.
pub(crate) fn usable_request_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=128).contains(&bytes.len()) && bytes.iter().all(|byte| byte.is_ascii_graphic())
}

/// A new request id: 128 random bits in hex.
pub(crate) fn new_request_id(random: u128) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(random.to_be_bytes()) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&text).expect("hex digits are a valid header value")
}

/// The client's address: the last one in `X-Forwarded-For` that is not itself a trusted proxy, read from the right,
/// where our own side wrote it; the peer if there is none.
pub(crate) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.ip().to_canonical();
    let values: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    for hop in values.iter().rev().filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(',')) {
        if !is_trusted(client, trusted) {
            break;
        }
        let Some(address) = parse_hop(hop.trim()) else { break };
        client = address;
    }
    client
}

fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests;
