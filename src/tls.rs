//! TLS on both sides, by rustls: the certificates for clients, and the trust in endpoints.
//!
//! The module is told paths and knows no configuration. The cryptography is aws-lc-rs, named here and never taken from
//! a process-wide default. Its first key exchange is X25519MLKEM768 (feature `prefer-post-quantum` of rustls), so that
//! a recording of today can't be read by a quantum computer later.

mod certificate;
pub(crate) mod client;
pub(crate) mod commands;
mod files;
mod resolve;
pub(crate) mod server;
mod staple;
mod writers;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub(crate) use client::{ClientSettings, ClientTls, server_name};
pub(crate) use server::{ServerSettings, ServerTls, client_certificate_is_over, client_subject};
pub(crate) use writers::Writers;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the server's own certificate first.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// An OCSP response (RFC 6960) in DER, to be stapled.
    pub ocsp: Option<PathBuf>,
}

/// The oldest version that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V12,
    V13,
}

static ALL_VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static NEWEST_VERSION: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

impl TlsVersion {
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            TlsVersion::V12 => &ALL_VERSIONS,
            TlsVersion::V13 => &NEWEST_VERSION,
        }
    }
}

/// A file that can't be used. The text has nothing of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    /// In the rare case that no file is at fault, the name of the setting.
    pub path: PathBuf,
    pub reason: String,
}

impl TlsError {
    fn new(path: impl AsRef<Path>, reason: impl Into<String>) -> TlsError {
        TlsError { path: path.as_ref().to_owned(), reason: reason.into() }
    }
}

#[must_use]
pub(crate) fn check_pair(files: &CertificateFiles) -> Vec<TlsError> {
    files::pair(files).err().unwrap_or_default()
}

/// The certificate or staple that has expired; empty if they can't be read.
#[must_use]
pub(crate) fn expired(files: &CertificateFiles, now: SystemTime) -> Vec<TlsError> {
    let Ok(pair) = files::pair(files) else { return Vec::new() };
    let not_after = pair.facts.not_after;
    let certificate = (not_after <= now).then(|| {
        let end = humantime::format_rfc3339_seconds(not_after);
        TlsError::new(&files.cert, format!("expired at {end}, so clients refuse it; put a new one in its place"))
    });
    certificate.into_iter().chain(pair.stale).collect()
}

pub(crate) fn check_authorities(path: &Path) -> Result<(), TlsError> {
    files::authorities(path).map(drop)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

#[cfg(test)]
mod tests;
