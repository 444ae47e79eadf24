//! The split: the color of a request while both colors serve, by chance or by a constant property of the user.
//!
//! A request without the cookie or field goes by the client's address, so that every request has a key. Nothing is
//! stored: the same key gives the same draw, on every worker and after a restart.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Sticky, VisitorCookie};
use crate::domain::color::Color;
use crate::domain::split::{Split, draw};
use crate::evidence::routes::{User, network};
use crate::evidence::trial::Counted;
use crate::proxy::snapshot::admission::{Admission, Admissions};
use crate::proxy::snapshot::visitor::{self, NewVisitor};
use crate::wire::head::{Head, Name};

#[derive(Debug)]
pub(crate) struct Splitting {
    pub(crate) split: Split,
    pub(crate) sticky: Sticky,
    pub(crate) other: Admissions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) value: u64,
    pub(crate) user: Option<User>,
    pub(crate) visitor: Option<NewVisitor>,
}

#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) admission: Arc<Admission>,
    pub(crate) counted: Counted,
    pub(crate) user: Option<User>,
    pub(crate) visitor: Option<(NewVisitor, Arc<VisitorCookie>)>,
}

impl Splitting {
    pub(crate) fn draw(&self, head: &Head, client: impl Fn() -> IpAddr) -> Draw {
        let salt = self.split.salt;
        let key = match &self.sticky {
            Sticky::Off => return self.by_chance(),
            Sticky::Own(own) => match cookie(head, own.name.as_bytes()).filter(|value| visitor::is_valid(value)) {
                Some(known) => Some(known),
                None => match NewVisitor::draw() {
                    Some(new) => {
                        let value = draw(new.value(), salt);
                        let user = User { key: value, network: network(client()), drawn: true };
                        return Draw { value, user: Some(user), visitor: Some(new) };
                    }
                    None => None,
                },
            },
            Sticky::Cookie(name) => cookie(head, name.as_bytes()),
            Sticky::Header(name) => head.all_named(name.as_bytes()).next().map(<[u8]>::trim_ascii),
            Sticky::Address => None,
        };
        let client = client();
        let value = match key.filter(|key| !key.is_empty()) {
            Some(key) => draw(key, salt),
            None => match client.to_canonical() {
                IpAddr::V4(address) => draw(&address.octets(), salt),
                // A client of IPv6 has a whole /64.
                IpAddr::V6(address) => draw(&address.octets()[..8], salt),
            },
        };
        Draw { value, user: Some(User { key: value, network: network(client), drawn: false }), visitor: None }
    }

    pub(crate) fn by_chance(&self) -> Draw {
        Draw { value: fastrand::u64(..), user: None, visitor: None }
    }

    pub(crate) fn new_visitor(&self, draw: Draw) -> Option<(NewVisitor, Arc<VisitorCookie>)> {
        match &self.sticky {
            Sticky::Own(cookie) => draw.visitor.map(|new| (new, Arc::clone(cookie))),
            Sticky::Off | Sticky::Cookie(_) | Sticky::Header(_) | Sticky::Address => None,
        }
    }

    pub(crate) fn color(&self, draw: Draw) -> Color {
        self.split.color(draw.value)
    }
}

/// The first cookie of the name counts (RFC 6265, 5.4).
fn cookie<'a>(head: &'a Head, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = head.all(Name::Cookie).flat_map(|field| field.split(|byte| *byte == b';'));
    pairs.into_iter().find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests;
