//! TLS to clients: the certificates in force, read again when their files change.

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
use crate::tls::{CertificateFiles, TlsError, TlsVersion, Writers, certificate, provider};

const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Tickets per handshake of TLS 1.3. A ticket is used once, and each handshake brings the next. A client of HTTP/2
/// needs no second connection; one that opens several at once makes full handshakes on all but one. A second ticket
/// would cost every handshake its encryption and some 250 bytes, and most clients never use it.
const TICKETS: usize = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    pub min_version: TlsVersion,
    /// At least one. The first is for clients that ask for no known name.
    pub certificates: Vec<CertificateFiles>,
    pub client_ca: Option<PathBuf>,
    pub client_required: bool,
    /// HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The first DNS name; the subject if it has none.
    pub name: String,
    pub path: PathBuf,
    pub not_after: SystemTime,
}

pub struct ServerTls {
    settings: ServerSettings,
    live: ArcSwap<Live>,
    /// Held while the files are read, so that an earlier reading can't replace a later one.
    reloads: Mutex<()>,
}

struct Live {
    config: Arc<ServerConfig>,
    /// In the order of the settings; `None`: unusable when first needed.
    pairs: Vec<Option<Pair>>,
    authorities: Option<Vec<CertificateDer<'static>>>,
    /// The authorities were unusable when first needed; until they are mended there are no handshakes.
    no_authorities: bool,
    errors: Vec<TlsError>,
}

impl ServerTls {
    #[cfg(test)]
    pub fn load(settings: ServerSettings) -> Result<ServerTls, Vec<TlsError>> {
        ServerTls::load_without(settings, &|_| false)
    }

    /// Tolerates unusable files: their certificates are left out until they are mended; without the authorities there
    /// are no handshakes.
    pub fn load_without(
        settings: ServerSettings,
        tolerated: &dyn Fn(&Path) -> bool,
    ) -> Result<ServerTls, Vec<TlsError>> {
        let live = Read::new(&settings, tolerated)?.bring_into_force(&settings, None)?;
        Ok(ServerTls { settings, live: ArcSwap::from_pointee(live), reloads: Mutex::new(()) })
    }

    /// A connection asks once, and keeps it to the end of the handshake.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.live.load().config)
    }

    #[must_use]
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Reads the files again; true if the content changed, and is in force. An error changes nothing: if one file is
    /// wrong, as while an operator has replaced a certificate but not yet its key, all old ones stay.
    ///
    /// Only certificates and keys are compared, neither times nor comments.
    #[cfg(test)]
    pub fn reload(&self) -> Result<bool, Vec<TlsError>> {
        self.reload_if(|_| true)
    }

    /// Leaves files that may be half written for the next time.
    pub fn reload_when_quiet(&self, writers: &Writers) -> Result<bool, Vec<TlsError>> {
        self.reload_if(|shorter| files::are_quiet(&self.paths(), shorter, writers))
    }

    fn reload_if(&self, is_whole: impl FnOnce(bool) -> bool) -> Result<bool, Vec<TlsError>> {
        let _alone = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.load();
        let missing = live.missing(&self.settings);
        let read = Read::new(&self.settings, &|path| missing.contains(&path))?;
        let same = read.says_the_same_as(&live);
        // Files that mend an error are taken at once.
        let half_written = || live.errors.is_empty() && !is_whole(read.is_shorter_than(&live));
        if (same && read.errors == live.errors) || half_written() {
            return Ok(false);
        }
        let next = read.bring_into_force(&self.settings, Some(&live))?;
        self.live.store(Arc::new(next));
        Ok(!same)
    }

    #[must_use]
    pub fn errors(&self) -> Vec<TlsError> {
        self.live.load().errors.clone()
    }

    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let pairs = self.settings.certificates.iter();
        let pairs = pairs.flat_map(|files| [Some(&files.cert), Some(&files.key), files.ocsp.as_ref()]);
        let mut paths: Vec<PathBuf> = pairs.chain([self.settings.client_ca.as_ref()]).flatten().cloned().collect();
        paths.sort();
        paths.dedup();
        paths
    }

    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        let live = self.live.load();
        let named = live.pairs.iter().zip(&self.settings.certificates).filter_map(|(pair, files)| {
            let facts = &pair.as_ref()?.facts;
            let name = facts.names.first().unwrap_or(&facts.subject).clone();
            Some(CertificateFacts { name, path: files.cert.clone(), not_after: facts.not_after })
        });
        named.collect()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Live {
    fn missing<'a>(&self, settings: &'a ServerSettings) -> Vec<&'a Path> {
        let left_out = |(pair, files): (&Option<Pair>, &'a CertificateFiles)| match pair {
            None => vec![Some(&files.cert), Some(&files.key), files.ocsp.as_ref()],
            Some(pair) if pair.key.ocsp.is_none() => vec![files.ocsp.as_ref()],
            Some(_) => Vec::new(),
        };
        let pairs = self.pairs.iter().zip(&settings.certificates).flat_map(left_out);
        let authorities = settings.client_ca.as_ref().filter(|_| self.no_authorities);
        pairs.chain([authorities]).flatten().map(PathBuf::as_path).collect()
    }
}

struct Read {
    pairs: Vec<Option<Pair>>,
    authorities: Option<Authorities>,
    no_authorities: bool,
    errors: Vec<TlsError>,
}

impl Read {
    fn new(settings: &ServerSettings, tolerated: &dyn Fn(&Path) -> bool) -> Result<Read, Vec<TlsError>> {
        let (mut errors, mut known) = (Vec::new(), Vec::new());
        let mut pairs = Vec::new();
        for files in &settings.certificates {
            match files::pair(files) {
                Ok(pair) => pairs.push(Some(pair)),
                Err(wrong) if wrong.iter().all(|error| tolerated(&error.path)) => {
                    // A certificate without its staple is better than none.
                    let staple_only = wrong.iter().all(|error| Some(&error.path) == files.ocsp.as_ref());
                    let without = CertificateFiles { ocsp: None, ..files.clone() };
                    pairs.push(if staple_only { files::pair(&without).ok() } else { None });
                    known.extend(wrong);
                }
                Err(wrong) => errors.extend(wrong),
            }
        }
        if settings.certificates.is_empty() {
            errors.push(TlsError::new("certificates", "there has to be at least one"));
        }
        let (authorities, no_authorities) = match settings.client_ca.as_deref().map(files::authorities).transpose() {
            Ok(authorities) => (authorities, false),
            Err(error) if tolerated(&error.path) => {
                known.push(error);
                (None, true)
            }
            Err(error) => {
                errors.push(error);
                (None, false)
            }
        };
        known.extend(pairs.iter().flatten().filter_map(|pair| pair.stale.clone()));
        if errors.is_empty() {
            Ok(Read { pairs, authorities, no_authorities, errors: known })
        } else {
            errors.extend(known);
            Err(errors)
        }
    }

    fn says_the_same_as(&self, live: &Live) -> bool {
        // The certificate names the public key, and the private key fits it: the same certificate has the same key.
        let same = |pairs: (&Option<Pair>, &Option<Pair>)| match pairs {
            (Some(one), Some(other)) => one.key.cert == other.key.cert && one.key.ocsp == other.key.ocsp,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.same_authorities(live) && self.pairs.iter().zip(&live.pairs).all(same)
    }

    fn is_shorter_than(&self, live: &Live) -> bool {
        let of_pairs = |pairs: &[Option<Pair>]| pairs.iter().flatten().map(|pair| pair.key.cert.len()).sum::<usize>();
        let authorities = self.authorities.as_ref().map_or(0, |authorities| authorities.certificates.len());
        of_pairs(&self.pairs) < of_pairs(&live.pairs) || authorities < live.authorities.as_ref().map_or(0, Vec::len)
    }

    fn same_authorities(&self, live: &Live) -> bool {
        self.no_authorities == live.no_authorities
            && self.authorities.as_ref().map(|authorities| &authorities.certificates) == live.authorities.as_ref()
    }

    fn bring_into_force(mut self, settings: &ServerSettings, before: Option<&Live>) -> Result<Live, Vec<TlsError>> {
        // A ticket says that its owner's certificate was good then. With other authorities it may not be, and rustls
        // does not check it again when a session is resumed: all old tickets have to become worthless. Otherwise they
        // stay good, whichever worker and certificate they came from.
        let ticketer = match before {
            Some(live) if self.same_authorities(live) => Arc::clone(&live.config.ticketer),
            _ => new_ticketer()?,
        };
        let (store, authorities) =
            self.authorities.take().map(|Authorities { store, certificates }| (store, certificates)).unzip();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(settings.min_version.and_newer())
            .expect("the provider knows both versions");
        let builder = match store {
            Some(store) => builder.with_client_cert_verifier(verifier(store, settings)?),
            None => builder.with_no_client_auth(),
        };
        // Clients that can't be checked are not served.
        let shown = self.pairs.iter().flatten().filter(|_| !self.no_authorities);
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(shown)));
        let spoken = if settings.http2 { &ALPN[..] } else { &ALPN[1..] };
        config.alpn_protocols = spoken.iter().map(|name| name.to_vec()).collect();
        config.ticketer = ticketer;
        config.send_tls13_tickets = TICKETS;
        // Clients keep the tickets. A store of sessions would be a lock shared by all workers.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Early data can be replayed, and a proxy can't tell which requests may be repeated.
        config.max_early_data_size = 0;
        let Read { pairs, no_authorities, errors, .. } = self;
        Ok(Live { config: Arc::new(config), pairs, authorities, no_authorities, errors })
    }
}

fn verifier(store: RootCertStore, settings: &ServerSettings) -> Result<Arc<dyn ClientCertVerifier>, Vec<TlsError>> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
    let builder = if settings.client_required { builder } else { builder.allow_unauthenticated() };
    let path = settings.client_ca.as_deref().unwrap_or(Path::new("client_ca"));
    builder.build().map_err(|error| vec![TlsError::new(path, error.to_string())])
}

/// For TLS 1.2 and 1.3; the key changes every six hours and is good for twelve.
fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, Vec<TlsError>> {
    Ticketer::new().map_err(|error| vec![TlsError::new("tickets", format!("no key could be made: {error}"))])
}

/// The subject of the client's certificate as RFC 4514 writes it ("CN=alice,O=Example"), in printable ASCII for the
/// value of a header; `None` without a certificate.
#[must_use]
pub(crate) fn client_subject(connection: &ServerConnection) -> Option<String> {
    connection.peer_certificates()?.first().map(certificate::subject)
}

/// The client's certificate has expired. Call it after the handshake: rustls checks a certificate when it is shown, not
/// when a session is resumed, and each handshake brings a new ticket. Otherwise a client could use an expired
/// certificate forever.
#[must_use]
pub(crate) fn client_certificate_is_over(connection: &ServerConnection, now: SystemTime) -> bool {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return false;
    }
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    shown.is_some_and(|certificate| certificate::not_after(certificate).is_none_or(|end| end < now))
}

#[cfg(test)]
mod tests;
