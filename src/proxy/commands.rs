//! The controller's commands, and how one worker carries them out.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use crate::domain::split::Weight;
use crate::proxy::deadlines::slots::Tunnels;
use crate::proxy::pool::{Endpoint, Pool};
use crate::proxy::precedence;
use crate::proxy::worker::Worker;

/// Connections to one endpoint that each worker makes ahead of a switch, at most.
const WARM_PER_ENDPOINT: usize = 64;
/// Connections that each worker makes at the same time: an endpoint may be far away.
const WARM_AT_ONCE: usize = 32;
/// A busy worker gives requests this long before each connection, which takes about 35 us.
const WARM_EVERY: Duration = Duration::from_micros(150);
/// Connections begin this long after the gate where control pauses for requests. The line of the move is usually on
/// disk by then: connections and line at once would delay the same requests.
const WARM_AFTER_LINE: Duration = Duration::from_millis(3);
/// A move waits for this many connections of each worker at most.
const WARM_AWAITED: usize = 128;
/// Further connections follow one by one after this pause, so that they take a few percent of the core.
const WARM_PAUSE: Duration = Duration::from_millis(1);
const WARM_TIMEOUT: Duration = Duration::from_secs(2);
const WARM_KEPT: Duration = Duration::from_secs(60);

pub(crate) enum Command {
    End(u64),
    /// Ends tunnels, spread over the time until then.
    EndTunnels(Tunnels, Instant),
    KeepTunnels(u64),
    /// Makes connections ahead of a switch; the sender is dropped when the awaited ones are there.
    Warm(Arc<[Warmth]>, mpsc::Sender<()>),
    Wake,
}

/// Endpoints of one pool that are about to serve, and the pool that serves now.
#[derive(Debug)]
pub(crate) struct Warmth {
    pub(crate) pool: Arc<Pool>,
    pub(crate) endpoints: Box<[Arc<Endpoint>]>,
    pub(crate) present: Option<Arc<Pool>>,
    /// The color's share of the requests after the switch.
    pub(crate) share: Weight,
    pub(crate) serves: bool,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Command")
    }
}

pub(crate) fn carry_out(worker: &Rc<Worker>, command: Command) {
    match command {
        Command::End(epoch) => worker.slots.end_epoch(epoch),
        Command::EndTunnels(tunnels, by) => worker.slots.end_tunnels(tunnels, by),
        Command::KeepTunnels(epoch) => worker.slots.keep_tunnels(epoch),
        Command::Wake => worker.slots.wake_held(),
        Command::Warm(pools, done) => warm(worker, &pools, &done),
    }
}

fn warm(worker: &Rc<Worker>, pools: &[Warmth], done: &mpsc::Sender<()>) {
    let mut missing: Vec<_> = pools.iter().flat_map(|warmth| missing_in(worker, warmth)).collect();
    // Every upstream has its part of the awaited ones.
    fastrand::shuffle(&mut missing);
    tokio::task::spawn_local(make_all(Rc::clone(worker), missing, done.clone()));
}

/// A connection that an endpoint lacks.
struct Missing {
    pool: Arc<Pool>,
    endpoint: Arc<Endpoint>,
    /// The connections that the endpoint should have.
    wanted: usize,
}

impl Missing {
    /// False if requests made it meanwhile, or another move left the color.
    fn is_still_missing(&self, worker: &Worker) -> bool {
        self.endpoint.keeps() && connections(worker, &self.endpoint) < self.wanted
    }

    async fn make(&self, worker: &Worker) {
        if let Ok(made) = worker.connections.make(&self.endpoint, self.pool.rules(), WARM_TIMEOUT).await {
            worker.connections.put(&self.endpoint, made, Instant::now() + WARM_KEPT);
        }
    }
}

async fn make_all(worker: Rc<Worker>, all: Vec<Missing>, done: mpsc::Sender<()>) {
    let under_way = Arc::new(Semaphore::new(WARM_AT_ONCE));
    let mut awaited = Some(done);
    let is_late = !all.is_empty() && precedence::asks_for_pauses();
    if is_late {
        tokio::time::sleep(WARM_AFTER_LINE).await;
    }
    let mut in_this_turn = 1;
    for (number, missing) in all.into_iter().enumerate() {
        if number == WARM_AWAITED {
            awaited = None;
        }
        if awaited.is_none() {
            tokio::time::sleep(WARM_PAUSE).await;
        }
        if (is_late || awaited.is_none()) && !missing.is_still_missing(&worker) {
            continue;
        }
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else { return };
        let (worker, done) = (Rc::clone(&worker), awaited.clone());
        tokio::task::spawn_local(async move {
            missing.make(&worker).await;
            drop((permit, done));
        });
        in_this_turn -= 1;
        if in_this_turn == 0 {
            let turn = Instant::now();
            tokio::task::yield_now().await;
            in_this_turn = 1 + turn.elapsed().as_micros() / WARM_EVERY.as_micros();
        }
    }
}

/// Free connections of this worker, and those of its requests.
fn connections(worker: &Worker, endpoint: &Endpoint) -> usize {
    let under_way = usize::try_from(endpoint.load(worker.index).get()).unwrap_or(0);
    worker.connections.free(endpoint) + under_way
}

fn missing_in(worker: &Worker, warmth: &Warmth) -> Vec<Missing> {
    let Warmth { pool, endpoints, present, share, serves } = warmth;
    let of_pool = |pool: &Arc<Pool>| pool.endpoints.iter().map(|endpoint| connections(worker, endpoint)).sum::<usize>();
    // Connections to a color that does not serve are older than its gate.
    let shared = if *serves { of_pool(pool) } else { 0 };
    let all = present.iter().map(of_pool).sum::<usize>() + shared;
    let of_endpoint = |endpoint: &Arc<Endpoint>| {
        let there = if *serves { connections(worker, endpoint) } else { 0 };
        let lacks = match (pool.rules().http2, serves) {
            (true, _) => 1,
            (false, true) => missing(all, *share, pool.endpoints.len(), there),
            (false, false) => missing(all, *share, pool.endpoints.len(), 0).max(1),
        };
        let one = (Arc::clone(pool), Arc::clone(endpoint), there + lacks);
        std::iter::repeat_n(one, lacks).map(|(pool, endpoint, wanted)| Missing { pool, endpoint, wanted })
    };
    endpoints.iter().flat_map(of_endpoint).collect()
}

/// The number of connections that an endpoint lacks for a share of the requests. `all`: connections to both colors.
fn missing(all: usize, share: Weight, endpoints: usize, there: usize) -> usize {
    let wanted = (all * usize::from(share.basis_points())).div_ceil(10_000).div_ceil(endpoints.max(1));
    wanted.saturating_sub(there).min(WARM_PER_ENDPOINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_connections_are_as_many_as_the_share_takes_and_those_that_are_there_count() {
        let percent = |number| Weight::percent(number).expect("a share");
        assert_eq!(missing(60, Weight::ALL, 2, 0), 30);
        assert_eq!(missing(60, percent(5.0), 1, 0), 3, "a canary");
        assert_eq!(missing(60, percent(25.0), 3, 1), 4, "its next step");
        assert_eq!(missing(60, percent(25.0), 3, 5), 0);
        assert_eq!(missing(10_000, Weight::ALL, 1, 0), WARM_PER_ENDPOINT);
        assert_eq!(missing(0, Weight::ALL, 0, 0), 0);
    }
}
