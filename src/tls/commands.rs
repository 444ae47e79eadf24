//! Towards the admin address: the TLS of commands, made for one command and never reloaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::tls::client::system_authorities;
use crate::tls::{CertificateFiles, TlsError, TlsVersion, files, provider};

/// The certificate that a command believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Believed {
    /// One that an authority of the system has signed, for the name of the address.
    System,
    /// One that an authority in this file has signed, for the name of the address.
    SignedBy(PathBuf),
    /// The one in this file, whatever its names are: that of a proxy on this machine, by its configuration file.
    Exactly(PathBuf),
}

/// Reads the files. `shown` is the certificate of the command itself.
pub(crate) fn config(
    believed: &Believed,
    shown: Option<&CertificateFiles>,
) -> Result<Arc<ClientConfig>, Vec<TlsError>> {
    let one = |error: TlsError| vec![error];
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(TlsVersion::V12.and_newer())
        .expect("the provider knows both versions");
    let roots = |store: RootCertStore| builder.clone().with_root_certificates(store);
    let builder = match believed {
        Believed::System => roots(system_authorities(rustls_native_certs::load_native_certs().certs).map_err(one)?),
        Believed::SignedBy(path) => roots(files::authorities(path).map_err(one)?.store),
        Believed::Exactly(path) => {
            builder.clone().dangerous().with_custom_certificate_verifier(Arc::new(Exactly::new(path).map_err(one)?))
        }
    };
    let mut config = match shown {
        Some(files) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(files::pair(files)?.key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Believes one certificate.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Exactly {
    fn new(path: &Path) -> Result<Exactly, TlsError> {
        let first = files::certificates(path)?.into_iter().next();
        let certificate = first.ok_or_else(|| TlsError::new(path, "has no certificate"))?;
        Ok(Exactly { certificate, algorithms: provider().signature_verification_algorithms })
    }
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
