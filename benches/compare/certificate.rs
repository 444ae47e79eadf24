//! One certificate for all proxies, and clients that leave them no choice: TLS 1.3, X25519, AES-128-GCM.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that is in it.
pub(crate) const NAME: &str = "shop.example.com";

/// ECDSA on P-256, signed by itself.
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file.
    pub(crate) chain_and_key: PathBuf,
    roots: Arc<RootCertStore>,
    _dir: TempDir,
}

impl Certificate {
    pub(crate) fn make() -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a certificate");

        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("a directory that can be written");
            path
        };
        Certificate {
            chain: write("chain.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
            chain_and_key: write("both.pem", certificate.pem() + &key.serialize_pem()),
            roots: Arc::new(roots),
            _dir: dir,
        }
    }

    /// A client that remembers the tickets it gets, for itself alone; or none.
    pub(crate) fn client(&self, alpn: &[u8], tickets: bool) -> TlsConnector {
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        if !tickets {
            config.resumption = Resumption::disabled();
        }
        TlsConnector::from(Arc::new(config))
    }
}

/// A connection up to the end of the handshake, as the client sees it.
pub(crate) async fn handshake(to: SocketAddr, client: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    client.connect(ServerName::try_from(NAME).expect("a name"), stream).await
}
