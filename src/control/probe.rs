//! Health probes: every endpoint of both colors, always, and once more at a gate.

mod ask;
mod evidence;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::config::HealthConfig;
use crate::control::probe::ask::NOT_YET;
pub(crate) use crate::control::probe::ask::probe;
pub(super) use crate::control::probe::ask::{CLOSED, UNWRITABLE, answer, body, connect, fetch, request};
use crate::control::probe::evidence::{Doubt, SocketFile};
use crate::domain::color::Color;
use crate::domain::health::{Health, Hysteresis};
use crate::domain::release::Release;
use crate::proxy::clock;
use crate::proxy::pool::{Endpoint, Pool, Rules, Target};

/// Moments of an interval at which probes begin.
const MOMENTS: u128 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub passed: bool,
    pub detail: String,
    /// From `health.release_header`.
    pub release: Option<String>,
    pub took: Duration,
    /// Time of its connection. Later connections lead to the process that answered, or to a successor.
    pub connected: Option<Instant>,
    /// Nothing listens.
    pub deserted: bool,
    /// It timed out, which does not tell which process is there.
    pub late: bool,
    /// The proxy lacked a descriptor, port or memory: no result.
    pub exhausted: bool,
}

impl Found {
    /// Fails if the endpoint does not confirm this release, and is asked to.
    #[must_use]
    pub(crate) fn of_release(mut self, label: &Release, header: Option<&str>) -> Found {
        let Some(header) = header.filter(|_| self.passed) else { return self };
        let found = match &self.release {
            Some(release) if release == label.as_str() => return self,
            Some(release) => format!("says that it is release {release:?}, and the file calls it {:?}", label.as_str()),
            None => format!("does not say which release it is: its answer has no field {header:?}"),
        };
        (self.passed, self.detail) = (false, found);
        self
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub detail: String,
    pub since: SystemTime,
    pub release: Option<String>,
    hysteresis: Hysteresis,
}

impl Observation {
    /// Consecutive passes of an endpoint that is not up, and the number that brings it up.
    #[must_use]
    pub(crate) fn starting(&self, rise: u32) -> Option<(u32, u32)> {
        Some((self.hysteresis.passed(), rise)).filter(|(passed, _)| *passed > 0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct HealthChange {
    pub color: Color,
    pub upstream: Arc<str>,
    pub endpoint: String,
    pub health: Health,
    pub detail: String,
}

#[derive(Debug)]
pub(crate) struct Probers {
    tasks: HashMap<u64, (AbortHandle, Arc<Mutex<Observation>>)>,
    health: watch::Sender<HealthConfig>,
    changes: mpsc::UnboundedSender<HealthChange>,
}

impl Probers {
    pub(crate) fn new(health: HealthConfig, changes: mpsc::UnboundedSender<HealthChange>) -> Probers {
        Probers { tasks: HashMap::new(), health: watch::Sender::new(health), changes }
    }

    /// Probes every endpoint anew at once.
    pub(crate) fn configure(&self, health: &HealthConfig) {
        self.health.send_if_modified(|current| {
            let changed = current != health;
            if changed {
                current.clone_from(health);
            }
            changed
        });
    }

    /// Probes exactly these endpoints from now on. A known one keeps its task and its health.
    pub(crate) fn reconcile<'a>(&mut self, pools: impl Iterator<Item = &'a Arc<Pool>>) {
        let mut gone = std::mem::take(&mut self.tasks);
        for pool in pools {
            for endpoint in &pool.endpoints {
                let task = gone.remove(&endpoint.id).unwrap_or_else(|| self.spawn(pool, endpoint));
                self.tasks.insert(endpoint.id, task);
            }
        }
        for (task, _) in gone.into_values() {
            task.abort();
        }
    }

    pub(crate) fn observation(&self, endpoint: u64) -> Option<Observation> {
        let (_, observation) = self.tasks.get(&endpoint)?;
        Some(observation.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// An endpoint that passed the gate is up, because it is about to serve.
    pub(crate) fn passed_gate(&self, endpoint: &Endpoint) {
        if let Some((_, observation)) = self.tasks.get(&endpoint.id) {
            let mut observation = observation.lock().unwrap_or_else(PoisonError::into_inner);
            if observation.hysteresis.observe(true, 1, 1).is_some() {
                observation.since = SystemTime::now();
            }
            endpoint.set_health(observation.hysteresis.health(), clock::millis(Instant::now()));
        }
    }

    fn spawn(&self, pool: &Arc<Pool>, endpoint: &Arc<Endpoint>) -> (AbortHandle, Arc<Mutex<Observation>>) {
        let observation = Arc::new(Mutex::new(Observation {
            detail: "not probed yet".to_owned(),
            since: SystemTime::now(),
            release: None,
            hysteresis: if endpoint.joins { Hysteresis::joining() } else { Hysteresis::default() },
        }));
        let (color, upstream) = (pool.color, Arc::clone(&pool.upstream));
        let task = watch_over(
            Arc::clone(endpoint),
            pool.rules().clone(),
            Arc::clone(&observation),
            self.health.subscribe(),
            self.changes.clone(),
            move |endpoint, health, detail| HealthChange {
                color,
                upstream: Arc::clone(&upstream),
                endpoint,
                health,
                detail,
            },
        );
        (tokio::spawn(task).abort_handle(), observation)
    }
}

async fn watch_over(
    endpoint: Arc<Endpoint>,
    rules: Rules,
    observation: Arc<Mutex<Observation>>,
    mut health: watch::Receiver<HealthConfig>,
    changes: mpsc::UnboundedSender<HealthChange>,
    change: impl Fn(String, Health, String) -> HealthChange,
) {
    let (mut doubt, mut socket) = (Doubt::default(), SocketFile::default());
    loop {
        let policy = health.borrow_and_update().clone();
        if let Target::Unresolved(name) = &endpoint.target {
            match tokio::time::timeout(policy.timeout, name.first()).await {
                Ok(Ok(_)) => return,
                Ok(Err(_)) => {}
                // No result.
                Err(_elapsed) => {
                    let mut known = observation.lock().unwrap_or_else(PoisonError::into_inner);
                    NOT_YET.clone_into(&mut known.detail);
                    continue;
                }
            }
        }
        let found = probe(&endpoint, &rules, &policy).await;
        if !found.passed
            && let Some(name) = &endpoint.resolution
        {
            name.suspect();
        }
        if let Target::Unix = endpoint.target {
            socket.look(&endpoint).await;
        }
        doubt.learn(&endpoint, &found);
        let changed = {
            let mut known = observation.lock().unwrap_or_else(PoisonError::into_inner);
            known.detail.clone_from(&found.detail);
            known.release = found.release;
            let changed = match found.exhausted {
                true => None,
                false => known.hysteresis.observe(found.passed, policy.rise, policy.fall),
            };
            if changed.is_some() {
                known.since = SystemTime::now();
            }
            endpoint.set_health(known.hysteresis.health(), clock::millis(Instant::now()));
            doubt.down(known.hysteresis.health() == Health::Down);
            changed
        };
        if let Some(now) = changed {
            let _ = changes.send(change(endpoint.name.to_string(), now, found.detail));
        }
        tokio::select! {
            () = tokio::time::sleep_until(next_probe(Instant::now(), policy.interval).into()) => {}
            changed = health.changed() => if changed.is_err() { return },
        }
    }
}

/// With jitter, so that a large pool is not probed at one moment; and at moments that endpoints share, so that the
/// thread does not wake up for each of them.
fn next_probe(now: Instant, interval: Duration) -> Instant {
    let due = now + interval.mul_f64(0.95 + fastrand::f64() * 0.1);
    let grid = u64::try_from(interval.as_nanos() / MOMENTS).unwrap_or(u64::MAX).max(1);
    due + Duration::from_nanos(grid - clock::nanos(due) % grid)
}

#[cfg(test)]
mod tests;
