//! `upstream.NAME.tls`: TLS with endpoints.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::Value;

use crate::config::file::Section;
use crate::config::file::kinds::is_name;
use crate::config::render::{path, table};
use crate::config::section::certificates::{PlacedCertificate, check_files};
use crate::tls::CertificateFiles;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities of endpoint certificates, in PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name in the handshake and in the certificate; `None`: the endpoint's host.
    pub server_name: Option<String>,
    /// The proxy's certificate, in PEM; set exactly where `client_key` is.
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

impl UpstreamTls {
    pub(super) fn read(section: &Section<'_>) -> UpstreamTls {
        let file = |key| section.string(key).and_then(|written| section.file(key, written));
        let ca = file("ca");
        let client = (file("client_cert"), file("client_key"));
        for (key, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
            if let (Some(value), None) = (section.get(key), section.get(other)) {
                let message = format!("`{}` needs `{other}`", section.path(key));
                let help = format!("add `{other} = \"/etc/cutover/{other}.pem\"`, or remove this");
                section.problem(value.span(), message, help);
            }
        }
        let server_name = section.string("server_name").and_then(|written| {
            let name = written.0;
            let valid = is_server_name(name) || name.parse::<IpAddr>().is_ok();
            if !valid {
                let help = "write \"app.internal\", or an address without a port";
                section.refuse("server_name", written, "which is not a name", help);
            }
            valid.then(|| name.to_owned())
        });
        let certificate = match client {
            (Some((cert, cert_span)), Some((key, key_span))) => {
                let files = CertificateFiles { cert, key, ocsp: None };
                Some(PlacedCertificate { files, cert: cert_span, key: key_span, ocsp: None })
            }
            _ => None,
        };
        check_files(section, section.path("").trim_end_matches('.'), certificate.as_slice(), ca.as_ref());
        let (client_cert, client_key) =
            certificate.map(|certificate| (certificate.files.cert, certificate.files.key)).unzip();
        UpstreamTls { ca: ca.map(|(path, _)| path), server_name, client_cert, client_key }
    }

    pub(super) fn write(&self) -> Value {
        let files = [("ca", &self.ca), ("client_cert", &self.client_cert), ("client_key", &self.client_key)];
        let files = files.into_iter().filter_map(|(key, file)| Some((key, path(file.as_deref()?))));
        table(files.chain(self.server_name.clone().map(|name| ("server_name", name.into()))))
    }
}

/// A name that a certificate can have: stricter than the names of endpoints.
fn is_server_name(name: &str) -> bool {
    let mut labels = name.strip_suffix('.').unwrap_or(name).rsplit('.');
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    is_name(name)
        && !labels.clone().next().is_some_and(numeric)
        && !labels.any(|label| label.starts_with('-') || label.ends_with('-'))
}
