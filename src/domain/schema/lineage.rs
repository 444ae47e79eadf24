//! The releases that took traffic, with their statements about the stores: the path that a rollback crosses. It is
//! part of the decision, so it survives restarts and edits of the file.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::schema::{Barrier, Current, Label, Labels, Version};

/// Releases kept; the versions that older ones migrated to are kept without them.
const KEPT: usize = 20;
const ROLLBACKS_KEPT: usize = 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Versions migrated to by releases that are not listed any more.
    pub applied: BTreeMap<String, Version>,
    /// Oldest first; the last one serves, or is on its way.
    pub steps: Vec<Step>,
    /// The last move was forced although it was unsafe.
    pub overridden: Option<Overridden>,
    /// Left by recent rollbacks, oldest first. A release that gets traffic again is removed.
    pub rolled_back: Vec<RolledBack>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    pub color: Color,
    pub release: Release,
    pub at: SystemTime,
    pub by: String,
    /// The file has ordered it since, and was refused.
    pub reordered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub release: Release,
    pub labels: Labels,
    /// Set only if a barrier asks for it.
    pub written: Option<FirstWrite>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstWrite {
    pub at: SystemTime,
    pub request: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    pub by: String,
    pub reason: String,
}

impl Step {
    /// A live version below the migration proves that the barrier is not passed.
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
    /// The highest version that releases migrated each store to.
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

    #[must_use]
    pub fn followed_by(&self, release: &Release, labels: &Labels, overridden: Option<Overridden>) -> Lineage {
        let mut next = Lineage { overridden, ..self.clone() };
        if next.steps.is_empty() && next.applied.is_empty() && labels.is_empty() {
            return next;
        }
        // Earlier writes of the same release still exist.
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

    /// Forgets rollbacks that are older than `window`.
    pub fn note_rollback(&mut self, left: RolledBack, window: Duration) {
        self.rolled_back.retain(|before| {
            let same = (before.color, &before.release) == (left.color, &left.release);
            !same && left.at < before.at + window
        });
        self.rolled_back.push(left);
        if self.rolled_back.len() > ROLLBACKS_KEPT {
            self.rolled_back.remove(0);
        }
    }

    pub fn reordered(&mut self, color: Color, release: &Release) {
        for left in self.rolled_back.iter_mut().filter(|left| (left.color, &left.release) == (color, release)) {
            left.reordered = true;
        }
    }

    /// Replaces the labels of a deployed release wherever it served before. An edit of a wrong label takes effect so.
    pub fn correct(&mut self, release: &Release, labels: &Labels) {
        for step in self.steps.iter_mut().filter(|step| step.release == *release) {
            step.labels.extend(labels.clone());
        }
    }

    /// Updates the labels of a serving release. Stores that the file no longer mentions keep their label.
    pub fn relabel(&mut self, release: &Release, labels: &Labels) {
        match self.last_of(release) {
            Some(index) => self.steps[index].labels.extend(labels.clone()),
            None => *self = self.followed_by(release, labels, self.overridden.clone()),
        }
    }

    /// True if the write passes a barrier that was not passed.
    pub fn wrote(&mut self, release: &Release, write: FirstWrite) -> bool {
        let Some(index) = self.last_of(release) else { return false };
        let step = &mut self.steps[index];
        let waits = step.written.is_none() && step.labels.values().any(|label| label.barrier == Barrier::FirstWrite);
        if waits {
            step.written = Some(write);
        }
        waits
    }

    /// All of them if this release is not listed: it served before them.
    #[must_use]
    pub fn after(&self, release: &Release) -> &[Step] {
        &self.steps[self.last_of(release).map_or(0, |index| index + 1)..]
    }

    #[must_use]
    pub fn labels_of(&self, release: &Release) -> Option<&Labels> {
        self.last_of(release).map(|index| &self.steps[index].labels)
    }

    #[must_use]
    pub fn has(&self, release: &Release) -> bool {
        self.last_of(release).is_some()
    }

    fn last_of(&self, release: &Release) -> Option<usize> {
        self.steps.iter().rposition(|step| step.release == *release)
    }
}
