//! The choice of a certificate: by the name that a client asks for, and by the signatures that it can check.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::files::Pair;

/// Certificates of one name, in the order of the settings; several where keys are of several kinds.
type Candidates = Vec<Arc<CertifiedKey>>;

/// By name (RFC 6066, 3), in lower case, as rustls hands out the names of clients.
#[derive(Debug)]
pub(super) struct ByName {
    exact: HashMap<String, Candidates>,
    /// `*.` stands for exactly one label, so the key is the rest.
    below: HashMap<String, Candidates>,
    first: Candidates,
}

impl ByName {
    pub(super) fn new<'a>(pairs: impl IntoIterator<Item = &'a Pair>) -> ByName {
        let mut by_name = ByName { exact: HashMap::new(), below: HashMap::new(), first: Vec::new() };
        let mut first_name = None;
        for (index, Pair { key, facts, .. }) in pairs.into_iter().enumerate() {
            if index == 0 {
                first_name = facts.names.first();
            }
            let key = Arc::new(key.clone());
            for name in &facts.names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.below, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                let candidates = table.entry(name.to_owned()).or_default();
                // One certificate may have the same name twice.
                if !candidates.last().is_some_and(|last| Arc::ptr_eq(last, &key)) {
                    candidates.push(Arc::clone(&key));
                }
            }
            // A certificate with the first one's name has another kind of key, and serves in its place.
            if index == 0 || first_name.is_some_and(|name| facts.names.contains(name)) {
                by_name.first.push(key);
            }
        }
        by_name
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // A trailing dot means the same name.
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let exact = name.and_then(|name| self.exact.get(name));
        let below = name.and_then(|name| self.below.get(name.split_once('.')?.1));
        let lists = if exact.is_none() && below.is_none() { [Some(&self.first), None] } else { [exact, below] };
        let candidates = || lists.into_iter().flatten().flatten();
        let first = candidates().next()?;
        // Asking a key allocates, and most often there is only one.
        let chosen = if candidates().nth(1).is_some() {
            let checkable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
            // A client that can check none gets the first and refuses it, with the reason.
            candidates().find(checkable).unwrap_or(first)
        } else {
            first
        };
        Some(Arc::clone(chosen))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests;
