//! Reading certificates, keys, staples and authorities, with the error of each.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;

use crate::tls::certificate::{self, Facts};
use crate::tls::{CertificateFiles, TlsError, Writers, provider, staple};

const MAX_BYTES: u64 = 1 << 20;

/// Files count when unchanged for this long,
const QUIET: Duration = Duration::from_millis(500);
/// or this long where a chain or a list of authorities became shorter: a file written in place is valid before it is
/// whole.
const SHORTER: Duration = Duration::from_secs(3);

pub(super) fn are_quiet<'a>(paths: impl IntoIterator<Item = &'a PathBuf>, shorter: bool, writers: &Writers) -> bool {
    let needed = if shorter { SHORTER } else { QUIET };
    paths.into_iter().all(|path| !writers.has(path) && age(path).is_none_or(|age| age >= needed))
}

fn age(path: &Path) -> Option<Duration> {
    let metadata = std::fs::metadata(path).ok()?;
    let (seconds, nanoseconds) = (u64::try_from(metadata.ctime()).ok()?, u32::try_from(metadata.ctime_nsec()).ok()?);
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)).ok()
}

#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: CertifiedKey,
    pub(super) facts: Facts,
    /// An expired staple was left out.
    pub(super) stale: Option<TlsError>,
}

#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) store: RootCertStore,
    /// As in the file, to detect changes.
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

pub(super) fn pair(files: &CertificateFiles) -> Result<Pair, Vec<TlsError>> {
    let mut errors = Vec::new();
    let mut keep = |error| errors.push(error);
    let chain = chain(&files.cert).map_err(&mut keep).ok();
    let key = private_key(&files.key).map_err(&mut keep).ok();
    let ocsp = files.ocsp.as_deref().map(staple).transpose().map_err(&mut keep).ok();
    let (Some((chain, facts)), Some(key), Some(ocsp)) = (chain, key, ocsp) else { return Err(errors) };
    let mut key = fitting(chain, key, files).map_err(|error| vec![error])?;
    let mut stale = None;
    if let (Some(path), Some(staple)) = (&files.ocsp, ocsp) {
        match staple::expired(&staple, SystemTime::now()) {
            None => key.ocsp = Some(staple),
            Some(end) => {
                let end = humantime::format_rfc3339_seconds(end);
                let reason = format!(
                    "expired at {end}, so clients get no staple; fetch a new one: `openssl ocsp -respout FILE`"
                );
                stale = Some(TlsError::new(path, reason));
            }
        }
    }
    Ok(Pair { key, facts, stale })
}

pub(super) fn authorities(path: &Path) -> Result<Authorities, TlsError> {
    let certificates = certificates(path)?;
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        let number = index + 1;
        let invalid = |error| TlsError::new(path, format!("its certificate number {number} can't be used: {error}"));
        store.add(certificate.clone()).map_err(invalid)?;
    }
    Ok(Authorities { store, certificates })
}

fn chain(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Facts), TlsError> {
    let chain = certificates(path)?;
    let facts = match chain.first().map(certificate::facts) {
        Some(Ok(facts)) => facts,
        Some(Err(error)) => return Err(TlsError::new(path, format!("its first certificate can't be read: {error}"))),
        None => return Err(nothing_in(path, &[], "certificate", "x509")),
    };
    Ok((chain, facts))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| damaged(path, &error))?;
    if certificates.is_empty() {
        return Err(nothing_in(path, &bytes, "certificate", "x509"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(_) if holds(&bytes, b"ENCRYPTED") => Err(TlsError::new(
            path,
            "is protected by a passphrase; write it without: `openssl pkey -in FILE -out FILE`",
        )),
        Err(pem::Error::NoItemsFound) => Err(nothing_in(path, &bytes, "private key", "pkey")),
        Err(error) => Err(damaged(path, &error)),
    }
}

/// An OCSP response. Checked only as far as needed to refuse another kind of file.
fn staple(path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = read(path)?;
    match after_sequence_header(&bytes) {
        // It begins with its status (RFC 6960, 4.2.1), an enumerated value; 0 is "successful".
        Some([0x0a, 0x01, 0x00, ..]) => Ok(bytes),
        Some([0x0a, 0x01, status, ..]) => {
            Err(TlsError::new(path, format!("is the responder's refusal to answer (status {status})")))
        }
        _ => Err(TlsError::new(path, "is not an OCSP response in DER, as `openssl ocsp -respout FILE` writes it")),
    }
}

/// The content of a DER sequence that fills all of the bytes.
fn after_sequence_header(bytes: &[u8]) -> Option<&[u8]> {
    let (length, content) = match bytes {
        [0x30, length @ 0..=0x7f, content @ ..] => (usize::from(*length), content),
        [0x30, 0x81, length, content @ ..] => (usize::from(*length), content),
        [0x30, 0x82, high, low, content @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), content),
        [0x30, 0x83, high, middle, low, content @ ..] => {
            (u32::from_be_bytes([0, *high, *middle, *low]) as usize, content)
        }
        _ => return None,
    };
    (content.len() == length).then_some(content)
}

fn fitting(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: &CertificateFiles,
) -> Result<CertifiedKey, TlsError> {
    let provider = provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        TlsError::new(
            &files.key,
            "is damaged, or of a kind that is not supported: use RSA of 2048 bits or more, ECDSA or Ed25519",
        )
    })?;
    let key = CertifiedKey::new(chain, key);
    let reason = match key.keys_match() {
        Ok(()) => return Ok(key),
        Err(rustls::Error::InvalidCertificate(reason)) => {
            return Err(TlsError::new(&files.cert, format!("its first certificate can't be used: {reason}")));
        }
        Err(_) => match position(&key) {
            Some(number) => {
                format!("fits certificate number {number} of {}; that one has to come first", files.cert.display())
            }
            None => format!("is not the key of {}", files.cert.display()),
        },
    };
    Err(TlsError::new(&files.key, reason))
}

fn position(key: &CertifiedKey) -> Option<usize> {
    let fits = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], key.key.clone()).keys_match().is_ok()
    };
    key.cert.iter().position(fits).map(|index| index + 1)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error: io::Error| {
        let repair = match error.kind() {
            io::ErrorKind::PermissionDenied => "; let the user of this process read it",
            _ => "",
        };
        TlsError::new(path, format!("can't be read: {error}{repair}"))
    };
    // Opening a pipe would otherwise wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
    let file = File::from(file);
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(TlsError::new(path, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TlsError::new(path, "is larger than 1 MiB, the most that is read"));
    }
    Ok(bytes)
}

/// Names only the kind of damage: the text around it may be a secret.
fn damaged(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "is damaged: a section of PEM has no end",
        pem::Error::IllegalSectionStart { .. } => "is damaged: a section of PEM has no proper beginning",
        pem::Error::Base64Decode(_) => "is damaged: a section of PEM is not base64",
        _ => "is not valid PEM",
    };
    TlsError::new(path, reason)
}

fn nothing_in(path: &Path, bytes: &[u8], what: &str, tool: &str) -> TlsError {
    // DER begins with a sequence ('0'), PEM with a line of dashes.
    let repair = match bytes {
        [] => "; it is empty".to_owned(),
        [0x30, ..] => format!("; it seems to be DER: `openssl {tool} -inform der -in FILE -out FILE`"),
        _ => String::new(),
    };
    TlsError::new(path, format!("has no {what} in PEM{repair}"))
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

#[cfg(test)]
mod tests;
