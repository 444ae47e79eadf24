//! TLS to endpoints: trusted authorities and our own certificate, read again when the files change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{CertificateFiles, TlsError, TlsVersion, Writers, files, provider};

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Trusted authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name that the certificate must have; `None`: the endpoint's own.
    pub server_name: Option<String>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// HTTP/2 only; else HTTP/1.1.
    pub http2: bool,
}

#[derive(Clone)]
pub struct ClientTls {
    settings: ClientSettings,
    server_name: Option<ServerName<'static>>,
    live: Arc<ArcSwap<Live>>,
}

/// Comes into force as a whole.
struct Live {
    config: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    authorities: Option<Vec<CertificateDer<'static>>>,
    shown: Option<Vec<CertificateDer<'static>>>,
    /// The files were unusable when first needed; until they are mended there are no handshakes.
    errors: Vec<TlsError>,
}

impl ClientTls {
    pub fn load(settings: &ClientSettings) -> Result<ClientTls, Vec<TlsError>> {
        let read = Read::new(settings, None);
        let server_name = settings.server_name.as_deref().map(server_name).transpose();
        match (read, server_name) {
            (Ok(read), Ok(server_name)) => {
                let live = Arc::new(ArcSwap::from_pointee(read.bring_into_force(settings.http2)));
                Ok(ClientTls { settings: settings.clone(), server_name, live })
            }
            (read, server_name) => Err(read.err().into_iter().flatten().chain(server_name.err()).collect()),
        }
    }

    /// Tolerates unusable files: connections are refused until they are mended.
    pub fn load_without(
        settings: &ClientSettings,
        tolerated: &dyn Fn(&Path) -> bool,
    ) -> Result<ClientTls, Vec<TlsError>> {
        let errors = match ClientTls::load(settings) {
            Err(errors) if errors.iter().all(|error| tolerated(&error.path)) => errors,
            loaded => return loaded,
        };
        let server_name = settings.server_name.as_deref().map(server_name).transpose().map_err(|error| vec![error])?;
        let nobody = Read { roots: Arc::new(RootCertStore::empty()), authorities: None, shown: None };
        let live = Live { errors, ..nobody.bring_into_force(settings.http2) };
        Ok(ClientTls { settings: settings.clone(), server_name, live: Arc::new(ArcSwap::from_pointee(live)) })
    }

    /// Reads the files again; true if the content changed, and is in force for new connections. An error changes
    /// nothing. The system's authorities are not read again.
    #[cfg(test)]
    pub fn reload(&self) -> Result<bool, Vec<TlsError>> {
        self.reload_if(|_| true)
    }

    /// Leaves files that may be half written for the next time.
    pub fn reload_when_quiet(&self, writers: &Writers) -> Result<bool, Vec<TlsError>> {
        self.reload_if(|shorter| files::are_quiet(self.paths(), shorter, writers))
    }

    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let ClientSettings { ca, client_cert, client_key, .. } = &self.settings;
        [ca, client_cert, client_key].into_iter().flatten()
    }

    fn reload_if(&self, is_whole: impl FnOnce(bool) -> bool) -> Result<bool, Vec<TlsError>> {
        let live = self.live.load();
        let unusable = !live.errors.is_empty();
        let read = Read::new(&self.settings, Some(&**live).filter(|_| !unusable))?;
        if !unusable && (read.says_the_same_as(&live) || !is_whole(read.is_shorter_than(&live))) {
            return Ok(false);
        }
        self.live.store(Arc::new(read.bring_into_force(self.settings.http2)));
        Ok(true)
    }

    /// `host`: the endpoint's name or address; the certificate has to match it unless the settings name another. The
    /// error's text is for the operator.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.reason))?,
        };
        let live = self.live.load_full();
        if let Some(error) = live.errors.first() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error.to_string()));
        }
        let connecting = TlsConnector::from(Arc::clone(&live.config)).connect(name, stream);
        let stream = connecting.await.map_err(in_words)?;
        if self.settings.http2 && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, NO_HTTP2));
        }
        Ok(stream)
    }

    #[cfg(test)]
    pub fn is_http2(&self) -> bool {
        self.settings.http2
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

struct Read {
    roots: Arc<RootCertStore>,
    authorities: Option<Vec<CertificateDer<'static>>>,
    shown: Option<CertifiedKey>,
}

impl Read {
    fn new(settings: &ClientSettings, before: Option<&Live>) -> Result<Read, Vec<TlsError>> {
        let roots = match (&settings.ca, before) {
            (Some(path), _) => files::authorities(path).map(|read| (Arc::new(read.store), Some(read.certificates))),
            (None, Some(live)) => Ok((Arc::clone(&live.roots), None)),
            (None, None) => {
                system_authorities(rustls_native_certs::load_native_certs().certs).map(|store| (Arc::new(store), None))
            }
        };
        match (roots, own_certificate(settings)) {
            (Ok((roots, authorities)), Ok(shown)) => Ok(Read { roots, authorities, shown }),
            (roots, shown) => Err(roots.err().into_iter().chain(shown.err().into_iter().flatten()).collect()),
        }
    }

    fn says_the_same_as(&self, live: &Live) -> bool {
        // A certificate names its public key, and the private key fits it.
        self.authorities == live.authorities && self.shown.as_ref().map(|shown| &shown.cert) == live.shown.as_ref()
    }

    fn is_shorter_than(&self, live: &Live) -> bool {
        let authorities = self.authorities.as_ref().map_or(0, Vec::len);
        let shown = self.shown.as_ref().map_or(0, |shown| shown.cert.len());
        authorities < live.authorities.as_ref().map_or(0, Vec::len) || shown < live.shown.as_ref().map_or(0, Vec::len)
    }

    fn bring_into_force(self, http2: bool) -> Live {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(TlsVersion::V12.and_newer())
            .expect("the provider knows both versions")
            .with_root_certificates(Arc::clone(&self.roots));
        let certificates = self.shown.as_ref().map(|shown| shown.cert.clone());
        let mut config = match self.shown {
            Some(shown) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown))),
            None => builder.with_no_client_auth(),
        };
        // One protocol, not a choice: the code after the handshake is for that one.
        config.alpn_protocols = vec![if http2 { HTTP2 } else { HTTP1 }.to_vec()];
        let (roots, authorities) = (self.roots, self.authorities);
        Live { config: Arc::new(config), roots, authorities, shown: certificates, errors: Vec::new() }
    }
}

fn own_certificate(settings: &ClientSettings) -> Result<Option<CertifiedKey>, Vec<TlsError>> {
    match (&settings.client_cert, &settings.client_key) {
        (Some(cert), Some(key)) => {
            let files = CertificateFiles { cert: cert.clone(), key: key.clone(), ocsp: None };
            Ok(Some(files::pair(&files)?.key))
        }
        (None, None) => Ok(None),
        (Some(path), None) => Err(vec![TlsError::new(path, "has no key beside it: set `client_key` too")]),
        (None, Some(path)) => Err(vec![TlsError::new(path, "has no certificate beside it: set `client_cert` too")]),
    }
}

pub(super) fn system_authorities(found: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    // One unreadable authority among hundreds does not matter.
    store.add_parsable_certificates(found);
    if store.is_empty() {
        let reason = "the system believes no authority: install the package `ca-certificates`, or set `ca`";
        return Err(TlsError::new("/etc/ssl/certs", reason));
    }
    Ok(store)
}

/// A name or an address. A trailing dot means the same, and certificates have none.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let plain = address.or(name.strip_suffix('.')).unwrap_or(name);
    ServerName::try_from(plain.to_owned())
        .map_err(|_| TlsError::new("server_name", format!("{name:?} is neither a name nor an address")))
}

const NAMES_TOLD: usize = 5;
const NO_HTTP2: &str = "the endpoint does not speak HTTP/2 over TLS";
const NO_TLS: &str = "the endpoint does not speak TLS on this port";

fn in_words(error: io::Error) -> io::Error {
    let Some(reason) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the endpoint closed the connection during the TLS handshake",
            ),
            _ => error,
        };
    };
    let text = match reason {
        rustls::Error::InvalidCertificate(reason) => about_certificate(reason),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => NO_TLS.to_owned(),
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => NO_HTTP2.to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the endpoint refused the TLS handshake: {alert:?}"),
        rustls::Error::PeerIncompatible(reason) => {
            format!("the endpoint speaks no TLS that is spoken here (1.2 and 1.3): {reason:?}")
        }
        other => format!("the TLS handshake with the endpoint failed: {other}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn about_certificate(reason: &CertificateError) -> String {
    match reason {
        CertificateError::NotValidForNameContext { expected, presented } => {
            let valid = match names(presented) {
                names if names.is_empty() => "it has no alternative names".to_owned(),
                names => format!("only for {names}; `server_name` may be one of these"),
            };
            format!("its certificate is not valid for {}: {valid}", expected.to_str())
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate has expired on {}", time(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}", time(*not_before))
        }
        // A signature by another key of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is from an unknown issuer; `ca` names whom to believe".to_owned()
        }
        // webpki has no variant of its own for it; servers that use their authority's certificate are common.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority (CA:TRUE), which no server may show".to_owned()
        }
        other => format!("its certificate can't be believed: {other}"),
    }
}

/// webpki writes `DnsName("example.com")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inside.unwrap_or(name).trim_matches('"').escape_debug().to_string()
    };
    let mut names: Vec<String> = presented.iter().take(NAMES_TOLD).map(plain).collect();
    if presented.len() > NAMES_TOLD {
        names.push(format!("{} more", presented.len() - NAMES_TOLD));
    }
    names.join(", ")
}

fn time(at: UnixTime) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at.as_secs())).to_string()
}

#[cfg(test)]
mod tests;
