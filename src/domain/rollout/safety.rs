//! Safety of moves for the data stores, and their record in the lineage.
//!
//! A forward move waits for fresh probes, which come with the first round of the gate. A rollback is instant and uses
//! the last answers.

use std::fmt;

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::force::Guard;
use crate::domain::release::Release;
use crate::domain::rollout::{Move, Refusal, Rollout};
use crate::domain::schema::{
    Currents, FirstWrite, Labels, Lineage, Obstacle, Overridden, Range, Reading, Safety, admits, runs,
};
use crate::domain::transition::{Kind, Origin, Transition, Trigger};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsafe {
    pub back: bool,
    pub to: Color,
    pub release: Release,
    pub serving: Release,
    /// Never empty.
    pub obstacles: Vec<Obstacle>,
    pub nearest_safe: Option<Release>,
    pub reason_missing: bool,
}

impl Unsafe {
    /// Two safe steps instead of a forward move.
    #[must_use]
    pub fn steps(&self) -> Option<[(&'static str, String); 2]> {
        let (store, needs, by) = self.obstacles.iter().find_map(|obstacle| match obstacle {
            Obstacle::Unfit { store, needs, release, .. } => Some((store, needs, release)),
            Obstacle::Barrier { .. } | Obstacle::Forced(_) => None,
        })?;
        Some(two_steps(store, *needs, by, &self.release))
    }

    #[must_use]
    pub fn hint(&self) -> String {
        if let Some(steps) = self.steps().filter(|_| !self.back) {
            let steps = steps.map(|(name, what)| format!("{name}: {what}"));
            return format!("take two safe steps instead; {}; {}", steps[0], steps[1]);
        }
        let repair = "fix forward with a new release that can run on what the stores are at";
        match &self.nearest_safe {
            Some(release) => format!("{repair}, or deploy {release} again, which can, and switch to it"),
            None => repair.to_owned(),
        }
    }
}

fn two_steps(store: &str, needs: Range, by: &Release, release: &Release) -> [(&'static str, String); 2] {
    [
        (
            "expand first",
            format!(
                "a release that only adds to {store}, so that {by} (needs {needs}) can run on it too; switch to that one"
            ),
        ),
        (
            "contract after",
            format!("once no rollback goes to {by}, {release} may remove from {store} what only {by} needs"),
        ),
    ]
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, obstacle) in self.obstacles.iter().enumerate() {
            f.write_str(if index > 0 { "; " } else { "" })?;
            match obstacle {
                Obstacle::Unfit { store, version, brought: true, current, release, needs } => {
                    let from = current.map(|current| format!(" from {current}")).unwrap_or_default();
                    let brings = format!("{} brings {store}{from} to {version}", self.release);
                    write!(f, "{brings}, and {release}, which would be the way back, needs {needs}")?;
                }
                Obstacle::Unfit { store, version, release, needs, .. } => {
                    write!(f, "{store} is at {version}, and {release} needs {needs}")?;
                }
                Obstacle::Barrier { .. } | Obstacle::Forced(_) => obstacle.fmt(f)?,
            }
        }
        write!(f, "; {}", self.hint())?;
        f.write_str(if self.reason_missing {
            "; to force it, give a reason: it is kept, and shown until the next switch"
        } else {
            "; if it has to be, force it with a reason"
        })
    }
}

impl Rollout {
    pub(super) fn currents(&self) -> Currents {
        self.stores.currents(self.decision.active, &self.decision.lineage, self.named_stores())
    }

    fn named_stores(&self) -> impl Iterator<Item = &String> {
        let both = &self.configured.schema;
        both.blue.keys().chain(both.green.keys())
    }

    /// From the file if the release is deployed, else as of when it served.
    fn labels_of(&self, color: Color, release: &Release) -> Labels {
        if self.configured.deployed[color] == *release {
            return self.configured.schema[color].clone();
        }
        self.decision.lineage.labels_of(release).cloned().unwrap_or_default()
    }

    /// The safety of a rollback; unknown without a target.
    pub(super) fn way_back(&self) -> Safety {
        let Ok(previous) = self.rollback_target() else { return Safety::Unknown(Vec::new()) };
        let lineage = &self.decision.lineage;
        self.judged_back(previous.color, &previous.release, lineage, &self.currents())
    }

    fn judged_back(&self, color: Color, release: &Release, lineage: &Lineage, currents: &Currents) -> Safety {
        let verdict = runs(release, &self.labels_of(color, release), currents, lineage.after(release));
        match lineage.overridden.clone() {
            Some(overridden) => {
                let mut obstacles = verdict.obstacles();
                obstacles.push(Obstacle::Forced(overridden));
                Safety::No(obstacles)
            }
            None => verdict,
        }
    }

    /// The rollback target after a move, and its safety by the versions that the move migrates to.
    pub(super) fn outlook(&self, underway: &Move, after: &Lineage) -> Option<(Release, Safety)> {
        if underway.kind != Kind::Switch {
            return None;
        }
        let (color, release) = (self.decision.active, &self.decision.release);
        let mut currents = self.stores.currents(underway.to, after, self.named_stores());
        for (store, label) in self.labels_of(underway.to, &underway.release) {
            if let Some(current) = currents.get_mut(&store) {
                current.version = current.version.max(label.migrates_to);
            }
        }
        Some((release.clone(), self.judged_back(color, release, after, &currents)))
    }

    pub(super) fn waits_for_probes(&self, underway: &Move) -> bool {
        let probed = &self.configured.probed;
        underway.kind != Kind::Rollback && !(probed.blue.is_empty() && probed.green.is_empty())
    }

    pub(super) fn objection(&self, underway: &Move) -> Option<Refusal> {
        let obstacles = self.obstacles(underway);
        let forced = underway.force.overrides(Guard::Schema);
        let reason_missing = forced && underway.origin.reason.is_none();
        if obstacles.is_empty() || (forced && !reason_missing) {
            return None;
        }
        Some(Refusal::RollbackUnsafe(Box::new(Unsafe {
            back: underway.kind == Kind::Rollback,
            to: underway.to,
            release: underway.release.clone(),
            serving: self.decision.release.clone(),
            obstacles,
            nearest_safe: self.nearest_safe(),
            reason_missing,
        })))
    }

    #[must_use]
    pub fn is_unsafe_to_switch(&self) -> bool {
        let to = self.decision.active.other();
        !self.obstacles_ahead(Kind::Switch, to, &self.configured.deployed[to]).is_empty()
    }

    /// The target can't run on the present versions, a rollback crosses a barrier, or the serving release could not
    /// serve again.
    pub(super) fn obstacles(&self, underway: &Move) -> Vec<Obstacle> {
        let (currents, lineage) = (self.currents(), &self.decision.lineage);
        let (to, release) = (underway.to, &underway.release);
        if underway.kind == Kind::Rollback {
            return self.judged_back(to, release, lineage, &currents).obstacles();
        }
        self.obstacles_ahead(underway.kind, to, release)
    }

    fn obstacles_ahead(&self, kind: Kind, to: Color, release: &Release) -> Vec<Obstacle> {
        let (currents, lineage) = (self.currents(), &self.decision.lineage);
        let labels = self.labels_of(to, release);
        // A switch to an earlier release goes back, too, and crosses the same path.
        let path = if lineage.has(release) { lineage.after(release) } else { &[] };
        let mut obstacles = runs(release, &labels, &currents, path).obstacles();
        let rollback_color = match kind {
            Kind::Release => self.rollback_target().ok().map(|previous| (previous.color, previous.release)),
            _ => Some((self.decision.active, self.decision.release.clone())),
        };
        if let Some((color, release)) = rollback_color {
            obstacles.extend(admits(&labels, (&release, &self.labels_of(color, &release)), &currents));
        }
        obstacles
    }

    /// The newest earlier release that could serve now, deployed or not.
    fn nearest_safe(&self) -> Option<Release> {
        let (lineage, currents) = (&self.decision.lineage, self.currents());
        let could = |release: &Release, labels: &Labels| {
            *release != self.decision.release && runs(release, labels, &currents, lineage.after(release)) == Safety::Yes
        };
        lineage.steps.iter().rev().find(|step| could(&step.release, &step.labels)).map(|step| step.release.clone())
    }

    pub(super) fn lineage_after(&self, underway: &Move) -> Lineage {
        let mut lineage = self.extended_lineage(underway);
        // The new move is an answer to that rollback.
        lineage.rolled_back.retain(|left| (left.color, &left.release) != (underway.to, &underway.release));
        lineage
    }

    fn extended_lineage(&self, underway: &Move) -> Lineage {
        let overridden = match (&underway.kind, &underway.origin.reason) {
            (Kind::Rollback, _) => None,
            (_, Some(reason)) if underway.force.overrides(Guard::Schema) && !self.obstacles(underway).is_empty() => {
                Some(Overridden { by: underway.origin.actor.clone(), reason: reason.clone() })
            }
            (Kind::Release, _) => self.decision.lineage.overridden.clone(),
            (Kind::Switch | Kind::Advance, _) if self.continues(underway) => return self.decision.lineage.clone(),
            _ => None,
        };
        let labels = self.labels_of(underway.to, &underway.release);
        self.decision.lineage.followed_by(&underway.release, &labels, overridden)
    }

    pub(super) fn relabel(&mut self) {
        let Self { configured, decision, stores, .. } = self;
        for color in Color::ALL {
            decision.lineage.correct(&configured.deployed[color], &configured.schema[color]);
        }
        if configured.deployed[decision.active] == decision.release {
            decision.lineage.relabel(&decision.release, &configured.schema[decision.active]);
        }
        if let Some(canary) = decision.deployment.as_ref().filter(|deployment| deployment.is_canary())
            && configured.deployed[canary.candidate] == canary.release
        {
            decision.lineage.relabel(&canary.release, &configured.schema[canary.candidate]);
        }
        stores.retain(&configured.probed);
    }

    pub(super) fn schema_read(&mut self, now: Now, readings: Vec<Reading>) {
        self.stores.read(now.mono, readings);
    }

    pub(super) fn first_write(&mut self, release: &Release, write: FirstWrite) {
        if self.decision.lineage.wrote(release, write.clone()) {
            self.stores.pass_barrier(release.clone(), write);
        }
    }

    /// The line of a passed barrier, once no other line has to be the last.
    pub(super) fn barrier_line(&mut self) -> Option<Transition> {
        if self.is_committing() || self.journal.is_behind() {
            return None;
        }
        let (release, FirstWrite { at, request }) = self.stores.take_barrier()?;
        let reason = format!("{release} accepted its first write");
        let origin = Origin {
            trigger: Trigger::Traffic,
            actor: format!("request {request}"),
            source: String::new(),
            reason: Some(reason),
            key: None,
        };
        Some(Transition { at, ..Transition::new(Kind::Barrier, at, origin, self.decision.clone()) })
    }
}
