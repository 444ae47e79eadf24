//! What a request is to whoever judges a release: given to a color, then good, bad or slow.
//!
//! It is charged to the color that it was given to, also for an attempt that another one made good. What follows from
//! it is counted under the tick in which it was given, because only there is it known how requests were shared.
//!
//! **Not counted as anything** but given: what ended for a reason that no release has, which is the end of a drain or
//! of the process, a body that is too large or does not come, and a request that is malformed. What was answered before
//! a color was chosen (no route, held too long, maintenance) or without a place under `max_in_flight`, which both
//! colors share, is not even given. Previews and health checks are never seen here.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::color::Color;
use crate::domain::verdict::Class;
use crate::evidence::routes::{AppEvent, Arm, Cause, Event, Known, RouteId, Routes, Standing, User, first_segment};

/// The classes of being slow, by the threshold that is passed.
const SLOW: [Class; 3] = [Class::SlowP50, Class::SlowP90, Class::SlowP99];

/// What a request is counted under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is no evidence.
    #[default]
    Not,
    /// This route.
    Route(RouteId),
    /// Whichever its first segment has.
    Segment,
}

/// A request that is being counted. It stays with the slot, where the worker finds it while it is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metered {
    route: RouteId,
    /// Its first segment has no route yet.
    unnamed: bool,
    color: Color,
    tick: u64,
    clock: Stopwatch,
    /// The client has not sent all of the request.
    delivering: bool,
    witness: Option<Witness>,
    /// An attempt failed, and was made good or not.
    failed: Option<Cause>,
    /// By threshold: it was counted as slow.
    slow: [bool; 3],
    /// How long it takes is known, or of no interest.
    timed: bool,
    /// A stream that began well: it was counted then, and a failure of it is one more thing to count.
    answered: bool,
    /// It was for a file that is not there.
    missing_file: bool,
}

/// A request of a user who stays on one color.
#[derive(Clone, Copy, Debug)]
struct Witness {
    user: User,
    /// All of it was chosen before its color could be known.
    first: bool,
    /// Shares are taken of it.
    sampled: bool,
    /// Where its latency counts.
    latency: Standing,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Bad(Cause),
    ClientError,
    Abort,
    /// For a reason that says nothing of a release.
    Neither,
}

/// How long a release has had a request. It stands still while the client is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    running_since: Option<Instant>,
    before: Duration,
}

impl Stopwatch {
    fn started(now: Instant) -> Stopwatch {
        Stopwatch { running_since: Some(now), before: Duration::ZERO }
    }

    fn elapsed(&self, now: Instant) -> Duration {
        self.before + self.running_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn stop(&mut self, now: Instant) {
        *self = Stopwatch { running_since: None, before: self.elapsed(now) };
    }

    fn resume(&mut self, now: Instant) {
        self.running_since.get_or_insert(now);
    }
}

/// Counts the requests of one worker.
#[derive(Debug)]
pub(crate) struct Metering {
    /// The worker.
    index: usize,
    routes: Arc<Routes>,
    /// The routes that were discovered.
    known: RefCell<Known>,
    now: Cell<Instant>,
}

impl Metering {
    pub(crate) fn new(index: usize, routes: Arc<Routes>, now: Instant) -> Metering {
        Metering { index, routes, known: RefCell::default(), now: Cell::new(now) }
    }

    /// Sets the time, before anything is counted.
    pub(crate) fn tick(&self, now: Instant) {
        self.now.set(now);
    }

    /// A request is given to a color.
    pub(crate) fn meter(&self, counted: Counted, target: &[u8], color: Color, user: Option<User>) -> Metered {
        let routes = &*self.routes;
        let named = match counted {
            Counted::Not => Some(RouteId::OTHER),
            Counted::Route(route) => Some(route),
            Counted::Segment => self.known.borrow_mut().find(routes, first_segment(target).0),
        };
        let (route, tick) = (named.unwrap_or_default(), routes.tick());
        routes.get(route).arm(self.index, color).assigned(tick);
        let witness = user.and_then(|user| {
            let users = routes.users();
            let users = users.as_ref()?;
            let first = users.is_first(user);
            let judged = routes.judges_latency(route);
            let latency = if judged { users.count(Event::Latency, user, first, route) } else { Standing::default() };
            Some(Witness { user, first, sampled: users.is_sampled(user, tick), latency })
        });
        Metered {
            route,
            unnamed: named.is_none(),
            color,
            tick,
            // Not earlier: what was held before waited for no color.
            clock: Stopwatch::started(self.now.get()),
            delivering: false,
            witness,
            failed: None,
            slow: [false; 3],
            timed: false,
            answered: false,
            missing_file: false,
        }
    }

    /// The application tells an event of it, `n` times in one answer.
    pub(crate) fn told(&self, metered: &Metered, event: &AppEvent, n: u64) {
        let routes = &*self.routes;
        let Metered { color, tick, .. } = *metered;
        let counts = metered.witness.is_some_and(|Witness { user, first, .. }| {
            routes.users().as_ref().is_some_and(|users| users.counts(event, user, first, color))
        });
        event.judged(self.index, color, (tick, routes.tick()), n, counts);
    }

    /// A stream has begun well. Streams last: counted at their ends, those that fail at once would be most of what is
    /// over.
    pub(crate) fn answered(&self, metered: &mut Metered, target: &[u8]) {
        if metered.failed.is_some() || metered.answered {
            return;
        }
        metered.answered = true;
        self.completed(metered, false);
        self.succeeded(metered, target);
    }

    /// What came of a request is known.
    fn completed(&self, metered: &Metered, failed: bool) {
        let routes = &*self.routes;
        let Counting { arm, now, .. } = Counting::new(routes, self.index, metered);
        arm.completed(metered.tick, now);
        let Some(witness) = &metered.witness else { return };
        if witness.sampled {
            arm.sampled(metered.tick, now, failed);
        }
        if let Some(users) = routes.users().as_ref() {
            users.ended(witness.user, metered.color, metered.tick, failed);
        }
    }

    /// A stream that had begun well has failed.
    fn failed_later(&self, metered: &Metered) {
        let routes = &*self.routes;
        let Counting { arm, now, .. } = Counting::new(routes, self.index, metered);
        let Some(witness) = &metered.witness else { return };
        if witness.sampled {
            arm.sample_failed(metered.tick, now);
        }
        if let Some(users) = routes.users().as_ref() {
            users.ended(witness.user, metered.color, metered.tick, true);
        }
    }

    fn succeeded(&self, metered: &Metered, target: &[u8]) {
        if metered.unnamed {
            let (segment, whole) = first_segment(target);
            self.known.borrow_mut().succeeded(&self.routes, segment, whole);
        }
    }

    /// It is over.
    pub(crate) fn metered(&self, mut metered: Metered, outcome: Outcome, target: &[u8]) {
        let routes = &*self.routes;
        let outcome = metered.failed.map_or(outcome, Outcome::Bad);
        let counting = Counting::new(routes, self.index, &metered);
        let class = match outcome {
            Outcome::Good => None,
            Outcome::Bad(cause) => {
                counting.arm.failed(cause);
                Some(Class::Error)
            }
            Outcome::ClientError => {
                if metered.missing_file {
                    counting.arm.missed();
                }
                Some(Class::ClientError)
            }
            Outcome::Abort => Some(Class::Abort),
            Outcome::Neither => return,
        };
        match (metered.answered, class == Some(Class::Error)) {
            (false, failed) => self.completed(&metered, failed),
            (true, true) => self.failed_later(&metered),
            (true, false) => {}
        }
        if let Some(class) = class {
            counting.bad(&metered, class);
        }
        if !metered.timed {
            let took = micros(metered.clock.elapsed(self.now.get()));
            // Of what was given up only the least is known, and what failed was no answer.
            if matches!(outcome, Outcome::Good | Outcome::ClientError) {
                counting.arm.took(took);
            }
            // One that failed at once is an error and no more: as slow it would be counted twice, and errors that are
            // tolerated would come back as latency.
            counting.slow(&mut metered, took);
        }
        if outcome == Outcome::Good && !metered.answered {
            self.succeeded(&metered, target);
        }
    }

    /// Whether there is a duration that counts as slow.
    pub(crate) fn has_thresholds(&self) -> bool {
        self.routes.has_thresholds()
    }

    /// Counts a request that has been under way for too long as slow now, and not when it is over: what hangs must not
    /// look fast.
    pub(crate) fn meter_under_way(&self, metered: &mut Metered, now: Instant) {
        if !metered.timed {
            Counting::new(&self.routes, self.index, metered).slow(metered, micros(metered.clock.elapsed(now)));
        }
    }
}

impl Metered {
    /// An attempt failed.
    pub(crate) fn attempt_failed(&mut self, cause: Cause) {
        self.failed.get_or_insert(cause);
    }

    /// The release waits for the rest of the request; latency begins when that is delivered.
    pub(crate) fn begins_delivery(&mut self, now: Instant) {
        if !self.delivering {
            self.delivering = true;
            // Another request of the same user may tell the client which color the rest goes to.
            self.doubt(|witness| !witness.user.drawn);
            self.clock = Stopwatch::started(now);
            self.clock.stop(now);
        }
    }

    /// The answer is 404 or 410, to a request for this path.
    pub(crate) fn note_missing(&mut self, path: &[u8]) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.missing_file = name.contains(&b'.');
    }

    /// Something of an answer goes to the client, who may choose the rest of the request by it.
    pub(crate) fn tells_color(&mut self) {
        if self.delivering {
            self.doubt(|_| true);
        }
    }

    fn doubt(&mut self, when: impl FnOnce(&Witness) -> bool) {
        if let Some(witness) = &mut self.witness
            && witness.first
            && when(witness)
        {
            witness.first = false;
            witness.latency = Standing::default();
        }
    }

    /// The request is delivered, or answered before it is.
    pub(crate) fn ends_delivery(&mut self, now: Instant) {
        if self.delivering {
            self.delivering = false;
            self.clock = Stopwatch::started(now);
        }
    }

    /// The client takes nothing of its answer at present, or takes it again.
    pub(crate) fn waits_for_client(&mut self, waits: bool, now: Instant) {
        if waits {
            self.clock.stop(now);
        } else {
            self.clock.resume(now);
        }
    }

    /// The answer has begun, and goes on for as long as it likes: this is how long it took.
    pub(crate) fn first_byte(&mut self, metering: &Metering) {
        if !self.timed {
            let took = micros(self.clock.elapsed(metering.now.get()));
            let counting = Counting::new(&metering.routes, metering.index, self);
            counting.arm.took(took);
            counting.slow(self, took);
            self.timed = true;
        }
    }

    /// How long it takes says nothing: it is a tunnel.
    pub(crate) fn untimed(&mut self) {
        self.timed = true;
    }

    /// How long the client has waited for the release.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        self.clock.elapsed(now)
    }

    /// The client has not sent all of it.
    pub(crate) fn is_delivering(&self) -> bool {
        self.delivering
    }

    /// How long it took is known, or of no interest.
    pub(crate) fn is_timed(&self) -> bool {
        self.timed
    }
}

/// Where one request is counted.
struct Counting<'a> {
    routes: &'a Routes,
    arm: &'a Arm,
    now: u64,
}

impl<'a> Counting<'a> {
    fn new(routes: &'a Routes, worker: usize, metered: &Metered) -> Counting<'a> {
        Counting { routes, arm: routes.get(metered.route).arm(worker, metered.color), now: routes.tick() }
    }

    fn bad(&self, metered: &Metered, class: Class) {
        let standing = metered.witness.map(|witness| self.standing(metered, &witness, class));
        self.arm.bad(metered.tick, self.now, class as usize, standing.unwrap_or_default());
    }

    fn standing(&self, metered: &Metered, witness: &Witness, class: Class) -> Standing {
        let users = self.routes.users();
        let Some(users) = users.as_ref() else { return Standing::default() };
        // A client decides to leave when it may know its color by another request.
        let first = witness.first && (witness.user.drawn || class != Class::Abort);
        let count = |event| users.count(event, witness.user, first, metered.route);
        let standing = match class {
            Class::Error => count(Event::Error),
            Class::ClientError => count(Event::ClientError),
            Class::Abort => count(Event::Abort),
            Class::SlowP50 | Class::SlowP90 | Class::SlowP99 => witness.latency,
            // Not counted here.
            Class::Cpu | Class::MoreEvents | Class::FewerEvents => Standing::default(),
        };
        if first { standing } else { users.spare(standing, metered.color, metered.route, class as usize) }
    }

    /// It took at least so long; each threshold is passed once.
    fn slow(&self, metered: &mut Metered, micros: u64) {
        let thresholds = self.routes.get(metered.route).thresholds(metered.color);
        for (place, threshold) in thresholds.into_iter().enumerate() {
            if micros > threshold && !metered.slow[place] {
                metered.slow[place] = true;
                self.bad(metered, SLOW[place]);
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    // Never the value that stands for failures.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}

#[cfg(test)]
mod tests;
