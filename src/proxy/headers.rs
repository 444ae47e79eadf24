//! Fields that this hop adds and removes (RFC 9110, 7.6).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use memchr::{memchr, memchr_iter};

use crate::wire::head::{Head, Name, Version};

/// The values of the forwarding fields.
pub(crate) struct From<'a> {
    pub(crate) peer: &'a str,
    /// The peer is one of `trusted_proxies`: its forwarding fields stay.
    pub(crate) trusted: bool,
    pub(crate) port: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) via: bool,
}

/// Fields that an endpoint may trust, because this hop or a trusted proxy wrote them.
pub(crate) const VOUCHED: [Name; 6] = [
    Name::XForwardedFor,
    Name::XForwardedHost,
    Name::XForwardedPort,
    Name::XForwardedProto,
    Name::XRequestId,
    Name::XClientCertSubject,
];

const MAX_OPTIONS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadHost(pub(crate) &'static str);

/// HTTP/1.1 needs exactly one `Host` (RFC 9112, 3.2); it may be empty.
pub(crate) fn host(head: &Head) -> Result<&[u8], BadHost> {
    let mut hosts = head.all(Name::Host);
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(BadHost("The request has several Host fields."));
    }
    match first {
        None if head.version == Version::Http11 => Err(BadHost("The request has no Host field.")),
        None => Ok(b""),
        Some(host) if is_host(host) => Ok(host),
        Some(_) => Err(BadHost("The Host field is not valid.")),
    }
}

/// A host and port (RFC 9110, 7.2; RFC 3986, 3.2.2) without user, path or spaces; it may be empty. A percent-encoded
/// name is refused: no name in the DNS needs it, and `:authority` can't carry it.
fn is_host(host: &[u8]) -> bool {
    let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte);
    let (is_name, port) = match host.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = memchr(b']', literal) else { return false };
            let colons = memchr_iter(b':', &literal[..end]).count();
            // A zone is written with `%25` (RFC 6874).
            let of_literal = |byte: &u8| of_name(byte) || b":%".contains(byte);
            (colons <= 8 && literal[..end].iter().all(of_literal), &literal[end + 1..])
        }
        None => {
            let end = memchr(b':', host).unwrap_or(host.len());
            (host[..end].iter().all(of_name), &host[end..])
        }
    };
    // Readers disagree whether a colon without a port belongs to the name.
    let is_port = port.split_first().is_none_or(|(colon, port)| *colon == b':' && port.iter().all(u8::is_ascii_digit));
    is_name && is_port
}

pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// Authority and path of `http://host/path`; `None` for another form, or one that names a user.
pub(crate) fn split_absolute(target: &str) -> Option<(&str, String)> {
    let scheme = |scheme: &str| target.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme));
    let rest = ["http://", "https://"].into_iter().find(|name| scheme(name)).map(|name| &target[name.len()..])?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (!authority.is_empty() && is_host(authority.as_bytes())).then_some((authority, path))
}

/// Rewrites a client's fields for the endpoint. Returns true if the client asks for an upgrade.
pub(crate) fn to_endpoint(head: &mut Head, from: &From<'_>) -> bool {
    // HTTP/2 inside of a tunnel would carry requests that the proxy can't see; RFC 9113 has dropped this upgrade.
    let upgrade = remove_hop_by_hop(head).filter(|protocol| !names_h2c(protocol));
    if head.has(Name::Te) {
        let trailers = head.all(Name::Te).any(|te| {
            te.split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        });
        head.remove(Name::Te);
        if trailers {
            head.push_known(Name::Te, b"trailers");
        }
    }
    if let Some(protocol) = &upgrade {
        head.push_known(Name::Upgrade, protocol);
        head.push_known(Name::Connection, b"upgrade");
    }

    if from.trusted {
        let mut chain = Vec::new();
        for value in head.all(Name::XForwardedFor) {
            chain.extend_from_slice(value);
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(from.peer.as_bytes());
        head.set(Name::XForwardedFor, &chain);
        for (name, value) in [(Name::XForwardedProto, from.scheme), (Name::XForwardedPort, from.port)] {
            if !head.has(name) {
                head.push_known(name, value.as_bytes());
            }
        }
    } else {
        head.remove(Name::Forwarded);
        head.remove(Name::XForwardedHost);
        head.set(Name::XForwardedFor, from.peer.as_bytes());
        head.set(Name::XForwardedProto, from.scheme.as_bytes());
        head.set(Name::XForwardedPort, from.port.as_bytes());
    }
    if !head.has(Name::XForwardedHost) {
        head.push_copy(Name::XForwardedHost, Name::Host);
    }
    if !head.has(Name::Host) {
        // HTTP/1.0 and HTTP/2 need not name a host; HTTP/1.1 then has an empty one (RFC 9112, 3.2).
        head.push_known(Name::Host, b"");
    }
    one_length(head);
    if from.via {
        head.push_known(Name::Via, via(head.version));
    }
    upgrade.is_some()
}

/// Merges equal lengths (RFC 9112, 6.3); a message with different ones was refused.
fn one_length(head: &mut Head) {
    if head.all(Name::ContentLength).nth(1).is_some()
        && let Some(length) = head.get(Name::ContentLength).map(<[u8]>::to_vec)
    {
        head.set(Name::ContentLength, &length);
    }
}

fn via(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0 cutover",
        Version::Http11 => b"1.1 cutover",
        Version::Http2 => b"2.0 cutover",
    }
}

fn names_h2c(protocols: &[u8]) -> bool {
    protocols.split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

/// Rewrites an endpoint's fields for the client. `upgrade`: the client gets `Upgrade`.
pub(crate) fn to_client(head: &mut Head, upgrade: bool, says_via: bool) {
    let protocols = if upgrade { listed(head, Name::Upgrade) } else { None };
    remove_hop_by_hop(head);
    if let Some(protocols) = protocols {
        head.push_known(Name::Upgrade, &protocols);
        head.push_known(Name::Connection, b"upgrade");
    }
    one_length(head);
    if says_via {
        head.push_known(Name::Via, via(head.version));
    }
}

/// Removes hop-by-hop fields and those that `Connection` lists. Returns the protocol of an upgrade that `Connection`
/// announces.
pub(crate) fn remove_hop_by_hop(head: &mut Head) -> Option<Vec<u8>> {
    let upgrades = head.has(Name::Connection) && remove_listed(head);
    for name in [Name::KeepAlive, Name::ProxyConnection, Name::TransferEncoding, Name::Http2Settings] {
        head.remove(name);
    }
    if !head.has(Name::Upgrade) {
        return None;
    }
    let protocols = listed(head, Name::Upgrade);
    head.remove(Name::Upgrade);
    protocols.filter(|_| upgrades)
}

/// Joins all values of a list (RFC 9110, 5.3) without empty ones: a value does not end in a blank.
fn listed(head: &Head, name: Name) -> Option<Vec<u8>> {
    let values: Vec<_> = head.all(name).filter(|value| !value.is_empty()).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

fn remove_listed(head: &mut Head) -> bool {
    let (mut upgrades, mut closes) = (false, false);
    let mut listed = Vec::new();
    for token in connection_tokens(head) {
        if token.eq_ignore_ascii_case(b"upgrade") {
            upgrades = true;
        } else if token.eq_ignore_ascii_case(b"close") {
            closes = true;
        } else if !token.eq_ignore_ascii_case(b"te") && !end_to_end(token) {
            listed.push(token.to_owned());
        }
    }
    head.remove(Name::Connection);
    if closes {
        // No such field exists, and the rule has no exception (RFC 9110, 7.6.1).
        head.remove_named(b"close");
    }
    for token in listed {
        head.remove_named(&token);
    }
    upgrades
}

fn connection_tokens(head: &Head) -> impl Iterator<Item = &[u8]> {
    let tokens = options(head);
    tokens.filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case(b"keep-alive"))
}

/// Bytes, not text: one member that is no text must not hide the others.
fn options(head: &Head) -> impl Iterator<Item = &[u8]> {
    let all = head.all(Name::Connection).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    all.take(MAX_OPTIONS + 1)
}

/// Each member costs a look at all fields.
pub(crate) fn lists_too_many(head: &Head) -> bool {
    head.has(Name::Connection) && options(head).nth(MAX_OPTIONS).is_some()
}

/// RFC 9112, 9.3.
pub(crate) fn keeps_alive(head: &Head) -> bool {
    let says = |wanted: &str| options(head).any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()));
    match head.version {
        Version::Http10 => says("keep-alive") && !says("close"),
        Version::Http11 => !head.has(Name::Connection) || !says("close"),
        Version::Http2 => true,
    }
}

/// Fields that stay although `Connection` lists them: without them the message would change its meaning, or the
/// endpoint would lose the fields that it trusts this proxy for.
fn end_to_end(token: &[u8]) -> bool {
    const KEPT: [&str; 13] = [
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
        "x-client-cert-subject",
        "traceparent",
        "tracestate",
    ];
    KEPT.iter().any(|kept| token.eq_ignore_ascii_case(kept.as_bytes()))
}

/// A gRPC call tells its outcome in trailers. gRPC-Web does not, and its type begins with the same letters.
pub(crate) fn is_grpc(head: &Head) -> bool {
    let kind = head.get(Name::ContentType).and_then(|kind| kind.strip_prefix(b"application/grpc"));
    kind.is_some_and(|rest| rest.first().is_none_or(|next| b"+; ".contains(next)))
}

/// A trusted peer's `X-Request-Id` that can be passed on and logged.
pub(crate) fn usable_request_id(value: &[u8]) -> bool {
    (1..=128).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

pub(crate) fn new_request_id(random: u128) -> [u8; 32] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(random.to_be_bytes()) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    text
}

/// The rightmost address of `X-Forwarded-For` that is no trusted proxy: the right end was written by our own side.
/// Without one, the peer.
pub(crate) fn client(head: &Head, peer: SocketAddr, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.ip().to_canonical();
    let values = head.all(Name::XForwardedFor).rev().filter_map(|value| std::str::from_utf8(value).ok());
    for hop in values.flat_map(|value| value.rsplit(',')) {
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
