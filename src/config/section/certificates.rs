//! The files of TLS on both sides: certificates with their keys, and the authorities of the other side.

use std::path::PathBuf;

use crate::config::error::UnusableFile;
use crate::config::file::{Section, Span, quoted};
use crate::tls::{self, CertificateFiles, TlsError};

/// A certificate with its key, and the places that name the files.
pub(super) struct PlacedCertificate {
    pub(super) files: CertificateFiles,
    pub(super) cert: Span,
    pub(super) key: Span,
    pub(super) ocsp: Option<Span>,
}

/// Reads the files, and tells whether any certificate is usable.
pub(super) fn check_files(
    section: &Section<'_>,
    setting: &str,
    certificates: &[PlacedCertificate],
    authorities: Option<&(PathBuf, Span)>,
) -> bool {
    let note = |error: TlsError, span: &Span| {
        let path = error.path.to_string_lossy().into_owned();
        let message = format!("the file {} {}", quoted(&path), error.reason);
        let file = UnusableFile { setting: setting.to_owned(), path, reason: error.reason };
        section.unusable(span.clone(), file, message, None);
    };
    let mut usable = false;
    for certificate in certificates {
        let errors = tls::check_pair(&certificate.files);
        let is_staple = |error: &TlsError| Some(&error.path) == certificate.files.ocsp.as_ref();
        usable |= errors.iter().all(is_staple);
        for error in errors {
            let span = match &certificate.ocsp {
                _ if error.path == certificate.files.cert => &certificate.cert,
                Some(ocsp) if is_staple(&error) => ocsp,
                _ => &certificate.key,
            };
            note(error, span);
        }
    }
    if let Some((path, span)) = authorities
        && let Err(error) = tls::check_authorities(path)
    {
        usable = false;
        note(error, span);
    }
    usable
}
