//! The controller's access to the data plane: it publishes snapshots, and makes connections before a switch.

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
use crate::proxy::snapshot::compiler::pools::position;
use crate::proxy::snapshot::first_write::FirstWriteSeen;
use crate::proxy::snapshot::trust::Trust;
use crate::sys::buffered;
use crate::telemetry::meter::{Bounds, Meters};
use crate::telemetry::metrics::Waiting;
use crate::telemetry::refused::{Refusals, Refused};
use crate::telemetry::spans::SpanQueues;

/// A forward move waits this long at most for connections. Requests make the missing ones.
const WARM_PATIENCE: Duration = Duration::from_millis(50);

/// Owned by the controller, so nothing else changes the live snapshot.
#[derive(Debug)]
pub struct Publisher {
    live: Arc<Live>,
    workers: Arc<[mpsc::UnboundedSender<Command>]>,
    compiler: Compiler,
    shares: PerColor<Weight>,
    holds: bool,
    wrong_releases: Option<mpsc::UnboundedReceiver<WrongRelease>>,
}

impl Publisher {
    pub(crate) fn new(live: Arc<Live>, workers: Arc<[mpsc::UnboundedSender<Command>]>, bounds: Bounds) -> Publisher {
        let (wrong_releases, told) = mpsc::unbounded_channel();
        let meters = Arc::new(Meters::new(workers.len(), bounds));
        let compiler = Compiler::new(meters, Arc::clone(&live.routes), wrong_releases);
        Publisher { live, workers, compiler, shares: PerColor::default(), holds: false, wrong_releases: Some(told) }
    }

    /// Takes over certificates and authorities, before the configuration with them is published.
    pub fn trust(&mut self, trust: Trust) {
        self.live.set_tls(trust.server().cloned());
        self.compiler.set_trust(trust);
    }

    pub fn trusted(&self) -> &Trust {
        self.compiler.trust()
    }

    /// For a color that has passed its gate and is about to get this share of the requests.
    pub fn warmer(&self, color: Color, share: Weight) -> Warmer {
        let pools = self.compiler.pools();
        let (next, present) = (pools[color].clone(), pools[color.other()].clone());
        Warmer { workers: Arc::clone(&self.workers), next, present, share, serves: self.serves(color) }
    }

    fn endpoints(&self, color: Color) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.compiler.pools()[color].iter().flat_map(|pool| &pool.endpoints)
    }

    pub fn keeps(&self, color: Color) -> bool {
        self.endpoints(color).any(|endpoint| endpoint.keeps())
    }

    pub fn close_idle(&self, color: Color) {
        self.endpoints(color).for_each(|endpoint| endpoint.stop_keeping());
    }

    /// Swaps in a snapshot: the instant of the switch. Unchanged pools, endpoints (same color, upstream and address)
    /// and meters are reused, with health and connections. Returns the drain of a color that got requests before and
    /// gets none now, after a switch or a canary that was called off.
    #[must_use = "the retired color has to be drained"]
    pub fn publish(&mut self, config: &Config, decision: &Decision) -> Option<Drain> {
        let shares = shares(decision);
        let before = std::mem::replace(&mut self.shares, shares);
        // One color always serves, so one is retired at most.
        let mut colors = Color::ALL.into_iter();
        let retired = colors.find(|color| before[*color] != Weight::NONE && shares[*color] == Weight::NONE);
        // First, so that no drain waits for a preview that begins there at once.
        let retired = retired.map(|color| (color, self.compiler.retire(color)));
        let snapshot = self.compiler.compile(config, decision);
        buffered::set_limit(config.listen.max_buffered);
        let holds = snapshot.held().is_some();
        if let Some(old) = self.live.swap(snapshot) {
            drop_after_readers(old);
        }
        if std::mem::replace(&mut self.holds, holds) && !holds {
            // After the publish, so that woken requests see it.
            for worker in &*self.workers {
                let _ = worker.send(Command::Wake);
            }
        }
        let (color, epochs) = retired?;
        Some(Drain::new(color, epochs, Arc::clone(&self.workers)))
    }

    /// For the next snapshots: hold requests until then, or release them.
    pub fn hold(&mut self, until: Option<Instant>) {
        self.compiler.hold(until);
    }

    /// For the next snapshots: the idle color that is asked for old files.
    pub fn linger(&mut self, color: Option<Color>) {
        self.compiler.linger(color);
    }

    pub fn waiting(&self) -> Waiting {
        self.live.queue.waiting()
    }

    /// The drain of a color, and of the other one if it serves. While requests are held no new ones begin.
    pub fn under_way(&mut self, color: Color) -> Drain {
        let mut epochs = self.compiler.retire(color);
        if self.serves(color.other()) {
            epochs.extend(self.compiler.retire(color.other()));
        }
        Drain::new(color, epochs, Arc::clone(&self.workers))
    }

    pub fn shares(&self) -> PerColor<Weight> {
        self.shares
    }

    pub fn serves(&self, color: Color) -> bool {
        self.shares[color] != Weight::NONE
    }

    pub fn routes(&self) -> &Arc<Routes> {
        &self.live.routes
    }

    pub(crate) fn spans(&self) -> &SpanQueues {
        &self.live.spans
    }

    pub fn first_writes(&mut self) -> Option<mpsc::UnboundedReceiver<FirstWriteSeen>> {
        self.compiler.first_writes()
    }

    /// Answers that name another release than the label. Once.
    pub fn wrong_releases(&mut self) -> Option<mpsc::UnboundedReceiver<WrongRelease>> {
        self.wrong_releases.take()
    }

    pub fn pools(&self) -> &PerColor<Vec<Arc<Pool>>> {
        self.compiler.pools()
    }

    pub fn names(&self) -> &BTreeMap<EndpointAddress, Arc<Resolution>> {
        self.compiler.names()
    }

    pub fn meters(&self) -> &Arc<Meters> {
        self.compiler.meters()
    }

    pub fn open_connections(&self) -> [u64; 3] {
        Listener::ALL.map(|listener| {
            let counts = self.live.connections().iter().map(|worker| &worker.by_listener[listener as usize]);
            counts.map(|count| count.load(Ordering::Relaxed) as u64).sum()
        })
    }

    pub fn refused(&self) -> Refused {
        Refusals::sum(&self.live.refused)
    }

    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

/// Drops a snapshot and its leases on this thread. Otherwise a worker that reads it at this moment would free all its
/// routes in the middle of a request.
fn drop_after_readers<T>(mut snapshot: Arc<T>) {
    while let Err(read) = Arc::try_unwrap(snapshot) {
        // A reader holds it for a moment only, see [`Live::with`].
        snapshot = read;
        std::thread::yield_now();
    }
}

fn shares(decision: &Decision) -> PerColor<Weight> {
    PerColor::from_fn(|color| match decision.split() {
        Some(split) => split.of(color),
        None if color == decision.active => Weight::ALL,
        None => Weight::NONE,
    })
}

/// Makes connections to a color that is about to serve, so that its first requests find some.
#[derive(Debug)]
pub struct Warmer {
    workers: Arc<[mpsc::UnboundedSender<Command>]>,
    next: Vec<Arc<Pool>>,
    present: Vec<Arc<Pool>>,
    share: Weight,
    serves: bool,
}

impl Warmer {
    /// Begins to warm endpoints that have just passed their gate.
    #[must_use = "a move waits for its connections"]
    pub fn warm(&self, passed: &HashSet<u64>) -> Warming {
        let warmth = self.next.iter().map(|pool| {
            let endpoints = pool.endpoints.iter().filter(|endpoint| passed.contains(&endpoint.id));
            let endpoints: Box<[_]> = endpoints.cloned().collect();
            endpoints.iter().for_each(|endpoint| {
                endpoint.keep();
            });
            let present = position(&self.present, &pool.upstream).map(|index| Arc::clone(&self.present[index]));
            Warmth { pool: Arc::clone(pool), endpoints, present, share: self.share, serves: self.serves }
        });
        let warmth: Arc<[_]> = warmth.collect();
        let (sender, done) = mpsc::channel(1);
        for worker in &*self.workers {
            let _ = worker.send(Command::Warm(Arc::clone(&warmth), sender.clone()));
        }
        Warming { done, until: Instant::now() + WARM_PATIENCE }
    }
}

/// Connections that are being made.
#[derive(Debug)]
pub struct Warming {
    done: mpsc::Receiver<()>,
    until: Instant,
}

impl Warming {
    /// Resolves when they are there, or 50 ms after the beginning.
    pub async fn ended(mut self) {
        // Nothing is sent: the channel closes with the last sender.
        let _ = tokio::time::timeout_at(self.until.into(), self.done.recv()).await;
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
