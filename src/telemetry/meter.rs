//! The counters of the request path: one [`Meter`] per color, upstream and worker.
//!
//! Each meter has one writer, its worker, so counting is a plain load and store. Readers add up all workers. Handles
//! are resolved when a snapshot is compiled: requests look nothing up by label.

mod exemplar;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::domain::color::Color;
pub(crate) use crate::domain::transition::InFlight;

pub(crate) use self::exemplar::Exemplar;

/// The most upper bounds of a histogram.
pub(crate) const MOST_BOUNDS: usize = 30;
/// With the bucket above the last bound.
const BUCKETS: usize = MOST_BOUNDS + 1;

/// Upper bounds in microseconds, ascending; above the last one is `+Inf`.
pub(crate) type Bounds = Arc<[u64]>;

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlightKind {
    Request,
    Stream,
    Tunnel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lingered {
    Answered,
    NotFound,
    /// No usable response in time.
    Failed,
    /// Not asked: `linger.budget` was exceeded.
    OverBudget,
}

impl Lingered {
    /// Metric labels, in the order of counting.
    pub const NAMES: [&str; 4] = ["answered", "not_found", "failed", "over_budget"];
}

impl InFlight {
    #[must_use]
    pub fn since(self, before: InFlight) -> InFlight {
        InFlight {
            requests: self.requests.wrapping_sub(before.requests),
            streams: self.streams.wrapping_sub(before.streams),
            tunnels: self.tunnels.wrapping_sub(before.tunnels),
        }
    }
}

impl AddAssign for InFlight {
    fn add_assign(&mut self, other: InFlight) {
        self.requests += other.requests;
        self.streams += other.streams;
        self.tunnels += other.tunnels;
    }
}

/// Padded so that two workers never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Meter {
    /// By code class: 1xx to 5xx at index 1 to 5; index 0: the client left before the answer.
    pub codes: [Count; 6],
    pub(crate) bounds: Bounds,
    /// By duration; one more than [`Meter::bounds`]. Not cumulative.
    pub buckets: [Count; BUCKETS],
    pub sum_micros: Count,
    /// From the sent request to the response head; as [`Meter::buckets`].
    pub upstream_buckets: [Count; BUCKETS],
    pub upstream_micros: Count,
    pub in_flight: [Count; 3],
    /// Cut off by a drain or `drain.streams`, by [`InFlightKind`].
    pub drained: [Count; 3],
    pub connect_errors: Count,
    pub retries: Count,
    pub shielded: Count,
    /// Files below `linger.paths` that are missing here, by [`Lingered`].
    pub lingered: [Count; 4],
    /// By duration. Made for the first sampled trace.
    exemplars: OnceLock<Box<[exemplar::Place]>>,
}

impl Meter {
    fn new(bounds: Bounds) -> Meter {
        Meter { bounds, ..Meter::default() }
    }

    /// `status` 499: the client left.
    pub fn finished(&self, status: u16, took: Duration) {
        let class = if status == 499 { 0 } else { usize::from(status / 100).min(5) };
        self.codes[class].add(1);
        let micros = micros(took);
        self.buckets[self.place(micros)].add(1);
        self.sum_micros.add(micros);
    }

    /// `took`: from the sent request to the response head.
    pub fn answered(&self, took: Duration) {
        let micros = micros(took);
        self.upstream_buckets[self.place(micros)].add(1);
        self.upstream_micros.add(micros);
    }

    /// A finished request with a sampled trace becomes the exemplar of its bucket.
    pub(crate) fn exemplify(&self, trace: u128, took: Duration) {
        let places = self.exemplars.get_or_init(|| (0..=self.bounds.len()).map(|_| Default::default()).collect());
        let micros = micros(took);
        places[self.place(micros)].write(Exemplar::now(trace, micros));
    }

    fn place(&self, micros: u64) -> usize {
        self.bounds.partition_point(|bound| *bound < micros)
    }

    pub fn entered(&self, kind: InFlightKind) {
        self.in_flight[kind as usize].add(1);
    }

    pub fn left(&self, kind: InFlightKind) {
        self.in_flight[kind as usize].sub(1);
    }

    pub fn lingered(&self, lingered: Lingered) {
        self.lingered[lingered as usize].add(1);
    }

    pub fn ended(&self, kind: InFlightKind) {
        self.drained[kind as usize].add(1);
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// A [`Meter`], summed over workers.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub codes: [u64; 6],
    pub bounds: Bounds,
    pub buckets: [u64; BUCKETS],
    pub sum_micros: u64,
    pub upstream_buckets: [u64; BUCKETS],
    pub upstream_micros: u64,
    pub in_flight: InFlight,
    pub drained: InFlight,
    pub connect_errors: u64,
    pub retries: u64,
    pub shielded: u64,
    pub lingered: [u64; 4],
}

impl Reading {
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.codes.iter().sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Users' requests, by which releases are judged.
    Ordinary,
    Preview,
}

type All = BTreeMap<(Purpose, Color, Arc<str>), Arc<[Arc<Meter>]>>;

/// A meter lives as long as the process, so that no counter ever goes back.
#[derive(Debug, Default)]
pub struct Meters {
    workers: usize,
    bounds: Bounds,
    all: Mutex<All>,
}

impl Meters {
    #[must_use]
    pub(crate) fn new(workers: usize, bounds: Bounds) -> Meters {
        Meters { workers, bounds, all: Mutex::default() }
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// One per worker, made at the first call.
    pub fn of(&self, purpose: Purpose, color: Color, upstream: &Arc<str>) -> Arc<[Arc<Meter>]> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((purpose, color, Arc::clone(upstream)))
            .or_insert_with(|| (0..self.workers).map(|_| Arc::new(Meter::new(Arc::clone(&self.bounds)))).collect())
            .clone()
    }

    pub fn read(&self) -> Vec<(Color, Arc<str>, Reading)> {
        self.sums(Purpose::Ordinary)
    }

    /// By bucket, in the order of [`Meters::read`].
    pub(crate) fn exemplars(&self) -> Vec<Vec<Option<Exemplar>>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let ordinary = all.iter().filter(|((of, _, _), _)| *of == Purpose::Ordinary);
        ordinary.map(|(_, meters)| latest(meters, self.bounds.len())).collect()
    }

    pub fn read_previews(&self) -> Vec<(Color, Arc<str>, Reading)> {
        self.sums(Purpose::Preview)
    }

    fn sums(&self, purpose: Purpose) -> Vec<(Color, Arc<str>, Reading)> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = all.iter().filter(|((of, _, _), _)| *of == purpose);
        wanted.map(|((_, color, upstream), meters)| (*color, Arc::clone(upstream), sum(meters))).collect()
    }

    /// All upstreams and purposes together.
    pub fn in_flight(&self, color: Color) -> InFlight {
        self.total(color, |reading| reading.in_flight)
    }

    pub fn drained(&self, color: Color) -> InFlight {
        self.total(color, |reading| reading.drained)
    }

    fn total(&self, color: Color, of: impl Fn(&Reading) -> InFlight) -> InFlight {
        let mut total = InFlight::default();
        for purpose in [Purpose::Ordinary, Purpose::Preview] {
            for (_, _, reading) in self.sums(purpose).iter().filter(|(counted, _, _)| *counted == color) {
                total += of(reading);
            }
        }
        total
    }
}

fn by_kind([requests, streams, tunnels]: &[Count; 3]) -> InFlight {
    InFlight { requests: requests.get(), streams: streams.get(), tunnels: tunnels.get() }
}

fn latest(meters: &[Arc<Meter>], bounds: usize) -> Vec<Option<Exemplar>> {
    let of_bucket = |bucket: usize| {
        let places = meters.iter().filter_map(|meter| meter.exemplars.get()?.get(bucket));
        places.filter_map(exemplar::Place::read).max_by_key(|exemplar| exemplar.at)
    };
    (0..=bounds).map(of_bucket).collect()
}

fn sum(meters: &[Arc<Meter>]) -> Reading {
    let bounds = meters.first().map(|meter| Arc::clone(&meter.bounds)).unwrap_or_default();
    let mut reading = Reading { bounds, ..Reading::default() };
    for meter in meters {
        for (total, count) in reading.codes.iter_mut().zip(&meter.codes) {
            *total += count.get();
        }
        for (total, count) in reading.buckets.iter_mut().zip(&meter.buckets) {
            *total += count.get();
        }
        reading.sum_micros += meter.sum_micros.get();
        for (total, count) in reading.upstream_buckets.iter_mut().zip(&meter.upstream_buckets) {
            *total += count.get();
        }
        reading.upstream_micros += meter.upstream_micros.get();
        reading.in_flight += by_kind(&meter.in_flight);
        reading.drained += by_kind(&meter.drained);
        reading.connect_errors += meter.connect_errors.get();
        reading.retries += meter.retries.get();
        reading.shielded += meter.shielded.get();
        for (total, count) in reading.lingered.iter_mut().zip(&meter.lingered) {
            *total += count.get();
        }
    }
    reading
}
