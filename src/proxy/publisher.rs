//! The controller's grip on the data plane: it publishes snapshots, and makes connections before a switch.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::{Config, EndpointAddress};
use crate::domain::color::{Color, PerColor};
use crate::domain::split::Weight;
use crate::domain::transition::Decision;
use crate::evidence::routes::Routes;
use crate::proxy::commands::{Command, Warmth};
use crate::proxy::drain::Drain;
use crate::proxy::listener::Listener;
use crate::proxy::live::Live;
use crate::proxy::pool::name::Resolution;
use crate::proxy::pool::stated::WrongRelease;
use crate::proxy::pool::{Endpoint, Pool};
use crate::proxy::snapshot::compiler::Compiler;
use crate::proxy::snapshot::first_write::FirstWriteSeen;
use crate::proxy::snapshot::trust::Trust;
use crate::sys::buffered;
use crate::telemetry::meter::Meters;
use crate::telemetry::metrics::Waiting;
use crate::telemetry::refused::{Refusals, Refused};

/// A gate waits so long for the connections that it has made. Requests make what is missing.
const WARM_PATIENCE: Duration = Duration::from_millis(50);

/// Publishes. Owned by the controller; nothing else can change what is live.
#[derive(Debug)]
pub struct Publisher {
    live: Arc<Live>,
    workers: Arc<[mpsc::UnboundedSender<Command>]>,
    compiler: Compiler,
    /// What each color gets of the requests.
    shares: PerColor<Weight>,
    /// The live snapshot holds requests.
    holds: bool,
    wrong_releases: Option<mpsc::UnboundedReceiver<WrongRelease>>,
}

impl Publisher {
    pub(crate) fn new(live: Arc<Live>, workers: Arc<[mpsc::UnboundedSender<Command>]>) -> Publisher {
        let (wrong_releases, told) = mpsc::unbounded_channel();
        let compiler = Compiler::new(workers.len(), Arc::clone(&live.routes), wrong_releases);
        Publisher { live, workers, compiler, shares: PerColor::default(), holds: false, wrong_releases: Some(told) }
    }

    /// Takes over what the next configuration trusts, before it is published.
    pub fn trust(&mut self, trust: Trust) {
        self.live.set_tls(trust.server().cloned());
        self.compiler.set_trust(trust);
    }

    /// What is trusted now.
    pub fn trusted(&self) -> &Trust {
        self.compiler.trust()
    }

    /// Warms a color that has passed its gate and is about to get this share of the requests.
    pub fn warmer(&self, color: Color, share: Weight) -> Warmer {
        let pools = self.compiler.pools();
        let (next, present) = (pools[color].clone(), pools[color.other()].clone());
        Warmer { workers: Arc::clone(&self.workers), next, present, share, serves: self.serves(color) }
    }

    fn endpoints(&self, color: Color) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.compiler.pools()[color].iter().flat_map(|pool| &pool.endpoints)
    }

    /// Whether free connections to a color are kept.
    pub fn keeps(&self, color: Color) -> bool {
        self.endpoints(color).any(|endpoint| endpoint.keeps())
    }

    /// Has the workers close their free connections to a color.
    pub fn close_idle(&self, color: Color) {
        self.endpoints(color).for_each(|endpoint| endpoint.stop_keeping());
    }

    /// Compiles the configuration and the decision into one new snapshot and swaps it in: the instant of the switch.
    /// Unchanged pools and endpoints (same color, upstream and address) and all meters are reused, with their health
    /// and connections. When a color gets no requests any more that got some before, its drain is returned: after a
    /// switch, and after a canary that is called off. One that gets more or fewer goes on as it is.
    #[must_use = "the retired color has to be drained"]
    pub fn publish(&mut self, config: &Config, decision: &Decision) -> Option<Drain> {
        let shares = shares(decision);
        let before = std::mem::replace(&mut self.shares, shares);
        // Somebody always serves, so there is one at most.
        let mut colors = Color::ALL.into_iter();
        let retired = colors.find(|color| before[*color] != Weight::NONE && shares[*color] == Weight::NONE);
        // First, because a preview may begin there again at once, and no drain has to wait for that.
        let retired = retired.map(|color| (color, self.compiler.retire(color)));
        let snapshot = self.compiler.compile(config, decision);
        buffered::set_limit(config.listen.max_buffered);
        let holds = snapshot.held().is_some();
        if let Some(old) = self.live.swap(snapshot) {
            drop_after_readers(old);
        }
        if std::mem::replace(&mut self.holds, holds) && !holds {
            // After the publish, so that whoever looks finds what they wait for.
            for worker in &*self.workers {
                let _ = worker.send(Command::Wake);
            }
        }
        let (color, epochs) = retired?;
        Some(Drain::new(color, epochs, Arc::clone(&self.workers)))
    }

    /// What is published from now on holds requests until then, or lets them go.
    pub fn hold(&mut self, until: Option<Instant>) {
        self.compiler.hold(until);
    }

    /// Which color that does not serve is asked for its files in what is published from now on.
    pub fn linger(&mut self, color: Option<Color>) {
        self.compiler.linger(color);
    }

    /// Those that wait.
    pub fn waiting(&self) -> Waiting {
        self.live.queue.waiting()
    }

    /// The end of everything that is under way on a color, and on the other one where that serves, too. While requests
    /// are held nothing can begin behind it.
    pub fn under_way(&mut self, color: Color) -> Drain {
        let mut epochs = self.compiler.retire(color);
        if self.serves(color.other()) {
            epochs.extend(self.compiler.retire(color.other()));
        }
        Drain::new(color, epochs, Arc::clone(&self.workers))
    }

    /// What each color gets of the requests.
    pub fn shares(&self) -> PerColor<Weight> {
        self.shares
    }

    /// Whether a color gets requests.
    pub fn serves(&self, color: Color) -> bool {
        self.shares[color] != Weight::NONE
    }

    /// What is counted of requests by route, for the one who looks at it.
    pub fn routes(&self) -> &Arc<Routes> {
        &self.live.routes
    }

    /// Where first writes are told; for the first who asks.
    pub fn first_writes(&mut self) -> Option<mpsc::UnboundedReceiver<FirstWriteSeen>> {
        self.compiler.first_writes()
    }

    /// Where answers are told that name another release than the label; for the first who asks.
    pub fn wrong_releases(&mut self) -> Option<mpsc::UnboundedReceiver<WrongRelease>> {
        self.wrong_releases.take()
    }

    /// The pools of both colors in the present snapshot, for the prober.
    pub fn pools(&self) -> &PerColor<Vec<Arc<Pool>>> {
        self.compiler.pools()
    }

    /// The names that endpoints are behind, for the one who resolves them.
    pub fn names(&self) -> &BTreeMap<EndpointAddress, Arc<Resolution>> {
        self.compiler.names()
    }

    /// All meters.
    pub fn meters(&self) -> &Arc<Meters> {
        self.compiler.meters()
    }

    /// Open client connections now: without TLS, with it, and for previews.
    pub fn open_connections(&self) -> [u64; 3] {
        Listener::ALL.map(|listener| {
            let counts = self.live.connections().iter().map(|worker| &worker.by_listener[listener as usize]);
            counts.map(|count| count.load(Ordering::Relaxed) as u64).sum()
        })
    }

    /// What ended at the proxy.
    pub fn refused(&self) -> Refused {
        Refusals::sum(&self.live.refused)
    }

    /// The live snapshot, for the bench.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

/// Drops a snapshot, and its leases with it, on this thread. A worker that reads it at this moment would else free all
/// its routes in the middle of a request.
fn drop_after_readers<T>(mut snapshot: Arc<T>) {
    while let Err(read) = Arc::try_unwrap(snapshot) {
        // See [`Live::with`]: nobody reads for longer than a moment.
        snapshot = read;
        std::thread::yield_now();
    }
}

/// What each color gets of the requests.
fn shares(decision: &Decision) -> PerColor<Weight> {
    PerColor::from_fn(|color| match decision.split() {
        Some(split) => split.of(color),
        None if color == decision.active => Weight::ALL,
        None => Weight::NONE,
    })
}

/// Has workers make connections to a color that is about to serve, so that the first requests find some.
#[derive(Debug)]
pub struct Warmer {
    workers: Arc<[mpsc::UnboundedSender<Command>]>,
    next: Vec<Arc<Pool>>,
    present: Vec<Arc<Pool>>,
    share: Weight,
    serves: bool,
}

impl Warmer {
    /// Warms these endpoints, which have passed their gate just now. Waits until the connections are there, but not for
    /// long.
    pub async fn warm(&self, passed: &HashSet<u64>) {
        let warmth = self.next.iter().map(|pool| {
            let endpoints = pool.endpoints.iter().filter(|endpoint| passed.contains(&endpoint.id));
            let endpoints: Box<[_]> = endpoints.cloned().collect();
            endpoints.iter().for_each(|endpoint| {
                endpoint.keep();
            });
            let present = self.present.iter().find(|present| present.upstream == pool.upstream).cloned();
            Warmth { pool: Arc::clone(pool), endpoints, present, share: self.share, serves: self.serves }
        });
        let warmth: Arc<[_]> = warmth.collect();
        let (sender, mut done) = mpsc::channel(1);
        for worker in &*self.workers {
            let _ = worker.send(Command::Warm(Arc::clone(&warmth), sender.clone()));
        }
        drop(sender);
        // Nothing is sent: it ends when the last sender is gone.
        let _ = tokio::time::timeout(WARM_PATIENCE, done.recv()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    use super::*;

    #[test]
    fn a_snapshot_is_dropped_by_the_thread_that_replaced_it_whoever_reads_it() {
        struct Tells(mpsc::Sender<ThreadId>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().id());
            }
        }
        let (tell, told) = mpsc::channel();
        let old = Arc::new(Tells(tell));
        let read = Arc::clone(&old);
        let reader = thread::spawn(move || drop(read));
        drop_after_readers(old);
        assert_eq!(told.recv(), Ok(thread::current().id()));
        reader.join().expect("no panic");
    }
}
