//! The releases that took traffic, with what they said of the stores: what a way back has to cross. It is part of the
//! decision, so that it outlives restarts and edits of the file.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::schema::{Barrier, Current, Label, Labels, Version};

/// So many releases are remembered; what older ones brought the stores to is kept without them.
const KEPT: usize = 20;
/// So many rollbacks are remembered.
const ROLLBACKS_KEPT: usize = 20;

/// The releases that took traffic. Empty as long as none had labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// What releases that are not listed any more brought the stores to.
    pub applied: BTreeMap<String, Version>,
    /// Oldest first; the last one serves, or is on its way.
    pub steps: Vec<Step>,
    /// The last move was made although it was not safe.
    pub overridden: Option<Overridden>,
    /// The releases that recent rollbacks left, oldest first; a release that gets traffic again is removed.
    pub taken_back: Vec<TakenBack>,
}

/// A release that a rollback took the traffic from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// Its color.
    pub color: Color,
    /// The release.
    pub release: Release,
    /// The time of the rollback.
    pub at: SystemTime,
    /// A token's or a user's name, or `uid 1000`.
    pub by: String,
    /// The file has ordered it since, and was refused.
    pub reordered: bool,
}

/// One release that took traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub release: Release,
    /// What it said of the stores.
    pub labels: Labels,
    /// Its first write, if there was one and a barrier asked for it.
    pub written: Option<FirstWrite>,
}

/// The first mutating request that a release accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstWrite {
    /// When it was answered.
    pub at: SystemTime,
    /// Its id.
    pub request: String,
}

/// A move that was made although it was not safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// Who forced it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Step {
    /// Whether its barrier at a store is passed. A live version before the migration says that it is not applied.
    #[must_use]
    pub fn has_passed(&self, label: &Label, current: Option<&Current>) -> bool {
        match label.barrier {
            Barrier::None => false,
            Barrier::FirstWrite => self.written.is_some(),
            Barrier::Applied => match (current.filter(|current| current.is_live()), label.migrates_to) {
                (Some(Current { version: Some(live), .. }), Some(migrates_to)) => *live >= migrates_to,
                _ => true,
            },
        }
    }
}

impl Lineage {
    /// The highest version that releases brought each store to.
    #[must_use]
    pub fn brought_to(&self) -> BTreeMap<&str, Version> {
        let mut highest: BTreeMap<&str, Version> = self.applied.iter().map(|(name, v)| (name.as_str(), *v)).collect();
        let of_steps = self.steps.iter().flat_map(|step| &step.labels);
        for (store, version) in of_steps.filter_map(|(store, label)| Some((store.as_str(), label.migrates_to?))) {
            let known = highest.entry(store).or_insert(version);
            *known = version.max(*known);
        }
        highest
    }

    /// With another release that takes traffic.
    #[must_use]
    pub fn followed_by(&self, release: &Release, labels: &Labels, overridden: Option<Overridden>) -> Lineage {
        let mut next = Lineage { overridden, ..self.clone() };
        if next.steps.is_empty() && next.applied.is_empty() && labels.is_empty() {
            return next;
        }
        // What it has written before is still there.
        let written = self.last_of(release).and_then(|index| self.steps[index].written.clone());
        next.steps.push(Step { release: release.clone(), labels: labels.clone(), written });
        if next.steps.len() > KEPT {
            let brought_to = next.steps.remove(0).labels.into_iter();
            for (store, version) in brought_to.filter_map(|(store, label)| Some((store, label.migrates_to?))) {
                let known = next.applied.entry(store).or_insert(version);
                *known = version.max(*known);
            }
        }
        next
    }

    /// Adds a release that a rollback leaves, and forgets the rollbacks that are older than `window`.
    pub fn take_back(&mut self, left: TakenBack, window: Duration) {
        self.taken_back.retain(|before| {
            let same = (before.color, &before.release) == (left.color, &left.release);
            !same && left.at < before.at + window
        });
        self.taken_back.push(left);
        if self.taken_back.len() > ROLLBACKS_KEPT {
            self.taken_back.remove(0);
        }
    }

    /// The file ordered a release again that a rollback left.
    pub fn reordered(&mut self, color: Color, release: &Release) {
        for left in self.taken_back.iter_mut().filter(|left| (left.color, &left.release) == (color, release)) {
            left.reordered = true;
        }
    }

    /// What the file now says of a release that is deployed, wherever it served before. A wrong label is mended so.
    pub fn correct(&mut self, release: &Release, labels: &Labels) {
        for step in self.steps.iter_mut().filter(|step| step.release == *release) {
            step.labels.extend(labels.clone());
        }
    }

    /// What the file now says of a release that serves. A store that it says nothing of any more keeps what was said.
    pub fn relabel(&mut self, release: &Release, labels: &Labels) {
        match self.last_of(release) {
            Some(index) => self.steps[index].labels.extend(labels.clone()),
            None => *self = self.followed_by(release, labels, self.overridden.clone()),
        }
    }

    /// A release accepted its first write; whether that passes a barrier which was not passed.
    pub fn wrote(&mut self, release: &Release, write: FirstWrite) -> bool {
        let Some(index) = self.last_of(release) else { return false };
        let step = &mut self.steps[index];
        let waits = step.written.is_none() && step.labels.values().any(|label| label.barrier == Barrier::FirstWrite);
        if waits {
            step.written = Some(write);
        }
        waits
    }

    /// The releases after this one. If it is not listed, all: it served before them.
    #[must_use]
    pub fn after(&self, release: &Release) -> &[Step] {
        &self.steps[self.last_of(release).map_or(0, |index| index + 1)..]
    }

    /// What it said of the stores when it served last.
    #[must_use]
    pub fn labels_of(&self, release: &Release) -> Option<&Labels> {
        self.last_of(release).map(|index| &self.steps[index].labels)
    }

    /// Whether it is listed.
    #[must_use]
    pub fn has(&self, release: &Release) -> bool {
        self.last_of(release).is_some()
    }

    fn last_of(&self, release: &Release) -> Option<usize> {
        self.steps.iter().rposition(|step| step.release == *release)
    }
}
