//! Which color a request gets while a release is on its way: by chance, or by what stays the same of a user.
//!
//! A request that has neither the cookie nor the field that is asked for goes by the client's address, so that it has a
//! key, too. Nothing is remembered of anybody: the same key gives the same draw, on every worker and after a restart.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Sticky, VisitorCookie};
use crate::domain::color::Color;
use crate::domain::split::{Split, draw};
use crate::evidence::metering::Counted;
use crate::evidence::routes::{User, network};
use crate::proxy::snapshot::admission::{Admission, Admissions};
use crate::proxy::snapshot::visitor::{self, NewVisitor};
use crate::wire::head::{Head, Name};

/// The other half of a snapshot in which both colors serve.
#[derive(Debug)]
pub(crate) struct Splitting {
    pub(crate) split: Split,
    pub(crate) sticky: Sticky,
    /// Of the color that is not the active one.
    pub(crate) other: Admissions,
}

/// What decides about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) value: u64,
    /// Who stays on a color; `value` is the same at the next request.
    pub(crate) user: Option<User>,
    /// The user is new, and gets a cookie.
    pub(crate) visitor: Option<NewVisitor>,
}

/// A request's way in.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) admission: Arc<Admission>,
    pub(crate) counted: Counted,
    /// The user, where users stay on a color.
    pub(crate) user: Option<User>,
    /// A new user, who gets this cookie with the answer.
    pub(crate) visitor: Option<(NewVisitor, Arc<VisitorCookie>)>,
}

impl Splitting {
    /// Draws for a request.
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
                // A client has a whole network with 64 bits.
                IpAddr::V6(address) => draw(&address.octets()[..8], salt),
            },
        };
        Draw { value, user: Some(User { key: value, network: network(client), drawn: false }), visitor: None }
    }

    /// Draws for nobody.
    pub(crate) fn by_chance(&self) -> Draw {
        Draw { value: fastrand::u64(..), user: None, visitor: None }
    }

    /// The cookie of a new user.
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

/// The value of a cookie; the first one counts (RFC 6265, 5.4).
fn cookie<'a>(head: &'a Head, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = head.all(Name::Cookie).flat_map(|field| field.split(|byte| *byte == b';'));
    pairs.into_iter().find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests;
