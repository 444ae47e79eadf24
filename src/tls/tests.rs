use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
    date_time_ymd,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

pub(super) struct Authority {
    pub(super) dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let authority = Authority { dir: tempfile::tempdir().expect("a directory"), issuer };
        std::fs::write(authority.path(), authority.issuer.pem()).expect("written");
        authority
    }

    pub(super) fn path(&self) -> PathBuf {
        self.file("ca.pem")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn sign(&self, file: &str, names: &[&str]) -> CertificateFiles {
        self.sign_params(file, params(names), &KeyPair::generate().expect("a key"))
    }

    pub(super) fn sign_rsa(&self, file: &str, names: &[&str]) -> CertificateFiles {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
        self.sign_params(file, params(names), &key)
    }

    #[expect(clippy::needless_pass_by_value, reason = "every test makes its own")]
    pub(super) fn sign_params(&self, file: &str, params: CertificateParams, key: &KeyPair) -> CertificateFiles {
        let cert = params.signed_by(key, &self.issuer).expect("signed");
        let files = CertificateFiles {
            cert: self.file(&format!("{file}.pem")),
            key: self.file(&format!("{file}.key")),
            ocsp: None,
        };
        std::fs::write(&files.cert, cert.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }

    pub(super) fn client(&self) -> ClientConfig {
        self.client_with(aws_lc_rs::default_provider(), &ALL_VERSIONS)
    }

    pub(super) fn client_with(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("known versions")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

pub(super) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "a subject");
    params
}

pub(super) fn expired(names: &[&str]) -> CertificateParams {
    let mut params = params(names);
    params.not_after = date_time_ymd(2001, 2, 3);
    params
}

pub(super) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

pub(super) type ClientStream = tokio_rustls::client::TlsStream<DuplexStream>;
pub(super) type ServerStream = tokio_rustls::server::TlsStream<DuplexStream>;

pub(super) async fn accept(config: Arc<ServerConfig>, stream: DuplexStream) -> io::Result<ServerStream> {
    let mut stream = TlsAcceptor::from(config).accept(stream).await?;
    stream.write_all(b"x").await?;
    stream.flush().await?;
    Ok(stream)
}

pub(super) async fn meet(
    server: Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (io::Result<ClientStream>, io::Result<ServerStream>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connect = async {
        let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, near).await?;
        stream.read_exact(&mut [0]).await?;
        Ok(stream)
    };
    tokio::join!(connect, accept(server, far))
}
