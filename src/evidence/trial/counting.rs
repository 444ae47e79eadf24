//! The counters of a trial's route and color, and the standing of what is counted there: whether it may be held against
//! a release where users stay on one color.

use std::time::Duration;

use crate::domain::verdict::Class;
use crate::evidence::routes::{Allowance, Arm, Routes, Standing};
use crate::evidence::trial::{Trial, Witness};

pub(super) const SLOW: [Class; 3] = [Class::SlowP50, Class::SlowP90, Class::SlowP99];

pub(super) struct Counting<'a> {
    routes: &'a Routes,
    pub(super) arm: &'a Arm,
    pub(super) now: u64,
}

impl<'a> Counting<'a> {
    pub(super) fn new(routes: &'a Routes, worker: usize, trial: &Trial) -> Counting<'a> {
        Counting { routes, arm: routes.get(trial.route).arm(worker, trial.color), now: routes.tick() }
    }

    pub(super) fn bad(&self, trial: &Trial, class: Class) {
        let standing = trial.witness.map(|witness| self.standing(trial, &witness, class));
        self.arm.bad(trial.tick, self.now, class as usize, standing.unwrap_or_default());
    }

    fn standing(&self, trial: &Trial, witness: &Witness, class: Class) -> Standing {
        let users = self.routes.users();
        let Some(users) = users.as_ref() else { return Standing::default() };
        // A client that may know its color from another request may leave because of it.
        let first = witness.first && (witness.user.drawn || class != Class::Abort);
        let count = |event| users.count(event, witness.user, first, trial.route);
        let standing = match class {
            Class::Error => count(Allowance::Error),
            Class::ClientError => count(Allowance::ClientError),
            Class::Abort => count(Allowance::Abort),
            Class::SlowP50 | Class::SlowP90 | Class::SlowP99 => witness.latency,
            Class::Cpu | Class::MoreEvents | Class::FewerEvents => Standing::default(),
        };
        if first { standing } else { users.spare(standing, trial.color, trial.route, class as usize) }
    }

    /// `micros` is a lower bound of the duration. Each threshold counts once.
    pub(super) fn slow(&self, trial: &mut Trial, micros: u64) {
        let thresholds = self.routes.get(trial.route).thresholds(trial.color);
        for (place, threshold) in thresholds.into_iter().enumerate() {
            if micros > threshold && !trial.slow[place] {
                trial.slow[place] = true;
                self.bad(trial, SLOW[place]);
            }
        }
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    // The largest value stands for failures.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}
