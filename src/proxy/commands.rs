//! The controller's commands, and how one worker carries them out.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use crate::domain::split::Weight;
use crate::proxy::deadlines::slots::Tunnels;
use crate::proxy::pool::{Endpoint, Pool};
use crate::proxy::worker::Worker;

/// Connections to one endpoint that each worker makes ahead of a switch, at most.
const WARM_PER_ENDPOINT: usize = 64;
/// Under way at a time, to endpoints that may be far away.
const WARM_AT_ONCE: usize = 32;
/// Requests have at least this long for each that begins, where they need it: one takes about 35 us of the core.
const WARM_EVERY: Duration = Duration::from_micros(200);
/// A move waits for this many connections of a worker at most. Those to further endpoints follow while it serves,
const WARM_AWAITED: usize = 128;
/// with this pause between two of them, so that they take a few percent of the core.
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
    let mut wanted: Vec<_> = pools.iter().flat_map(|warmth| wanted(worker, warmth)).collect();
    // Every upstream has its part of the awaited ones.
    fastrand::shuffle(&mut wanted);
    let later = wanted.split_off(wanted.len().min(WARM_AWAITED));
    tokio::task::spawn_local(make_awaited(Rc::clone(worker), wanted, done.clone()));
    if !later.is_empty() {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            for (pool, endpoint) in later {
                tokio::time::sleep(WARM_PAUSE).await;
                // A request may have made one meanwhile, or another move may have left the color.
                if endpoint.keeps() && worker.connections.free(endpoint.id) == 0 {
                    make(&worker, &pool, &endpoint).await;
                }
            }
        });
    }
}

async fn make_awaited(worker: Rc<Worker>, wanted: Vec<(Arc<Pool>, Arc<Endpoint>)>, done: mpsc::Sender<()>) {
    let under_way = Arc::new(Semaphore::new(WARM_AT_ONCE));
    let mut in_this_turn = 1;
    for (pool, endpoint) in wanted {
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else { return };
        let (worker, done) = (Rc::clone(&worker), done.clone());
        tokio::task::spawn_local(async move {
            make(&worker, &pool, &endpoint).await;
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

async fn make(worker: &Worker, pool: &Pool, endpoint: &Arc<Endpoint>) {
    if let Ok(made) = worker.connections.make(endpoint, pool.rules(), WARM_TIMEOUT).await {
        worker.connections.put(endpoint, made, Instant::now() + WARM_KEPT);
    }
}

fn wanted(worker: &Worker, warmth: &Warmth) -> Vec<(Arc<Pool>, Arc<Endpoint>)> {
    let Warmth { pool, endpoints, present, share, serves } = warmth;
    let of_endpoint = |endpoint: &Arc<Endpoint>| {
        let under_way = usize::try_from(endpoint.load(worker.index).get()).unwrap_or(0);
        worker.connections.free(endpoint.id) + under_way
    };
    let of_pool = |pool: &Arc<Pool>| pool.endpoints.iter().map(of_endpoint).sum::<usize>();
    // Connections to a color that does not serve are older than its gate.
    let shared = if *serves { of_pool(pool) } else { 0 };
    let all = present.iter().map(of_pool).sum::<usize>() + shared;
    let each = |endpoint: &Arc<Endpoint>| match (pool.rules().http2, serves) {
        (true, _) => 1,
        (false, true) => missing(all, *share, pool.endpoints.len(), of_endpoint(endpoint)),
        (false, false) => missing(all, *share, pool.endpoints.len(), 0).max(1),
    };
    let many = endpoints.iter().map(|endpoint| (endpoint, each(endpoint)));
    many.flat_map(|(endpoint, n)| std::iter::repeat_n((Arc::clone(pool), Arc::clone(endpoint)), n)).collect()
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
