//! The cells of one worker for one color of one route. Each has one writer, so counting is a load and a store.

use crate::domain::analysis::{BUCKETS, bucket};
use crate::domain::verdict::Class;
use crate::evidence::routes::users::Standing;
use crate::evidence::routes::{RECENT, RING};
use crate::telemetry::meter::Count;

/// The classes of events that are counted here, by number: all but CPU.
pub(crate) const CLASSES: usize = Class::Abort as usize + 1;
const _: () = assert!(Class::Cpu as usize == CLASSES);

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 5xx.
    Status,
    /// No connection, or nobody to connect to.
    Connect,
    /// The connection broke before the answer, or the answer was none.
    Broken,
    /// No answer in time.
    Timeout,
    /// The answer stopped in the middle.
    Cut,
    /// The status of a gRPC call.
    Grpc,
}

impl Cause {
    /// All, by number.
    pub const ALL: [(Cause, &'static str); 6] = [
        (Cause::Status, "status"),
        (Cause::Connect, "connect"),
        (Cause::Broken, "broken"),
        (Cause::Timeout, "timeout"),
        (Cause::Cut, "cut"),
        (Cause::Grpc, "grpc"),
    ];
}

/// What can be said of the requests of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the color.
    pub assigned: u64,
    /// Over; without those of which nothing can be said.
    pub completed: u64,
    /// Bad events by [`Class`].
    pub bad: [u64; CLASSES],
    /// The rest is of users who stay on a color, and of what counts of them (see [`Users`](super::Users)): requests
    /// that are over,
    pub sampled: u64,
    /// how many of them failed,
    pub sampled_failed: u64,
    /// events that count on their route,
    pub on_route: [u64; CLASSES],
    /// and those that count among all routes together.
    pub overall: [u64; CLASSES],
}

impl Counts {
    /// What was added since.
    #[must_use]
    pub fn since(&self, before: &Counts) -> Counts {
        let less =
            |now: [u64; CLASSES], before: [u64; CLASSES]| std::array::from_fn(|n| now[n].wrapping_sub(before[n]));
        Counts {
            assigned: self.assigned.wrapping_sub(before.assigned),
            completed: self.completed.wrapping_sub(before.completed),
            bad: less(self.bad, before.bad),
            sampled: self.sampled.wrapping_sub(before.sampled),
            sampled_failed: self.sampled_failed.wrapping_sub(before.sampled_failed),
            on_route: less(self.on_route, before.on_route),
            overall: less(self.overall, before.overall),
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Counts) {
        self.assigned += other.assigned;
        self.completed += other.completed;
        self.sampled += other.sampled;
        self.sampled_failed += other.sampled_failed;
        for class in 0..CLASSES {
            self.bad[class] += other.bad[class];
            self.on_route[class] += other.on_route[class];
            self.overall[class] += other.overall[class];
        }
    }
}

#[derive(Debug, Default)]
struct Outcomes {
    assigned: Count,
    completed: Count,
    bad: [Count; CLASSES],
    sampled: Count,
    sampled_failed: Count,
    on_route: [Count; CLASSES],
    overall: [Count; CLASSES],
}

/// One worker's cells. Padded so that two workers never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Arm {
    /// By tick; behind them everything older.
    ticks: [Outcomes; RING + 1],
    causes: [Count; Cause::ALL.len()],
    /// 404 and 410 for files.
    missing: Count,
    latencies: [Count; BUCKETS],
}

impl Default for Arm {
    fn default() -> Arm {
        Arm {
            ticks: Default::default(),
            causes: Default::default(),
            missing: Count::default(),
            latencies: std::array::from_fn(|_| Count::default()),
        }
    }
}

impl Arm {
    fn of(&self, tick: u64, now: u64) -> &Outcomes {
        let place = if now.wrapping_sub(tick) < RECENT { tick as usize % RING } else { RING };
        &self.ticks[place]
    }

    /// A request is given to the color.
    pub fn assigned(&self, tick: u64) {
        self.of(tick, tick).assigned.add(1);
    }

    /// It is over. `tick`: when it was given; `now`: the present one.
    pub fn completed(&self, tick: u64, now: u64) {
        self.of(tick, now).completed.add(1);
    }

    /// It is over, and one of those that shares are taken of.
    pub fn sampled(&self, tick: u64, now: u64, failed: bool) {
        let of = self.of(tick, now);
        of.sampled.add(1);
        of.sampled_failed.add(u64::from(failed));
    }

    /// One that was sampled when it began well has failed.
    pub fn sample_failed(&self, tick: u64, now: u64) {
        self.of(tick, now).sampled_failed.add(1);
    }

    /// Something bad happened to it.
    pub fn bad(&self, tick: u64, now: u64, class: usize, standing: Standing) {
        let of = self.of(tick, now);
        of.bad[class].add(1);
        of.on_route[class].add(u64::from(standing.on_route));
        of.overall[class].add(u64::from(standing.overall));
    }

    /// Why it failed.
    pub fn failed(&self, cause: Cause) {
        self.causes[cause as usize].add(1);
    }

    /// There is no such file.
    pub fn missed(&self) {
        self.missing.add(1);
    }

    pub(super) fn missing(&self) -> u64 {
        self.missing.get()
    }

    /// How long a good answer took.
    pub fn took(&self, micros: u64) {
        self.latencies[bucket(micros)].add(1);
    }

    pub(super) fn add_latencies(&self, sums: &mut [u64; BUCKETS]) {
        for (sum, count) in sums.iter_mut().zip(&self.latencies) {
            *sum += count.get();
        }
    }

    /// By place in the ring; behind them everything older.
    pub(super) fn add_counts(&self, sums: &mut [Counts; RING + 1]) {
        for (sum, of) in sums.iter_mut().zip(&self.ticks) {
            sum.add(&Counts {
                assigned: of.assigned.get(),
                completed: of.completed.get(),
                bad: of.bad.each_ref().map(Count::get),
                sampled: of.sampled.get(),
                sampled_failed: of.sampled_failed.get(),
                on_route: of.on_route.each_ref().map(Count::get),
                overall: of.overall.each_ref().map(Count::get),
            });
        }
    }

    pub(super) fn add_causes(&self, sums: &mut [u64; Cause::ALL.len()]) {
        for (sum, count) in sums.iter_mut().zip(&self.causes) {
            *sum += count.get();
        }
    }
}
