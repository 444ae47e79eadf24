//! The facts of a certificate: names, end, subject.

use std::fmt::Write;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// In lower case; `*.` stands for one more label.
    pub(super) names: Vec<String>,
    pub(super) subject: String,
    pub(super) not_after: SystemTime,
}

pub(super) fn facts(certificate: &CertificateDer<'_>) -> der::Result<Facts> {
    let certificate = Certificate::from_der(certificate)?;
    let content = certificate.tbs_certificate();
    let subject = content.subject();
    let names = match content.get_extension::<SubjectAltName>()? {
        Some((_, alternatives)) => {
            alternatives.0.iter().filter_map(dns_name).map(|name| name.to_ascii_lowercase()).collect()
        }
        // A common name counts only in certificates without alternative names (RFC 6125, 6.4.4).
        None => {
            subject.common_name().ok().flatten().map(|name| name.value().to_ascii_lowercase()).into_iter().collect()
        }
    };
    Ok(Facts { names, subject: text(subject), not_after: content.validity().not_after.to_system_time() })
}

pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_system_time())
}

/// As RFC 4514 writes it, in printable ASCII; empty if it can't be read.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> String {
    Certificate::from_der(certificate)
        .map(|certificate| text(certificate.tbs_certificate().subject()))
        .unwrap_or_default()
}

fn dns_name(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

/// The library escapes special and control characters of ASCII. All other bytes are escaped here, in hexadecimal as RFC
/// 4514 allows, because the text becomes the value of a header.
fn text(name: &Name) -> String {
    let written = name.to_string();
    if written.is_ascii() {
        return written;
    }
    let mut text = String::with_capacity(written.len() * 2);
    for byte in written.bytes() {
        if byte.is_ascii() {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:02x}");
        }
    }
    text
}
