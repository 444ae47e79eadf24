//! The state machine of switches and rollbacks.
//!
//! [`Rollout::handle`] takes one event and says, as effects in order, what has to follow; [`Rollout::deadline`] says
//! when it wants to be woken. Forward moves are committed before they are published, backward moves are published
//! before they are committed. Every command is answered exactly once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::color::{Color, PerColor};
use crate::domain::force::Force;
use crate::domain::gate::{CheckReport, GateReport};
use crate::domain::release::Release;
use crate::domain::schema::{FirstWrite, Live, TakenBack};
pub use crate::domain::transition::Left;
use crate::domain::transition::{Asked, Decision, Freeze, Generation, Kind, Origin, Quarantined, Transition, Trigger};

mod back;
mod canary;
mod checks;
mod decide;
mod durability;
mod evidence;
mod file;
mod freeze;
mod gating;
mod give_up;
mod hold;
mod messages;
mod proof;
mod recall;
mod record;
mod refusal;
mod safety;
mod stage;
mod stages;
mod take_back;
mod terms;
mod view;

use evidence::Watching;
pub(crate) use give_up::{Moving, Waits, called_off_by, whose};
use hold::{ByHand, Held};
pub use messages::{
    Checks, Command, CommandId, CommitId, Configured, DrainId, Effect, Event, Fitness, Outcome, Overlap, Refusal,
    RoundId,
};
pub(crate) use messages::{FileError, FileProblem};
pub(crate) use safety::Unsafe;
pub(crate) use stage::StageRefusal;
use stages::Share;
use take_back::Verifying;
pub use terms::{Target, Terms};
pub(crate) use view::{Hold, OrderState, Phase, Progress, Stopped, View};

/// From round to round of the gate, while it may still open.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// How long the answer to a rollback waits for the disk. The rollback itself never does.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);
/// From try to try to write down what a sick disk did not take. A disk that is well again is told as soon as this.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

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
    /// Requests are held by hand.
    by_hand: Option<ByHand>,
    write_back: WriteBack,
    /// How often the file is being put right; more than once where a move overtook another one.
    writes: u32,
    /// The newest line that moved nothing, or that is known to be on disk.
    line: Line,
    /// Since when this process has seen the release serve.
    serves_since: Instant,
    /// When the freeze ends by itself.
    thaws_at: Option<Instant>,
    /// Lines that move nothing and wait for their turn, oldest first.
    records: VecDeque<Transition>,
    /// Those that were handed over, until they are on disk.
    handed_over: Vec<(CommitId, Transition)>,
    /// The disk did not take one; none is handed over before this, unless something else gets through.
    records_again_at: Option<Instant>,
    /// Refusals of the last hour.
    refused: Vec<record::Refused>,
    /// What the probes of the data stores said last.
    live: Live,
    /// What is known of the release on its way, beside what is decided.
    watching: Watching,
    /// What checks say of the colors.
    fitness: PerColor<Fitness>,
    /// Whether the last automatic rollback helped.
    verifying: Option<Verifying>,
    /// It did not.
    both_unhealthy: bool,
    /// A barrier that was passed and of which there is no line yet.
    barrier: Option<(Release, FirstWrite)>,
    /// What the checks of a gate said last, of which release.
    last_checks: Option<(Color, Release, Vec<CheckReport>)>,
    last_generation: u64,
    last_id: u64,
}

#[derive(Debug)]
enum State {
    Steady,
    Gating(Move, Gating),
    Holding(Move, DrainId, Left),
    Committing(Move, CommitId, Box<Decision>),
}

/// A move that is under way.
#[derive(Debug)]
struct Move {
    kind: Kind,
    to: Color,
    release: Release,
    asker: Asker,
    force: Force,
    dry_run: bool,
    /// What served is bad.
    quarantine: bool,
    overlap: Overlap,
    terms: Terms,
    origin: Origin,
    began: Now,
    report: Option<GateReport>,
    /// Requests are held for it.
    held: Option<Held>,
    /// How much of the traffic it is about.
    share: Share,
}

impl Move {
    /// In an incident, a "no" has to come at once; so it has to when somebody only asks.
    fn is_patient(&self) -> bool {
        self.kind != Kind::Rollback && !self.dry_run
    }

    fn new(now: Now, kind: Kind, (to, release): (Color, Release), asker: Asker, origin: Origin) -> Move {
        Move {
            kind,
            to,
            release,
            asker,
            force: Force::NONE,
            dry_run: false,
            quarantine: false,
            overlap: Overlap::Allow,
            terms: Terms::default(),
            origin,
            began: now,
            report: None,
            held: None,
            share: Share::All,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    Command(CommandId),
    File,
    /// Nobody: the evidence, or the time.
    Itself,
}

#[derive(Debug)]
struct Gating {
    round: Option<RoundId>,
    next_round: Option<Instant>,
    deadline: Instant,
    rounds: u32,
    passes: u32,
    checks: checks::Asked,
}

#[derive(Debug)]
struct Unwritten {
    transition: Transition,
    /// The attempt under way; `None`: the next one is at `retry_at`.
    commit: Option<CommitId>,
    retry_at: Instant,
    answer: Option<(CommandId, Outcome, Instant)>,
}

/// What a restart would come up with.
#[derive(Debug)]
struct Line {
    says: Decision,
    state: LineState,
    /// What the last line says of it that is known to be on disk.
    freeze: Option<Freeze>,
}

impl Line {
    fn written(says: Decision) -> Line {
        Line { freeze: says.freeze.clone(), says, state: LineState::Written }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineState {
    Written,
    /// Handed over, and not acknowledged.
    HandedOver(CommitId),
    /// It could not be written; what it said is said again.
    Failed {
        again_at: Instant,
    },
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
            transition: Transition::new(Kind::Start, now.wall, configured.origin(Trigger::Start), decision.clone()),
            commit: None,
            retry_at: now.mono + COMMIT_RETRY,
            answer: None,
        });
        let mut rollout = Rollout {
            last_generation: decision.generation.0,
            line: Line::written(decision.clone()),
            live: Live::default(),
            watching: Watching::new(now.mono, &decision),
            fitness: PerColor::default(),
            verifying: None,
            both_unhealthy: false,
            barrier: None,
            decision,
            durable,
            configured,
            state: State::Steady,
            unwritten,
            order_waits: false,
            order: OrderState::Done,
            by_hand: None,
            write_back: WriteBack::Idle,
            writes: 0,
            serves_since: now.mono,
            thaws_at: None,
            records: VecDeque::new(),
            handed_over: Vec::new(),
            records_again_at: None,
            refused: Vec::new(),
            last_checks: None,
            last_id: 0,
        };
        rollout.forgive_own_words();
        rollout.order_waits = rollout.file_has_an_order();
        rollout.recall_overruled(now);
        rollout.relabel();
        rollout.expire_freeze(now);
        rollout.end_mislabelled(now, effects);
        rollout.resume_idle(now, effects);
        rollout
    }

    /// Handles one event.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.expire_freeze(now);
        self.mark_known_good(now);
        self.live.forget(now.mono);
        match event {
            Event::Command(id, command) => self.command(now, id, command, effects),
            Event::Obstructed(id, command, refusal) => self.obstructed(now, id, &command, refusal, effects),
            Event::GivenUp(id) => self.give_up(now, id, effects),
            Event::Probed(round, results) => self.probed(now, round, results, effects),
            Event::Checked(round, results) => self.checked(now, round, results, effects),
            Event::Committed(commit) => self.committed(now, commit, effects),
            Event::CommitFailed(commit, cause) => self.commit_failed(now, commit, &cause, effects),
            Event::Emptied(drain) => self.emptied(now, drain, effects),
            Event::Left(drain, left) => self.set_remaining(drain, left),
            Event::Drained(drained) => self.drained(now, drained),
            Event::Configured(configured) => self.configure(now, configured, effects),
            Event::SchemaRead(readings) => self.schema_read(now, readings),
            Event::FirstWrite(release, write) => self.first_write(&release, write),
            Event::WroteBack(result) => self.wrote_back(result),
            Event::Judged(deployment, judgement) => self.judged(now, deployment, *judgement),
            Event::EvidenceLost(deployment) => self.evidence_lost(deployment),
            Event::Fitness(color, fitness) => self.fitness[color] = fitness,
            Event::Aftermath(deployment, sample) => self.aftermath(deployment, sample),
            Event::Staged(color, release, origin, refusal) => {
                self.staged(now, (color, release), origin, refusal.as_ref());
            }
            Event::Tick => self.tick(now, effects),
        }
        self.advance(now, effects);
        self.resume_idle(now, effects);
    }

    fn command(&mut self, now: Now, id: CommandId, command: Command, effects: &mut Vec<Effect>) {
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
                if generation.is_ok() && self.joins_order_of_file(&underway) {
                    return;
                }
                match self.may_switch(&underway, if_generation) {
                    Err(refusal) => self.refuse(now, underway, refusal, effects),
                    // All of the traffic, and so nothing for the canary.
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
            Command::Rollback { to: named, if_generation, force, quarantine, overlap, origin } => {
                let to = named.unwrap_or(self.back_to());
                let target = (to, self.configured.deployed[to].clone());
                let underway = Move {
                    force,
                    quarantine,
                    overlap,
                    ..Move::new(now, Kind::Rollback, target, Asker::Command(id), origin)
                };
                self.roll_back(now, id, if_generation, named.is_some(), underway, effects);
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

    /// When it wants an [`Event::Tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let gating = match &self.state {
            State::Gating(_, gating) => {
                Some(gating.next_round.map_or(gating.deadline, |next| next.min(gating.deadline)))
            }
            State::Steady | State::Holding(..) | State::Committing(..) => None,
        };
        let hold = self.hold_deadline();
        let unwritten = self.unwritten.as_ref();
        let by_itself = [self.looked_after_at(), self.thaws_at].into_iter().flatten().min();
        let answer = unwritten.and_then(|unwritten| unwritten.answer.as_ref()).map(|(_, _, until)| *until);
        // While a forward move is being written its line must be the last one.
        let may_retry = !matches!(self.state, State::Committing(..));
        let retry = unwritten.filter(|unwritten| unwritten.commit.is_none() && may_retry).map(|u| u.retry_at);
        let again = match self.line.state {
            LineState::Failed { again_at } => Some(again_at),
            LineState::Written | LineState::HandedOver(_) => None,
        };
        let records = self.records_again_at.filter(|_| !self.records.is_empty());
        // These have to wait for what is under way or not written yet, which wakes us itself.
        let settled = matches!(self.state, State::Steady) && self.unwritten.is_none();
        let again = again.into_iter().chain(records).filter(|_| settled);
        let by_itself = by_itself.into_iter().chain(again).min();
        [gating, hold, answer, retry, by_itself.filter(|_| may_retry)].into_iter().flatten().min()
    }

    /// What the outside may see.
    #[must_use]
    pub fn view(&self) -> View {
        let waits = self.order_waits || matches!(self.under_way(), Some(Move { asker: Asker::File, .. }));
        View {
            decision: self.decision.clone(),
            durable: self.durable,
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
            order: if waits { OrderState::Pending } else { self.order.clone() },
            known_good_at: self.proven_at(),
            gate: self.configured.gate.clone(),
            rollback: self.rollback_target(),
            safety: self.way_back(),
            stores: self.currents(),
            write_back_error: match &self.write_back {
                WriteBack::Failed(reason) => Some(reason.clone()),
                WriteBack::Idle | WriteBack::Writing { .. } => None,
            },
            judgement: self.watching.judgement.clone(),
            progress: self.progress(),
            verifying: self.verifying.as_ref().map(|verifying| (verifying.of, verifying.until)),
            both_unhealthy: self.both_unhealthy,
            checks: self.last_checks.clone().filter(|(color, of, _)| self.configured.deployed[*color] == *of),
        }
    }

    /// The color that serves.
    #[must_use]
    pub fn active(&self) -> Color {
        self.decision.active
    }

    /// The answer to a command that touched nothing.
    #[must_use]
    pub fn untouched(&self, now: Now) -> Outcome {
        self.unchanged(now, false)
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

    /// The color that is meant.
    pub fn target(&self, to: &Target) -> Result<Color, Refusal> {
        let (active, deployed) = (self.decision.active, &self.configured.deployed);
        match to {
            Target::Other => Ok(active.other()),
            Target::Color(color) => Ok(*color),
            // Where both have it, it serves already.
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
        self.allowed(asked)
    }

    /// The instant of the switch.
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
        (self.verifying, self.both_unhealthy) = (None, false);
        self.write_back = WriteBack::Idle;
    }

    /// Answers whoever asked for a move that will not be made.
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
                self.order = OrderState::Refused(refusal);
            }
            Asker::Itself => {
                let asked = Asked { kind: underway.kind, to: Some((underway.to, underway.release)) };
                self.record_refused(now, asked, underway.origin, underway.report, &refusal);
                self.watching.refused(now.mono);
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

fn taken_back(now: Now, (color, release): (Color, &Release), by: &Origin) -> TakenBack {
    TakenBack { color, release: release.clone(), at: now.wall, by: by.actor.clone(), reordered: false }
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
