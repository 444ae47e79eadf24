//! The cells of one worker for one color of one route. Each has one writer, so counting is a load and a store.

use crate::domain::analysis::{BUCKETS, bucket};
use crate::domain::verdict::Class;
use crate::evidence::routes::users::Standing;
use crate::evidence::routes::{RECENT, RING};
use crate::telemetry::meter::Count;

pub(crate) const CLASSES: usize = Class::Abort as usize + 1;
const _: () = assert!(Class::Cpu as usize == CLASSES);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Status,
    Connect,
    Broken,
    Timeout,
    Cut,
    Grpc,
}

impl Cause {
    pub const ALL: [(Cause, &'static str); 6] = [
        (Cause::Status, "status"),
        (Cause::Connect, "connect"),
        (Cause::Broken, "broken"),
        (Cause::Timeout, "timeout"),
        (Cause::Cut, "cut"),
        (Cause::Grpc, "grpc"),
    ];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub assigned: u64,
    pub completed: u64,
    pub bad: [u64; CLASSES],
    /// The other fields count users who stay on a color (see [`Users`](super::Users)). Finished requests of the sample,
    pub sampled: u64,
    /// and how many of them failed;
    pub sampled_failed: u64,
    /// events that count on their route;
    pub on_route: [u64; CLASSES],
    /// events that count among all routes together.
    pub overall: [u64; CLASSES],
}

impl Counts {
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

/// Padded so that two workers never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Arm {
    /// By tick; the last one is everything older.
    ticks: [Outcomes; RING + 1],
    causes: [Count; Cause::ALL.len()],
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

    pub fn assigned(&self, tick: u64) {
        self.of(tick, tick).assigned.add(1);
    }

    /// `tick`: the one in which the request was given; `now`: the present one.
    pub fn completed(&self, tick: u64, now: u64) {
        self.of(tick, now).completed.add(1);
    }

    pub fn sampled(&self, tick: u64, now: u64, failed: bool) {
        let of = self.of(tick, now);
        of.sampled.add(1);
        of.sampled_failed.add(u64::from(failed));
    }

    pub fn sample_failed(&self, tick: u64, now: u64) {
        self.of(tick, now).sampled_failed.add(1);
    }

    pub fn bad(&self, tick: u64, now: u64, class: usize, standing: Standing) {
        let of = self.of(tick, now);
        of.bad[class].add(1);
        of.on_route[class].add(u64::from(standing.on_route));
        of.overall[class].add(u64::from(standing.overall));
    }

    pub fn failed(&self, cause: Cause) {
        self.causes[cause as usize].add(1);
    }

    pub fn missed(&self) {
        self.missing.add(1);
    }

    pub(super) fn missing(&self) -> u64 {
        self.missing.get()
    }

    pub fn took(&self, micros: u64) {
        self.latencies[bucket(micros)].add(1);
    }

    pub(super) fn add_latencies(&self, sums: &mut [u64; BUCKETS]) {
        for (sum, count) in sums.iter_mut().zip(&self.latencies) {
            *sum += count.get();
        }
    }

    /// By place in the ring; the last one is everything older.
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
