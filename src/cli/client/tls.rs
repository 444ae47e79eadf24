//! TLS of commands to the admin address: trust, client certificate, error messages.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cli::Failure;
use crate::cli::connection::Connection;
use crate::tls::commands::{self, Believed};
use crate::tls::{CertificateFiles, server_name};

#[derive(Clone, Debug)]
pub(super) struct Tls(Arc<ClientConfig>);

/// An empty variable counts as unset.
fn given(path: Option<&PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty()).cloned()
}

impl Tls {
    /// `local`: the certificate in the configuration file of a proxy on this machine.
    pub(super) fn new(connection: &Connection, local: Option<PathBuf>) -> Result<Tls, Failure> {
        let believed = match (given(connection.ca.as_ref()), local) {
            (Some(ca), _) => Believed::SignedBy(ca),
            (None, Some(certificate)) => Believed::Exactly(certificate),
            (None, None) => Believed::System,
        };
        let shown = match (given(connection.cert.as_ref()), given(connection.key.as_ref())) {
            (Some(cert), Some(key)) => Some(CertificateFiles { cert, key, ocsp: None }),
            // One file may hold both.
            (Some(cert), None) => Some(CertificateFiles { key: cert.clone(), cert, ocsp: None }),
            (None, Some(_)) => return Err(Failure::Usage("--key needs --cert, the certificate to it".to_owned())),
            (None, None) => None,
        };
        let config = commands::config(&believed, shown.as_ref()).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Failure::Usage(errors.join("; "))
        })?;
        Ok(Tls(config))
    }

    pub(super) async fn connect(&self, address: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = server_name(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.reason))?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}

/// `None`: the exchange failed for another reason than TLS.
pub(super) fn failure(address: &str, error: &(dyn Error + 'static)) -> Option<Failure> {
    let ended = |code: &str, text: String, exit| Some(Failure::Ended(code.to_owned(), text, exit));
    let place = format!("https://{address}");
    match reason(error)? {
        rustls::Error::InvalidCertificate(why) => {
            let text = format!("the certificate of {place} is not believed, so nothing was sent: {}", distrust(why));
            ended("certificate", text, 4)
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
        ) => {
            let text = format!(
                "{place} does not take the certificate of this command: show one that `admin.tls.client_ca` has \
                 signed (--cert, --key)"
            );
            ended("client_certificate", text, 6)
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            let text = format!("{address} does not speak TLS: name it as http://{address}, or set [admin.tls]");
            ended("no_tls", text, 4)
        }
        other => ended("tls", format!("the TLS handshake with {place} failed: {other}"), 4),
    }
}

fn reason<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match within {
            Some(within) => Some(within),
            None => error.source(),
        };
    }
    None
}

fn distrust(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that is believed has signed it. Name its authority: --ca FILE (CUTOVER_CA)".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (expected, presented) = (expected.to_str(), presented.join(", "));
            format!("it is not for {expected}, but for {presented}. Use one of its names in --admin")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired. Put a new one in place of `admin.tls.cert`".to_owned()
        }
        CertificateError::ApplicationVerificationFailure => {
            "it is not the one in the configuration file. Name its authority: --ca FILE (CUTOVER_CA)".to_owned()
        }
        other => other.to_string(),
    }
}
