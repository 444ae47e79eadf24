//! The names of endpoints: each is resolved by a task of its own, again when its answer is out of date.
//!
//! A name server that is away changes nothing: the last known addresses stay in use, and are probed. So does an answer
//! without any address, because the probes find out sooner and more surely whether an endpoint is gone.

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

/// A name is asked for again this long after a failure at the latest.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// An answer that is no older than this is as good as a new one.
const RECENT: Duration = Duration::from_millis(200);
/// A name is asked for no more often than this because its addresses fail.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);
/// A failure that lasts is logged again after this.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// A name has no more endpoints than this.
const MOST_ADDRESSES: usize = 64;

/// The tasks, one for each name.
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
    /// None yet. Changes of addresses are told by [`Input::AddressesChanged`].
    pub(super) fn new(policy: ResolverConfig, inputs: mpsc::UnboundedSender<Input>) -> Names {
        Names { tasks: HashMap::new(), policy: watch::Sender::new(policy), lookup: Arc::default(), inputs }
    }

    /// Takes over another configuration; every name is resolved anew.
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

    /// Waits until each of these names has been asked for: `anew`, or else once at all.
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

    /// For others who have names to look up.
    pub(super) fn resolver(&self) -> Resolver {
        Resolver { lookup: Arc::clone(&self.lookup), rules: self.policy.borrow().clone() }
    }

    /// What is known of each name.
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
    /// The addresses of a host, which may be one itself. It occupies no thread while name servers are away.
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

/// Resolves one name again and again.
struct Follower {
    address: EndpointAddress,
    name: Arc<Resolution>,
    lookup: Arc<Lookup>,
    inputs: mpsc::UnboundedSender<Input>,
    /// In a row.
    failures: u32,
    /// When the present series of failures was last logged.
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
            // While name servers are away nobody waits for them.
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

    /// Takes an answer; when to ask again.
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
            // Nothing is known of those that are missing.
            addresses.extend(before.iter());
        }
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() > MOST_ADDRESSES {
            // Those that are in use first.
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
