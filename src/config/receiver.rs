//! Addresses and signing secrets of notices. Both are secrets, so they stand in files or variables. They are checked
//! with the configuration and read again for each attempt, so a rotation needs no reload.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;

use crate::config::{self, Secret};

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Env(String),
}

impl Source {
    /// The current content. The error names the place, never the content.
    pub fn read(&self) -> Result<Secret, String> {
        let text = match self {
            Source::File(path) => config::read(path).map_err(|reason| format!("{} {reason}", path.display()))?,
            Source::Env(name) => std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))?,
        };
        let text = text.trim();
        if text.is_empty() { Err(format!("{self} is empty")) } else { Ok(Secret(text.to_owned())) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Env(name) => write!(f, "${name}"),
        }
    }
}

/// An address to post to. Knowing it is the right to post there, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReceiverUrl {
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
    /// The `Host` field.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl fmt::Debug for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl ReceiverUrl {
    /// Parses `https://…` and `http://…` without user and password.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<ReceiverUrl> {
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        Some(ReceiverUrl {
            tls,
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// The bytes of a signing secret by Standard Webhooks: `whsec_` and 24 to 64 bytes in base64.
#[must_use]
pub(crate) fn signing_secret(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&bytes.len()).then_some(bytes)
}
