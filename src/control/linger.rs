//! The color that no longer serves and still gets requests for files (`[linger]`).

use std::time::SystemTime;

use crate::config::Config;
use crate::control::Controller;
use crate::control::handle::LingerStatus;
use crate::domain::color::{Color, PerColor};
use crate::domain::health::Health;
use crate::domain::linger::Retired;
use crate::domain::rollout::Effect;
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, Generation};

#[derive(Debug, Default)]
pub(super) struct Lingering {
    left: Option<Retired>,
    /// This decision moves traffic without overlap.
    apart: Option<Generation>,
    /// In the last snapshot.
    shown: Option<Color>,
}

impl Lingering {
    /// Notes moves without overlap before they are visible.
    pub(super) fn notice(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Commit(_, transition) = effect
                && transition.held.is_some()
            {
                self.apart = Some(transition.decision.generation);
            }
        }
    }

    /// `before`: shares of the colors until now.
    fn moved(&mut self, config: &Config, before: PerColor<Weight>, decision: &Decision) {
        for color in Color::ALL {
            if decision.serves(color) {
                self.left = self.left.take().filter(|left| left.color != color);
            } else if before[color] != Weight::NONE {
                let release = config.colors[color].release.clone();
                let left = Retired { color, release, at: SystemTime::now() };
                self.left = (self.apart != Some(decision.generation)).then_some(left);
            }
        }
    }

    /// Another release, or other endpoints, do not have the files.
    pub(super) fn edited(&mut self, before: &Config, config: &Config) {
        self.left = self.left.take().filter(|left| {
            let [old, new] = [before, config].map(|config| &config.colors[left.color]);
            new.release == left.release && old.pools == new.pools
        });
    }
}

impl Controller {
    /// From the ledger, at the start.
    pub(super) fn recall_lingering(&mut self) {
        let decision = self.rollout.decision().clone();
        let lines = self.records.history().newest_first().map(|(_, transition)| &**transition);
        let left = Retired::recalled(&decision, lines);
        let left = left.filter(|left| self.config.colors[left.color].release == left.release);
        // A move of the start itself is newer.
        self.linger.left = self.linger.left.take().or(left);
        self.expire_lingering();
    }

    fn lingers(&self, left: &Retired) -> bool {
        let until = left.at.checked_add(self.config.linger.lasts);
        !self.config.linger.paths.is_empty() && until.is_some_and(|until| until > SystemTime::now())
    }

    /// Prepares the next snapshot, which is for `decision`.
    pub(super) fn prepare_lingering(&mut self, decision: &Decision) {
        let before = self.publisher.shares();
        self.linger.moved(&self.config, before, decision);
        let left = self.linger.left.as_ref().filter(|left| self.lingers(left));
        self.linger.shown = left.map(|left| left.color);
        self.publisher.linger(self.linger.shown);
    }

    /// Publishes a snapshot without the color when its time is up.
    pub(super) fn expire_lingering(&mut self) {
        let left = self.linger.left.as_ref().filter(|left| self.lingers(left));
        if self.linger.shown != left.map(|left| left.color) {
            self.endpoints_changed();
        }
    }

    /// The color in the last snapshot.
    pub(super) fn lingering(&self) -> Option<LingerStatus> {
        let left = self.linger.left.as_ref().filter(|left| self.linger.shown == Some(left.color))?;
        let until = left.at.checked_add(self.config.linger.lasts)?;
        let endpoints = self.publisher.pools()[left.color].iter().flat_map(|pool| &pool.endpoints);
        Some(LingerStatus {
            color: left.color,
            release: left.release.clone(),
            paths: self.config.linger.paths.clone(),
            until,
            up: endpoints.filter(|endpoint| endpoint.health() == Health::Up).count(),
        })
    }
}
