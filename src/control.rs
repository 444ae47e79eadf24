//! The controller: one task that owns the [`Rollout`], feeds it events, and carries out its effects.
//!
//! It awaits no I/O, except in an upgrade, when it decides no more: slow work is handed to other tasks and returns as
//! an event, so it answers even if a disk hangs. It runs on the main thread.
//! All decisions about traffic pass through here, in one order.

mod analysis;
mod canary;
mod certificates;
mod check;
mod configured;
mod drains;
mod execute;
mod file;
pub(crate) mod handle;
mod handover;
mod headline;
mod health;
mod hold;
mod inbox;
mod linger;
mod names;
mod needs;
mod notices;
mod numbers;
mod order;
mod pieces;
pub(crate) mod predecessor;
pub(crate) mod probe;
mod records;
mod replies;
mod schema;
mod spans;
mod stage;
mod stated;
mod status;
pub(crate) mod timeline;
mod upgrade;
mod way_back;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::config::Config;
use crate::config::watch::{FileEvent, Looked, PATIENCE, StageError, Staged, Watch};
use crate::control::analysis::Analysis;
use crate::control::certificates::Certificates;
use crate::control::configured::configured;
pub(crate) use crate::control::configured::first_decision;
use crate::control::drains::Drains;
use crate::control::file::File;
use crate::control::handle::{Access, ControllerHandle, News, ReloadOutcome, Request, Ticket, UpgradeOrder};
use crate::control::hold::Holding;
use crate::control::inbox::{Inbox, Incoming};
use crate::control::names::Names;
use crate::control::notices::Notices;
use crate::control::numbers::Numbers;
use crate::control::order::Orders;
use crate::control::predecessor::Predecessors;
use crate::control::probe::Probers;
use crate::control::records::Records;
use crate::control::replies::Replies;
use crate::control::schema::StoreProbes;
use crate::control::spans::Spans;
use crate::control::stage::Staging;
use crate::control::stated::StatedReleases;
use crate::control::status::Addresses;
use crate::domain::clock::Now;
use crate::domain::color::{Color, PerColor};
use crate::domain::gate::{CheckReport, Probed};
use crate::domain::release::Release;
use crate::domain::rollout::{CommitId, Effect, Event, Fitness, Refusal, Rollout, RoundId};
use crate::domain::schema::{FirstWrite, Reading};
use crate::domain::transition::{Decision, Drained};
use crate::ledger::answers::Answers;
use crate::ledger::{Ledger, Recovered, ticks};
use crate::proxy::precedence;
use crate::proxy::publisher::{Publisher, Warming};
use crate::proxy::snapshot::first_write::FirstWriteSeen;
use crate::proxy::snapshot::trust::Trust;
use crate::telemetry::access_log::AccessLogWriter;
use crate::tls::TlsError;

const POLL: Duration = Duration::from_secs(2);
const MAILBOX: usize = 256;
/// The longest time that requests make way for one move. Checks of many endpoints prolong it: they take turns.
const PRECEDENCE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Parts {
    pub config: Arc<Config>,
    pub path: std::path::PathBuf,
    pub text: String,
    pub decision: Decision,
    pub durable: bool,
    pub publisher: Publisher,
    pub ledger: Ledger,
    pub recovered: Recovered,
    pub access_log: Arc<AccessLogWriter>,
    pub http_address: std::net::SocketAddr,
    pub https_address: Option<std::net::SocketAddr>,
    pub preview_address: Option<std::net::SocketAddr>,
    /// The assembly's, for whoever asks for an upgrade.
    pub upgrades: mpsc::Sender<UpgradeOrder>,
}

#[derive(Debug)]
enum Input {
    Committed(CommitId, Result<u64, String>),
    /// The connections for a move are there, or late.
    Warmed(CommitId),
    AddressesChanged,
    /// The names of a color were looked up; its endpoints are next.
    LookedUp(RoundId, Color, bool),
    Probed(RoundId, Color, Vec<Reading>, Vec<(u64, Probed)>, Option<Warming>),
    Checked(RoundId, Vec<CheckReport>, Option<Warming>),
    Drain(Event),
    Drained(u64, Drained),
    /// With the TLS material of an edit.
    File(FileEvent, Option<Result<Trust, Vec<TlsError>>>),
    Certificates(bool, Vec<TlsError>),
    SchemaRead(Vec<Reading>),
    Cpu(PerColor<u64>, analysis::Reading),
    Looked(oneshot::Sender<Result<ReloadOutcome, Refusal>>, Looked),
    Ordered(Ticket, Looked),
    StageLooked(u64, Looked),
    Staged(u64, Result<Staged, StageError>),
}

/// The task that decides about traffic. Its parts own their fields: other files change them by their methods.
#[derive(Debug)]
pub(crate) struct Controller {
    rollout: Rollout,
    config: Arc<Config>,
    file: File,
    predecessors: Predecessors,
    watch: Watch,
    publisher: Publisher,
    probers: Probers,
    /// The connections for the move that has just passed its gate.
    warming: Option<Warming>,
    /// A move whose line is on disk, and whose connections are being made.
    waiting_for_connections: Option<(CommitId, Result<u64, String>)>,
    names: Names,
    certificates: Certificates,
    stores: StoreProbes,
    stated: StatedReleases,
    fitness: PerColor<Fitness>,
    addresses: Addresses,
    access_log: Arc<AccessLogWriter>,
    access: watch::Sender<Access>,

    inputs: mpsc::UnboundedSender<Input>,
    inbox: Inbox,
    news: broadcast::Sender<News>,
    replies: Replies,
    orders: Orders,
    staging: Staging,

    records: Records,
    notices: Notices,
    drains: Drains,
    checking: Option<check::Checking>,
    hold: Holding,
    linger: linger::Lingering,
    analysis: Analysis,
    numbers: Numbers,
    spans: Spans,
    started: Instant,
    /// Requests make way for the present move until then.
    precedence_ends: Option<Instant>,
    /// The last command is no forward move, so control does not pause for requests.
    hurries: bool,
}

impl Controller {
    pub(crate) fn new(
        mut parts: Parts,
        ready: watch::Receiver<bool>,
    ) -> std::io::Result<(ControllerHandle, Controller, Vec<Effect>)> {
        let (inputs, inbox) = mpsc::unbounded_channel();
        let (request_sender, requests) = mpsc::channel(MAILBOX);
        let (changes, health_changes) = mpsc::unbounded_channel();
        let (news, _) = broadcast::channel(256);
        let access = watch::Sender::new(Access::new(&parts.config, parts.publisher.trusted()));
        let file_inputs = inputs.clone();
        let trust = Mutex::new(parts.publisher.trusted().clone());
        let pause = precedence::pause;
        let watch =
            Watch::start(parts.path.clone(), parts.text, Arc::clone(&parts.config), POLL, pause, move |event| {
                // Certificates are read on this thread: a hanging file system must not block the controller.
                let trust = match &event {
                    FileEvent::Edited(config) => {
                        let mut trust = trust.lock().unwrap_or_else(PoisonError::into_inner);
                        let loaded = trust.load(config);
                        if let Ok(loaded) = &loaded {
                            *trust = loaded.clone();
                        }
                        Some(loaded)
                    }
                    FileEvent::Invalid(_) | FileEvent::Restored | FileEvent::WroteBack(_) => None,
                };
                // The receiver is gone when the process ends.
                let _ = file_inputs.send(Input::File(event, trust));
            })?;
        let first_writes = parts.publisher.first_writes().expect("nobody else listens");
        let wrong_releases = parts.publisher.wrong_releases().expect("nobody else listens");
        let lines = parts.recovered.transitions.into_iter();
        let lines: Vec<_> = lines.map(|(sequence, transition)| (sequence, Arc::new(transition))).collect();
        let (alarm, alarms) = mpsc::unbounded_channel();
        let notices = Notices::start(&parts.config, &lines, alarm);
        let records = Records::new(parts.ledger, lines, parts.durable);
        let found = parts.decision.deployment.as_ref().map(|deployment| deployment.id);
        let analysis = Analysis::start(&parts.config, &parts.publisher, found)?;
        let mut effects = Vec::new();
        let configured = configured(&parts.config, &parts.path);
        let mut rollout = Rollout::new(now(), parts.decision, parts.durable, configured, &mut effects);
        if let Some((code, sentence)) = records.last_refused_order() {
            rollout.recall_refused(&code, &sentence);
        }
        let probers = Probers::new(parts.config.health.clone(), changes);
        let names = Names::new(parts.config.resolver.clone(), inputs.clone());
        let spans = Spans::start(&parts.config, parts.publisher.spans(), parts.publisher.routes());
        let answers = Answers::open(&parts.config.state.dir);
        let access_seen = access.subscribe();
        let handle = ControllerHandle {
            requests: request_sender,
            news: news.clone(),
            ready,
            access: access_seen,
            answers,
            upgrades: parts.upgrades,
        };
        let controller = Controller {
            rollout,
            config: parts.config,
            file: File::new(parts.path),
            predecessors: Predecessors::default(),
            watch,
            publisher: parts.publisher,
            probers,
            warming: None,
            waiting_for_connections: None,
            precedence_ends: None,
            hurries: false,
            names,
            certificates: Certificates::default(),
            stores: StoreProbes::default(),
            stated: StatedReleases::default(),
            fitness: canary::unknown(),
            addresses: Addresses::new(parts.http_address, parts.https_address, parts.preview_address),
            access_log: parts.access_log,
            access,
            inputs,
            inbox: Inbox::new((inbox, requests), health_changes, first_writes, wrong_releases, alarms),
            news,
            replies: Replies::default(),
            orders: Orders::default(),
            staging: Staging::default(),
            records,
            notices,
            drains: Drains::default(),
            checking: None,
            hold: Holding::default(),
            linger: linger::Lingering::default(),
            analysis,
            numbers: Numbers::default(),
            spans,
            started: Instant::now(),
        };
        Ok((handle, controller, effects))
    }

    /// Runs until `stop` resolves; returns the publisher for the shutdown of the data plane.
    pub(crate) async fn run(mut self, first: Vec<Effect>, stop: impl Future<Output = ()>) -> Publisher {
        self.names.reconcile(self.publisher.names());
        self.probers.reconcile(self.publisher.pools().iter().flat_map(|(_, pools)| pools));
        self.carry_out(first);
        self.recall_lingering();
        let mut stop = std::pin::pin!(stop);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            let deadline = self.rollout.deadline();
            let alarm = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut stop => break,
                incoming = self.inbox.next() => match incoming {
                    Incoming::Request(Request::HandOver(answer)) => {
                        if self.hand_over(answer).await {
                            self.answer_last(&mut stop).await;
                            break;
                        }
                    }
                    incoming => {
                        self.take_precedence(&incoming);
                        self.incoming(incoming);
                        self.give_precedence_back();
                    }
                },
                () = self.predecessors.readable() => self.predecessors.read(),
                () = alarm => self.handle(Event::Tick),
                () = tokio::time::sleep_until((looked + self.config.analysis.tick).into()) => {
                    looked = Instant::now();
                    self.analyze_tick();
                }
                _ = second.tick() => {
                    // A freeze ends by the wall clock, which may have been set.
                    self.handle(Event::Tick);
                    self.probe_stores();
                    let readings = self.publisher.meters().read();
                    if let Some(point) = self.numbers.sample(&readings) {
                        let _ = self.news.send(News::Numbers(point));
                    }
                    self.read_certificates();
                    self.compare_stated_releases();
                    self.expire_lingering();
                    self.report_fitness();
                }
            }
        }
        let mut last = Vec::new();
        self.rollout.write_waiting_records(now(), &mut last);
        self.carry_out(last);
        self.spans.finish().await;
        self.publisher
    }

    /// Requests make way for a command, and for the steps of a move, but not for long.
    fn take_precedence(&mut self, incoming: &Incoming) {
        let now = Instant::now();
        if let Incoming::Request(Request::Command(_, _, command, _)) = incoming {
            self.precedence_ends = Some(now + PRECEDENCE);
            self.hurries = !self.goes_forward(command);
        }
        let is_step = matches!(incoming, Incoming::Request(Request::Command(..)) | Incoming::Input(_));
        if is_step && self.precedence_ends.is_some_and(|ends| now < ends) {
            precedence::give(now, self.hurries || self.rollout.is_going_back());
        }
    }

    fn give_precedence_back(&mut self) {
        let owes = !self.orders.is_empty() || !self.replies.is_empty() || !self.records.is_settled();
        if owes || self.rollout.is_moving() || self.file.is_being_written() {
            self.precedence_ends.get_or_insert_with(|| Instant::now() + PRECEDENCE);
        } else {
            (self.precedence_ends, self.hurries) = (None, false);
            precedence::end();
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Input(input) => self.input(input),
            Incoming::Request(request) => self.request(request),
            Incoming::Health(change) => self.health_changed(change),
            Incoming::FirstWrite(seen) => self.first_write(seen),
            Incoming::WrongRelease(wrong) => self.wrong_release(wrong),
            Incoming::Alarm(alarm) => self.notices.alarm(&alarm),
        }
    }

    fn first_write(&mut self, FirstWriteSeen { release, at, request }: FirstWriteSeen) {
        self.handle(Event::FirstWrite(Release::new(&release), FirstWrite { at, request }));
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.rollout.handle(now(), event, &mut effects);
        self.carry_out(effects);
        // A refused or cancelled move leaves connections.
        Color::ALL.into_iter().for_each(|color| self.close_unused(color));
        self.abort_obsolete_checks();
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Committed(commit, result) => self.committed(commit, result),
            Input::Warmed(commit) => self.end_wait_for_connections(Some(commit)),
            Input::AddressesChanged => self.endpoints_changed(),
            Input::LookedUp(round, color, schema) => self.probe_round(round, color, schema),
            Input::Probed(round, color, readings, results, warming) => {
                self.probed(round, color, readings, results, warming)
            }
            Input::Checked(round, results, warming) => self.checked(round, results, warming),
            Input::Drain(event) => self.handle(event),
            Input::Drained(number, drained) => self.drained(number, drained),
            Input::File(event, trust) => self.file_event(event, trust),
            Input::SchemaRead(readings) => {
                self.stores.end_reading();
                self.handle(Event::SchemaRead(readings));
            }
            Input::Cpu(assigned, reading) => self.analysis.cpu.read(Instant::now(), assigned, &reading),
            Input::Certificates(changed, errors) => self.certificates_read(changed, errors),
            Input::Looked(answer, looked) => {
                let taken = order::taken_in(looked, self.file.error());
                let _ = answer.send(taken.map(|changed| ReloadOutcome { changed }));
            }
            Input::Ordered(ticket, looked) => self.ordered(ticket, looked),
            Input::StageLooked(number, looked) => self.stage_looked(number, looked),
            Input::Staged(number, staged) => self.staged(number, staged),
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Command(ticket, mark, command, answer) => self.order(ticket, command, mark, answer),
            Request::GiveUp(ticket) => self.give_up(ticket),
            Request::Stage(order, answer) => self.stage(order, answer),
            Request::Status(answer) => {
                self.predecessors.read();
                let _ = answer.send(self.status());
            }
            Request::History { limit, before, filter, answer } => {
                let _ = answer.send(self.records.history().page(limit, before, &filter));
            }
            Request::Timeline(answer) => {
                let _ = answer.send(self.numbers.points());
            }
            Request::OfKey(actor, key, answer) => {
                let _ = answer.send(self.records.history().of_key(&actor, &key).cloned());
            }
            Request::Releases(answer) => {
                let _ = answer.send(self.records.history().runs());
            }
            Request::Verify(answer) => self.records.ledger().verify(move |verified| {
                let _ = answer.send(verified);
            }),
            Request::Deployments(answer) => {
                let state = self.config.state.dir.clone();
                tokio::task::spawn_blocking(move || answer.send(ticks::known(&state)));
            }
            Request::Record(id, answer) => {
                let read = self.analysis.record(id);
                tokio::task::spawn_blocking(move || answer.send(read()));
            }
            Request::Reload(answer) => {
                // As with SIGHUP: log rotation asks for a reload.
                self.access_log.reopen();
                let inputs = self.inputs.clone();
                self.watch.reload(PATIENCE, move |looked| {
                    // Queued behind the file's event, so that the edit is in force when the answer comes.
                    let _ = inputs.send(Input::Looked(answer, looked));
                });
            }
            Request::Config(answer) => {
                let _ = answer.send(self.config.render());
            }
            Request::Unusable(answer) => {
                let _ = answer.send(self.config.unusable.clone());
            }
            Request::NotifyTest(sink, all, answer) => self.notices.test(sink.as_deref(), all, answer),
            Request::TryDisk(answer) => {
                let state = self.config.state.dir.clone();
                tokio::task::spawn_blocking(move || answer.send(Ledger::try_disk(&state)));
            }
            Request::Metrics(format, answer) => {
                let _ = answer.send(self.metrics(format));
            }
            // Taken by `run`, which can wait.
            Request::HandOver(_) => {}
        }
    }
}

fn now() -> Now {
    Now { mono: Instant::now(), wall: SystemTime::now() }
}
