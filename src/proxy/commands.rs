//! The commands of the controller, carried out by one worker.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::proxy::live::{Command, Warmth};
use crate::proxy::worker::Worker;

/// At most so many connections to one endpoint are made ahead of a switch by each worker.
const WARM_PER_ENDPOINT: usize = 64;
/// How long one that is made ahead may take.
const WARM_TIMEOUT: Duration = Duration::from_secs(2);
/// And how long it is kept if it is not used.
const WARM_KEPT: Duration = Duration::from_secs(60);

/// Carries out a command.
pub(crate) fn carry_out(worker: &Rc<Worker>, command: Command) {
    match command {
        Command::End(epoch) => worker.slots.end_epoch(epoch),
        Command::EndTunnels(tunnels, by) => worker.slots.end_tunnels(tunnels, by),
        Command::KeepTunnels(epoch) => worker.slots.keep_tunnels(epoch),
        Command::Wake => worker.slots.wake_held(),
        Command::Warm(endpoints, done) => endpoints.iter().for_each(|endpoint| warm(worker, endpoint, &done)),
    }
}

/// Makes connections to an endpoint that is about to serve, about as many as there are to those that serve now. Every `done` is
/// dropped when they are there.
fn warm(worker: &Rc<Worker>, warmth: &Warmth, done: &mpsc::Sender<()>) {
    let Warmth { pool, endpoint, present } = warmth;
    let connections = &worker.connections;
    let used = present.iter().flat_map(|pool| &pool.endpoints).map(|endpoint| {
        connections.free(endpoint.id) + usize::try_from(endpoint.load(worker.index).get()).unwrap_or(0)
    });
    let each = used.sum::<usize>().div_ceil(pool.endpoints.len()).clamp(1, WARM_PER_ENDPOINT);
    for _ in 0..if pool.rules().http2 { 1 } else { each } {
        let (worker, pool, endpoint, done) = (Rc::clone(worker), Arc::clone(pool), Arc::clone(endpoint), done.clone());
        tokio::task::spawn_local(async move {
            // Requests find out by themselves that it could not be made.
            if let Ok(made) = worker.connections.make(&endpoint, pool.rules(), WARM_TIMEOUT).await {
                worker.connections.put(&endpoint, made, Instant::now() + WARM_KEPT);
            }
            drop(done);
        });
    }
}
