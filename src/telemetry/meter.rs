//! What the request path counts: one [`Meter`] for each color, upstream and worker.
//!
//! Each meter has one writer, its worker, so counting is a plain load and store: no core ever waits for another one's
//! cache line. Readers add up all workers. Handles are resolved when a snapshot is compiled; nothing on the request
//! path looks anything up by label.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::color::Color;
pub(crate) use crate::domain::transition::InFlight;

/// Upper bounds of the latency buckets, in microseconds; above the last one is `+Inf`.
pub(crate) const BUCKETS_MICROS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds; only for the one writer.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes away; only for the one writer.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What kind of thing is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlightKind {
    /// A request that is not answered yet.
    Request,
    /// A response whose body is under way.
    Stream,
    /// An upgraded connection.
    Tunnel,
}

/// What came of a file that the chosen color does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lingered {
    /// The other color has it.
    Answered,
    /// The other color does not have it.
    NotFound,
    /// The other color gave no usable response in time.
    Failed,
    /// It was not asked: that would have been more than `linger.budget`.
    OverBudget,
}

impl Lingered {
    /// Each, as it is called in metrics, in the order in which they are counted.
    pub const NAMES: [&str; 4] = ["answered", "not_found", "failed", "over_budget"];
}

impl InFlight {
    /// What has been added since this was read before.
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

/// The counts of one worker for one color of one upstream. Padded so that two workers never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Meter {
    /// Finished requests by code class: 1xx to 5xx at index 1 to 5; index 0: the client left before the answer.
    pub codes: [Count; 6],
    /// Finished requests by duration; one more than [`BUCKETS_MICROS`]. Not cumulative.
    pub buckets: [Count; BUCKETS_MICROS.len() + 1],
    /// Sum of all durations.
    pub sum_micros: Count,
    /// Responses by the time from the sent request to the response head; as [`Meter::buckets`].
    pub upstream_buckets: [Count; BUCKETS_MICROS.len() + 1],
    /// Sum of these times.
    pub upstream_micros: Count,
    /// In flight, by [`InFlightKind`].
    pub in_flight: [Count; 3],
    /// What the end of a drain, or `drain.streams`, has ended, by [`InFlightKind`].
    pub drained: [Count; 3],
    /// Connections that could not be made.
    pub connect_errors: Count,
    /// Requests that were sent again because nothing of them had arrived.
    pub retries: Count,
    /// Requests that failed here, and were asked again of the other color.
    pub shielded: Count,
    /// Files below `linger.paths` that are not here, by [`Lingered`].
    pub lingered: [Count; 4],
}

impl Meter {
    /// Counts one finished request. `status` 499 means that the client left.
    pub fn finished(&self, status: u16, took: Duration) {
        let class = if status == 499 { 0 } else { usize::from(status / 100).min(5) };
        self.codes[class].add(1);
        let micros = micros(took);
        self.buckets[place(micros)].add(1);
        self.sum_micros.add(micros);
    }

    /// Counts a response head that came so long after its request was sent.
    pub fn answered(&self, took: Duration) {
        let micros = micros(took);
        self.upstream_buckets[place(micros)].add(1);
        self.upstream_micros.add(micros);
    }

    /// Counts something in flight, until [`Meter::left`].
    pub fn entered(&self, kind: InFlightKind) {
        self.in_flight[kind as usize].add(1);
    }

    /// The counterpart of [`Meter::entered`].
    pub fn left(&self, kind: InFlightKind) {
        self.in_flight[kind as usize].sub(1);
    }

    /// Counts a file that is not here.
    pub fn lingered(&self, lingered: Lingered) {
        self.lingered[lingered as usize].add(1);
    }

    /// Counts something that a drain has ended.
    pub fn ended(&self, kind: InFlightKind) {
        self.drained[kind as usize].add(1);
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// The bucket of a latency.
fn place(micros: u64) -> usize {
    BUCKETS_MICROS.partition_point(|bound| *bound < micros)
}

/// The sum over workers of one color of one upstream.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// As [`Meter::codes`].
    pub codes: [u64; 6],
    /// As [`Meter::buckets`].
    pub buckets: [u64; BUCKETS_MICROS.len() + 1],
    /// As [`Meter::sum_micros`].
    pub sum_micros: u64,
    /// As [`Meter::upstream_buckets`].
    pub upstream_buckets: [u64; BUCKETS_MICROS.len() + 1],
    /// As [`Meter::upstream_micros`].
    pub upstream_micros: u64,
    /// In flight now.
    pub in_flight: InFlight,
    /// As [`Meter::drained`].
    pub drained: InFlight,
    /// As [`Meter::connect_errors`].
    pub connect_errors: u64,
    /// As [`Meter::retries`].
    pub retries: u64,
    /// As [`Meter::shielded`].
    pub shielded: u64,
    /// As [`Meter::lingered`].
    pub lingered: [u64; 4],
}

impl Reading {
    /// All finished requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.codes.iter().sum()
    }
}

/// What requests are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// What users ask for, and what is judged by.
    Ordinary,
    /// A look at the color that does not serve.
    Preview,
}

/// By purpose, color and upstream; one meter for each worker.
type All = BTreeMap<(Purpose, Color, Arc<str>), Arc<[Arc<Meter>]>>;

/// All meters of the process. A meter lives as long as the process, so that no counter ever goes back.
#[derive(Debug, Default)]
pub struct Meters {
    workers: usize,
    all: Mutex<All>,
}

impl Meters {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Meters {
        Meters { workers, all: Mutex::default() }
    }

    /// The meters of one purpose, color and upstream, one for each worker; made at the first call.
    pub fn of(&self, purpose: Purpose, color: Color, upstream: &Arc<str>) -> Arc<[Arc<Meter>]> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((purpose, color, Arc::clone(upstream)))
            .or_insert_with(|| (0..self.workers).map(|_| Arc::new(Meter::default())).collect())
            .clone()
    }

    /// The present sums of ordinary requests, by color and upstream: what a release is judged by.
    pub fn read(&self) -> Vec<(Color, Arc<str>, Reading)> {
        self.sums(Purpose::Ordinary)
    }

    /// Those of previews.
    pub fn read_previews(&self) -> Vec<(Color, Arc<str>, Reading)> {
        self.sums(Purpose::Preview)
    }

    fn sums(&self, purpose: Purpose) -> Vec<(Color, Arc<str>, Reading)> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = all.iter().filter(|((of, _, _), _)| *of == purpose);
        wanted.map(|((_, color, upstream), meters)| (*color, Arc::clone(upstream), sum(meters))).collect()
    }

    /// What is in flight on one color, all upstreams together, whatever it is for.
    pub fn in_flight(&self, color: Color) -> InFlight {
        self.total(color, |reading| reading.in_flight)
    }

    /// What drains of one color have ended, all upstreams together.
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

fn sum(meters: &[Arc<Meter>]) -> Reading {
    let mut reading = Reading::default();
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
