//! One request as evidence about the release that it was given to: good, bad or slow.
//!
//! [`Trials::begin`] counts it as given. While it is in flight, [`Trial`] notes what happens to it, and
//! [`Trials::count_slow`] counts it as soon as it is slow. [`Trials::end`] counts its outcome.
//!
//! The request is charged to the color that it was given to, even if another one made a failed attempt good. Its
//! outcome counts under the tick in which it was given, because the split between the colors is known per tick.
//!
//! **Only given**, without an outcome: a request that ended for a reason outside of any release, such as the end of a
//! drain or of the process, a body that is too large or does not come, or a malformed request. **Not even given**: a
//! request that was answered before a color was chosen (no route, held too long, maintenance) or found no place under
//! `max_in_flight`, which both colors share. Previews and health checks never come here.

mod counting;
mod stopwatch;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::color::Color;
use crate::domain::verdict::Class;
use crate::evidence::routes::{Allowance, AppEvent, Cause, Known, RouteId, Routes, Standing, User, first_segment};
use crate::evidence::trial::counting::{Counting, micros};
use crate::evidence::trial::stopwatch::Stopwatch;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Counted {
    #[default]
    Not,
    Route(RouteId),
    /// The route of the first path segment, if it has one.
    Segment,
}

/// A request that is being counted. It stays in the deadline slot, where the worker finds it while it is in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    route: RouteId,
    /// The first segment has no route yet.
    unnamed: bool,
    color: Color,
    tick: u64,
    clock: Stopwatch,
    delivering: bool,
    witness: Option<Witness>,
    /// The cause of a failed attempt, even if another attempt made it good.
    failed: Option<Cause>,
    slow: [bool; 3],
    /// The duration is known, or of no interest.
    timed: bool,
    /// A stream that began well: it was counted then, and a later failure is counted in addition.
    answered: bool,
    missing_file: bool,
}

#[derive(Clone, Copy, Debug)]
struct Witness {
    user: User,
    /// The whole request was chosen before its color could be known.
    first: bool,
    /// The request counts in shares of errors.
    sampled: bool,
    latency: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Bad(Cause),
    ClientError,
    Abort,
    Neither,
}

#[derive(Debug)]
pub(crate) struct Trials {
    index: usize,
    routes: Arc<Routes>,
    known: RefCell<Known>,
    now: Cell<Instant>,
}

impl Trials {
    pub(crate) fn new(index: usize, routes: Arc<Routes>, now: Instant) -> Trials {
        Trials { index, routes, known: RefCell::default(), now: Cell::new(now) }
    }

    pub(crate) fn tick(&self, now: Instant) {
        self.now.set(now);
    }

    pub(crate) fn begin(&self, counted: Counted, target: &[u8], color: Color, user: Option<User>) -> Trial {
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
            let first = users.meet(user);
            let judged = routes.judges_latency(route);
            let latency =
                if judged { users.count(Allowance::Latency, user, first, route) } else { Standing::default() };
            Some(Witness { user, first, sampled: users.take_sample(user, tick), latency })
        });
        Trial {
            route,
            unnamed: named.is_none(),
            color,
            tick,
            // A held request has waited for no color before this.
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

    pub(crate) fn told(&self, trial: &Trial, event: &AppEvent, n: u64) {
        let routes = &*self.routes;
        let Trial { color, tick, .. } = *trial;
        let counts = trial.witness.is_some_and(|Witness { user, first, .. }| {
            routes.users().as_ref().is_some_and(|users| users.count_report(event, user, first, color))
        });
        event.judged(self.index, color, (tick, routes.tick()), n, counts);
    }

    /// A stream has begun well. If streams counted at their ends only, those that fail at once would be most of the
    /// finished ones.
    pub(crate) fn answered(&self, trial: &mut Trial, target: &[u8]) {
        if trial.failed.is_some() || trial.answered {
            return;
        }
        trial.answered = true;
        self.completed(trial, false);
        self.succeeded(trial, target);
    }

    fn completed(&self, trial: &Trial, failed: bool) {
        let routes = &*self.routes;
        let Counting { arm, now, .. } = Counting::new(routes, self.index, trial);
        arm.completed(trial.tick, now);
        let Some(witness) = &trial.witness else { return };
        if witness.sampled {
            arm.sampled(trial.tick, now, failed);
        }
        if let Some(users) = routes.users().as_ref() {
            users.ended(witness.user, trial.color, trial.tick, failed);
        }
    }

    fn failed_later(&self, trial: &Trial) {
        let routes = &*self.routes;
        let Counting { arm, now, .. } = Counting::new(routes, self.index, trial);
        let Some(witness) = &trial.witness else { return };
        if witness.sampled {
            arm.sample_failed(trial.tick, now);
        }
        if let Some(users) = routes.users().as_ref() {
            users.ended(witness.user, trial.color, trial.tick, true);
        }
    }

    fn succeeded(&self, trial: &Trial, target: &[u8]) {
        if trial.unnamed {
            let (segment, whole) = first_segment(target);
            self.known.borrow_mut().succeeded(&self.routes, segment, whole);
        }
    }

    pub(crate) fn end(&self, mut trial: Trial, outcome: Outcome, target: &[u8]) {
        let routes = &*self.routes;
        let outcome = trial.failed.map_or(outcome, Outcome::Bad);
        let counting = Counting::new(routes, self.index, &trial);
        let class = match outcome {
            Outcome::Good => None,
            Outcome::Bad(cause) => {
                counting.arm.failed(cause);
                Some(Class::Error)
            }
            Outcome::ClientError => {
                if trial.missing_file {
                    counting.arm.missed();
                }
                Some(Class::ClientError)
            }
            Outcome::Abort => Some(Class::Abort),
            Outcome::Neither => return,
        };
        match (trial.answered, class == Some(Class::Error)) {
            (false, failed) => self.completed(&trial, failed),
            (true, true) => self.failed_later(&trial),
            (true, false) => {}
        }
        if let Some(class) = class {
            counting.bad(&trial, class);
        }
        if !trial.timed {
            let took = micros(trial.clock.elapsed(self.now.get()));
            // A request that the client gave up has only a lower bound of its duration, and a failure is no answer.
            if matches!(outcome, Outcome::Good | Outcome::ClientError) {
                counting.arm.took(took);
            }
            // A quick failure is an error and no more: as a slow request it would count twice, and errors that are
            // tolerated would come back as latency.
            counting.slow(&mut trial, took);
        }
        if outcome == Outcome::Good && !trial.answered {
            self.succeeded(&trial, target);
        }
    }

    pub(crate) fn has_thresholds(&self) -> bool {
        self.routes.has_thresholds()
    }

    /// Counts a request in flight as slow as soon as it passes a threshold: a request that hangs must not look fast.
    pub(crate) fn count_slow(&self, trial: &mut Trial, now: Instant) {
        if !trial.timed {
            Counting::new(&self.routes, self.index, trial).slow(trial, micros(trial.clock.elapsed(now)));
        }
    }
}

impl Trial {
    pub(crate) fn route(&self) -> RouteId {
        self.route
    }

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

    pub(crate) fn note_missing(&mut self, path: &[u8]) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.missing_file = name.contains(&b'.');
    }

    /// Part of an answer goes to the client, which may choose the rest of the request by it.
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

    pub(crate) fn ends_delivery(&mut self, now: Instant) {
        if self.delivering {
            self.delivering = false;
            self.clock = Stopwatch::started(now);
        }
    }

    pub(crate) fn waits_for_client(&mut self, waits: bool, now: Instant) {
        if waits {
            self.clock.stop(now);
        } else {
            self.clock.resume(now);
        }
    }

    /// An answer without a natural end has begun: its latency is that of its head.
    pub(crate) fn first_byte(&mut self, trials: &Trials) {
        if !self.timed {
            let took = micros(self.clock.elapsed(trials.now.get()));
            let counting = Counting::new(&trials.routes, trials.index, self);
            counting.arm.took(took);
            counting.slow(self, took);
            self.timed = true;
        }
    }

    /// The duration of a tunnel says nothing.
    pub(crate) fn untimed(&mut self) {
        self.timed = true;
    }

    pub(crate) fn waited(&self, now: Instant) -> Duration {
        self.clock.elapsed(now)
    }

    pub(crate) fn is_delivering(&self) -> bool {
        self.delivering
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.timed
    }
}

#[cfg(test)]
mod tests;
