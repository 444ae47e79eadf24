//! TLS on both sides: with clients, and with endpoints.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::error::UnusableFile;
use crate::config::file::{PEM_BEGINS, Section, Span, quoted};
use crate::config::validate::listen::Listen;
use crate::config::validate::routing::is_name;
use crate::config::validate::{File, HOUR, MS, SECOND};
use crate::config::{ClientAuth, TlsConfig, UpstreamTls};
use crate::tls::{self, CertificateFiles, TlsError, TlsVersion};

/// A certificate with its key, and where the file names them.
struct PlacedCertificate {
    files: CertificateFiles,
    cert: Span,
    key: Span,
    ocsp: Option<Span>,
}

impl<'a> File<'a> {
    /// `[tls]`, which is there exactly where `listen.https` is.
    pub(super) fn tls(&self, listen: Option<&Listen>) -> Option<TlsConfig> {
        let section = self.root.section("tls");
        if let Some(listen) = listen {
            match (self.root.get("tls"), &listen.https) {
                (None, Some(https)) => {
                    let help = "add it, with `certificates = [{ cert = \"/etc/cutover/site.pem\", \
                                key = \"/etc/cutover/site.key\" }]`";
                    self.notes.problem(https.clone(), "`listen.https` needs [tls]", help.to_owned());
                }
                (Some(value), None) => {
                    let help = "add `https = \"0.0.0.0:8443\"` under [listen], or remove this".to_owned();
                    self.notes.problem(value.span(), "[tls] needs `listen.https`", help);
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        let section = section?;
        let min_version = section.choice("min_version", &[("1.2", TlsVersion::V12), ("1.3", TlsVersion::V13)]);
        let certificates = self.certificates(&section);
        let client_ca = section.string("client_ca").and_then(|written| self.file(&section, "client_ca", written));
        let client_auth =
            section.choice("client_auth", &[("require", ClientAuth::Require), ("request", ClientAuth::Request)]);
        if let (None, Some(value)) = (section.get("client_ca"), section.get("client_auth")) {
            let help = "add `client_ca = \"/etc/cutover/clients.pem\"`, or remove this".to_owned();
            self.notes.problem(value.span(), "`tls.client_auth` needs `tls.client_ca`", help);
        }
        let handshake_timeout = section.duration("handshake_timeout", 10 * SECOND, 100 * MS..=HOUR);
        section.refuse_unknown();
        let usable = self.check_files("tls", &certificates, client_ca.as_ref());
        if !usable
            && !certificates.is_empty()
            && listen.is_some_and(|listen| listen.config.https_redirect.is_some())
            && let Some(value) = section.get("certificates")
        {
            let message = "no certificate can be used, and `listen.https_redirect` sends every request to TLS";
            self.notes.problem(value.span(), message, "mend one certificate, or remove `https_redirect`".to_owned());
        }
        Some(TlsConfig {
            min_version,
            certificates: certificates.into_iter().map(|certificate| certificate.files).collect(),
            client_ca: client_ca.map(|(path, _)| path),
            client_auth,
            handshake_timeout,
        })
    }

    fn certificates(&self, section: &Section<'a>) -> Vec<PlacedCertificate> {
        let example = "{ cert = \"/etc/cutover/site.pem\", key = \"/etc/cutover/site.key\" }";
        match section.get("certificates") {
            None => section.missing("certificates", &format!("certificates = [{example}]")),
            Some(value) if value.get_ref().as_array().is_some_and(|items| items.is_empty()) => {
                let help = format!("name at least one, such as `{example}`");
                self.notes.problem(value.span(), "`tls.certificates` has no certificate", help);
            }
            Some(_) => {}
        }
        let mut certificates = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in section.sections("certificates") {
            let cert = entry.required("cert", "cert = \"/etc/cutover/site.pem\"");
            let cert = cert.and_then(|written| self.file(&entry, "cert", written));
            let key = entry.required("key", "key = \"/etc/cutover/site.key\"");
            let key = key.and_then(|written| self.file(&entry, "key", written));
            let ocsp = entry.string("ocsp").and_then(|written| self.file(&entry, "ocsp", written));
            entry.refuse_unknown();
            let (Some((cert, cert_span)), Some((key, key_span))) = (cert, key) else { continue };
            if !seen.insert(cert.clone()) {
                let message = format!("the certificate {} is there twice", quoted(&cert.to_string_lossy()));
                self.notes.problem(cert_span, message, "keep one of them".to_owned());
                continue;
            }
            let (ocsp, ocsp_span) = ocsp.unzip();
            let files = CertificateFiles { cert, key, ocsp };
            certificates.push(PlacedCertificate { files, cert: cert_span, key: key_span, ocsp: ocsp_span });
        }
        certificates
    }

    /// `upstream.NAME.tls`
    pub(super) fn upstream_tls(&self, policy: &Section<'a>) -> Option<UpstreamTls> {
        let section = policy.section("tls")?;
        let file = |key| section.string(key).and_then(|written| self.file(&section, key, written));
        let ca = file("ca");
        let client = (file("client_cert"), file("client_key"));
        for (key, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
            if let (Some(value), None) = (section.get(key), section.get(other)) {
                let message = format!("`{}` needs `{other}`", section.path(key));
                let help = format!("add `{other} = \"/etc/cutover/{other}.pem\"`, or remove this");
                self.notes.problem(value.span(), message, help);
            }
        }
        let server_name = section.string("server_name").and_then(|(name, span)| {
            let valid = is_server_name(name) || name.parse::<IpAddr>().is_ok();
            if !valid {
                let message = format!("`{}` is {}, which is not a name", section.path("server_name"), quoted(name));
                self.notes.problem(span, message, "write \"app.internal\", or an address without a port".to_owned());
            }
            valid.then(|| name.to_owned())
        });
        section.refuse_unknown();
        let certificate = match client {
            (Some((cert, cert_span)), Some((key, key_span))) => {
                let files = CertificateFiles { cert, key, ocsp: None };
                Some(PlacedCertificate { files, cert: cert_span, key: key_span, ocsp: None })
            }
            _ => None,
        };
        self.check_files(section.path("").trim_end_matches('.'), certificate.as_slice(), ca.as_ref());
        let (client_cert, client_key) =
            certificate.map(|certificate| (certificate.files.cert, certificate.files.key)).unzip();
        Some(UpstreamTls { ca: ca.map(|(path, _)| path), server_name, client_cert, client_key })
    }

    /// The path of a file. What it is not is its content, which is then not shown: it may be a key.
    fn file(&self, section: &Section<'a>, key: &str, (text, span): (&str, Span)) -> Option<(PathBuf, Span)> {
        let key = section.path(key);
        if text.is_empty() {
            self.notes.problem(span, format!("`{key}` is empty"), "name a file".to_owned());
            return None;
        }
        if text.contains(PEM_BEGINS) {
            let message = format!("`{key}` is what belongs into a file; it has to be the path of that file");
            self.notes.problem(span, message, "put it into a file that only the proxy can read".to_owned());
            return None;
        }
        Some((PathBuf::from(text), span))
    }

    /// The one place that looks into the files of TLS, of both sides: certificates with their keys, and the authorities
    /// that the other side's certificate is checked with. Whether any certificate can be shown.
    fn check_files(
        &self,
        setting: &str,
        certificates: &[PlacedCertificate],
        authorities: Option<&(PathBuf, Span)>,
    ) -> bool {
        let note = |error: TlsError, span: &Span| {
            let path = error.path.to_string_lossy().into_owned();
            let message = format!("the file {} {}", quoted(&path), error.reason);
            let file = UnusableFile { setting: setting.to_owned(), path, reason: error.reason };
            self.notes.unusable(span.clone(), file, message, None);
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
}

/// Whether a certificate could be for this name: stricter than what an endpoint may be called.
fn is_server_name(name: &str) -> bool {
    let mut labels = name.strip_suffix('.').unwrap_or(name).rsplit('.');
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    is_name(name)
        && !labels.clone().next().is_some_and(numeric)
        && !labels.any(|label| label.starts_with('-') || label.ends_with('-'))
}
