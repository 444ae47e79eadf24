//! Towards clients: certificates by the name that is asked for, read again when their files change.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::tls::{CertificateFiles, TlsError, TlsVersion, files, provider};

/// What the client's side is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// At least one; the first is for those who ask for no name, or for an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// Clients are asked for a certificate of one of these.
    pub client_ca: Option<PathBuf>,
    /// And have to have one.
    pub client_required: bool,
}

/// What is known of a certificate that is shown to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its first name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

/// The client's side, shared by all workers.
#[derive(Debug)]
pub struct ServerTls {
    settings: ServerSettings,
    live: ArcSwap<ServerConfig>,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// Of the content of every file.
    digest: Vec<u8>,
    authorities_digest: Vec<u8>,
    facts: Vec<CertificateFacts>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl ServerTls {
    /// Reads everything; or names everything that is wrong.
    pub fn load(settings: ServerSettings) -> Result<ServerTls, Vec<TlsError>> {
        let (config, loaded) = build(&settings, None)?;
        Ok(ServerTls { settings, live: ArcSwap::from_pointee(config), loaded: Mutex::new(loaded) })
    }

    /// What is in force.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.live.load_full()
    }

    /// What it was loaded from.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Reads the files again. True: others are in force now. An error changes nothing: all or none.
    pub fn reload(&self) -> Result<bool, Vec<TlsError>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, next) = build(&self.settings, Some(&loaded))?;
        if next.digest == loaded.digest {
            return Ok(false);
        }
        *loaded = next;
        self.live.store(Arc::new(config));
        Ok(true)
    }

    /// What is shown to clients.
    pub fn certificates(&self) -> Vec<CertificateFacts> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).facts.clone()
    }
}

fn build(settings: &ServerSettings, before: Option<&Loaded>) -> Result<(ServerConfig, Loaded), Vec<TlsError>> {
    let mut errors = Vec::new();
    let mut content = Vec::new();
    let mut pairs = Vec::new();
    for certificate in &settings.certificates {
        match files::pair(certificate) {
            Ok(pair) => pairs.push((certificate, pair)),
            Err(wrong) => errors.extend(wrong),
        }
        for path in [Some(&certificate.cert), Some(&certificate.key), certificate.ocsp.as_ref()].into_iter().flatten() {
            content
                .extend(files::read(path).map(|bytes| digest(&SHA256, &bytes).as_ref().to_vec()).unwrap_or_default());
        }
    }
    let authorities = settings.client_ca.as_deref().map(|path| Ok((files::authorities(path)?, files::read(path)?)));
    let authorities = authorities.transpose().map_err(|error| errors.push(error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(errors);
    }
    let authorities_digest = authorities.as_ref().map(|(_, bytes)| digest(&SHA256, bytes).as_ref().to_vec());
    let authorities_digest = authorities_digest.unwrap_or_default();
    content.extend_from_slice(&authorities_digest);

    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.min_version.and_newer())
        .expect("the provider knows both versions");
    let builder = match (authorities, &settings.client_ca) {
        (Some((authorities, _)), Some(path)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider());
            let verifier = if settings.client_required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| vec![TlsError::new(path, error.to_string())])?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let facts = pairs
        .iter()
        .map(|(from, pair)| CertificateFacts {
            name: pair.names.first().cloned().unwrap_or_default(),
            path: from.cert.clone(),
            not_after: pair.not_after,
        })
        .collect();
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(pairs.into_iter().map(|(_, pair)| pair))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A ticket says that its owner has shown a certificate; with other authorities that says nothing any more. In all
    // other cases tickets outlive the certificate they were given with, and are taken by every worker.
    let ticketer = match before {
        Some(before) if before.authorities_digest == authorities_digest => Arc::clone(&before.ticketer),
        _ => Ticketer::new().map_err(|error| vec![TlsError::new(&settings.certificates[0].key, error.to_string())])?,
    };
    config.ticketer = Arc::clone(&ticketer);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Clients that want to resume two sessions at once can do so with one ticket; each costs a message.
    config.send_tls13_tickets = 1;
    let digest = digest(&SHA256, &content).as_ref().to_vec();
    Ok((config, Loaded { digest, authorities_digest, facts, ticketer }))
}

/// Finds the certificate by the name that the client asks for (RFC 6066).
#[derive(Debug)]
struct ByName {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    below: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    fn new(pairs: impl Iterator<Item = files::Pair>) -> ByName {
        let mut by_name = ByName { exact: HashMap::new(), below: HashMap::new(), first: Vec::new() };
        let mut first_names: Option<Vec<String>> = None;
        for files::Pair { key, names, .. } in pairs {
            let key = Arc::new(key);
            for name in &names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.below, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                table.entry(name.to_owned()).or_default().push(Arc::clone(&key));
            }
            // The same names with a key of another kind belong together.
            if *first_names.get_or_insert_with(|| names.clone()) == names {
                by_name.first.push(key);
            }
        }
        by_name
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let below = |name: &String| self.below.get(name.split_once('.')?.1);
        let found = name.as_ref().and_then(|name| self.exact.get(name).or_else(|| below(name)));
        let candidates = found.unwrap_or(&self.first);
        // One that the client can check; else it may say so itself.
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(usable).or(candidates.first()).cloned()
    }
}

/// The subject of the certificate that the client has shown, as RFC 4514 writes it.
#[must_use]
pub fn client_subject(connection: &rustls::ServerConnection) -> Option<String> {
    files::subject(connection.peer_certificates()?.first()?)
}
