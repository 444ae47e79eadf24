//! Certificates of the tests' own authority, and TLS with them on both sides.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Connection;

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the tests");
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For these names or addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_to(names, &[(DnType::CommonName, "an application")])
    }

    /// With this subject.
    pub(crate) fn issue_to(&self, names: &[&str], subject: &[(DnType, &str)]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a certificate");
        roots
    }

    /// A server with this certificate, that wants one of ours if `client` says so.
    pub(crate) fn server(&self, pair: &Pair, alpn: &[&str], client: bool) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("versions");
        let builder = if client {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(pair.chain(), pair.private_key()).expect("a pair");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Connects as one that trusts this authority.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        alpn: &[&str],
        shown: Option<&Pair>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.handshake(stream, name, alpn, shown).await
    }

    /// The same on a connection that is there.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        name: &str,
        alpn: &[&str],
        shown: Option<&Pair>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(self.roots());
        let mut config = match shown {
            Some(pair) => builder.with_client_auth_cert(pair.chain(), pair.private_key()).expect("a pair"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// The staple that a server sends; empty: none.
    pub(crate) async fn stapled(&self, address: SocketAddr, name: &str) -> Vec<u8> {
        let seen = Arc::new(Stapled::default());
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let verifier: Arc<dyn ServerCertVerifier> = Arc::clone(&seen) as _;
        let builder = builder.expect("versions").dangerous().with_custom_certificate_verifier(verifier);
        let stream = TcpStream::connect(address).await.expect("a connection");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(builder.with_no_client_auth()));
        connector.connect(name, stream).await.expect("a handshake");
        seen.staple.lock().expect("no panic while it is held").clone()
    }

    /// An HTTP/1.1 connection.
    pub(crate) async fn http1(&self, address: SocketAddr, name: &str) -> Connection {
        Connection::over(self.connect(address, name, &["http/1.1"], None).await.expect("a handshake"))
    }
}

/// Keeps what it is shown.
#[derive(Debug, Default)]
struct Stapled {
    staple: std::sync::Mutex<Vec<u8>>,
}

impl ServerCertVerifier for Stapled {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        staple: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.staple.lock().expect("no panic while it is held") = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Pair {
    /// Into `NAME.pem` and `NAME.key`, each as one step.
    pub(crate) fn write(&self, dir: &Path, name: &str) {
        replace(&dir.join(format!("{name}.pem")), &self.cert);
        replace(&dir.join(format!("{name}.key")), &self.key);
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate")]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }

    /// Whether this is what the server has shown.
    pub(crate) fn was_shown(&self, stream: &TlsStream<TcpStream>) -> bool {
        stream.get_ref().1.peer_certificates() == Some(&self.chain())
    }
}

/// A file's new content, as one step.
pub(crate) fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).expect("a file");
    std::fs::rename(next, path).expect("a rename");
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
