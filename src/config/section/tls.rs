//! `[tls]`: TLS with clients.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::config::file::{Section, quoted};
use crate::config::render::{duration, path, table, word};
use crate::config::section::certificates::{PlacedCertificate, check_files};
use crate::config::section::listen::Listen;
use crate::config::units::{HOUR, MS};
use crate::tls::{CertificateFiles, TlsVersion};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub min_version: TlsVersion,
    /// Distinct certificates; never empty.
    pub certificates: Vec<CertificateFiles>,
    /// The authorities of client certificates, in PEM; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    pub client_auth: ClientAuth,
    pub handshake_timeout: Duration,
}

/// The treatment of clients without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// The handshake fails.
    Require,
    /// They are served.
    Request,
}

impl ClientAuth {
    const NAMES: [(&str, ClientAuth); 2] = [("require", ClientAuth::Require), ("request", ClientAuth::Request)];
}

impl TlsConfig {
    /// `[tls]` is there exactly where `listen.https` is.
    pub(super) fn read(root: &Section<'_>, listen: Option<&Listen>) -> Option<TlsConfig> {
        if let Some(listen) = listen {
            match (root.get("tls"), &listen.https) {
                (None, Some(https)) => {
                    let help = "add it, with `certificates = [{ cert = \"/etc/cutover/site.pem\", \
                                key = \"/etc/cutover/site.key\" }]`";
                    root.problem(https.clone(), "`listen.https` needs [tls]", help);
                }
                (Some(value), None) => {
                    let help = "add `https = \"0.0.0.0:8443\"` under [listen], or remove this";
                    root.problem(value.span(), "[tls] needs `listen.https`", help);
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        let redirects = listen.is_some_and(|listen| listen.config.https_redirect.is_some());
        root.optional("tls", |section| TlsConfig::read_section(section, redirects))
    }

    fn read_section(section: &Section<'_>, redirects: bool) -> TlsConfig {
        let certificates = read_certificates(section);
        let client_ca = section.string("client_ca").and_then(|written| section.file("client_ca", written));
        if let (None, Some(value)) = (section.get("client_ca"), section.get("client_auth")) {
            let help = "add `client_ca = \"/etc/cutover/clients.pem\"`, or remove this";
            section.problem(value.span(), "`tls.client_auth` needs `tls.client_ca`", help);
        }
        let usable = check_files(section, "tls", &certificates, client_ca.as_ref());
        if redirects
            && !usable
            && !certificates.is_empty()
            && let Some(value) = section.get("certificates")
        {
            let message = "no certificate can be used, and `listen.https_redirect` sends every request to TLS";
            section.problem(value.span(), message, "mend one certificate, or remove `https_redirect`");
        }
        TlsConfig {
            min_version: section.choice("min_version", &VERSIONS, TlsVersion::V12),
            certificates: certificates.into_iter().map(|certificate| certificate.files).collect(),
            client_ca: client_ca.map(|(path, _)| path),
            client_auth: section.choice("client_auth", &ClientAuth::NAMES, ClientAuth::Require),
            handshake_timeout: section.duration("handshake_timeout", HANDSHAKE_TIMEOUT, 100 * MS..=HOUR),
        }
    }

    pub(super) fn write(&self) -> Value {
        let certificates = self.certificates.iter().map(|files| {
            let mut entry = vec![("cert", path(&files.cert)), ("key", path(&files.key))];
            entry.extend(files.ocsp.as_deref().map(|ocsp| ("ocsp", path(ocsp))));
            table(entry)
        });
        let mut section = vec![
            ("min_version", word(&VERSIONS, self.min_version)),
            ("certificates", certificates.collect::<Vec<_>>().into()),
            ("handshake_timeout", duration(self.handshake_timeout)),
        ];
        if let Some(client_ca) = &self.client_ca {
            section
                .extend([("client_ca", path(client_ca)), ("client_auth", word(&ClientAuth::NAMES, self.client_auth))]);
        }
        table(section)
    }
}

fn read_certificates(section: &Section<'_>) -> Vec<PlacedCertificate> {
    let example = "{ cert = \"/etc/cutover/site.pem\", key = \"/etc/cutover/site.key\" }";
    match section.get("certificates") {
        None => section.missing("certificates", &format!("certificates = [{example}]")),
        Some(value) if value.get_ref().as_array().is_some_and(|items| items.is_empty()) => {
            let help = format!("name at least one, such as `{example}`");
            section.problem(value.span(), "`tls.certificates` has no certificate", help);
        }
        Some(_) => {}
    }
    let mut certificates = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in section.sections("certificates") {
        let cert = entry.required("cert", "cert = \"/etc/cutover/site.pem\"");
        let cert = cert.and_then(|written| entry.file("cert", written));
        let key = entry.required("key", "key = \"/etc/cutover/site.key\"");
        let key = key.and_then(|written| entry.file("key", written));
        let ocsp = entry.string("ocsp").and_then(|written| entry.file("ocsp", written));
        entry.refuse_unknown();
        let (Some((cert, cert_span)), Some((key, key_span))) = (cert, key) else { continue };
        if !seen.insert(cert.clone()) {
            let message = format!("the certificate {} is there twice", quoted(&cert.to_string_lossy()));
            section.problem(cert_span, message, "keep one of them");
            continue;
        }
        let (ocsp, ocsp_span) = ocsp.unzip();
        let files = CertificateFiles { cert, key, ocsp };
        certificates.push(PlacedCertificate { files, cert: cert_span, key: key_span, ocsp: ocsp_span });
    }
    certificates
}
