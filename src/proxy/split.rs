//! Which color a request gets while a release is on its way: by chance, or by what stays the same of a user.
//!
//! A request that has neither the cookie nor the field that is asked for goes by the client's address, so that it has a key,
//! too. Nothing is remembered of anybody: the same key gives the same draw, on every worker and after a restart.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Sticky, VisitorCookie};
use crate::domain::color::Color;
use crate::domain::split::{Split, draw};
use crate::proxy::snapshot::{Admission, Admissions};
use crate::proxy::visitor::{self, NewVisitor};
use crate::telemetry::routes::RouteId;
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
    /// It stands for a user, and is the same at the next request.
    pub(crate) is_key: bool,
    /// The user is new, and gets a cookie.
    pub(crate) visitor: Option<NewVisitor>,
}

/// A request's way in.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) admission: Arc<Admission>,
    pub(crate) counted: Counted,
    /// The user, where users stay on a color.
    pub(crate) key: Option<u64>,
    /// A new user, who gets this cookie with the answer.
    pub(crate) visitor: Option<(NewVisitor, Arc<VisitorCookie>)>,
}

/// What a request is counted under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is no evidence.
    #[default]
    Not,
    /// This route.
    Route(RouteId),
    /// Whichever its first segment has.
    Segment,
}

impl Splitting {
    /// Draws for a request.
    pub(crate) fn draw(&self, head: &Head, client: impl FnOnce() -> IpAddr) -> Draw {
        let salt = self.split.salt;
        let key = match &self.sticky {
            Sticky::Off => return self.by_chance(),
            Sticky::Own(own) => match cookie(head, own.name.as_bytes()).filter(|value| visitor::is_valid(value)) {
                Some(known) => Some(known),
                None => match NewVisitor::draw() {
                    Some(new) => return Draw { value: draw(new.value(), salt), is_key: true, visitor: Some(new) },
                    None => None,
                },
            },
            Sticky::Cookie(name) => cookie(head, name.as_bytes()),
            Sticky::Header(name) => head.all_named(name.as_bytes()).next().map(<[u8]>::trim_ascii),
            Sticky::Address => None,
        };
        let value = match key.filter(|key| !key.is_empty()) {
            Some(key) => draw(key, salt),
            None => match client() {
                IpAddr::V4(address) => draw(&address.octets(), salt),
                IpAddr::V6(address) => draw(&address.octets(), salt),
            },
        };
        Draw { value, is_key: true, visitor: None }
    }

    /// Draws for nobody.
    pub(crate) fn by_chance(&self) -> Draw {
        Draw { value: fastrand::u64(..), is_key: false, visitor: None }
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
