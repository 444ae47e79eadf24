//! One data-plane thread, with its own runtime, listener, connections and upstream connections.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc};

use crate::proxy::commands::{Command, carry_out};
use crate::proxy::deadlines::slots::DeadlineSlots;
use crate::proxy::live::{Accepting, Live};
use crate::proxy::worker::Worker;
use crate::server::accept::{LongestIdle, PlaneCommand, Sockets, accept, start};
use crate::sys::incoming::Incoming;
use crate::sys::progress::Progress;
use crate::sys::{buffered, descriptors, memory};
use crate::telemetry::access_log::AccessLogger;
use crate::telemetry::refused::Refusal;

/// Interval of sweeping idle upstream connections and flushing the access log.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between returns of unused memory to the system.
const GIVE_BACK: u32 = 10;

pub(crate) struct WorkerConfig {
    pub(crate) index: usize,
    pub(crate) ports: [u16; 3],
    pub(crate) live: Arc<Live>,
    pub(crate) orders: mpsc::UnboundedReceiver<PlaneCommand>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) peers: Arc<[mpsc::UnboundedSender<PlaneCommand>]>,
    pub(crate) logger: AccessLogger,
    pub(crate) accepting: Accepting,
    pub(crate) progress: Progress,
}

pub(crate) fn run(config: WorkerConfig) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(worker = config.index, %error, "Worker can't start; the others serve its share");
            config.progress.end(config.index);
            return;
        }
    };
    runtime.block_on(work(config));
}

async fn work(config: WorkerConfig) {
    let worker = Rc::new(Worker::new(config.index, config.live, config.ports, config.logger));
    let mut stops = Vec::new();
    let mut until_closed = Some(Rc::new(config.accepting));
    let peers: Rc<[_]> = config.peers.iter().cloned().collect();
    let sweeper = Rc::clone(&worker);
    tokio::task::spawn_local(async move { sweeper.slots.sweep().await });

    let (mut orders, mut commands) = (config.orders, config.commands);
    let mut finishing: Option<fn(&DeadlineSlots)> = None;
    let mut ticks = 0_u32;
    let mut refused = descriptors::refused();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Other workers may hand connections over until the last one has closed its listener.
    while !(finishing.is_some() && worker.live.is_closed() && orders.is_empty() && worker.is_empty()) {
        tokio::select! {
            Some(command) = commands.recv() => carry_out(&worker, command),
            Some(order) = orders.recv() => match order {
                PlaneCommand::Adopt(stream, accepted, descriptor) => {
                    let _ = start(&worker, stream, accepted, descriptor);
                }
                PlaneCommand::FindIdle(found) => {
                    if let Some(waits) = worker.slots.longest_idle(worker.heads_before()) {
                        let _ = found.send(LongestIdle { waits, worker: worker.index });
                    }
                }
                PlaneCommand::CloseLongestIdle => {
                    if worker.slots.close_longest_idle(worker.heads_before()) {
                        worker.refuse(Refusal::MaxConnections);
                    } else {
                        worker.live.leaving.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                PlaneCommand::Listen(sockets) => {
                    if let Some(until_closed) = until_closed.take() {
                        let _ = listen(&worker, sockets, &peers, &until_closed, &mut stops);
                    }
                }
                order @ (PlaneCommand::Finish | PlaneCommand::Part) => {
                    let ends = if matches!(order, PlaneCommand::Part) { DeadlineSlots::part_all } else { DeadlineSlots::close_all };
                    finishing = Some(ends);
                    until_closed = None;
                    stops.iter().for_each(|stop| stop.notify_one());
                    ends(&worker.slots);
                }
                PlaneCommand::Cut => worker.slots.cut_all(),
            },
            _ = tick.tick() => {
                worker.connections.sweep(Instant::now());
                worker.renew_date();
                worker.count_slow();
                worker.logger.borrow_mut().flush();
                buffered::settle();
                // Idle connections here may hold the descriptors that another worker needs.
                if std::mem::replace(&mut refused, descriptors::refused()) != descriptors::refused() {
                    worker.connections.close_free();
                }
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(GIVE_BACK) && worker.freed.take() {
                    memory::give_back();
                }
                config.progress.turn(worker.index);
                if let Some(ends) = finishing {
                    // Includes connections accepted since.
                    ends(&worker.slots);
                }
            }
        }
    }
    worker.logger.borrow_mut().flush();
    config.progress.end(worker.index);
}

fn listen(
    worker: &Rc<Worker>,
    sockets: Sockets,
    peers: &Rc<[mpsc::UnboundedSender<PlaneCommand>]>,
    until_closed: &Rc<Accepting>,
    stops: &mut Vec<Rc<Notify>>,
) -> std::io::Result<()> {
    for (listener, socket) in sockets {
        let socket = Incoming::new(socket).inspect_err(|error| {
            tracing::error!(worker = worker.index, %error, "Worker can't listen; the others serve its share");
        })?;
        let stop = Rc::new(Notify::new());
        stops.push(Rc::clone(&stop));
        let accepting =
            accept(Rc::clone(worker), socket, listener, Rc::clone(peers), async move { stop.notified().await });
        let until_closed = Rc::clone(until_closed);
        tokio::task::spawn_local(async move {
            accepting.await;
            drop(until_closed);
        });
    }
    Ok(())
}
