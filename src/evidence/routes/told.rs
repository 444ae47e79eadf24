//! Events that the application reports in its answers, counted by color, worker and tick over all routes. Each cell has
//! one writer, as in a route.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{RECENT, RING};
use crate::domain::analysis::Bad;
use crate::domain::color::{Color, PerColor};
use crate::domain::split::{Weight, draw};
use crate::telemetry::meter::Count;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventKind {
    pub name: String,
    pub bad: Bad,
    pub per_request: u32,
}

#[derive(Debug)]
pub struct AppEvent {
    pub kind: EventKind,
    /// A name for the kind that stays the same after a restart.
    tag: u64,
    /// Reports under this name when it was another kind.
    before: PerColor<u64>,
    cells: Box<[PerColor<Cells>]>,
}

/// Padded so that two workers never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cells {
    told: Count,
    /// A ring of ticks, whose last slot sums the older ones: all reports that count, and those that count where users
    /// stay on a color.
    ticks: [[Count; 2]; RING + 1],
}

type Counted = [[u64; 2]; RING + 1];

impl AppEvent {
    fn new(kind: EventKind, workers: usize, before: PerColor<u64>) -> AppEvent {
        let name = format!("{} {} {}", kind.bad.name(), kind.per_request, kind.name);
        let tag = draw(name.as_bytes(), 0);
        AppEvent { kind, tag, before, cells: (0..workers).map(|_| PerColor::default()).collect() }
    }

    pub(super) fn tag(&self) -> u64 {
        self.tag
    }

    pub fn told(&self, worker: usize, color: Color, n: u64) {
        self.cells[worker][color].told.add(n);
    }

    /// For a request that is evidence, given to a color in a tick. `counts`: it counts where users stay.
    pub fn judged(&self, worker: usize, color: Color, (tick, now): (u64, u64), n: u64, counts: bool) {
        let place = if now.wrapping_sub(tick) < RECENT { tick as usize % RING } else { RING };
        let n = n.min(self.kind.per_request.into());
        let [all, of_users] = &self.cells[worker][color].ticks[place];
        all.add(n);
        of_users.add(if counts { n } else { 0 });
    }

    fn total(&self) -> PerColor<u64> {
        PerColor::from_fn(|color| {
            self.before[color] + self.cells.iter().map(|cells| cells[color].told.get()).sum::<u64>()
        })
    }

    fn counted(&self) -> PerColor<Counted> {
        let mut sums: PerColor<Counted> = PerColor::default();
        for cells in &self.cells {
            for color in Color::ALL {
                for (sum, count) in sums[color].iter_mut().zip(&cells[color].ticks) {
                    sum[0] += count[0].get();
                    sum[1] += count[1].get();
                }
            }
        }
        sums
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventIgnored {
    Malformed,
    Unknown,
    /// `n` is no integer from 1 to 1,000.
    Number,
    TooMany,
}

impl EventIgnored {
    pub const ALL: [(EventIgnored, &'static str); 4] = [
        (EventIgnored::Malformed, "malformed"),
        (EventIgnored::Unknown, "unknown"),
        (EventIgnored::Number, "number"),
        (EventIgnored::TooMany, "too_many"),
    ];

    #[must_use]
    pub fn label(self) -> &'static str {
        EventIgnored::ALL[self as usize].1
    }
}

#[derive(Debug, Default)]
pub struct AppEvents {
    known: Mutex<Vec<Arc<AppEvent>>>,
    ignored: [AtomicU64; EventIgnored::ALL.len()],
}

impl AppEvents {
    pub fn configure(&self, workers: usize, kinds: &[EventKind]) -> Arc<[Arc<AppEvent>]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let event = |kind: &EventKind| match known.iter().find(|event| event.kind.name == kind.name) {
            Some(same) if same.kind == *kind => Arc::clone(same),
            other => {
                Arc::new(AppEvent::new(kind.clone(), workers, other.map(|other| other.total()).unwrap_or_default()))
            }
        };
        let now: Vec<Arc<AppEvent>> = kinds.iter().map(event).collect();
        known.clone_from(&now);
        now.into()
    }

    /// Rare enough that workers share the counter.
    pub fn ignore(&self, why: EventIgnored) {
        self.ignored[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn ignored(&self) -> [(&'static str, u64); EventIgnored::ALL.len()] {
        EventIgnored::ALL.map(|(why, reason)| (reason, self.ignored[why as usize].load(Ordering::Relaxed)))
    }

    pub fn totals(&self) -> Vec<(String, PerColor<u64>)> {
        self.all().iter().map(|event| (event.kind.name.clone(), event.total())).collect()
    }

    fn all(&self) -> Vec<Arc<AppEvent>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// News about an event since the last look, in answers to requests that were given in one tick.
#[derive(Clone, Debug)]
pub struct EventSample {
    pub event: Arc<AppEvent>,
    /// The tick in which they were given; older ones as in a [`Batch`](super::Batch).
    pub tick: u64,
    pub weight: Weight,
    pub told: PerColor<u64>,
    pub of_users: PerColor<u64>,
}

#[derive(Debug, Default)]
pub(super) struct EventSampler {
    before: Vec<(Arc<AppEvent>, PerColor<Counted>)>,
}

impl EventSampler {
    /// `weights`: by place in the ring; the last one is for everything older.
    pub(super) fn sample(&mut self, events: &AppEvents, tick: u64, weights: &[Weight; RING + 1]) -> Vec<EventSample> {
        let before = std::mem::take(&mut self.before);
        let oldest = tick.saturating_sub(RECENT);
        let mut samples = Vec::new();
        for event in events.all() {
            let counted = event.counted();
            let seen = before.iter().find(|(known, _)| Arc::ptr_eq(known, &event)).map(|(_, seen)| *seen);
            let seen = seen.unwrap_or_default();
            let mut sample = |place: usize, tick: u64| {
                let new = |which: usize| {
                    PerColor::from_fn(|color| counted[color][place][which].wrapping_sub(seen[color][place][which]))
                };
                let (told, of_users) = (new(0), new(1));
                if told != PerColor::default() {
                    samples.push(EventSample {
                        event: Arc::clone(&event),
                        tick,
                        weight: weights[place],
                        told,
                        of_users,
                    });
                }
            };
            sample(RING, oldest.saturating_sub(1));
            (oldest..=tick).for_each(|tick| sample(tick as usize % RING, tick));
            self.before.push((event, counted));
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::split::Split;
    use crate::evidence::routes::{User, Users};

    fn kind(name: &str, per_request: u32) -> EventKind {
        EventKind { name: name.to_owned(), bad: Bad::Fewer, per_request }
    }

    #[test]
    fn a_look_finds_what_is_new_under_the_tick_of_the_request() {
        let events = AppEvents::default();
        let order = &events.configure(2, &[kind("order", 3)])[0];
        let mut sampler = EventSampler::default();
        let weights = [Weight::HALF; RING + 1];
        order.judged(0, Color::Blue, (4, 5), 1, true);
        order.judged(1, Color::Blue, (4, 5), 7, false);
        order.judged(1, Color::Green, (5, 5), 1, false);
        let seen = sampler.sample(&events, 5, &weights);
        let shown: Vec<_> = seen.iter().map(|of| (of.tick, of.told.blue, of.told.green, of.of_users.blue)).collect();
        assert_eq!(shown, [(4, 4, 0, 1), (5, 0, 1, 0)], "of one answer three count");
        assert!(sampler.sample(&events, 6, &weights).is_empty());
        order.judged(0, Color::Green, (5, 30), 1, false);
        let late = sampler.sample(&events, 30, &weights);
        assert_eq!((late[0].tick, late[0].told.green), (22, 1), "what is older is under the newest of the older ticks");
    }

    #[test]
    fn a_reload_that_leaves_an_event_as_it_is_loses_nothing_and_the_total_of_a_name_goes_on() {
        let events = AppEvents::default();
        let first = events.configure(1, &[kind("order", 1), kind("other", 1)]);
        first[0].told(0, Color::Blue, 5);
        let second = events.configure(1, &[kind("order", 1)]);
        assert!(Arc::ptr_eq(&first[0], &second[0]));
        let third = events.configure(1, &[kind("order", 2)]);
        assert!(!Arc::ptr_eq(&first[0], &third[0]), "what counts of one answer is another number");
        third[0].told(0, Color::Blue, 1);
        let total = PerColor { blue: 6, green: 0 };
        assert_eq!(events.totals(), [("order".to_owned(), total)]);
    }

    fn user(key: u64, network: u64) -> User {
        User { key, network, drawn: false }
    }

    #[test]
    fn where_users_stay_an_event_counts_once_for_each_user_and_network_and_not_of_the_first_networks_against_the_candidate()
     {
        let events = AppEvents::default();
        let failed = EventKind { bad: Bad::More, ..kind("failed", 1) };
        let both = events.configure(1, &[kind("order", 1), failed]);
        let split = Split { candidate: Color::Green, weight: Weight::HALF, salt: 1 };
        let users = Users::new(split, 1, false);
        // Fewer orders on green are bad, so orders on blue are evidence against it; failures on green are.
        for (event, against) in [(&both[0], Color::Blue), (&both[1], Color::Green)] {
            let count = |keys: std::ops::Range<u64>, color| {
                keys.filter(|key| users.count_report(event, user(*key, *key), false, color)).count()
            };
            assert_eq!(count(0..10, against), 5);
            assert_eq!(count(10..20, against.other()), 10);
            assert_eq!(count(0..20, against.other()), 0, "each has counted");
            assert!(!users.count_report(event, user(100, 3), false, against), "its network has");
            assert!(users.count_report(event, user(101, 3), true, against), "a first request");
        }
        let after = Users::new(split, 1, true);
        assert!(after.restore(&users.saved()));
        assert!(!after.count_report(&both[0], user(1, 200), false, Color::Green), "it counted before the restart");
        assert!(after.count_report(&both[0], user(201, 201), false, Color::Blue), "five were left out before");
    }
}
