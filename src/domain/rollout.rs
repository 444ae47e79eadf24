//! The state machine of switches, canaries and rollbacks.
//!
//! [`Rollout::handle`] takes one event and returns effects in order; [`Rollout::deadline`] is the next time it wants
//! to be woken. Forward moves are committed before they are published, backward moves are published before they are
//! committed. Every command is answered exactly once.
//!
//! Traffic moves by these, each admitted or refused in its file. Forward moves also pass `freeze`, and those that give
//! a release its first requests pass `safety` and the gate (`gating`):
//!
//! | move | file |
//! |---|---|
//! | a switch | `rollout.rs`, `may_switch` |
//! | a rollback by command | `back`, `may_roll_back` |
//! | an order of the file | `file`, `file_has_an_order` |
//! | the start, a step and the abort of a canary by command | `canary` |
//! | a step, the last step, the withdrawal for 4xx, the end of a step without evidence, of a hold-back, and of a canary whose release was edited | `stages` |
//! | an automatic rollback | `automatic` |
//! | maintenance and pauses | `hold` |
//! | the color of the first start | `control/configured.rs` |
//!
//! Single requests change color by `proxy/request/shield.rs` and `linger.rs`, if configured.

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::schema::RolledBack;
use crate::domain::transition::{Asked, Decision, Generation, Kind, Origin, Quarantined, Transition, Trigger};

mod aftermath;
mod automatic;
mod back;
mod canary;
mod checks;
mod commit;
mod ending;
mod evidence;
mod file;
mod freeze;
mod gating;
mod hold;
mod idle;
mod journal;
mod known_good;
mod messages;
mod moves;
mod moving;
mod orders;
mod pause;
mod planned;
mod recall;
mod record;
mod refusal;
mod refusals;
mod reports;
mod safety;
mod share;
mod stage;
mod stages;
mod stores;
mod terms;
mod view;
mod watching;

use aftermath::Aftermath;
use journal::Journal;
pub use messages::{
    Checks, Command, CommandId, CommitId, Configured, DrainId, Effect, Event, Fitness, Outcome, Overlap, Refusal,
    RoundId,
};
pub(crate) use messages::{FileError, FileProblem};
use moves::{Asker, Gating, Move, State};
pub(crate) use moving::{Moving, Waits, called_off_by, whose};
use orders::FileOrders;
use pause::Pause;
use reports::ColorReports;
pub(crate) use safety::Unsafe;
use share::Share;
pub(crate) use stage::StageRefusal;
use stores::Stores;
pub use terms::{Target, Terms};
pub(crate) use view::{Hold, OrderState, Phase, Progress, Stopped, View};
use watching::Watching;

const ROUND_PAUSE: Duration = Duration::from_millis(250);

/// The state machine. Its parts own their fields: other files change them by their methods only.
#[derive(Debug)]
pub struct Rollout {
    decision: Decision,
    configured: Configured,
    state: State,
    journal: Journal,
    file: FileOrders,
    pause: Pause,
    watching: Watching,
    reports: ColorReports,
    aftermath: Aftermath,
    stores: Stores,
    serves_since: Instant,
    freeze_ends_at: Option<Instant>,
    last_generation: u64,
    last_id: u64,
}

impl Rollout {
    /// Takes up the decision in force. A change of the file since it was last seen is an order, handled like an edit.
    #[must_use]
    pub fn new(
        now: Now,
        decision: Decision,
        durable: bool,
        configured: Configured,
        effects: &mut Vec<Effect>,
    ) -> Rollout {
        let first = (!durable)
            .then(|| Transition::new(Kind::Start, now.wall, configured.origin(Trigger::Start), decision.clone()));
        let mut rollout = Rollout {
            last_generation: decision.generation.0,
            journal: Journal::new(now.mono, &decision, first),
            watching: Watching::new(now.mono, &decision),
            reports: ColorReports::default(),
            aftermath: Aftermath::default(),
            stores: Stores::default(),
            decision,
            configured,
            state: State::Steady,
            file: FileOrders::new(),
            pause: Pause::default(),
            serves_since: now.mono,
            freeze_ends_at: None,
            last_id: 0,
        };
        rollout.ignore_own_write_back();
        rollout.file.wait_if(rollout.file_has_an_order());
        rollout.recall_overruled(now);
        rollout.relabel();
        rollout.expire_freeze(now);
        rollout.end_mislabelled(now, effects);
        rollout.resume_idle(now, effects);
        rollout
    }

    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.expire_freeze(now);
        self.mark_known_good(now);
        self.stores.forget(now.mono);
        match event {
            Event::Command(id, command) => self.command(now, id, command, effects),
            Event::Obstructed(id, command, refusal) => self.obstructed(now, id, &command, refusal, effects),
            Event::GivenUp(id) => self.give_up(now, id, effects),
            Event::Probed(round, results) => self.probed(now, round, results, effects),
            Event::Checked(round, results) => self.checked(now, round, results, effects),
            Event::Committed(commit) => self.committed(now, commit, effects),
            Event::CommitFailed(commit, cause) => self.commit_failed(now, commit, &cause, effects),
            Event::Emptied(drain) => self.emptied(now, drain, effects),
            Event::StillInFlight(drain, left) => self.set_remaining(drain, left),
            Event::Drained(drained) => self.drained(now, drained),
            Event::Configured(configured) => self.configure(now, configured, effects),
            Event::SchemaRead(readings) => self.schema_read(now, readings),
            Event::FirstWrite(release, write) => self.first_write(&release, write),
            Event::WroteBack(result) => self.wrote_back(result),
            Event::Judged(deployment, judgement) => self.judged(now, deployment, *judgement),
            Event::EvidenceLost(deployment) => self.evidence_lost(deployment),
            Event::Fitness(color, fitness) => self.reports.set_fitness(color, fitness),
            Event::Aftermath(deployment, sample) => self.aftermath.sample(deployment, sample),
            Event::Staged(color, release, origin, refusal) => {
                self.staged(now, (color, release), origin, refusal.as_ref());
            }
            Event::Tick => self.tick(now, effects),
        }
        self.advance(now, effects);
        self.resume_idle(now, effects);
    }

    fn command(&mut self, now: Now, id: CommandId, command: Command, effects: &mut Vec<Effect>) {
        self.set_question_aside(now, &command, effects);
        match command {
            Command::Switch { to, if_generation, force, dry_run, overlap, terms, origin } => {
                let named = self.target(&to);
                let to = named.as_ref().ok().copied().unwrap_or(self.decision.active.other());
                let target = (to, self.configured.deployed[to].clone());
                let underway = Move {
                    force,
                    dry_run,
                    overlap,
                    terms,
                    ..Move::new(now, Kind::Switch, target, Asker::Command(id), origin)
                };
                if let Err(refusal) = named {
                    return self.refuse(now, underway, refusal, effects);
                }
                let generation = self.check_generation(if_generation);
                if generation.is_ok() && self.take_over_file_order(&underway) {
                    return;
                }
                match self.may_switch(&underway, if_generation) {
                    Err(refusal) => self.refuse(now, underway, refusal, effects),
                    // A switch to the active color ends the canary.
                    Ok(()) if to == self.decision.active && self.is_canary() && !dry_run => {
                        self.abort(now, underway, effects);
                    }
                    Ok(()) if to == self.decision.active => {
                        let outcome = self.unchanged(now, dry_run);
                        effects.push(Effect::Reply(id, Ok(outcome)));
                    }
                    Ok(()) => self.begin(now, underway, effects),
                }
            }
            Command::Rollback { to: named, if_generation, force, dry_run, quarantine, overlap, origin } => {
                let to = named.unwrap_or(self.rollback_color());
                let target = (to, self.configured.deployed[to].clone());
                let by = Asker::Command(id);
                let asked =
                    Move { force, dry_run, quarantine, overlap, ..Move::new(now, Kind::Rollback, target, by, origin) };
                self.roll_back(now, id, if_generation, named.is_some(), asked, effects);
            }
            Command::CanaryStart { wishes, if_generation, force, terms, origin } => {
                self.start_canary(now, id, &wishes, (if_generation, force, terms), origin, effects);
            }
            Command::CanaryAdvance { full, if_generation, terms, origin } => {
                self.advance_by_hand(now, id, full, (if_generation, terms), origin, effects);
            }
            Command::CanaryHold { origin } => self.hold_canary(now, id, origin, effects),
            Command::CanaryResume { origin } => self.resume_canary(now, id, origin, effects),
            Command::CanaryAbort { quarantine, origin } => self.abort_by_hand(now, id, quarantine, origin, effects),
            Command::Hold { timeout, replace, origin } => self.hold(now, id, (timeout, replace), origin, effects),
            Command::Release { origin } => self.release(now, id, &origin, effects),
            Command::Maintain { on, origin } => self.maintain(now, id, on, origin, effects),
            Command::Freeze { until, replace, origin } => self.freeze(now, id, (until, replace), origin, effects),
            Command::Unfreeze { origin } => self.unfreeze(now, id, origin, effects),
        }
    }

    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let gating = match &self.state {
            State::Gating(_, gating) => {
                Some(gating.next_round.map_or(gating.deadline, |next| next.min(gating.deadline)))
            }
            State::Steady | State::Holding(..) | State::Committing(..) => None,
        };
        let hold = self.hold_deadline();
        let by_itself = [self.advances_at(), self.freeze_ends_at].into_iter().flatten().min();
        let may_write = !self.is_committing();
        let journal = self.journal.deadline(matches!(self.state, State::Steady), may_write);
        [gating, hold, journal, by_itself.filter(|_| may_write)].into_iter().flatten().min()
    }

    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.under_way().is_some()
    }

    pub fn view(&self) -> View {
        let waits = self.file.is_waiting() || matches!(self.under_way(), Some(Move { asker: Asker::File, .. }));
        View {
            decision: self.decision.clone(),
            durable: self.journal.is_durable(),
            phase: match &self.state {
                State::Steady => match &self.decision.deployment {
                    None => Phase::Steady,
                    Some(deployment) if deployment.is_canary() => Phase::Canary { to: deployment.candidate },
                    Some(deployment) => Phase::Baking { to: deployment.candidate },
                },
                State::Gating(underway, _) => Phase::Gating { to: underway.to },
                State::Holding(underway, ..) => Phase::Holding { to: underway.to },
                State::Committing(underway, _, _) => Phase::Committing { to: underway.to },
            },
            moving: self.moving(),
            hold: self.shown_hold(),
            file: self.configured.order.clone(),
            order: if waits { OrderState::Pending } else { self.file.last().clone() },
            known_good_at: self.becomes_known_good_at(),
            gate: self.configured.gate.clone(),
            rollback: self.rollback_target(),
            safety: self.way_back(),
            stores: self.currents(),
            write_back_error: self.file.write_back_error().map(str::to_owned),
            judgement: self.watching.judgement().cloned(),
            progress: self.progress(),
            verifying: self.aftermath.verifying(),
            both_unhealthy: self.aftermath.is_both_unhealthy(),
            checks: self.reports.last_checks(&self.configured.deployed),
        }
    }

    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// A forward move is being written. Its line carries the whole state and must be the last one.
    fn is_committing(&self) -> bool {
        matches!(self.state, State::Committing(..))
    }

    #[must_use]
    pub fn active(&self) -> Color {
        self.decision.active
    }

    #[must_use]
    pub fn untouched(&self, now: Now) -> Outcome {
        self.unchanged(now, false)
    }

    /// The move under way is a rollback.
    #[must_use]
    pub fn is_going_back(&self) -> bool {
        self.under_way().is_some_and(|underway| underway.kind == Kind::Rollback)
    }

    fn under_way(&self) -> Option<&Move> {
        match &self.state {
            State::Steady => None,
            State::Gating(underway, _) | State::Holding(underway, ..) | State::Committing(underway, _, _) => {
                Some(underway)
            }
        }
    }

    fn check_generation(&self, expected: Option<Generation>) -> Result<(), Refusal> {
        match expected {
            Some(expected) if expected != self.decision.generation => {
                Err(Refusal::StaleGeneration { expected, current: self.decision.generation })
            }
            _ => Ok(()),
        }
    }

    pub fn target(&self, to: &Target) -> Result<Color, Refusal> {
        let (active, deployed) = (self.decision.active, &self.configured.deployed);
        match to {
            Target::Other => Ok(active.other()),
            Target::Color(color) => Ok(*color),
            // If both colors have it, it serves already.
            Target::Release(asked) => [active, active.other()]
                .into_iter()
                .find(|color| deployed[*color] == *asked)
                .ok_or_else(|| Refusal::UnknownRelease { asked: asked.clone(), deployed: deployed.clone() }),
        }
    }

    fn may_switch(&self, asked: &Move, if_generation: Option<Generation>) -> Result<(), Refusal> {
        self.check_generation(if_generation)?;
        if asked.to == self.decision.active {
            return Ok(());
        }
        if let Some(other) = self.under_way() {
            return Err(other.in_progress());
        }
        // Both have requests already.
        if let Some(deployment) = &self.decision.deployment
            && deployment.splits()
            && asked.overlap == Overlap::None
        {
            return Err(deployment.is_on_its_way());
        }
        self.check_forward(asked)
    }

    fn make_visible(&mut self, now: Now, next: Decision, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.decision, next);
        if (before.active, &before.release) != (self.decision.active, &self.decision.release) {
            self.serves_since = now.mono;
        }
        effects.push(Effect::Publish(self.decision.clone()));
        for color in Color::ALL.into_iter().filter(|color| before.serves(*color) && !self.decision.serves(*color)) {
            effects.push(Effect::Drain(color, now.mono + self.configured.drain_timeout));
        }
        self.watching.follow(now.mono, &self.decision);
        self.aftermath.forget();
        self.file.overtaken();
    }

    /// Ends a move that will not be made, and answers its asker.
    fn refuse(&mut self, now: Now, underway: Move, refusal: Refusal, effects: &mut Vec<Effect>) {
        if underway.held.is_some() {
            self.release_held(effects);
        }
        match underway.asker {
            Asker::Command(id) => {
                if !underway.dry_run {
                    let asked = Asked { kind: underway.kind, to: Some((underway.to, underway.release)) };
                    self.record_refused(now, asked, underway.origin, underway.report, &refusal);
                }
                effects.push(Effect::Reply(id, Err(refusal)));
            }
            Asker::File => {
                self.record_seen(now, &underway.origin, Some(&refusal), underway.report, effects);
                self.file.refused(refusal);
            }
            Asker::Automatic => {
                let asked = Asked { kind: underway.kind, to: Some((underway.to, underway.release)) };
                self.record_refused(now, asked, underway.origin, underway.report, &refusal);
                self.watching.step_refused(now.mono);
            }
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let id = self.last_id + 1;
        if let State::Gating(underway, gating) = &mut self.state {
            if gating.deadline <= now.mono {
                self.gate_closed(now, effects);
            } else if gating.next_round.is_some_and(|next| next <= now.mono) {
                self.last_id = id;
                gating.next_round = None;
                gating.round = Some(RoundId(id));
                let (color, resolve) = (underway.to, underway.kind != Kind::Rollback);
                let schema = self.under_way().is_some_and(|underway| self.waits_for_probes(underway));
                effects.push(Effect::Probe { round: RoundId(id), color, schema, resolve });
            }
        }
        self.end_holds(now, effects);
        let may_write = !self.is_committing();
        self.journal.retry(now.mono, &self.decision, may_write, effects);
    }

    fn new_generation(&mut self) -> Generation {
        self.last_generation += 1;
        Generation(self.last_generation)
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn rolled_back(now: Now, (color, release): (Color, &Release), by: &Origin) -> RolledBack {
    RolledBack { color, release: release.clone(), at: now.wall, by: by.actor.clone(), reordered: false }
}

fn quarantined(now: Now, release: &Release, by: &Origin) -> Quarantined {
    Quarantined {
        release: release.clone(),
        since: now.wall,
        by: by.actor.clone(),
        reason: by.reason.clone().unwrap_or_else(|| "no reason was given".to_owned()),
    }
}

impl Configured {
    fn origin(&self, trigger: Trigger) -> Origin {
        Origin { trigger, actor: self.path.clone(), source: String::new(), reason: None, key: None }
    }
}

#[cfg(test)]
mod tests;
