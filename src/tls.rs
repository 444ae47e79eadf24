//! TLS by rustls, on both sides: which certificate a client is shown, and how an endpoint is trusted.
//!
//! The module is told paths and knows no configuration. The cryptography is aws-lc-rs, named here and never taken from a
//! process-wide default; the first key exchange that is offered is X25519MLKEM768, so that what is recorded today can't be
//! read by a quantum computer later.

pub mod client;
pub(crate) mod files;
pub mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use client::{ClientSettings, ClientTls};
pub use server::{ServerSettings, ServerTls};

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the own certificate first.
    pub cert: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// The answer of the authority that it is not revoked (RFC 6960), in DER, for stapling.
    pub ocsp: Option<PathBuf>,
}

/// The oldest version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246
    V12,
    /// RFC 8446
    V13,
}

static NEWEST: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl TlsVersion {
    fn and_newer(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        match self {
            TlsVersion::V12 => rustls::ALL_VERSIONS,
            TlsVersion::V13 => NEWEST,
        }
    }
}

/// A file that can't be used, and why. Never anything of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl TlsError {
    fn new(path: &Path, reason: impl Into<String>) -> TlsError {
        TlsError { path: path.to_owned(), reason: reason.into() }
    }
}

/// What is wrong with a certificate and its key: all of it.
#[must_use]
pub fn check_pair(files: &CertificateFiles) -> Vec<TlsError> {
    files::pair(files).err().unwrap_or_default()
}

/// Whether these authorities can be read.
pub fn check_authorities(path: &Path) -> Result<(), TlsError> {
    files::authorities(path).map(drop)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

#[cfg(test)]
mod tests;
