//! Names of endpoints: a task per name resolves it again when its answer has expired.
//!
//! A lost name server changes nothing: the last addresses stay in use and are probed. The same holds for an answer
//! without addresses, because probes find out sooner and more surely whether an endpoint is gone.

mod lookup;
mod system;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::config::{EndpointAddress, ResolverConfig};
use crate::control::Input;
use crate::control::handle::NameStatus;
use crate::control::names::lookup::{Found, Lookup};
use crate::proxy::pool::name::Resolution;

const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// An answer of this age counts as new.
const RECENT: Duration = Duration::from_millis(200);
/// Least interval between lookups because of failing addresses.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);
const LOG_EVERY: Duration = Duration::from_secs(60);
const MOST_ADDRESSES: usize = 64;

#[derive(Debug)]
pub(super) struct Names {
    tasks: HashMap<EndpointAddress, Task>,
    policy: watch::Sender<ResolverConfig>,
    lookup: Arc<Lookup>,
    inputs: mpsc::UnboundedSender<Input>,
}

#[derive(Debug)]
struct Task {
    abort: AbortHandle,
    name: Arc<Resolution>,
    refreshes: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Names {
    /// Reports changed addresses as [`Input::AddressesChanged`].
    pub(super) fn new(policy: ResolverConfig, inputs: mpsc::UnboundedSender<Input>) -> Names {
        Names { tasks: HashMap::new(), policy: watch::Sender::new(policy), lookup: Arc::default(), inputs }
    }

    pub(super) fn configure(&self, policy: &ResolverConfig) {
        self.policy.send_if_modified(|current| {
            let changed = current != policy;
            if changed {
                current.clone_from(policy);
            }
            changed
        });
    }

    /// Resolves exactly these names from now on.
    pub(super) fn reconcile(&mut self, names: &BTreeMap<EndpointAddress, Arc<Resolution>>) {
        self.tasks.retain(|address, task| names.get(address).is_some_and(|name| Arc::ptr_eq(name, &task.name)));
        for (address, name) in names {
            if !self.tasks.contains_key(address) {
                self.tasks.insert(address.clone(), self.spawn(address, name));
            }
        }
    }

    fn spawn(&self, address: &EndpointAddress, name: &Arc<Resolution>) -> Task {
        let (refreshes, waiting) = mpsc::unbounded_channel();
        let follower = Follower {
            address: address.clone(),
            name: Arc::clone(name),
            lookup: Arc::clone(&self.lookup),
            inputs: self.inputs.clone(),
            failures: 0,
            logged: None,
        };
        let abort = tokio::spawn(follower.run(self.policy.subscribe(), waiting)).abort_handle();
        Task { abort, name: Arc::clone(name), refreshes }
    }

    /// Waits for a lookup of each name: a new one if `anew`, else the first one.
    pub(super) fn asked(&self, addresses: &[&EndpointAddress], anew: bool) -> impl Future<Output = ()> + Send + use<> {
        let mut answers = Vec::new();
        let mut pending = Vec::new();
        for task in addresses.iter().filter_map(|address| self.tasks.get(*address)) {
            if anew {
                let (told, answer) = oneshot::channel();
                let _ = task.refreshes.send(told);
                answers.push(answer);
            } else {
                pending.push(Arc::clone(&task.name));
            }
        }
        async move {
            for answer in answers {
                let _ = answer.await;
            }
            for name in pending {
                let _ = name.first().await;
            }
        }
    }

    pub(super) fn resolver(&self) -> Resolver {
        Resolver { lookup: Arc::clone(&self.lookup), rules: self.policy.borrow().clone() }
    }

    pub(super) fn status(&self) -> Vec<NameStatus> {
        let status = |(address, task): (&EndpointAddress, &Task)| {
            let known = task.name.known();
            NameStatus {
                name: address.to_string(),
                addresses: known.addresses.iter().map(|at| shown(address, at)).collect(),
                failure: known.failure.map(|failure| (failure.reason, failure.since)),
            }
        };
        let mut all: Vec<_> = self.tasks.iter().map(status).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// Looks up a name once, by the rules of `[resolver]`.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    lookup: Arc<Lookup>,
    rules: ResolverConfig,
}

impl Resolver {
    /// `host` may be an address itself. No thread is blocked while name servers are away.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let name = EndpointAddress::Name { host: host.to_owned(), port };
        let found = self.lookup.resolve(&name, &self.rules).await;
        found.map(|found| found.addresses).map_err(|reason| format!("the name {host} does not resolve: {reason}"))
    }
}

/// An address as the endpoint's name shows it.
fn shown(name: &EndpointAddress, at: &SocketAddr) -> String {
    match name {
        EndpointAddress::Service { .. } => at.to_string(),
        _ => at.ip().to_string(),
    }
}

struct Follower {
    address: EndpointAddress,
    name: Arc<Resolution>,
    lookup: Arc<Lookup>,
    inputs: mpsc::UnboundedSender<Input>,
    failures: u32,
    logged: Option<Instant>,
}

impl Follower {
    async fn run(
        mut self,
        mut policy: watch::Receiver<ResolverConfig>,
        mut refreshes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    ) {
        let mut waiting = Vec::new();
        loop {
            let rules = policy.borrow_and_update().clone();
            let found = self.lookup.resolve(&self.address, &rules).await;
            let asked = Instant::now();
            let mut due = asked + self.take(found, &rules);
            for waiting in waiting.drain(..) {
                let _: Result<(), ()> = oneshot::Sender::send(waiting, ());
            }
            // Lookups do not wait for lost name servers.
            let recent = if self.failures > 0 { LONGEST_RETRY } else { RECENT };
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => break,
                    refresh = refreshes.recv() => match refresh {
                        Some(told) if asked.elapsed() < recent => {
                            let _ = told.send(());
                        }
                        Some(told) => {
                            waiting.push(told);
                            break;
                        }
                        None => return,
                    },
                    () = self.name.suspected() => due = due.min(asked + rules.min_ttl.max(SUSPECT_EVERY)),
                    changed = policy.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                }
            }
        }
    }

    /// Returns the pause before the next lookup.
    fn take(&mut self, found: Result<Found, String>, rules: &ResolverConfig) -> Duration {
        match found {
            Ok(found) => {
                if self.logged.take().is_some() {
                    tracing::info!(name = %self.address, "Name resolves again");
                }
                self.failures = 0;
                let pause = found.ttl.clamp(rules.min_ttl, rules.max_ttl);
                self.use_addresses(found);
                pause
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
                    self.logged = Some(Instant::now());
                    let kept = self.name.known().addresses.len();
                    tracing::warn!(name = %self.address, reason, addresses_kept = kept, "Name does not resolve");
                }
                self.name.failed(reason, SystemTime::now());
                let doubled = rules.min_ttl.saturating_mul(1 << (self.failures - 1).min(16));
                doubled.min(LONGEST_RETRY.max(rules.min_ttl))
            }
        }
    }

    fn use_addresses(&self, found: Found) {
        let before = self.name.known().addresses;
        let mut addresses = found.addresses;
        if found.is_partial {
            // Missing addresses may still be valid.
            addresses.extend(before.iter());
        }
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() > MOST_ADDRESSES {
            addresses.sort_by_key(|address| !before.contains(address));
            addresses.truncate(MOST_ADDRESSES);
            addresses.sort_unstable();
        }
        let listed = |addresses: &[SocketAddr], other: &[SocketAddr]| {
            let only = addresses.iter().filter(|address| !other.contains(address));
            only.map(|address| shown(&self.address, address)).collect::<Vec<_>>().join(" ")
        };
        let (added, removed) = (listed(&addresses, &before), listed(&before, &addresses));
        if self.name.resolved(addresses) {
            tracing::info!(name = %self.address, added, removed, "Addresses of a name changed");
            let _ = self.inputs.send(Input::AddressesChanged);
        }
    }
}
