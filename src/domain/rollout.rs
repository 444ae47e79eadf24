//! The state machine of switches and rollbacks.
//!
//! [`Rollout::handle`] takes one event and says, as effects in order, what has to follow; [`Rollout::deadline`] says
//! when it wants to be woken. Forward moves are committed before they are published, backward moves are published
//! before they are committed. Every command is answered exactly once.

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::gate::{self, GateReport, Probed};
use crate::domain::release::Release;
use crate::domain::schema::{FirstWrite, Lineage, Live};
use crate::domain::transition::{Decision, FileOrder, Generation, Kind, Origin, Previous, Transition, Trigger};

mod durability;
mod file;
mod messages;
mod refusal;
mod safety;

pub use messages::{
    Command, CommandId, CommitId, Configured, Effect, Event, OrderState, Outcome, Phase, Refusal, RoundId, View,
};
pub use safety::Unsafe;

/// From round to round of the gate, while it may still open.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// How long the answer to a rollback waits for the disk. The rollback itself never does.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);
/// From try to try to write down a decision that is in force but not durable, doubling from the first to the last.
const COMMIT_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The state machine.
#[derive(Debug)]
pub struct Rollout {
    /// In force, and visible to requests.
    decision: Decision,
    /// The decision in force is on disk, as far as is known.
    durable: bool,
    configured: Configured,
    state: State,
    /// A backward move that is in force and not yet known to be on disk.
    unwritten: Option<Unwritten>,
    /// The file's words have changed and were not looked at yet, because something else is under way.
    order_waits: bool,
    order: OrderState,
    write_back: WriteBack,
    /// What the newest line on disk says of the file.
    seen_on_disk: FileOrder,
    /// What it says of the releases that took traffic.
    lineage_on_disk: Lineage,
    /// What the probes of the data stores said last.
    live: Live,
    /// A barrier that was passed and of which there is no line yet.
    barrier: Option<(Release, FirstWrite)>,
    last_generation: u64,
    last_id: u64,
}

#[derive(Debug)]
enum State {
    Steady,
    Gating(Move, Gating),
    Committing(Move, CommitId, Decision),
}

/// A move that is under way.
#[derive(Debug)]
struct Move {
    kind: Kind,
    to: Color,
    release: Release,
    asker: Asker,
    forced: bool,
    dry_run: bool,
    origin: Origin,
    began: Now,
    report: Option<GateReport>,
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    Command(CommandId),
    File,
}

#[derive(Debug)]
struct Gating {
    round: Option<RoundId>,
    next_round: Option<Instant>,
    deadline: Instant,
    rounds: u32,
    passes: u32,
}

#[derive(Debug)]
struct Unwritten {
    transition: Transition,
    /// The attempt under way; `None`: the next one is at `retry_at`.
    commit: Option<CommitId>,
    retry_at: Instant,
    pause: Duration,
    answer: Option<(CommandId, Outcome, Instant)>,
}

#[derive(Debug)]
enum WriteBack {
    /// Nothing to do, or not tried yet.
    Idle,
    /// Under way; `stale` if the file was edited meanwhile, so that a failure says nothing about the next try.
    Writing { stale: bool },
    /// It failed; tried again when the file or the decision changes.
    Failed(String),
}

impl Rollout {
    /// Takes up the decision that is in force: from the ledger, or made from the file at the first start. A change of
    /// the file against what was last seen in it is an order, and is handled like an edit.
    #[must_use]
    pub fn new(
        now: Now,
        decision: Decision,
        durable: bool,
        configured: Configured,
        effects: &mut Vec<Effect>,
    ) -> Rollout {
        let unwritten = (!durable).then(|| Unwritten {
            transition: Transition {
                kind: Kind::Start,
                at: now.wall,
                origin: configured.origin(Trigger::Start),
                from: None,
                forced: false,
                gate: None,
                refusal: None,
                took: Duration::ZERO,
                decision: decision.clone(),
            },
            commit: None,
            retry_at: now.mono + COMMIT_RETRY.0,
            pause: COMMIT_RETRY.0,
            answer: None,
        });
        let mut rollout = Rollout {
            last_generation: decision.generation.0,
            seen_on_disk: decision.seen.clone(),
            lineage_on_disk: decision.lineage.clone(),
            live: Live::default(),
            barrier: None,
            decision,
            durable,
            configured,
            state: State::Steady,
            unwritten,
            order_waits: false,
            order: OrderState::Done,
            write_back: WriteBack::Idle,
            last_id: 0,
        };
        rollout.order_waits = rollout.file_has_an_order();
        rollout.relabel();
        rollout.rest(now, effects);
        rollout
    }

    /// Handles one event.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.live.forget(now.mono);
        match event {
            Event::Command(id, Command::Switch { to, if_generation, force, dry_run, origin }) => {
                let to = to.unwrap_or(self.decision.active.other());
                match self.may_switch(to, if_generation) {
                    Err(refusal) => effects.push(Effect::Reply(id, Err(refusal))),
                    Ok(()) if to == self.decision.active => {
                        let outcome = self.unchanged(now, dry_run);
                        effects.push(Effect::Reply(id, Ok(outcome)));
                    }
                    Ok(()) => {
                        let release = self.configured.deployed[to].clone();
                        let asker = Asker::Command(id);
                        let began = now;
                        let report = None;
                        let kind = Kind::Switch;
                        let forced = force;
                        self.begin(
                            now,
                            Move { kind, to, release, asker, forced, dry_run, origin, began, report },
                            effects,
                        );
                    }
                }
            }
            Event::Command(id, Command::Rollback { if_generation, force, origin }) => {
                self.roll_back(now, id, if_generation, force, origin, effects);
            }
            Event::Probed(round, results) => self.probed(now, round, results, effects),
            Event::Committed(commit) => self.committed(now, commit, effects),
            Event::CommitFailed(commit, cause) => self.commit_failed(now, commit, &cause, effects),
            Event::Configured(configured) => self.configure(now, configured, effects),
            Event::SchemaRead(readings) => self.schema_read(now, readings),
            Event::FirstWrite(release, write) => self.first_write(&release, write),
            Event::WroteBack(result) => self.wrote_back(result),
            Event::Tick => self.tick(now, effects),
        }
        self.rest(now, effects);
    }

    /// When it wants an [`Event::Tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let gating = match &self.state {
            State::Gating(_, gating) => {
                Some(gating.next_round.map_or(gating.deadline, |next| next.min(gating.deadline)))
            }
            State::Steady | State::Committing(..) => None,
        };
        let unwritten = self.unwritten.as_ref();
        let answer = unwritten.and_then(|unwritten| unwritten.answer.as_ref()).map(|(_, _, until)| *until);
        // While a forward move is being written its line must be the last one.
        let may_retry = !matches!(self.state, State::Committing(..));
        let retry = unwritten.filter(|unwritten| unwritten.commit.is_none() && may_retry).map(|u| u.retry_at);
        [gating, answer, retry].into_iter().flatten().min()
    }

    /// What the outside may see.
    #[must_use]
    pub fn view(&self) -> View {
        let waits = self.order_waits || matches!(self.under_way(), Some(Move { asker: Asker::File, .. }));
        View {
            decision: self.decision.clone(),
            durable: self.durable,
            phase: match &self.state {
                State::Steady => Phase::Steady,
                State::Gating(underway, _) => Phase::Gating { to: underway.to },
                State::Committing(underway, _, _) => Phase::Committing { to: underway.to },
            },
            file: self.configured.order.clone(),
            order: if waits { OrderState::Pending } else { self.order.clone() },
            rollback: self.rollback_target(),
            safety: self.way_back(),
            stores: self.currents(),
            write_back_error: match &self.write_back {
                WriteBack::Failed(reason) => Some(reason.clone()),
                WriteBack::Idle | WriteBack::Writing { .. } => None,
            },
        }
    }

    fn under_way(&self) -> Option<&Move> {
        match &self.state {
            State::Steady => None,
            State::Gating(underway, _) | State::Committing(underway, _, _) => Some(underway),
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

    fn may_switch(&self, to: Color, if_generation: Option<Generation>) -> Result<(), Refusal> {
        self.check_generation(if_generation)?;
        match self.under_way() {
            Some(other) if to != self.decision.active => {
                Err(Refusal::InProgress { to: other.to, since: other.began.wall })
            }
            _ => Ok(()),
        }
    }

    /// Where a rollback goes: to what served before, if it still stands where it stood.
    fn rollback_target(&self) -> Result<Previous, Refusal> {
        let color = self.decision.previous.as_ref().map_or(self.decision.active.other(), |previous| previous.color);
        let deployed = &self.configured.deployed[color];
        match &self.decision.previous {
            Some(previous) if previous.release == *deployed => Ok(previous.clone()),
            wanted => Err(Refusal::NoKnownGood { wanted: wanted.clone(), color, deployed: deployed.clone() }),
        }
    }

    fn roll_back(
        &mut self,
        now: Now,
        id: CommandId,
        if_generation: Option<Generation>,
        force: bool,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.check_generation(if_generation) {
            return effects.push(Effect::Reply(id, Err(refusal)));
        }
        if let Some(other) = self.under_way() {
            if other.kind == Kind::Rollback {
                let refusal = Refusal::InProgress { to: other.to, since: other.began.wall };
                return effects.push(Effect::Reply(id, Err(refusal)));
            }
            // "Back" while a move is under way means: not that one. Nothing is visible of it yet.
            self.withdraw(now, &origin, effects);
            let outcome = self.unchanged(now, false);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        match self.rollback_target() {
            Err(refusal) => effects.push(Effect::Reply(id, Err(refusal))),
            Ok(previous) => {
                let underway = Move {
                    kind: Kind::Rollback,
                    to: previous.color,
                    release: previous.release,
                    asker: Asker::Command(id),
                    forced: force,
                    dry_run: false,
                    origin,
                    began: now,
                    report: None,
                };
                self.begin(now, underway, effects);
            }
        }
    }

    /// Takes a forward move back before it became visible. What is already on its way to the disk is overruled by a line
    /// with a newer generation.
    fn withdraw(&mut self, now: Now, by: &Origin, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Steady) {
            State::Steady => {}
            State::Gating(underway, _) => self.refuse(now, underway, Refusal::Withdrawn, effects),
            State::Committing(underway, _, _) => {
                self.decision.generation = self.new_generation();
                let transition = Transition {
                    kind: Kind::Rollback,
                    at: now.wall,
                    origin: by.clone(),
                    from: Some((underway.to, underway.release.clone())),
                    forced: false,
                    gate: None,
                    refusal: None,
                    took: Duration::ZERO,
                    decision: self.decision.clone(),
                };
                self.answer_unwritten(false, effects);
                effects.push(Effect::Publish(self.decision.clone()));
                self.write_behind(now, transition, None, effects);
                self.refuse(now, underway, Refusal::Withdrawn, effects);
            }
        }
    }

    /// Begins a move, at its gate.
    fn begin(&mut self, now: Now, underway: Move, effects: &mut Vec<Effect>) {
        if underway.forced {
            return self.gate_opened(now, underway, effects);
        }
        let schema = self.waits_for_probes(&underway);
        if !schema && let Some(refusal) = self.objection(&underway) {
            return self.refuse(now, underway, refusal, effects);
        }
        let round = RoundId(self.new_id());
        let deadline = now.mono + self.configured.gate.timeout;
        effects.push(Effect::Probe { round, color: underway.to, schema });
        let gating = Gating { round: Some(round), next_round: None, deadline, rounds: 0, passes: 0 };
        self.state = State::Gating(underway, gating);
    }

    fn probed(&mut self, now: Now, round: RoundId, results: Vec<Probed>, effects: &mut Vec<Effect>) {
        let State::Gating(underway, gating) = &mut self.state else { return };
        if gating.round != Some(round) {
            return;
        }
        gating.round = None;
        gating.rounds += 1;
        let report = GateReport { color: underway.to, rounds: gating.rounds, endpoints: results };
        let passed = gate::passes(&self.configured.gate, &report);
        underway.report = Some(report);
        // What the stores do not allow has to be said also of a target that is not healthy: it may be why.
        if self.under_way().is_some_and(|underway| self.objection(underway).is_some()) {
            let State::Gating(underway, _) = std::mem::replace(&mut self.state, State::Steady) else { return };
            return self.gate_opened(now, underway, effects);
        }
        let State::Gating(underway, gating) = &mut self.state else { return };
        gating.passes = if passed { gating.passes + 1 } else { 0 };
        // In an incident, a "no" has to come at once; so it has to when somebody only asks.
        let patient = underway.kind != Kind::Rollback && !underway.dry_run;
        if gating.passes >= self.configured.gate.passes || (passed && !patient) {
            let State::Gating(underway, _) = std::mem::replace(&mut self.state, State::Steady) else { return };
            self.gate_opened(now, underway, effects);
        } else if patient && now.mono < gating.deadline {
            gating.next_round = Some(now.mono + ROUND_PAUSE);
        } else {
            self.gate_closed(now, effects);
        }
    }

    fn gate_closed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let State::Gating(underway, gating) = std::mem::replace(&mut self.state, State::Steady) {
            let nothing = GateReport { color: underway.to, rounds: gating.rounds, endpoints: Vec::new() };
            let report = underway.report.clone().unwrap_or(nothing);
            self.refuse(now, underway, Refusal::Unhealthy(report), effects);
        }
    }

    fn gate_opened(&mut self, now: Now, underway: Move, effects: &mut Vec<Effect>) {
        if let Some(refusal) = self.objection(&underway) {
            return self.refuse(now, underway, refusal, effects);
        }
        if underway.dry_run {
            if let Asker::Command(id) = underway.asker {
                let would = Outcome {
                    changed: true,
                    dry_run: true,
                    active: underway.to,
                    previous: self.decision.active,
                    release: underway.release.clone(),
                    took: now.mono.saturating_duration_since(underway.began.mono),
                    way_back: self.outlook(&underway, &self.lineage_after(&underway)),
                    ..self.unchanged(now, true)
                };
                effects.push(Effect::Reply(id, Ok(would)));
            }
            return;
        }
        let next = self.planned(now, &underway);
        let transition = self.transition(now, &underway, next.clone());
        if underway.kind == Kind::Rollback {
            let answer = match underway.asker {
                Asker::Command(id) => Some((id, self.outcome(now, &underway, &next, false))),
                Asker::File => None,
            };
            self.make_visible(now, next, effects);
            self.write_behind(now, transition, answer, effects);
        } else {
            let commit = CommitId(self.new_id());
            effects.push(Effect::Commit(commit, transition));
            self.state = State::Committing(underway, commit, next);
        }
    }

    /// The decision that a move leads to.
    fn planned(&mut self, now: Now, underway: &Move) -> Decision {
        let lineage = self.lineage_after(underway);
        let current = &self.decision;
        let left = Previous { color: current.active, release: current.release.clone(), until: now.wall };
        Decision {
            active: underway.to,
            release: underway.release.clone(),
            since: if underway.to == current.active { current.since } else { now.wall },
            previous: match underway.kind {
                Kind::Switch => Some(left),
                // What was rolled back from is no place to roll back to; forward again is a switch.
                Kind::Rollback => None,
                Kind::Start | Kind::Release | Kind::Seen | Kind::Barrier | Kind::Noted => current.previous.clone(),
            },
            seen: current.seen.clone(),
            lineage,
            generation: self.new_generation(),
        }
    }

    fn transition(&self, now: Now, underway: &Move, decision: Decision) -> Transition {
        Transition {
            kind: underway.kind,
            at: now.wall,
            origin: underway.origin.clone(),
            from: Some((self.decision.active, self.decision.release.clone())),
            forced: underway.forced,
            gate: underway.report.clone(),
            refusal: None,
            took: now.mono.saturating_duration_since(underway.began.mono),
            decision,
        }
    }

    fn outcome(&self, now: Now, underway: &Move, next: &Decision, durable: bool) -> Outcome {
        Outcome {
            changed: true,
            dry_run: false,
            active: next.active,
            previous: self.decision.active,
            release: next.release.clone(),
            generation: next.generation,
            at: now.wall,
            took: now.mono.saturating_duration_since(underway.began.mono),
            durable,
            way_back: self.outlook(underway, &next.lineage),
        }
    }

    fn unchanged(&self, now: Now, dry_run: bool) -> Outcome {
        Outcome {
            changed: false,
            dry_run,
            active: self.decision.active,
            previous: self.decision.active,
            release: self.decision.release.clone(),
            generation: self.decision.generation,
            at: now.wall,
            took: Duration::ZERO,
            durable: self.durable,
            way_back: None,
        }
    }

    /// The instant of the switch.
    fn make_visible(&mut self, now: Now, next: Decision, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.decision, next);
        effects.push(Effect::Publish(self.decision.clone()));
        if before.active != self.decision.active {
            effects.push(Effect::Drain(before.active, now.mono + self.configured.drain_timeout));
        }
        self.write_back = WriteBack::Idle;
    }

    /// Answers whoever asked for a move that will not be made.
    fn refuse(&mut self, now: Now, underway: Move, refusal: Refusal, effects: &mut Vec<Effect>) {
        match underway.asker {
            Asker::Command(id) => effects.push(Effect::Reply(id, Err(refusal))),
            Asker::File => {
                self.record_seen(now, &underway.origin, Some(&refusal), underway.report, effects);
                self.order = OrderState::Refused(refusal);
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
                let color = underway.to;
                let schema = self.under_way().is_some_and(|underway| self.waits_for_probes(underway));
                effects.push(Effect::Probe { round: RoundId(id), color, schema });
            }
        }
        self.retry(now, effects);
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

impl Configured {
    fn origin(&self, trigger: Trigger) -> Origin {
        Origin { trigger, actor: self.path.clone(), source: String::new(), reason: None }
    }
}

#[cfg(test)]
mod tests;
