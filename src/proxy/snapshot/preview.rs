//! The preview of the color that does not serve: by a field, by a host name, or by a port of its own.
//!
//! In each case the client is one of `preview.allow` or sends the secret; the port is open to this machine as well. Any
//! other client is served as if there were no preview, and learns nothing of it.

use std::net::IpAddr;

use ipnet::IpNet;
use subtle::ConstantTimeEq;

use crate::config::PreviewConfig;
use crate::domain::color::Color;
use crate::proxy::headers::{is_trusted, without_port};
use crate::proxy::listener::Listener;
use crate::proxy::snapshot::admission::Admissions;
use crate::wire::head::Head;

pub(crate) const HEADER: &str = "x-cutover-color";

#[derive(Debug)]
pub(crate) struct Preview {
    ways: Ways,
    active: Color,
    pub(crate) admissions: Admissions,
}

pub(crate) struct Ways {
    header: Box<str>,
    secret: Option<Box<[u8]>>,
    allow: Box<[IpNet]>,
    host: Option<Box<str>>,
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays out of it.
        write!(f, "Ways({}, {:?}, {:?})", self.header, self.host, self.allow)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) carried: bool,
    pub(crate) granted: bool,
}

impl Preview {
    pub(crate) fn new(config: &PreviewConfig, active: Color, admissions: Admissions) -> Preview {
        let secret = config.secret.as_ref().and_then(|kept| Some(kept.secret.as_ref()?.0.as_bytes().into()));
        let ways = Ways {
            header: config.header.as_str().into(),
            secret,
            allow: config.allow.as_slice().into(),
            host: config.host.as_deref().map(Into::into),
        };
        Preview { ways, active, admissions }
    }

    pub(crate) fn look(&self, head: &Head, host: &str, at: Listener, client: impl FnOnce() -> IpAddr) -> Found {
        self.ways.look(self.active, head, host, at, client)
    }

    /// Removes the field: it is for this hop, and could admit the request to a preview further on.
    pub(crate) fn strip(&self, head: &mut Head) {
        head.remove_named(self.ways.header.as_bytes());
    }
}

impl Ways {
    fn look(&self, active: Color, head: &Head, host: &str, at: Listener, client: impl FnOnce() -> IpAddr) -> Found {
        let mut values = head.all_named(self.header.as_bytes());
        let (first, second) = (values.next(), values.next());
        let carried = first.is_some();
        // A repeated field counts as none, and so does one with a wrong secret.
        let wish = first.filter(|_| second.is_none()).and_then(Wish::read).unwrap_or_default();
        let wish = wish.with(wish.secret.map(|secret| self.knows(secret)));
        let wanted = match wish.color {
            Some(Wanted::Inactive) => true,
            Some(Wanted::Color(color)) => color != active,
            None => at == Listener::Preview || self.is_named(host),
        };
        let granted = wanted && (wish.secret.is_some() || self.lets_in(client(), at));
        Found { carried, granted }
    }

    /// In constant time, so that its duration tells nothing about a guess.
    fn knows(&self, secret: &[u8]) -> bool {
        self.secret.as_ref().is_some_and(|known| known.ct_eq(secret).into())
    }

    fn is_named(&self, host: &str) -> bool {
        self.host.as_ref().is_some_and(|name| {
            let host = without_port(host);
            host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(name)
        })
    }

    fn lets_in(&self, client: IpAddr, at: Listener) -> bool {
        // A client on this machine may use the port, which serves nothing else.
        is_trusted(client, &self.allow) || (at == Listener::Preview && client.is_loopback())
    }
}

/// The field's value: `green`, `inactive`, `green; secret=…`, or `; secret=…` where host or port say the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wish<'a> {
    color: Option<Wanted>,
    secret: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The color that does not serve now.
    Inactive,
    Color(Color),
}

impl<'a> Wish<'a> {
    fn read(value: &'a [u8]) -> Option<Wish<'a>> {
        const SECRET: &[u8] = b"secret=";
        let (color, secret) = match memchr::memchr(b';', value) {
            None => (value, None),
            Some(end) => {
                let rest = value[end + 1..].trim_ascii();
                let (name, secret) = rest.split_at_checked(SECRET.len())?;
                (&value[..end], Some(secret).filter(|_| name.eq_ignore_ascii_case(SECRET))?.into())
            }
        };
        let color = match color.trim_ascii() {
            b"" if secret.is_some() => None,
            name if name.eq_ignore_ascii_case(b"inactive") => Some(Wanted::Inactive),
            name => {
                let is = |color: &Color| name.eq_ignore_ascii_case(color.as_str().as_bytes());
                Some(Wanted::Color(Color::ALL.into_iter().find(is)?))
            }
        };
        Some(Wish { color, secret })
    }

    fn with(self, right: Option<bool>) -> Wish<'a> {
        if right == Some(false) { Wish::default() } else { self }
    }
}

#[cfg(test)]
mod tests;
