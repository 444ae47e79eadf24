//! What is added to and taken from the fields on the way through (RFC 9110, 7.6).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use memchr::{memchr, memchr_iter};

use crate::wire::head::{Head, Name, Version};

/// What the forwarding fields say about this side.
pub(crate) struct From<'a> {
    /// The peer's address as text, made once for each connection.
    pub(crate) peer: &'a str,
    /// The peer is one of `trusted_proxies`, so what it forwarded is kept.
    pub(crate) trusted: bool,
    /// Of the listener.
    pub(crate) port: &'a str,
    /// `http` or `https`
    pub(crate) scheme: &'a str,
    /// A `Via` field is added.
    pub(crate) via: bool,
}

/// What an endpoint may rely on, because this hop says it or has it from a trusted proxy.
pub(crate) const VOUCHED: [Name; 6] = [
    Name::XForwardedFor,
    Name::XForwardedHost,
    Name::XForwardedPort,
    Name::XForwardedProto,
    Name::XRequestId,
    Name::XClientCertSubject,
];

/// `Connection` lists no more members.
const MAX_OPTIONS: usize = 64;

/// A request without a `Host` that can be used, in words for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadHost(pub(crate) &'static str);

/// The one `Host` of a request. HTTP/1.1 asks for exactly one (RFC 9112, 3.2); it may be empty.
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

/// Whether these are the bytes of a host and port (RFC 9110, 7.2; RFC 3986, 3.2.2): no user, no path, no spaces. An
/// empty one is valid. A percent-encoded name is not: no name in the DNS needs it, and `:authority` can't carry it.
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
    // A colon that begins no port would be read as part of the name by some, and by others not.
    let is_port = port.split_first().is_none_or(|(colon, port)| *colon == b':' && port.iter().all(u8::is_ascii_digit));
    is_name && is_port
}

/// `example.com:8080` and `[::1]:8080` without their ports.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// `http://host/path` as its authority and its path; `None`: it is no such thing, or names a user.
pub(crate) fn split_absolute(target: &str) -> Option<(&str, String)> {
    let scheme = |scheme: &str| target.get(..scheme.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(scheme));
    let rest = ["http://", "https://"].into_iter().find(|name| scheme(name)).map(|name| &target[name.len()..])?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (!authority.is_empty() && is_host(authority.as_bytes())).then_some((authority, path))
}

/// Makes the client's fields into those for the endpoint. Returns whether the client asks for an upgrade.
pub(crate) fn to_endpoint(head: &mut Head, from: &From<'_>) -> bool {
    // HTTP/2 inside of the tunnel would be requests that nobody here sees (RFC 9113 has dropped this upgrade).
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
        // Neither HTTP/1.0 nor HTTP/2 has to name a host; a request in HTTP/1.1 says so with an empty one (RFC 9112,
        // 3.2).
        head.push_known(Name::Host, b"");
    }
    one_length(head);
    if from.via {
        head.push_known(Name::Via, via(head.version));
    }
    upgrade.is_some()
}

/// Equal lengths become one (RFC 9112, 6.3); where they differ the message was refused.
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

/// Makes the endpoint's fields into those for the client. `upgrade`: what the endpoint says of upgrades is for the
/// client.
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

/// Removes what is meant for this hop only: what `Connection` lists, and the fields that are so by definition.
/// Returns the protocol of an upgrade that `Connection` announces.
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

/// All values of a list as one (RFC 9110, 5.3), without empty ones: a value does not end in a blank. `None`: it lists
/// nothing.
fn listed(head: &Head, name: Name) -> Option<Vec<u8>> {
    let values: Vec<_> = head.all(name).filter(|value| !value.is_empty()).collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

/// Removes `Connection` and the fields that it lists; whether it lists `upgrade`.
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

/// What `Connection` lists. `Keep-Alive` is removed anyway.
fn connection_tokens(head: &Head) -> impl Iterator<Item = &[u8]> {
    let tokens = options(head);
    tokens.filter(|token| !token.is_empty() && !token.eq_ignore_ascii_case(b"keep-alive"))
}

/// The members of all of `Connection`. As bytes: one that is no text does not hide the others.
fn options(head: &Head) -> impl Iterator<Item = &[u8]> {
    let all = head.all(Name::Connection).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    all.take(MAX_OPTIONS + 1)
}

/// Whether `Connection` lists more than anybody needs: each member costs a look at all fields.
pub(crate) fn lists_too_many(head: &Head) -> bool {
    head.has(Name::Connection) && options(head).nth(MAX_OPTIONS).is_some()
}

/// Whether the connection goes on behind this message (RFC 9112, 9.3).
pub(crate) fn keeps_alive(head: &Head) -> bool {
    let says = |wanted: &str| options(head).any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()));
    match head.version {
        Version::Http10 => says("keep-alive") && !says("close"),
        Version::Http11 => !head.has(Name::Connection) || !says("close"),
        Version::Http2 => true,
    }
}

/// Fields that a peer can't have removed by listing them in `Connection`: the message would change its meaning, or the
/// endpoint would lose what it trusts this proxy for.
fn end_to_end(token: &[u8]) -> bool {
    const KEPT: [&str; 11] = [
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
    ];
    KEPT.iter().any(|kept| token.eq_ignore_ascii_case(kept.as_bytes()))
}

/// Whether this is a call of gRPC, which tells its outcome in trailers; gRPC-Web tells it in the body, and asks for
/// something else by another type that begins with the same letters.
pub(crate) fn is_grpc(head: &Head) -> bool {
    let kind = head.get(Name::ContentType).and_then(|kind| kind.strip_prefix(b"application/grpc"));
    kind.is_some_and(|rest| rest.first().is_none_or(|next| b"+; ".contains(next)))
}

/// Whether `X-Request-Id` from a trusted peer is one that can be passed on and logged.
pub(crate) fn usable_request_id(value: &[u8]) -> bool {
    (1..=128).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

/// A new request id: 128 random bits in hex.
pub(crate) fn new_request_id(random: u128) -> [u8; 32] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(random.to_be_bytes()) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    text
}

/// The client's address: the last one in `X-Forwarded-For` that is not itself a trusted proxy, read from the right,
/// where our own side wrote it; the peer if there is none.
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
