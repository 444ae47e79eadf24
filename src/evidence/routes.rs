//! Counts by route, color, worker, and the tick in which a request was given to its color.
//!
//! A route has a name for people and a number for the request path. Configured routes have theirs from the start. Below
//! a route for everything, a first path segment becomes a route when it has succeeded often and over many ticks; at
//! most [`DISCOVERED`] exist at a time, and an id or a file name never becomes one. A discovered route without requests
//! for [`IDLE`] loses its place. The rest is `~other`. A number may get another name, but a counter never goes back:
//! readers take differences.

mod arm;
mod bits;
mod known;
mod minutes;
mod nursery;
mod sample;
mod told;
mod users;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};

use crate::domain::analysis::{BUCKETS, Histogram, Thresholds};
use crate::domain::color::{Color, PerColor};
use crate::domain::split::Split;

pub use arm::Counts;
pub(crate) use arm::{Arm, CLASSES, Cause};
pub(crate) use known::{Known, first_segment};
pub(crate) use minutes::MinuteCounts;
pub use sample::Sampler;
pub(crate) use sample::{Batch, Judged, RouteSample, Sample};
pub(crate) use told::{AppEvent, AppEvents, EventIgnored, EventKind, EventSample};
pub(crate) use users::{Allowance, Standing, User, Users, network};

/// Configured routes beyond this many are `~other`.
pub(crate) const CONFIGURED: usize = 64;
pub(crate) const DISCOVERED: usize = 64;
pub(crate) const IDLE: Duration = Duration::from_secs(900);
pub(crate) const OTHER: &str = "~other";
/// No duration is above it, and neither is the value that stands for a failure.
const NO_THRESHOLD: u64 = u64::MAX;

const ALL: usize = 1 + CONFIGURED + DISCOVERED;
/// Outcomes are counted by tick for requests of this many recent ticks.
const RECENT: u64 = 7;
/// One place stays free between the oldest tick and the present one: a worker may still write to a tick that has just
/// become too old.
const RING: usize = RECENT as usize + 1;
/// A longer segment becomes no route. In bytes.
const MAX_NAME: usize = 40;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(u16);

impl RouteId {
    pub const OTHER: RouteId = RouteId(0);

    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The place among the routes that are judged on their own: configured ones, then discovered ones; `~other` is
    /// last.
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn slot(self) -> usize {
        self.index().checked_sub(1).unwrap_or(usize::MAX)
    }
}

#[derive(Debug)]
pub struct Routes {
    workers: usize,
    /// Moved by the sampler only.
    tick: AtomicU64,
    all: Box<[OnceLock<Route>]>,
    taken: Mutex<Taken>,
    /// Grows with each route that is discovered or loses its place.
    version: AtomicU64,
    users: ArcSwapOption<Users>,
    told: AppEvents,
    /// Latency is judged.
    warm: AtomicBool,
    has_thresholds: AtomicBool,
}

#[derive(Debug, Default)]
struct Taken {
    /// All routes with a name, also those that lost their places.
    ids: HashMap<Arc<str>, RouteId>,
    configured: usize,
    named: Vec<RouteId>,
    discovered: Vec<RouteId>,
    /// Numbers of routes that lost their places, the oldest first.
    free: Vec<RouteId>,
}

#[derive(Debug)]
pub struct Route {
    name: Mutex<Arc<str>>,
    /// In microseconds: slower than the median, than 9 of 10, than 99 of 100.
    thresholds: PerColor<[AtomicU64; 3]>,
    arms: Box<[PerColor<Arm>]>,
}

impl Route {
    fn new(name: Arc<str>, workers: usize) -> Route {
        Route {
            name: Mutex::new(name),
            thresholds: PerColor::from_fn(|_| [const { AtomicU64::new(NO_THRESHOLD) }; 3]),
            arms: (0..workers).map(|_| PerColor::from_fn(|_| Arm::default())).collect(),
        }
    }

    /// A path prefix behind its host, if it has one, or `~other`. Too slow for the request path.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[must_use]
    pub fn arm(&self, worker: usize, color: Color) -> &Arm {
        &self.arms[worker][color]
    }

    #[must_use]
    pub fn thresholds(&self, color: Color) -> [u64; 3] {
        self.thresholds[color].each_ref().map(|threshold| threshold.load(Ordering::Relaxed))
    }
}

impl Routes {
    #[must_use]
    pub fn new(workers: usize) -> Arc<Routes> {
        let routes = Routes {
            workers,
            tick: AtomicU64::new(0),
            all: (0..ALL).map(|_| OnceLock::new()).collect(),
            taken: Mutex::default(),
            version: AtomicU64::new(0),
            users: ArcSwapOption::empty(),
            told: AppEvents::default(),
            warm: AtomicBool::new(false),
            has_thresholds: AtomicBool::new(false),
        };
        routes.all[0].get_or_init(|| Route::new(OTHER.into(), workers));
        Arc::new(routes)
    }

    #[must_use]
    pub fn get(&self, id: RouteId) -> &Route {
        self.all[id.index()].get().expect("a number stands for a route")
    }

    /// The name of a route by its [`RouteId::index`]; `None` for the rest of the paths. Too slow for the request path.
    #[must_use]
    pub(crate) fn name_at(&self, index: usize) -> Option<Arc<str>> {
        self.all.get(index).filter(|_| index != RouteId::OTHER.index())?.get().map(Route::name)
    }

    #[must_use]
    pub fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// The route of this name; `~other` once there are too many.
    pub fn configured(&self, name: &str) -> RouteId {
        let mut taken = self.taken();
        let known = taken.ids.get(name).copied();
        if known.is_none() && taken.configured == CONFIGURED {
            return RouteId::OTHER;
        }
        let id = known.unwrap_or_else(|| {
            taken.configured += 1;
            self.add(&mut taken, name)
        });
        taken.free.retain(|free| *free != id);
        if !taken.named.contains(&id) {
            taken.named.push(id);
        }
        id
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn discovered(&self, segment: &[u8]) {
        let Ok(segment) = std::str::from_utf8(segment) else { return };
        let name: Arc<str> = format!("/{segment}").into();
        let mut taken = self.taken();
        if taken.discovered.len() == DISCOVERED || taken.discovered.iter().any(|id| self.get(*id).name() == name) {
            return;
        }
        let id = match taken.ids.get(&name) {
            Some(id) => *id,
            None if !taken.free.is_empty() => {
                let id = taken.free[0];
                taken.ids.remove(&self.get(id).name());
                taken.ids.insert(Arc::clone(&name), id);
                *self.get(id).name.lock().unwrap_or_else(PoisonError::into_inner) = name;
                self.set_thresholds(id, Color::Blue, None);
                id
            }
            None => self.add(&mut taken, &name),
        };
        taken.free.retain(|free| *free != id);
        taken.discovered.push(id);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The discovered routes, and the version of the list.
    fn all_discovered(&self) -> (u64, Vec<(RouteId, Arc<str>)>) {
        let taken = self.taken();
        let all = taken.discovered.iter().map(|id| (*id, self.get(*id).name())).collect();
        (self.version.load(Ordering::Relaxed), all)
    }

    fn retire(&self, idle: &[RouteId]) {
        let mut taken = self.taken();
        let before = taken.discovered.len();
        taken.discovered.retain(|id| !idle.contains(id));
        if taken.discovered.len() == before {
            return;
        }
        for id in idle {
            if !taken.named.contains(id) && !taken.free.contains(id) && *id != RouteId::OTHER {
                taken.free.push(*id);
            }
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    fn add(&self, taken: &mut Taken, name: &str) -> RouteId {
        let free = self.all.iter().position(|route| route.get().is_none());
        let Some(free) = free else { return RouteId::OTHER };
        let (name, id): (Arc<str>, _) = (name.into(), RouteId(u16::try_from(free).unwrap_or(0)));
        self.all[free].get_or_init(|| Route::new(Arc::clone(&name), self.workers));
        taken.ids.insert(name, id);
        id
    }

    pub fn iter(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        let number = |index: usize| RouteId(u16::try_from(index).unwrap_or(0));
        self.all.iter().map_while(OnceLock::get).enumerate().map(move |(index, route)| (number(index), route))
    }

    /// Requests on a route that take longer count as slow; `None`: none does.
    pub fn set_thresholds(&self, id: RouteId, candidate: Color, thresholds: Option<Thresholds>) {
        const NONE: [u64; 3] = [NO_THRESHOLD; 3];
        if thresholds.is_some() {
            self.has_thresholds.store(true, Ordering::Relaxed);
        }
        let thresholds = thresholds.unwrap_or(Thresholds { stable: NONE, candidate: NONE });
        for (color, micros) in [(candidate, thresholds.candidate), (candidate.other(), thresholds.stable)] {
            for (threshold, micros) in self.get(id).thresholds[color].iter().zip(micros) {
                threshold.store(micros, Ordering::Relaxed);
            }
        }
    }

    pub fn forget_thresholds(&self) {
        for (id, _) in self.iter() {
            self.set_thresholds(id, Color::Blue, None);
        }
        self.has_thresholds.store(false, Ordering::Relaxed);
    }

    #[must_use]
    pub fn has_thresholds(&self) -> bool {
        self.has_thresholds.load(Ordering::Relaxed)
    }

    /// Durations of successful answers since the start of the process, summed over workers.
    #[must_use]
    pub fn latencies(&self, id: RouteId, color: Color) -> Histogram {
        Histogram::from_counts(self.latency_counts(id, color))
    }

    /// The same as counts by bucket.
    pub(crate) fn latency_counts(&self, id: RouteId, color: Color) -> [u64; BUCKETS] {
        let mut sums = [0; BUCKETS];
        for arms in &self.get(id).arms {
            arms[color].add_latencies(&mut sums);
        }
        sums
    }

    /// Users stay on a color from the start of a deployment, which has its own salt; `None`: they do not. `continued`:
    /// a process before this one gave them colors. For the rest see [`Users::new`].
    pub fn keep_users(&self, of: Option<Split>, per_network: u32, continued: bool) {
        let known = self.users.load();
        if known.as_ref().map(|known| known.salt) != of.map(|split| split.salt) {
            let users = |split: Split| Users::new(split, per_network, continued);
            self.users.store(of.map(|of| Arc::new(users(of))));
        }
        if let (Some(users), Some(split)) = (self.users.load().as_ref(), of) {
            users.note_share(split.weight, self.tick());
        }
    }

    #[must_use]
    pub fn told(&self) -> &AppEvents {
        &self.told
    }

    pub fn tell(&self, kinds: &[EventKind]) -> Arc<[Arc<AppEvent>]> {
        self.told.configure(self.workers, kinds)
    }

    pub fn users(&self) -> Guard<Option<Arc<Users>>> {
        self.users.load()
    }

    pub fn judge_latency(&self, judge: bool) {
        self.warm.store(judge, Ordering::Relaxed);
    }

    pub(crate) fn judges_latency(&self, id: RouteId) -> bool {
        self.warm.load(Ordering::Relaxed) && self.get(id).thresholds(Color::Blue) != [NO_THRESHOLD; 3]
    }
}

/// An id, a file name and a segment with escapes are no names. `whole`: the path ends with the segment.
fn is_name(segment: &[u8], whole: bool) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    if segment.len() > MAX_NAME || !segment.iter().all(|byte| plain(*byte)) {
        return false;
    }
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let hex = segment.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    let is_file = whole && segment.contains(&b'.');
    let is_id =
        digits >= 4 || digits == segment.len() && digits > 0 || hex >= 12 && digits > 0 && hex + 4 >= segment.len();
    !is_file && !is_id
}

#[cfg(test)]
mod tests;
