//! Reading certificates, keys and authorities from files.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::{CertificateFiles, TlsError, provider};

/// A larger file is neither.
const MAX_BYTES: u64 = 1 << 20;

/// A pair that fits, and what its certificate says.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: CertifiedKey,
    /// In lower case; `*.` in front of those that stand for one more label.
    pub(super) names: Vec<String>,
    pub(super) not_after: SystemTime,
}

/// The content of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error: std::io::Error| TlsError::new(path, format!("can't be read: {error}"));
    // Looked at first, because opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(TlsError::new(path, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TlsError::new(path, "is larger than 1 MiB, the most that is read"));
    }
    Ok(bytes)
}

/// Every certificate of a PEM file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::new(path, "has no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsError::new(path, format!("is not valid PEM: {error}"))),
    }
}

/// The one private key of a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| TlsError::new(path, "has no private key in PEM"))
}

/// A certificate with its key, or everything that is wrong with them.
pub(super) fn pair(files: &CertificateFiles) -> Result<Pair, Vec<TlsError>> {
    let mut errors = Vec::new();
    let mut keep = |error| errors.push(error);
    let chain = certificates(&files.cert).map_err(&mut keep).ok();
    let key = private_key(&files.key).map_err(&mut keep).ok();
    let ocsp = files.ocsp.as_deref().map(read).transpose().map_err(&mut keep).ok();
    let (Some(chain), Some(key), Some(ocsp)) = (chain, key, ocsp) else { return Err(errors) };
    let (names, not_after) =
        facts(&chain[0]).ok_or_else(|| vec![TlsError::new(&files.cert, "has no valid certificate")])?;
    let mut key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        vec![match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::new(&files.key, format!("is not the key of {}", files.cert.display()))
            }
            _ => TlsError::new(&files.key, "is of a kind that is not supported"),
        }]
    })?;
    key.ocsp = ocsp;
    Ok(Pair { key, names, not_after })
}

/// Whom to trust.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|_| TlsError::new(path, "has a certificate that is not valid"))?;
    }
    Ok(store)
}

/// The names of a certificate, and until when it is valid.
fn facts(certificate: &CertificateDer<'_>) -> Option<(Vec<String>, SystemTime)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if alternatives.is_none() {
        names.extend(
            certificate.subject().iter_common_name().filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())),
        );
    }
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Some((names, UNIX_EPOCH + Duration::from_secs(seconds)))
}

/// The subject of a certificate as RFC 4514 writes it, for a header: what is not printable ASCII is escaped.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut parts = Vec::new();
    for relative in certificate.subject().iter() {
        let attributes: Vec<String> = relative
            .iter()
            .map(|attribute| {
                let oid = attribute.attr_type();
                let name = x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry())
                    .map_or_else(|_| oid.to_id_string(), str::to_owned);
                format!("{name}={}", escaped(attribute.as_str().unwrap_or_default()))
            })
            .collect();
        parts.push(attributes.join("+"));
    }
    // The most special part comes first.
    parts.reverse();
    Some(parts.join(","))
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, letter) in value.chars().enumerate() {
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', letter]),
            '#' | ' ' if index == 0 => text.extend(['\\', letter]),
            ' ' if index == last => text.push_str("\\ "),
            ' '..='~' => text.push(letter),
            _ => {
                let mut bytes = [0; 4];
                for byte in letter.encode_utf8(&mut bytes).bytes() {
                    text.push_str(&format!("\\{byte:02x}"));
                }
            }
        }
    }
    text
}
