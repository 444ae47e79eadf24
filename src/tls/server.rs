//! Towards clients: the certificates in force, read again when their files change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

use crate::tls::files::{self, Authorities, Pair};
use crate::tls::resolve::ByName;
use crate::tls::{CertificateFiles, TlsError, TlsVersion, certificate, provider};

/// The most preferred first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Tickets for each handshake of TLS 1.3. A ticket is used once, and each handshake brings the next. Whoever speaks HTTP/2
/// needs no second connection at the same time; for those who open several at once, all but one make a full handshake. A
/// second ticket would cost every handshake its encryption and some 250 bytes, and most clients never come back for it.
const TICKETS: usize = 1;

/// How clients are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// At least one. The first is for clients that ask for no name, or for one that is not known.
    pub certificates: Vec<CertificateFiles>,
    /// Clients are asked for a certificate that is signed by one of these.
    pub client_ca: Option<PathBuf>,
    /// And are refused without one.
    pub client_required: bool,
}

/// What metrics say of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its first DNS name; its subject if it has none.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The end of its validity.
    pub not_after: SystemTime,
}

/// The clients' side of TLS, shared by all workers.
pub struct ServerTls {
    settings: ServerSettings,
    live: ArcSwap<Live>,
    /// Held while the files are read, so that what was read earlier can't replace what was read later.
    reloads: Mutex<()>,
}

/// Everything that comes into force at once.
struct Live {
    config: Arc<ServerConfig>,
    pairs: Vec<Pair>,
    authorities: Option<Vec<CertificateDer<'static>>>,
}

impl ServerTls {
    /// Reads everything, or names everything that is wrong.
    pub fn load(settings: ServerSettings) -> Result<ServerTls, Vec<TlsError>> {
        let live = Read::new(&settings)?.bring_into_force(&settings, None)?;
        Ok(ServerTls { settings, live: ArcSwap::from_pointee(live), reloads: Mutex::new(()) })
    }

    /// What is in force. Asked once for each connection; whoever has it keeps it to the end of the handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.live.load().config)
    }

    /// What it was loaded with.
    #[must_use]
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Reads the files again. True: they say something else than before, and that is in force now. An error changes
    /// nothing: if one file is wrong, as it is while somebody replaces a certificate and has not come to the key, all of
    /// the old ones stay.
    ///
    /// What counts is what the files say: neither their times nor comments in them are looked at.
    pub fn reload(&self) -> Result<bool, Vec<TlsError>> {
        let _alone = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Read::new(&self.settings)?;
        let live = self.live.load();
        if read.says_the_same_as(&live) {
            return Ok(false);
        }
        let next = read.bring_into_force(&self.settings, Some(&live))?;
        self.live.store(Arc::new(next));
        Ok(true)
    }

    /// The files to watch.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let pairs = self.settings.certificates.iter();
        let pairs = pairs.flat_map(|files| [Some(&files.cert), Some(&files.key), files.ocsp.as_ref()]);
        let mut paths: Vec<PathBuf> = pairs.chain([self.settings.client_ca.as_ref()]).flatten().cloned().collect();
        // Key and certificate may stand in one file.
        paths.sort();
        paths.dedup();
        paths
    }

    /// The certificates in force, in the order of the settings.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        let live = self.live.load();
        let named = live.pairs.iter().zip(&self.settings.certificates).map(|(pair, files)| CertificateFacts {
            name: pair.facts.names.first().unwrap_or(&pair.facts.subject).clone(),
            path: files.cert.clone(),
            not_after: pair.facts.not_after,
        });
        named.collect()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What the files say, and whether all of them can be used.
struct Read {
    pairs: Vec<Pair>,
    authorities: Option<Authorities>,
}

impl Read {
    fn new(settings: &ServerSettings) -> Result<Read, Vec<TlsError>> {
        let mut errors = Vec::new();
        let mut pairs = Vec::new();
        for files in &settings.certificates {
            match files::pair(files) {
                Ok(pair) => pairs.push(pair),
                Err(wrong) => errors.extend(wrong),
            }
        }
        if settings.certificates.is_empty() {
            errors.push(TlsError::new("certificates", "there has to be at least one"));
        }
        let authorities = settings.client_ca.as_deref().map(files::authorities).transpose();
        let authorities = authorities.map_err(|error| errors.push(error)).unwrap_or_default();
        if errors.is_empty() { Ok(Read { pairs, authorities }) } else { Err(errors) }
    }

    fn says_the_same_as(&self, live: &Live) -> bool {
        // The certificate names the public key, and the private key fits it. So what is the same here has the same key.
        let same = |(one, other): (&Pair, &Pair)| one.key.cert == other.key.cert && one.key.ocsp == other.key.ocsp;
        self.same_authorities(live) && self.pairs.iter().zip(&live.pairs).all(same)
    }

    fn same_authorities(&self, live: &Live) -> bool {
        self.authorities.as_ref().map(|authorities| &authorities.certificates) == live.authorities.as_ref()
    }

    fn bring_into_force(self, settings: &ServerSettings, before: Option<&Live>) -> Result<Live, Vec<TlsError>> {
        // A ticket says that its owner has shown a certificate that was good then. With other authorities it may not be
        // good any more, and rustls does not ask again when a session goes on: so all of the old tickets have to become
        // worthless. In every other case they stay good, whichever worker gave them, and with whichever certificate.
        let ticketer = match before {
            Some(live) if self.same_authorities(live) => Arc::clone(&live.config.ticketer),
            _ => new_ticketer()?,
        };
        let (store, authorities) =
            self.authorities.map(|Authorities { store, certificates }| (store, certificates)).unzip();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(settings.min_version.and_newer())
            .expect("the provider knows both versions");
        let builder = match store {
            Some(store) => builder.with_client_cert_verifier(verifier(store, settings)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&self.pairs)));
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        config.ticketer = ticketer;
        config.send_tls13_tickets = TICKETS;
        // Tickets are kept by clients. A store of sessions would be a lock that all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Early data can be sent a second time by anybody who has seen it; for a proxy that can't tell which requests
        // may be repeated it is out of the question.
        config.max_early_data_size = 0;
        Ok(Live { config: Arc::new(config), pairs: self.pairs, authorities })
    }
}

fn verifier(store: RootCertStore, settings: &ServerSettings) -> Result<Arc<dyn ClientCertVerifier>, Vec<TlsError>> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
    let builder = if settings.client_required { builder } else { builder.allow_unauthenticated() };
    let path = settings.client_ca.as_deref().unwrap_or(Path::new("client_ca"));
    builder.build().map_err(|error| vec![TlsError::new(path, error.to_string())])
}

/// Tickets of TLS 1.2 and 1.3: its key is new every six hours, and good for twelve.
fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, Vec<TlsError>> {
    Ticketer::new().map_err(|error| vec![TlsError::new("tickets", format!("no key could be made: {error}"))])
}

/// The subject of the certificate that the client has shown, as RFC 4514 writes it ("CN=alice,O=Example"); `None` if it has
/// shown none. Printable ASCII: everything else is escaped, so that it can be the value of a header.
#[must_use]
pub fn client_subject(connection: &ServerConnection) -> Option<String> {
    connection.peer_certificates()?.first().map(certificate::subject)
}

/// Whether the certificate that the client has shown is over by now. Has to be asked after the handshake: rustls looks at a
/// certificate when it is shown, and not again when the session goes on, and each handshake brings a ticket for the next.
/// So a client could go on for ever with a certificate that has ended long ago.
#[must_use]
pub fn client_certificate_is_over(connection: &ServerConnection, now: SystemTime) -> bool {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return false;
    }
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    shown.is_some_and(|certificate| certificate::not_after(certificate).is_none_or(|end| end < now))
}

#[cfg(test)]
mod tests;
