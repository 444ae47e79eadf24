//! Which certificate a client is shown: by the name that it asks for, and by what it can check.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::files::Pair;

/// Certificates of one name, in the order of the settings; more than one where there are keys of several kinds.
type Candidates = Vec<Arc<CertifiedKey>>;

/// Every certificate by its names (RFC 6066, 3). All names are in lower case, as rustls hands out those of clients.
#[derive(Debug)]
pub(super) struct ByName {
    exact: HashMap<String, Candidates>,
    /// `*.` stands for exactly one label; so these are found by what comes behind it.
    below: HashMap<String, Candidates>,
    /// For clients that ask for no name, or for one that is not known.
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
                // One certificate may say the same name twice.
                if !candidates.last().is_some_and(|last| Arc::ptr_eq(last, &key)) {
                    candidates.push(Arc::clone(&key));
                }
            }
            // Who is for the name of the first one is another kind of key for it, and as good in its place.
            if index == 0 || first_name.is_some_and(|name| facts.names.contains(name)) {
                by_name.first.push(key);
            }
        }
        by_name
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // A client may write the root's dot, and means the same name.
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let exact = name.and_then(|name| self.exact.get(name));
        let below = name.and_then(|name| self.below.get(name.split_once('.')?.1));
        let lists = if exact.is_none() && below.is_none() { [Some(&self.first), None] } else { [exact, below] };
        let candidates = || lists.into_iter().flatten().flatten();
        let first = candidates().next()?;
        // To ask a key costs an allocation; most often there is nothing to choose from.
        let chosen = if candidates().nth(1).is_some() {
            let checkable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
            // A client that can check none of them gets the first and refuses it: it knows best why.
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
