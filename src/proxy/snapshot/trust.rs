//! The TLS of the data plane, loaded before a configuration comes into force.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::{ClientAuth, Config, UpstreamProtocol};
use crate::tls::{ClientSettings, ClientTls, ServerSettings, ServerTls, TlsError, TlsVersion, Writers};

#[derive(Clone, Debug, Default)]
pub struct Trust {
    server: Option<Arc<ServerTls>>,
    admin: Option<Arc<ServerTls>>,
    upstreams: BTreeMap<String, (ClientSettings, Arc<ClientTls>)>,
    writers: Arc<Writers>,
}

impl Trust {
    /// Reuses loaded files; otherwise returns every error.
    pub fn load(&self, config: &Config) -> Result<Trust, Vec<TlsError>> {
        let mut errors = Vec::new();
        let mut next = Trust { writers: Arc::clone(&self.writers), ..Trust::default() };
        let tolerated = |path: &Path| config.unusable.iter().any(|file| Path::new(&file.path) == path);
        if let Some(tls) = &config.tls {
            let settings = ServerSettings {
                min_version: tls.min_version,
                certificates: tls.certificates.clone(),
                client_ca: tls.client_ca.clone(),
                client_required: tls.client_auth == ClientAuth::Require,
                http2: true,
            };
            match known(self.server.as_ref(), settings, &tolerated) {
                Ok(server) => next.server = Some(server),
                Err(wrong) => errors.extend(wrong),
            }
        }
        if let Some(tls) = &config.admin.tls {
            let settings = ServerSettings {
                min_version: TlsVersion::V12,
                certificates: vec![tls.certificate.clone()],
                client_ca: tls.client_ca.clone(),
                // A client without one gets an HTTP answer that says so; readiness probes need none.
                client_required: false,
                http2: false,
            };
            match known(self.admin.as_ref(), settings, &tolerated) {
                Ok(admin) => next.admin = Some(admin),
                Err(wrong) => errors.extend(wrong),
            }
        }
        for (name, policy) in &config.upstreams {
            let Some(tls) = &policy.tls else { continue };
            let settings = ClientSettings {
                ca: tls.ca.clone(),
                server_name: tls.server_name.clone(),
                client_cert: tls.client_cert.clone(),
                client_key: tls.client_key.clone(),
                http2: policy.protocol == UpstreamProtocol::Http2,
            };
            let known = self.upstreams.get(name).filter(|(known, _)| *known == settings);
            match known.map_or_else(
                || ClientTls::load_without(&settings, &tolerated).map(Arc::new),
                |(_, known)| Ok(Arc::clone(known)),
            ) {
                Ok(client) => {
                    next.upstreams.insert(name.clone(), (settings, client));
                }
                Err(wrong) => errors.extend(wrong),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        next.watch();
        Ok(next)
    }

    /// Reads all files again. Returns true if the content of any changed, and the errors of others, whose old content
    /// stays in force.
    pub(crate) fn reload(&self) -> (bool, Vec<TlsError>) {
        self.watch();
        let (mut changed, mut errors) = (false, Vec::new());
        let server = self.servers().map(|server| server.reload_when_quiet(&self.writers));
        for read in server.chain(self.upstreams.values().map(|(_, client)| client.reload_when_quiet(&self.writers))) {
            match read {
                Ok(other) => changed |= other,
                Err(wrong) => errors.extend(wrong),
            }
        }
        for error in self.servers().flat_map(|server| server.errors()) {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        (changed, errors)
    }

    fn watch(&self) {
        let of_server = self.servers().flat_map(|server| server.paths());
        let of_upstreams = self.upstreams.values().flat_map(|(_, client)| client.paths()).cloned();
        self.writers.watch(&of_server.chain(of_upstreams).collect::<Vec<_>>());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers().next().is_none() && self.upstreams.is_empty()
    }

    /// Certificates that operators are shown.
    pub(crate) fn admin(&self) -> Option<&Arc<ServerTls>> {
        self.admin.as_ref()
    }

    /// Certificates that clients and operators are shown.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<ServerTls>> {
        self.server.iter().chain(&self.admin)
    }

    pub fn server(&self) -> Option<&Arc<ServerTls>> {
        self.server.as_ref()
    }

    pub(crate) fn upstream(&self, name: &str) -> Option<Arc<ClientTls>> {
        self.upstreams.get(name).map(|(_, client)| Arc::clone(client))
    }
}

/// The loaded certificates with these settings, or new ones.
fn known(
    before: Option<&Arc<ServerTls>>,
    settings: ServerSettings,
    tolerated: &dyn Fn(&Path) -> bool,
) -> Result<Arc<ServerTls>, Vec<TlsError>> {
    match before.filter(|server| *server.settings() == settings) {
        Some(known) => Ok(Arc::clone(known)),
        None => ServerTls::load_without(settings, tolerated).map(Arc::new),
    }
}
