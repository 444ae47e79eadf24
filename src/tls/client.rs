//! Towards endpoints.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{TlsError, TlsVersion, files, provider};

/// How the endpoints of an upstream are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Whom to trust; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The name that the certificate has to have; `None`: the endpoint's own.
    pub server_name: Option<String>,
    /// What we show.
    pub client_cert: Option<PathBuf>,
    /// The key to it.
    pub client_key: Option<PathBuf>,
    /// HTTP/2, and not HTTP/1.1.
    pub http2: bool,
}

/// The endpoints' side of one upstream.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    http2: bool,
}

impl ClientTls {
    /// Reads everything; or names everything that is wrong.
    pub fn load(settings: &ClientSettings) -> Result<ClientTls, Vec<TlsError>> {
        let mut errors = Vec::new();
        let roots = match &settings.ca {
            Some(path) => files::authorities(path),
            None => system_authorities(),
        };
        let roots = roots.map_err(|error| errors.push(error)).ok();
        let shown = match (&settings.client_cert, &settings.client_key) {
            (Some(cert), Some(key)) => {
                let chain = files::certificates(cert).map_err(|error| errors.push(error)).ok();
                let key = files::private_key(key).map_err(|error| errors.push(error)).ok();
                chain.zip(key)
            }
            _ => None,
        };
        let (Some(roots), true) = (roots, errors.is_empty()) else { return Err(errors) };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(TlsVersion::V12.and_newer())
            .expect("the provider knows both versions")
            .with_root_certificates(roots);
        let mut config = match (shown, &settings.client_key) {
            (Some((chain, key)), Some(path)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|_| vec![TlsError::new(path, "is not the key of the client certificate")])?,
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![if settings.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let server_name = settings.server_name.clone().map(ServerName::try_from).transpose();
        let server_name = server_name.map_err(|error| vec![TlsError::new(&PathBuf::new(), error.to_string())])?;
        Ok(ClientTls { config: Arc::new(config), server_name, http2: settings.http2 })
    }

    /// Speaks TLS on a connection to `host`, the endpoint's name or address.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.trim_end_matches('.').to_owned()).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidInput, "the endpoint has no name to check: set `server_name`")
            })?,
        };
        let connected = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await.map_err(in_words)?;
        if self.http2 && connected.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the endpoint does not speak HTTP/2"));
        }
        Ok(connected)
    }
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(TlsError::new(
            &PathBuf::from("/etc/ssl/certs"),
            "the system trusts no authority: install ca-certificates, or set `ca`",
        ));
    }
    Ok(store)
}

/// Why the endpoint is not trusted, for those who have to repair it.
fn in_words(error: io::Error) -> io::Error {
    let Some(rustls::Error::InvalidCertificate(reason)) =
        error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return error;
    };
    let text = match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::UnknownIssuer => "its certificate is from an authority that is not trusted",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority (CA:TRUE), which no server may show"
        }
        _ => return error,
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}
