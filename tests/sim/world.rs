//! A simulated world around the decision core: operators, an editor on the file, endpoints that come and go, a disk that
//! fails, hangs and acknowledges late or twice, clocks that jump, and crashes.
//!
//! The world carries out effects as badly as it may, and after every step checks what must hold (ARCHITECTURE.md,
//! "Invariants").

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use cutover::internals::domain::clock::Now;
use cutover::internals::domain::color::{Color, PerColor};
use cutover::internals::domain::force::{Force, Guard};
use cutover::internals::domain::gate::{CheckReport, GatePolicy, Probed};
use cutover::internals::domain::release::Release;
use cutover::internals::domain::rollout::{
    Checks, Command, CommandId, CommitId, Configured, DrainId, Effect, Event, Outcome, Overlap, Refusal, Rollout,
    RoundId, Target, Terms,
};
use cutover::internals::domain::schema::{Barrier, FirstWrite, Label, Labels, Lineage, Reading, Safety, Version};
use cutover::internals::domain::transition::{
    Decision, Drained, FileOrder, Generation, InFlight, Kind, Origin, Transition, Trigger,
};

mod canary;

use canary::{Canaries, policy};

pub(crate) struct World {
    random: fastrand::Rng,
    trace: bool,
    start: Instant,
    elapsed: Duration,
    wall_offset: u64,
    rollout: Rollout,

    file: FileOrder,
    deployed: PerColor<Release>,
    /// Grows with every edit of a color's endpoints.
    targets: PerColor<u64>,
    /// Which of them the last round of a color's gate was asked with.
    asked: PerColor<u64>,
    /// Whether gates have checks.
    checks: Checks,
    /// What the releases say of the one data store.
    schema: PerColor<Labels>,
    /// They say something.
    labelled: bool,
    /// A probe tells what it is at.
    probed: bool,
    /// What the probes said last, and when.
    told: PerColor<Option<(Version, Duration)>>,
    write_back: bool,
    writable_file: bool,
    healthy: PerColor<bool>,

    /// Lines on disk, and those handed over and not yet written, in order.
    disk: Vec<Transition>,
    queue: VecDeque<(CommitId, Transition)>,
    disk_works: bool,
    /// Edits of the file that are waited for, and whether what they follow from was on disk.
    file_writes: VecDeque<(Color, bool)>,
    /// The file's words are this program's own, and followed from what was on disk.
    own_words: bool,
    /// Every move is made without overlap, and the file orders none: then no two colors have requests at the same time.
    apart: bool,
    /// New requests wait.
    held: bool,
    /// Requests under way.
    running: PerColor<u64>,
    /// The core waits for the end of those of the live color; they are ended at this moment.
    emptying: Option<(DrainId, Option<Instant>)>,
    canaries: Canaries,
    /// What may still come back, in any order.
    late: Vec<Event>,

    live: Decision,
    next_command: u64,
    open: BTreeMap<CommandId, Command>,
    answered: BTreeSet<CommandId>,
    /// The newest decision that somebody was told is durable.
    promised: Generation,
    /// Somebody was told that it is durably frozen until it is ended (or not frozen), and nobody has asked since.
    promised_freeze: Option<bool>,
    last_freeze: CommandId,
    seen_generations: BTreeSet<Generation>,
    /// Colors that some decision on disk, or the file, ever named with the release.
    named: BTreeSet<(Color, Release)>,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let deployed = PerColor { blue: Release::new("1"), green: Release::new("2") };
        let file = FileOrder { active: Color::Blue, release: deployed.blue.clone() };
        let labelled = random.bool();
        let schema = PerColor::from_fn(|_| labels(&mut random, labelled));
        let probed = labelled && random.bool();
        let decision = Decision {
            known_good: Some(SystemTime::UNIX_EPOCH),
            seen: file.clone(),
            lineage: Lineage::default().followed_by(&deployed.blue, &schema.blue, None),
            ..Decision::first(Color::Blue, deployed.blue.clone(), SystemTime::UNIX_EPOCH)
        };
        let start = Instant::now();
        let now = Now { mono: start, wall: SystemTime::UNIX_EPOCH };
        let write_back = random.bool();
        let apart = random.bool();
        let mut effects = Vec::new();
        let policy = policy(&mut random, apart);
        // By numbers of their own, so that the histories without checks stay as they are.
        let mut gates = fastrand::Rng::with_seed(!seed);
        let checks = Checks { forward: gates.u8(0..3) == 0, back: gates.u8(0..6) == 0 };
        let configured =
            Configured { policy: policy.clone(), checks, ..configured(&file, &deployed, &schema, probed, write_back) };
        let first = Transition::new(Kind::Start, now.wall, self::origin(Trigger::Start), decision.clone());
        let rollout = Rollout::new(now, decision.clone(), true, configured, &mut effects);
        let mut world = World {
            random,
            trace,
            start,
            elapsed: Duration::ZERO,
            wall_offset: 1_000_000,
            rollout,
            named: BTreeSet::from([(file.active, file.release.clone())]),
            file,
            deployed,
            targets: PerColor::default(),
            asked: PerColor::default(),
            checks,
            schema,
            labelled,
            probed,
            told: PerColor::default(),
            write_back,
            writable_file: true,
            healthy: PerColor { blue: true, green: true },
            disk: vec![first],
            queue: VecDeque::new(),
            disk_works: true,
            file_writes: VecDeque::new(),
            own_words: false,
            apart,
            held: false,
            running: PerColor::default(),
            emptying: None,
            canaries: Canaries::new(policy),
            late: Vec::new(),
            seen_generations: BTreeSet::from([decision.generation]),
            live: decision,
            next_command: 0,
            open: BTreeMap::new(),
            answered: BTreeSet::new(),
            promised: Generation(1),
            promised_freeze: None,
            last_freeze: CommandId(0),
        };
        world.carry_out(effects);
        world
    }

    pub(crate) fn run(mut self, steps: u64) {
        for step in 0..steps {
            self.step(step);
            self.check();
        }
        self.come_to_rest();
    }

    fn step(&mut self, step: u64) {
        self.traffic();
        match self.random.u32(0..100) {
            0..=13 => self.command(),
            14..=21 => self.edit(),
            22..=27 => {
                let color = self.color();
                self.healthy[color] = self.random.u8(0..3) != 0;
                self.say(|| format!("{step}: health of {color}"));
                self.examine(color);
            }
            28..=45 => self.write_disk(),
            46..=63 => self.deliver_late(),
            64..=70 => self.judge(),
            71..=84 => self.pass_time(),
            85..=88 => {
                self.disk_works = self.random.u8(0..4) != 0;
                let works = self.disk_works;
                self.say(|| format!("{step}: disk works: {works}"));
            }
            89 => self.writable_file = self.random.bool(),
            90..=91 => self.write_file(),
            92..=93 => self.wall_offset = self.random.u64(0..2_000_000),
            94 => self.crash(),
            95 => self.give_up(),
            96 => self.look_at_store(),
            97 => {
                let write = FirstWrite { at: self.now().wall, request: "r".to_owned() };
                self.handle(Event::FirstWrite(self.live.release.clone(), write));
            }
            _ => {
                // What nobody sent: numbers out of the blue.
                let id = self.random.u64(0..40);
                let event = match self.random.u8(0..3) {
                    0 => Event::Committed(CommitId(1_000_000 + id)),
                    1 => Event::Emptied(DrainId(1_000_000 + id)),
                    _ => Event::Probed(RoundId(1_000_000 + id), Vec::new()),
                };
                self.handle(event);
            }
        }
    }

    fn command(&mut self) {
        self.next_command += 1;
        let id = CommandId(self.next_command);
        let if_generation = match self.random.u8(0..5) {
            0 => Some(self.live.generation),
            1 => Some(Generation(self.random.u64(0..10))),
            _ => None,
        };
        let force = self.force();
        let reason = self.random.bool().then(|| "so".to_owned());
        let origin = Origin { reason, ..origin(Trigger::Api) };
        let overlap = if self.apart || self.random.u8(0..3) == 0 { Overlap::None } else { Overlap::Allow };
        let command = if !self.apart && self.random.u8(0..3) == 0 {
            self.canary_command(if_generation, force, origin)
        } else if self.random.u8(0..5) == 0 {
            match self.random.u8(0..4) {
                0 => {
                    let timeout = Duration::from_millis(self.random.u64(1..20_000));
                    Command::Hold { timeout, replace: self.random.bool(), origin }
                }
                1 => Command::Release { origin },
                _ => Command::Maintain { on: self.random.bool(), origin },
            }
        } else if self.random.u8(0..3) == 0 {
            let quarantine = self.random.u8(0..4) == 0;
            let to = (self.random.u8(0..4) == 0).then(|| self.color());
            let dry_run = self.random.u8(0..6) == 0;
            Command::Rollback { to, if_generation, force, dry_run, quarantine, overlap, origin }
        } else if self.random.u8(0..8) == 0 {
            (self.promised_freeze, self.last_freeze) = (None, id);
            if self.random.bool() {
                let until = self.random.bool().then(|| self.now().wall + Duration::from_secs(self.random.u64(0..60)));
                Command::Freeze { until, replace: self.random.bool(), origin }
            } else {
                Command::Unfreeze { origin }
            }
        } else {
            let color = self.color();
            let to = match self.random.u8(0..5) {
                0 | 1 => Target::Color(color),
                2 => Target::Release(self.deployed[color].clone()),
                _ => Target::Other,
            };
            let dry_run = self.random.u8(0..6) == 0;
            let terms = self.terms();
            Command::Switch { to, if_generation, force, dry_run, overlap, terms, origin }
        };
        self.open.insert(id, command.clone());
        let before = self.live.clone();
        let forward =
            matches!(command, Command::Switch { .. } | Command::CanaryStart { .. } | Command::CanaryAdvance { .. });
        if forward && self.random.u8(0..10) == 0 {
            self.handle(Event::Obstructed(id, command, Refusal::FileBusy("it is being written".to_owned())));
            assert!(self.answered.contains(&id), "a command that can't begin waits");
            return;
        }
        self.handle(Event::Command(id, command.clone()));
        self.check_abort(&before, &command);
    }

    /// All guards, some, or none.
    fn force(&mut self) -> Force {
        match self.random.u8(0..10) {
            0 => Force::ALL,
            1 => Guard::NAMES.into_iter().map(|(_, guard)| guard).filter(|_| self.random.bool()).collect(),
            _ => Force::NONE,
        }
    }

    fn terms(&mut self) -> Terms {
        let mut seconds =
            |most: u64| (self.random.u8(0..4) == 0).then(|| Duration::from_secs(self.random.u64(0..most)));
        Terms { gate: seconds(20), bake: seconds(120), past_file: false }
    }

    /// A client hangs up, or says that it gives up.
    fn give_up(&mut self) {
        let open: Vec<_> = self.open.keys().copied().collect();
        let nobody = CommandId(1_000_000);
        let id = if open.is_empty() { nobody } else { open[self.random.usize(0..open.len())] };
        let before = self.live.clone();
        self.handle(Event::GivenUp(id));
        assert!(self.live.active == before.active || self.answered.contains(&id), "giving up moves nothing");
    }

    /// Requests come, if they are not held, and end; what the core waits for is told, sometimes late.
    fn traffic(&mut self) {
        let live = self.live.active;
        if !self.held && !self.live.maintenance && self.random.bool() {
            assert!(
                !self.apart || self.running[live.other()] == 0,
                "{live} gets a request while {} has some",
                live.other()
            );
            let color = if self.live.split().is_some() && self.random.bool() { live.other() } else { live };
            assert!(self.live.serves(color));
            self.running[color] += 1;
        }
        for color in Color::ALL {
            let ended = self.random.u64(0..=self.running[color]);
            self.running[color] -= if self.random.u8(0..3) == 0 { ended } else { 0 };
        }
        let Some((drain, end)) = self.emptying else { return };
        if end.is_some_and(|end| end <= self.now().mono) {
            self.running[live] = 0;
        }
        let left = InFlight { requests: self.running[live], ..InFlight::default() };
        self.late.push(if left == InFlight::default() {
            Event::Emptied(drain)
        } else {
            Event::StillInFlight(drain, left)
        });
    }

    fn edit(&mut self) {
        match self.random.u8(0..6) {
            5 => {
                let color = self.color();
                self.targets[color] += 1;
            }
            0 | 1 if self.apart => {}
            0 | 1 => self.file.active = self.color(),
            3 => {
                let color = self.color();
                self.schema[color] = labels(&mut self.random, self.labelled);
            }
            2 => {
                let color = self.color();
                self.deployed[color] = Release::new(&self.random.u8(1..6).to_string());
            }
            _ => self.write_back = self.random.bool(),
        }
        self.file.release = self.deployed[self.file.active].clone();
        self.own_words = false;
        self.named.insert((self.file.active, self.file.release.clone()));
        let event = Event::Configured(self.configured());
        self.handle(event);
    }

    /// The disk writes what was handed over first, and says so now, later, twice, or never.
    fn write_disk(&mut self) {
        let Some((commit, transition)) = self.queue.pop_front() else { return };
        if !self.disk_works {
            return self.late.push(Event::CommitFailed(commit, "no space left".to_owned()));
        }
        self.disk.push(transition);
        match self.random.u8(0..8) {
            0 => {
                self.late.push(Event::Committed(commit));
                self.late.push(Event::Committed(commit));
            }
            1..=5 => self.late.push(Event::Committed(commit)),
            _ => self.handle(Event::Committed(commit)),
        }
    }

    /// The owner of the file does what it was asked for first.
    fn write_file(&mut self) {
        let Some((color, durable)) = self.file_writes.pop_front() else { return };
        let result = if self.writable_file {
            self.file = FileOrder { active: color, release: self.deployed[color].clone() };
            self.own_words = durable;
            Ok(color)
        } else {
            Err("read-only".to_owned())
        };
        self.handle(Event::WroteBack(result));
    }

    fn deliver_late(&mut self) {
        if self.random.bool() {
            self.write_file();
        }
        if !self.late.is_empty() {
            let event = self.late.swap_remove(self.random.usize(0..self.late.len()));
            self.handle(event);
        }
    }

    fn pass_time(&mut self) {
        let most = if self.random.u8(0..4) == 0 { 40_000 } else { 400 };
        let time = Duration::from_millis(self.random.u64(1..most));
        self.elapsed += time;
        self.watch_for(time);
        if self.rollout.deadline().is_some_and(|deadline| deadline <= self.now().mono) {
            self.handle(Event::Tick);
        }
    }

    /// `kill -9`: what is in memory is gone; what was handed to the disk is written up to some point, and no
    /// acknowledgement comes any more.
    fn crash(&mut self) {
        let written = self.random.usize(0..=self.queue.len());
        for (_, transition) in self.queue.drain(..).take(written) {
            if self.disk_works {
                self.disk.push(transition);
            }
        }
        // What was asked of the file is done up to some point, too.
        for _ in 0..self.random.usize(0..=self.file_writes.len()) {
            let Some((color, durable)) = self.file_writes.pop_front() else { break };
            if self.writable_file {
                self.file = FileOrder { active: color, release: self.deployed[color].clone() };
                self.own_words = durable;
            }
        }
        self.file_writes.clear();
        self.late.clear();
        self.open.clear();
        // Their connections end with the process, and so does every hold.
        self.running = PerColor::default();
        (self.held, self.emptying) = (false, None);
        let decision = self.disk.last().expect("the first start is on disk").decision.clone();
        self.say(|| format!("crash; comes up on {decision:?}"));
        assert!(
            decision.generation >= self.promised,
            "generation {} was promised, and {} is in force after a crash",
            self.promised,
            decision.generation,
        );
        if let Some(frozen) = self.promised_freeze {
            // One that has its own end depends on the clock, which jumps here.
            let in_force = decision.freeze.as_ref().is_some_and(|freeze| freeze.until.is_none());
            assert_eq!(in_force, frozen, "what was promised of the freeze is not so after a crash");
        }
        let newest = self.disk.iter().map(|line| line.decision.generation).max();
        assert_eq!(newest, Some(decision.generation), "the last line is not the newest decision");
        self.live = decision.clone();
        self.seen_generations = BTreeSet::from([decision.generation]);
        self.promised = decision.generation;
        let overruled = self.file == decision.seen && self.file.active != decision.active;
        let relabeled = self.file.active == decision.active && self.file.release != decision.release;
        let own_words = self.own_words && !relabeled;
        let mut effects = Vec::new();
        let configured = self.configured();
        self.told = PerColor::default();
        self.rollout = Rollout::new(self.now(), decision.clone(), true, configured, &mut effects);
        self.check_restart(&decision, &effects);
        if overruled || own_words {
            let obeys = effects.iter().any(|effect| matches!(effect, Effect::Probe { .. }));
            assert!(!obeys, "a file that merely still says what was overruled was obeyed after a restart");
        }
        self.carry_out(effects);
    }

    fn configured(&self) -> Configured {
        let configured = configured(&self.file, &self.deployed, &self.schema, self.probed, self.write_back);
        let policy = self.canaries.policy.clone().expect("there is one");
        Configured { policy, targets: self.targets, checks: self.checks, ..configured }
    }

    fn handle(&mut self, event: Event) {
        self.say(|| format!("  <- {event:?}"));
        // What it forbids is judged by what was known before.
        self.live.lineage = self.rollout.view().decision.lineage;
        let mut effects = Vec::new();
        let relabels = matches!(event, Event::Configured(_));
        self.rollout.handle(self.now(), event, &mut effects);
        // A new label counts at once, and may allow a way back that waits for it.
        if relabels {
            self.live.lineage = self.rollout.view().decision.lineage;
        }
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            if let Effect::Commit(_, transition) = effect {
                self.check_safety(transition);
            }
        }
        for effect in effects {
            self.say(|| format!("  -> {effect:?}"));
            match effect {
                Effect::Probe { round, color, schema, .. } => {
                    assert!(self.probed || !schema, "nobody can be asked");
                    self.asked[color] = self.targets[color];
                    if schema {
                        self.look_at_store();
                    }
                    let passed = self.healthy[color];
                    // One in eight rounds never comes back.
                    if self.random.u8(0..8) != 0 {
                        self.late.push(Event::Probed(round, vec![probed(passed)]));
                    }
                }
                Effect::Check { round, color, back, endpoints, .. } => {
                    let asked = if back { self.checks.back } else { self.checks.forward };
                    assert!(asked, "checks are asked that nobody configured");
                    assert!(
                        !endpoints.is_empty() && self.asked[color] == self.targets[color],
                        "the health rounds come first"
                    );
                    // One in eight never comes back, and one in four fails.
                    if self.random.u8(0..8) != 0 {
                        self.late.push(Event::Checked(round, vec![checked(self.random.u8(0..4) != 0)]));
                    }
                }
                Effect::Commit(commit, transition) => {
                    self.check_checks(&transition);
                    // The file can order a move here, too (by a label, or after what overruled it was lost in a crash), and has
                    // no way to say "without overlap".
                    let by_file = transition.kind == Kind::Switch && transition.origin.trigger == Trigger::File;
                    self.apart &= !by_file;
                    self.check_automatic(&transition);
                    self.queue.push_back((commit, transition));
                }
                Effect::Publish(decision) => self.publish(decision),
                Effect::Drain(color, deadline) => {
                    assert_ne!(color, self.live.active, "the live color is being drained");
                    assert!(deadline >= self.now().mono, "a drain is over before it begins");
                    self.late.push(Event::Drained(Drained {
                        color,
                        took: Duration::from_millis(7),
                        ended: InFlight::default(),
                        timed_out: false,
                    }));
                }
                Effect::Hold(_) => (self.held, self.emptying) = (true, None),
                Effect::Empty(drain, end) => {
                    assert!(self.held, "nothing is held while the end of all requests is waited for");
                    self.emptying = Some((drain, end));
                }
                Effect::Release => {
                    assert!(self.held, "what is not held is released");
                    (self.held, self.emptying) = (false, None);
                }
                Effect::WriteBack(color) => {
                    assert!(self.write_back, "the file is written although write_back is off");
                    // Its owner does it some time later, and in order.
                    let durable = self.rollout.view().durable;
                    self.file_writes.push_back((color, durable));
                }
                Effect::Reply(id, result) => self.answered(id, result),
            }
        }
    }

    /// Nothing goes through a gate whose checks did not pass.
    fn check_checks(&self, transition: &Transition) {
        let Some(gate) = transition.gate.as_ref().filter(|_| transition.kind.moves()) else { return };
        // Whoever overrides the health of the target asks no check of it either; the data stores are asked all the same.
        let asked = if transition.kind == Kind::Rollback { self.checks.back } else { self.checks.forward };
        let asked = asked && !(transition.forced && transition.decision.by_force);
        let passed = gate.checks.iter().filter(|check| check.has_passed()).count();
        assert_eq!((gate.checks.len(), passed), if asked { (1, 1) } else { (0, 0) }, "{transition:?}");
    }

    /// The probes answer, or fail.
    fn look_at_store(&mut self) {
        if !self.probed {
            return;
        }
        for color in Color::ALL {
            let answer = match self.random.u8(0..3) {
                0 => Err("refused".to_owned()),
                _ => Ok(Version(self.random.u64(1..5))),
            };
            if let Ok(version) = answer {
                self.told[color] = Some((version, self.elapsed));
            }
            self.handle(Event::SchemaRead(vec![Reading { color, store: STORE.to_owned(), answer }]));
        }
    }

    /// What the store is at, as far as the core was told.
    fn current(&self) -> Option<Version> {
        let fresh = |told: Option<(Version, Duration)>| {
            told.filter(|(_, at)| self.elapsed - *at <= Duration::from_secs(10)).map(|(version, _)| version)
        };
        let (active, lineage) = (self.live.active, &self.live.lineage);
        let live = fresh(self.told[active]).or_else(|| fresh(self.told[active.other()]));
        let by_labels = lineage.steps.iter().filter_map(|step| step.labels.get(STORE)?.migrates_to);
        live.or_else(|| by_labels.chain(lineage.applied.get(STORE).copied()).max())
    }

    /// No move that nobody forced goes to a release that can't run on what is there, or leaves one behind that could
    /// not serve again, or goes back over a barrier.
    fn check_safety(&self, transition: &Transition) {
        let (to, release) = match &transition.decision.deployment {
            Some(canary) if transition.kind == Kind::Canary => (canary.candidate, &canary.release),
            _ => (transition.decision.active, &transition.decision.release),
        };
        let moves = to != self.live.active || transition.kind == Kind::Release;
        let is_move = matches!(transition.kind, Kind::Canary | Kind::Switch | Kind::Rollback | Kind::Release);
        if !moves || !is_move || (transition.forced && transition.origin.reason.is_some()) {
            return;
        }
        let current = self.current();
        let label = self.schema[to].get(STORE).filter(|_| self.deployed[to] == *release);
        if let (Some(label), Some(current)) = (label, current) {
            assert!(label.needs.contains(current), "{release} needs {} and the store is at {current}", label.needs);
        }
        let serves = self.live.active;
        let forward = matches!(transition.kind, Kind::Canary | Kind::Switch);
        let by_file = self.deployed[serves] == self.live.release && forward;
        let left = self.schema[serves].get(STORE).filter(|_| by_file);
        if let (Some(version), Some(left)) = (label.and_then(|label| label.migrates_to), left) {
            let takes_back = current.is_some_and(|current| version < current);
            assert!(left.needs.contains(version) || takes_back, "{} could not serve again", self.live.release);
        }
        if transition.kind == Kind::Rollback {
            assert_eq!(self.live.lineage.overridden, None, "the switch was forced over the way back");
            let after = self.live.lineage.steps.iter().rev().take_while(|step| step.release != *release);
            for step in after {
                let barrier = step.labels.get(STORE).map(|label| label.barrier);
                assert!(barrier != Some(Barrier::FirstWrite) || step.written.is_none(), "over a first write");
                assert!(barrier != Some(Barrier::Applied) || self.probed, "over a barrier");
            }
        }
    }

    fn publish(&mut self, decision: Decision) {
        assert!(decision.generation > self.live.generation, "generations only grow");
        assert!(self.seen_generations.insert(decision.generation), "a generation was used twice");
        let on_disk = self.disk.iter().any(|line| line.decision.generation == decision.generation);
        let back = self.queue.iter().all(|(_, line)| line.decision.generation != decision.generation) && !on_disk;
        let moves = decision.active != self.live.active;
        let goes_back = moves && decision.previous.is_none();
        if moves && !goes_back {
            let frozen = self.rollout.view().decision.freeze;
            assert!(frozen.is_none(), "moved forward while it is frozen: {decision:?}");
        }
        let named = |command: &Command| matches!(command, Command::Rollback { to: Some(to), dry_run: false, .. } if *to == decision.active);
        let named = self.open.values().any(named);
        if named {
            self.named.insert((decision.active, decision.release.clone()));
        }
        if goes_back && !named {
            let previous = self.live.previous.as_ref().expect("a way back");
            assert!(previous.known_good.is_some(), "rolled back to what was never known good");
        }
        if back {
            // Visible before it is durable: only a way back, or taking something back before it was seen.
            let previous = self.live.previous.as_ref();
            let to_previous = previous.is_some_and(|p| p.color == decision.active && p.release == decision.release);
            let stays = decision.active == self.live.active && decision.release == self.live.release;
            assert!(to_previous || stays || named, "a forward move was visible before it was on disk: {decision:?}");
        } else {
            assert!(on_disk, "a forward move was visible while it was being written: {decision:?}");
            let mut lines = self.disk.iter().filter(|line| line.decision.generation == decision.generation);
            let forced = lines.next().is_some_and(|line| line.forced);
            for color in Color::ALL.into_iter().filter(|color| decision.serves(*color) && !self.live.serves(*color)) {
                assert!(
                    forced || self.asked[color] == self.targets[color],
                    "{color} serves, and was not asked: {decision:?}"
                );
            }
        }
        self.check_stages(&decision);
        self.live = decision;
    }

    fn answered(&mut self, id: CommandId, result: Result<Outcome, Refusal>) {
        assert!(self.answered.insert(id), "{id:?} was answered twice");
        let command = self.open.remove(&id).expect("only what was asked is answered");
        match result {
            Ok(outcome) => {
                if outcome.dry_run {
                    return;
                }
                // Moves may have come between a freeze and its line.
                let moves_nothing = matches!(
                    command,
                    Command::Freeze { .. }
                        | Command::Unfreeze { .. }
                        | Command::CanaryHold { .. }
                        | Command::CanaryResume { .. }
                );
                if !moves_nothing {
                    assert_eq!(outcome.generation, self.live.generation, "the answer names another generation");
                    assert_eq!(outcome.active, self.live.active, "the answer names another color than the live one");
                }
                if outcome.durable {
                    self.promised = self.promised.max(outcome.generation);
                }
                match command {
                    _ if !outcome.durable || id != self.last_freeze => {}
                    Command::Freeze { until: None, .. } => self.promised_freeze = Some(true),
                    Command::Unfreeze { .. } => self.promised_freeze = Some(false),
                    _ => {}
                }
                if matches!(command, Command::Release { .. }) {
                    assert!(!self.held, "released, and still held");
                }
                if let Command::Switch { to: Target::Color(to), .. } = command {
                    assert_eq!(outcome.active, to);
                }
            }
            Err(Refusal::NotDurable(_)) => {
                assert!(
                    !matches!(command, Command::Rollback { .. } | Command::CanaryAbort { .. }),
                    "a rollback waits for no disk"
                );
            }
            Err(_) => {}
        }
    }

    fn check(&mut self) {
        let view = self.rollout.view();
        if view.rollback.is_ok() && view.decision.lineage.overridden.is_some() {
            assert!(matches!(view.safety, Safety::No(_)), "a forced switch has to be seen");
        }
        self.live.lineage.clone_from(&view.decision.lineage);
        assert_eq!(view.hold.is_some(), self.held, "the core and the live snapshot disagree on the hold");
        assert_eq!(view.decision.generation, self.live.generation, "the core and the live snapshot disagree");
        assert_eq!(view.decision.active, self.live.active, "the core and the live snapshot disagree");
        self.check_deployment(&view.decision);
        assert!(self.named.contains(&(self.live.active, self.live.release.clone())) || self.was_deployed());
        if view.durable {
            let line = self.disk.iter().any(|line| line.decision.generation == view.decision.generation);
            assert!(line, "durable, and not on disk");
        }
    }

    fn was_deployed(&self) -> bool {
        self.disk.iter().any(|line| line.decision.active == self.live.active)
            || self.queue.iter().any(|(_, line)| line.decision.active == self.live.active)
    }

    /// With a disk that works and time that passes, every command gets its answer and the decision becomes durable.
    fn come_to_rest(&mut self) {
        self.disk_works = true;
        for _ in 0..400 {
            self.running = PerColor::default();
            self.traffic();
            while !self.queue.is_empty() || !self.late.is_empty() || !self.file_writes.is_empty() {
                self.write_disk();
                self.deliver_late();
            }
            self.elapsed += Duration::from_secs(5);
            self.watch_for(Duration::from_secs(5));
            self.handle(Event::Tick);
            self.check();
            if self.open.is_empty()
                && !self.held
                && self.rollout.view().durable
                && self.queue.is_empty()
                && self.late.is_empty()
            {
                let last = self.disk.last().expect("a line").decision.generation;
                assert_eq!(last, self.live.generation, "at rest, the last line is the decision in force");
                let written = |decision: &Decision| {
                    let steps = decision.lineage.steps.iter().filter(|step| step.written.is_some());
                    steps.map(|step| step.release.clone()).collect::<Vec<_>>()
                };
                let on_disk = &self.disk.last().expect("a line").decision;
                assert_eq!(written(on_disk), written(&self.rollout.view().decision), "a first write is not on disk");
                return;
            }
        }
        panic!("not at rest: open {:?}, durable {}", self.open, self.rollout.view().durable);
    }

    fn now(&self) -> Now {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(self.wall_offset) + self.elapsed;
        Now { mono: self.start + self.elapsed, wall }
    }

    fn color(&mut self) -> Color {
        if self.random.bool() { Color::Blue } else { Color::Green }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9.3}s {}", self.elapsed.as_secs_f64(), line());
        }
    }
}

/// The one data store.
const STORE: &str = "orders";

/// What a release may say of it.
fn labels(random: &mut fastrand::Rng, labelled: bool) -> Labels {
    if !labelled || random.u8(0..5) == 0 {
        return Labels::new();
    }
    let (low, high) = (random.u64(1..3), random.u64(3..5));
    let label = Label {
        needs: format!(">={low}, <={high}").parse().expect("a range"),
        migrates_to: random.bool().then(|| Version(random.u64(low..=high))),
        barrier: [Barrier::None, Barrier::None, Barrier::Applied, Barrier::FirstWrite][random.usize(0..4)],
    };
    Labels::from([(STORE.to_owned(), label)])
}

fn configured(
    file: &FileOrder,
    deployed: &PerColor<Release>,
    schema: &PerColor<Labels>,
    probed: bool,
    write_back: bool,
) -> Configured {
    let stores = || if probed { [STORE.to_owned()].into() } else { BTreeSet::new() };
    Configured {
        order: file.clone(),
        deployed: deployed.clone(),
        schema: schema.clone(),
        probed: PerColor::from_fn(|_| stores()),
        gate: GatePolicy { quorum_percent: 100, passes: 1, timeout: Duration::from_secs(30) },
        checks: Checks::default(),
        drain_timeout: Duration::from_secs(30),
        policy: policy(&mut fastrand::Rng::with_seed(1), true),
        hold_timeout: Duration::from_secs(10),
        targets: PerColor::default(),
        file_orders: true,
        order_window: Duration::from_secs(3_600),
        secret: 0,
        write_back,
        path: "cutover.toml".to_owned(),
    }
}

fn origin(trigger: Trigger) -> Origin {
    Origin { trigger, actor: "sim".to_owned(), source: String::new(), reason: None, key: None }
}

fn checked(passed: bool) -> CheckReport {
    CheckReport {
        check: "login".to_owned(),
        upstream: "default".to_owned(),
        endpoints: 1,
        passed: u32::from(passed),
        failures: Vec::new(),
        at: SystemTime::UNIX_EPOCH,
        took: Duration::from_millis(1),
    }
}

fn probed(passed: bool) -> Probed {
    Probed {
        upstream: "default".to_owned(),
        endpoint: "127.0.0.1:1".to_owned(),
        passed,
        detail: "200".to_owned(),
        at: SystemTime::UNIX_EPOCH,
        took: Duration::from_millis(1),
    }
}
