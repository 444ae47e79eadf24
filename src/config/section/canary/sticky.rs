//! `canary.sticky`: the identity that keeps a user on one color.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::file::kinds::is_field_name;
use crate::config::file::{Section, quoted};

/// The cookie by which the proxy recognizes a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitorCookie {
    pub name: String,
    pub max_age: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sticky {
    /// Each request is drawn by chance.
    #[default]
    Off,
    Own(Arc<VisitorCookie>),
    /// The value of a cookie of the application.
    Cookie(String),
    /// The value of a request field; its name in lower case.
    Header(String),
    Address,
}

impl Sticky {
    pub(super) fn read(section: &Section<'_>, own: &VisitorCookie) -> Option<Sticky> {
        let (text, span) = section.string("sticky")?;
        let sticky = match text.split_once(':') {
            None if text == "off" => Some(Sticky::Off),
            None if text == "address" => Some(Sticky::Address),
            None if text == "cookie" => Some(Sticky::Own(Arc::new(own.clone()))),
            Some(("cookie", cookie)) if is_field_name(cookie) => Some(Sticky::Cookie(cookie.to_owned())),
            Some(("header", header)) if is_field_name(header) => Some(Sticky::Header(header.to_ascii_lowercase())),
            _ => None,
        };
        if sticky.is_none() {
            let help = "it is \"off\", \"cookie\", \"cookie:NAME\", \"header:NAME\" or \"address\"";
            section.problem(span, format!("`canary.sticky` is {}", quoted(text)), help);
        }
        sticky
    }

    /// The form in the ledger: unlike that of the file, it includes the proxy's cookie.
    #[must_use]
    pub fn recorded(&self) -> String {
        match self {
            Sticky::Own(cookie) => format!("own:{}:{}", cookie.max_age.as_secs(), cookie.name),
            Sticky::Off | Sticky::Cookie(_) | Sticky::Header(_) | Sticky::Address => self.to_string(),
        }
    }

    /// `None`: a form that this version does not know.
    #[must_use]
    pub fn from_record(recorded: &str) -> Option<Sticky> {
        let (kind, name) = recorded.split_once(':').unwrap_or((recorded, ""));
        Some(match kind {
            "off" => Sticky::Off,
            "address" => Sticky::Address,
            "cookie" => Sticky::Cookie(name.to_owned()),
            "header" => Sticky::Header(name.to_owned()),
            "own" => {
                let (max_age, name) = name.split_once(':')?;
                let max_age = Duration::from_secs(max_age.parse().ok()?);
                Sticky::Own(Arc::new(VisitorCookie { name: name.to_owned(), max_age }))
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sticky::Off => f.write_str("off"),
            Sticky::Own(_) => f.write_str("cookie"),
            Sticky::Cookie(name) => write!(f, "cookie:{name}"),
            Sticky::Header(name) => write!(f, "header:{name}"),
            Sticky::Address => f.write_str("address"),
        }
    }
}
