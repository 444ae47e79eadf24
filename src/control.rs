//! The controller: one task that owns the [`Rollout`], feeds it events, and carries out its effects.
//!
//! It awaits no I/O of its own: whatever takes time is handed on and comes back as an event, so it always answers, also
//! with a disk that hangs. Everything that is decided about traffic goes through here, in one order.

mod analysis;
mod back;
mod canary;
mod certificates;
mod check;
mod configured;
mod execute;
pub(crate) mod handle;
mod headline;
mod health;
mod hold;
mod linger;
mod names;
mod needs;
mod notices;
mod order;
pub(crate) mod probe;
mod schema;
mod stage;
mod stated;
mod status;
pub(crate) mod timeline;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::error::{ConfigError, Diagnostic, UnusableFile};
use crate::config::watch::{FileEvent, Looked, PATIENCE, StageError, Staged, Watch};
use crate::config::{Config, TokenConfig};
use crate::control::analysis::Analysis;
use crate::control::configured::configured;
pub(crate) use crate::control::configured::first_decision;
use crate::control::handle::{ControllerHandle, News, ReloadOutcome, Request, Ticket};
use crate::control::hold::Holding;
use crate::control::names::Names;
use crate::control::notices::Notices;
use crate::control::order::Orders;
use crate::control::probe::{HealthChange, Probers};
use crate::control::stage::Staging;
use crate::control::stated::StatedReleases;
use crate::control::status::Rates;
use crate::control::timeline::Timeline;
use crate::domain::clock::Now;
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::DeploymentId;
use crate::domain::gate::{CheckReport, Probed};
use crate::domain::history::{Filter, History};
use crate::domain::release::Release;
use crate::domain::rollout::{CommandId, CommitId, Effect, Event, Fitness, Outcome, Refusal, Rollout, RoundId};
use crate::domain::schema::{FirstWrite, Reading};
use crate::domain::transition::Drained;
use crate::domain::transition::{Decision, Generation, Kind, Origin, Transition, Trigger};
use crate::ledger::answers::Answers;
use crate::ledger::{Ledger, Recovered, ticks};
use crate::notify::Alarm;
use crate::proxy::live::{Drain, Publisher};
use crate::proxy::pool::stated::WrongRelease;
use crate::proxy::snapshot::first_write::FirstWriteSeen;
use crate::proxy::snapshot::trust::Trust;
use crate::telemetry::access_log::AccessLogWriter;
use crate::telemetry::metrics::Tallies;
use crate::tls::TlsError;

/// Where the file is read again when no events come.
const POLL: Duration = Duration::from_secs(2);
/// So many transitions are looked through for the last order in the file.
const HISTORY_LOOKED_THROUGH: usize = 200;
/// Requests that may wait for the controller.
const MAILBOX: usize = 256;

/// What a controller starts with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// In force.
    pub config: Arc<Config>,
    /// Its file.
    pub path: std::path::PathBuf,
    /// The file's text.
    pub text: String,
    /// In force, and published.
    pub decision: Decision,
    /// It is on disk.
    pub durable: bool,
    /// The grip on the data plane.
    pub publisher: Publisher,
    /// The open ledger.
    pub ledger: Ledger,
    /// What it held.
    pub recovered: Recovered,
    /// To be told of reloads.
    pub access_log: Arc<AccessLogWriter>,
    /// Where traffic is served.
    pub http_address: std::net::SocketAddr,
    /// Where with TLS.
    pub https_address: Option<std::net::SocketAddr>,
    /// Where for previews.
    pub preview_address: Option<std::net::SocketAddr>,
}

/// What comes in from those the controller has handed work to.
#[derive(Debug)]
enum Input {
    Committed(CommitId, Result<u64, String>),
    AddressesChanged,
    /// The names of a color were asked for; now its endpoints are.
    LookedUp(RoundId, Color, bool),
    Probed(RoundId, Color, Vec<Reading>, Vec<(u64, Probed)>),
    Checked(RoundId, Vec<CheckReport>),
    Drain(Event),
    Drained(u64, Drained),
    /// What happened to the file; with an edit, what it needs of TLS.
    File(FileEvent, Option<Result<Trust, Vec<TlsError>>>),
    Certificates(bool, Vec<TlsError>),
    SchemaRead(Vec<Reading>),
    Cpu(PerColor<u64>, analysis::Reading),
    Looked(oneshot::Sender<Result<ReloadOutcome, Refusal>>, Looked),
    Ordered(Ticket, Looked),
    StageLooked(u64, Looked),
    Staged(u64, Result<Staged, StageError>),
}

/// A drain under way.
#[derive(Debug)]
struct Draining {
    color: Color,
    number: u64,
    deadline: Instant,
    drain: Drain,
    task: JoinHandle<()>,
}

/// Who waits for the answer to a command.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    trigger: &'static str,
    /// It asks for a move.
    counts: bool,
    origin: Origin,
    /// The file could not be taken in first.
    file_problem: Option<String>,
    answer: oneshot::Sender<Result<Outcome, Refusal>>,
}

/// The controller.
#[derive(Debug)]
pub(crate) struct Controller {
    rollout: Rollout,
    config: Arc<Config>,
    config_error: Option<ConfigError>,
    /// The newest valid text is not in force, because the certificates that it names can't be used.
    not_in_force: Option<ConfigError>,
    config_valid_at: SystemTime,
    path: std::path::PathBuf,
    publisher: Publisher,
    ledger: Ledger,
    watch: Watch,
    probers: Probers,
    names: Names,
    access_log: Arc<AccessLogWriter>,
    tokens: watch::Sender<Arc<[TokenConfig]>>,
    http_address: std::net::SocketAddr,
    https_address: Option<std::net::SocketAddr>,
    preview_address: Option<std::net::SocketAddr>,
    /// Why the certificates in force are not those in the files.
    certificate_errors: Vec<TlsError>,
    /// The files of certificates are being read.
    reading_certificates: bool,
    /// The probes of the data stores are being asked, for the status.
    reading_schema: bool,
    first_writes: mpsc::UnboundedReceiver<FirstWriteSeen>,
    wrong_releases: mpsc::UnboundedReceiver<WrongRelease>,
    stated: StatedReleases,
    /// What the core was told of the colors' checks.
    fitness: PerColor<Fitness>,

    inputs: mpsc::UnboundedSender<Input>,
    inbox: mpsc::UnboundedReceiver<Input>,
    requests: mpsc::Receiver<Request>,
    health_changes: mpsc::UnboundedReceiver<HealthChange>,
    news: broadcast::Sender<News>,

    waiting: HashMap<CommandId, Waiting>,
    orders: Orders,
    staging: Staging,
    /// Edits of the file that are under way.
    write_backs: watch::Sender<usize>,
    next_command: u64,
    commits: HashMap<CommitId, Arc<Transition>>,
    history: History,
    /// What the last publish retired, until the core says how long it may take to drain.
    retired: Option<Drain>,
    /// The last rollback that was announced; it may not be on disk yet.
    announced: Generation,
    notices: Notices,
    alarms: mpsc::UnboundedReceiver<Alarm>,
    draining: Option<Draining>,
    /// The checks that are being asked for a gate.
    checking: Option<check::Checking>,
    last_drain: Option<Drained>,
    hold: Holding,
    linger: linger::Lingering,
    next_drain: u64,
    analysis: Analysis,
    /// The deployment that was under way when the process started.
    found_at_start: Option<DeploymentId>,
    /// The last line that turned maintenance on or off.
    maintained: Option<(SystemTime, Origin)>,
    /// The ledger can't be written: since when, and why.
    ledger_trouble: Option<(SystemTime, String)>,
    /// When that was logged last.
    ledger_told: Instant,
    tallies: Tallies,
    rates: Rates,
    timeline: Timeline,
    started: Instant,
}

impl Controller {
    /// Takes up the decision in force; the handle, and the task to run.
    pub(crate) fn new(
        mut parts: Parts,
        ready: watch::Receiver<bool>,
    ) -> std::io::Result<(ControllerHandle, Controller, Vec<Effect>)> {
        let (inputs, inbox) = mpsc::unbounded_channel();
        let (request_sender, requests) = mpsc::channel(MAILBOX);
        let (changes, health_changes) = mpsc::unbounded_channel();
        let (news, _) = broadcast::channel(256);
        let tokens = watch::Sender::new(Arc::from(parts.config.admin.tokens.clone()));
        let file_inputs = inputs.clone();
        let trust = Mutex::new(parts.publisher.trusted().clone());
        let watch = Watch::start(parts.path.clone(), parts.text, Arc::clone(&parts.config), POLL, move |event| {
            // Certificates are read on this thread: a file system that hangs must not hold up the controller.
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
            // Nobody listens any more when the process ends.
            let _ = file_inputs.send(Input::File(event, trust));
        })?;
        let first_writes = parts.publisher.first_writes().expect("nobody else listens");
        let wrong_releases = parts.publisher.wrong_releases().expect("nobody else listens");
        let mut history = History::default();
        let lines = parts.recovered.transitions.into_iter();
        let lines: Vec<_> = lines.map(|(sequence, transition)| (sequence, Arc::new(transition))).collect();
        let (alarm, alarms) = mpsc::unbounded_channel();
        let notices = Notices::start(&parts.config, &lines, alarm);
        for (sequence, transition) in lines {
            history.push(sequence, transition);
        }
        let maintained = history.newest_first().find(|(_, line)| line.kind == Kind::Maintenance);
        let maintained = maintained.map(|(_, line)| (line.at, line.origin.clone()));
        let analysis = Analysis::start(&parts.config, &parts.publisher)?;
        let found_at_start = parts.decision.deployment.as_ref().map(|deployment| deployment.id);
        let mut effects = Vec::new();
        let configured = configured(&parts.config, &parts.path);
        let mut rollout = Rollout::new(now(), parts.decision, parts.durable, configured, &mut effects);
        if let Some((code, sentence)) = last_refused_order(&history) {
            rollout.recall_refused(&code, &sentence);
        }
        let probers = Probers::new(parts.config.health.clone(), changes);
        let names = Names::new(parts.config.resolver.clone(), inputs.clone());
        let answers = Answers::open(&parts.config.state.dir);
        let tokens_seen = tokens.subscribe();
        let handle =
            ControllerHandle { requests: request_sender, news: news.clone(), ready, tokens: tokens_seen, answers };
        let controller = Controller {
            rollout,
            config: parts.config,
            config_error: None,
            not_in_force: None,
            config_valid_at: SystemTime::now(),
            path: parts.path,
            publisher: parts.publisher,
            ledger: parts.ledger,
            watch,
            probers,
            names,
            access_log: parts.access_log,
            tokens,
            http_address: parts.http_address,
            https_address: parts.https_address,
            preview_address: parts.preview_address,
            certificate_errors: Vec::new(),
            reading_certificates: false,
            reading_schema: false,
            first_writes,
            wrong_releases,
            stated: StatedReleases::default(),
            fitness: canary::unknown(),
            inputs,
            inbox,
            requests,
            health_changes,
            news,
            waiting: HashMap::new(),
            orders: Orders::default(),
            staging: Staging::default(),
            write_backs: watch::Sender::new(0),
            next_command: 0,
            commits: HashMap::new(),
            history,
            retired: None,
            announced: Generation::default(),
            notices,
            alarms,
            draining: None,
            checking: None,
            last_drain: None,
            hold: Holding::default(),
            linger: linger::Lingering::default(),
            next_drain: 0,
            analysis,
            found_at_start,
            maintained,
            ledger_told: Instant::now(),
            ledger_trouble: (!parts.durable)
                .then(|| (SystemTime::now(), "the first decision could not be written".to_owned())),
            tallies: Tallies::default(),
            rates: Rates::default(),
            timeline: Timeline::default(),
            started: Instant::now(),
        };
        Ok((handle, controller, effects))
    }

    /// Runs until `stop` resolves; then gives the publisher back, for the shutdown of the data plane.
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
                Some(input) = self.inbox.recv() => self.input(input),
                Some(request) = self.requests.recv() => self.request(request),
                Some(change) = self.health_changes.recv() => self.health_changed(change),
                Some(seen) = self.first_writes.recv() => self.first_write(seen),
                Some(wrong) = self.wrong_releases.recv() => self.wrong_release(wrong),
                Some(alarm) = self.alarms.recv() => self.notices.alarm(&alarm),
                () = alarm => self.handle(Event::Tick),
                () = tokio::time::sleep_until((looked + self.config.analysis.tick).into()) => {
                    looked = Instant::now();
                    self.look_at_numbers();
                }
                _ = second.tick() => {
                    // A freeze ends by the clock on the wall, and that may have been set.
                    self.handle(Event::Tick);
                    self.look_at_schema();
                    let readings = self.publisher.meters().read();
                    self.rates.sample(&readings);
                    if let Some(point) = self.timeline.sample(Instant::now(), SystemTime::now(), &readings) {
                        // Nobody has to listen.
                        let _ = self.news.send(News::Numbers(point));
                    }
                    self.read_certificates();
                    self.look_at_releases();
                    self.look_at_lingering();
                    self.tell_fitness();
                }
            }
        }
        self.publisher
    }

    fn first_write(&mut self, FirstWriteSeen { release, at, request }: FirstWriteSeen) {
        self.handle(Event::FirstWrite(Release::new(&release), FirstWrite { at, request }));
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.rollout.handle(now(), event, &mut effects);
        self.carry_out(effects);
        // A move that was refused, or called off behind its gate, has left some.
        Color::ALL.into_iter().for_each(|color| self.close_unused(color));
        self.stop_useless_checks();
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Committed(commit, result) => {
                let transition = self.commits.remove(&commit);
                let event = match &result {
                    Ok(_) => Event::Committed(commit),
                    Err(reason) => Event::CommitFailed(commit, reason.clone()),
                };
                self.handle(event);
                self.ledger_answered(result.as_ref().map(|_| ()).map_err(String::as_str));
                if let (Ok(sequence), Some(transition)) = (result, transition) {
                    self.recorded(sequence, transition);
                }
            }
            Input::AddressesChanged => self.endpoints_changed(),
            Input::LookedUp(round, color, schema) => self.probe_round(round, color, schema),
            Input::Probed(round, color, readings, results) => self.probed(round, color, readings, results),
            Input::Checked(round, results) => self.checked(round, results),
            Input::Drain(event) => self.handle(event),
            Input::Drained(number, drained) => self.drained(number, drained),
            Input::File(event, trust) => self.file_event(event, trust),
            Input::SchemaRead(readings) => {
                self.reading_schema = false;
                self.handle(Event::SchemaRead(readings));
            }
            Input::Cpu(assigned, reading) => self.analysis.cpu.read(Instant::now(), assigned, &reading),
            Input::Certificates(changed, errors) => self.certificates_read(changed, errors),
            Input::Looked(answer, looked) => {
                let taken = order::taken_in(looked, self.config_error.as_ref());
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
                let _ = answer.send(self.status());
            }
            Request::History { limit, before, filter, answer } => {
                let _ = answer.send(self.history.page(limit, before, &filter));
            }
            Request::Timeline(answer) => {
                let _ = answer.send(self.timeline.points());
            }
            Request::OfKey(actor, key, answer) => {
                let _ = answer.send(self.history.of_key(&actor, &key).cloned());
            }
            Request::Releases(answer) => {
                let _ = answer.send(self.history.runs());
            }
            Request::Verify(answer) => self.ledger.verify(move |verified| {
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
                // As with SIGHUP: what rotates the log asks for a reload.
                self.access_log.reopen();
                let inputs = self.inputs.clone();
                self.watch.reload(PATIENCE, move |looked| {
                    // Behind what the look reported, so that the answer comes when it is in force.
                    let _ = inputs.send(Input::Looked(answer, looked));
                });
            }
            Request::Config(answer) => {
                let _ = answer.send(self.config.render());
            }
            Request::NotifyTest(sink, all, answer) => self.notices.test(sink.as_deref(), all, answer),
            Request::TryDisk(answer) => {
                let state = self.config.state.dir.clone();
                tokio::task::spawn_blocking(move || answer.send(Ledger::try_disk(&state)));
            }
            Request::Metrics(format, answer) => {
                let _ = answer.send(self.metrics(format));
            }
        }
    }

    fn file_event(&mut self, event: FileEvent, trust: Option<Result<Trust, Vec<TlsError>>>) {
        match event {
            FileEvent::Edited(config) => {
                match trust {
                    Some(Ok(trust)) => self.publisher.trust(trust),
                    // It was valid a moment ago: its files have changed since.
                    Some(Err(errors)) => {
                        let error = unusable(&self.path, &errors);
                        self.not_in_force = Some(error.clone());
                        return self.file_event(FileEvent::Invalid(error), None);
                    }
                    None => {}
                }
                let emptied = Color::ALL
                    .into_iter()
                    .find(|color| self.publisher.serves(*color) && config.colors[*color].is_empty());
                if let Some(error) = emptied.map(|color| ConfigError::empties(&self.path, color)) {
                    self.not_in_force = Some(error.clone());
                    return self.file_event(FileEvent::Invalid(error), None);
                }
                if config.unusable.is_empty() {
                    self.certificate_errors.clear();
                }
                for UnusableFile { setting, path, .. } in &self.config.unusable {
                    if !config.unusable.iter().any(|file| (&file.setting, &file.path) == (setting, path)) {
                        tracing::info!(setting, path, "File usable again");
                    }
                }
                let changes = self.config.differences(&config).join("; ");
                let health_before = self.config.health.clone();
                self.linger.edited(&self.config, &config);
                self.config = config;
                (self.config_error, self.not_in_force) = (None, None);
                self.config_valid_at = SystemTime::now();
                let decision = self.rollout.view().decision;
                self.tell_lingering(&decision);
                let retired = self.publisher.publish(&self.config, &decision);
                debug_assert!(retired.is_none(), "a reload moves no traffic by itself");
                if health_before != self.config.health {
                    self.probers.configure(&self.config.health);
                }
                self.names.configure(&self.config.resolver);
                self.names.reconcile(self.publisher.names());
                self.probers.reconcile(self.publisher.pools().iter().flat_map(|(_, pools)| pools));
                self.notices.configure(&self.config, &self.history);
                self.tokens.send_replace(Arc::from(self.config.admin.tokens.clone()));
                let log = &self.config.log;
                self.access_log.retarget(&log.access, log.format, log.redact_query);
                tracing::info!(path = %self.path.display(), changes, "The configuration was read and is in force.");
                let _ = self.news.send(News::Reloaded(None));
                self.handle(Event::Configured(configured(&self.config, &self.path)));
                // Other endpoints may be asked now.
                self.tell_fitness();
            }
            FileEvent::Invalid(error) => {
                tracing::error!(error = %error, "The configuration file is not valid; the last good one stays in force.");
                let _ = self.news.send(News::Reloaded(Some(error.to_string())));
                self.config_error = Some(error);
            }
            FileEvent::Restored => {
                self.config_error = None;
                self.config_valid_at = SystemTime::now();
                tracing::info!(path = %self.path.display(), "The configuration file is valid again.");
                let _ = self.news.send(News::Reloaded(None));
                // What could not be written into it while it was not valid can be now.
                self.handle(Event::Configured(configured(&self.config, &self.path)));
            }
            FileEvent::WroteBack(result) => {
                self.write_backs.send_modify(|under_way| *under_way = under_way.saturating_sub(1));
                match &result {
                    Ok(color) => {
                        let mut config = Config::clone(&self.config);
                        config.active = *color;
                        self.config = Arc::new(config);
                        let path = self.path.display();
                        tracing::info!(active = %color, %path, "Wrote active = \"{color}\" to {path} (write_back)");
                    }
                    Err(error) => {
                        tracing::warn!(%error, path = %self.path.display(), "The file could not be put right; it disagrees with what is live.");
                    }
                }
                self.handle(Event::WroteBack(result));
            }
        }
    }
}

fn unusable(path: &std::path::Path, errors: &[TlsError]) -> ConfigError {
    let diagnostic = |error: &TlsError| Diagnostic { span: 0..0, message: error.to_string(), help: None };
    ConfigError { path: path.to_owned(), source: String::new(), diagnostics: errors.iter().map(diagnostic).collect() }
}

/// Why the last order in the file was refused, if it was.
fn last_refused_order(history: &History) -> Option<(String, String)> {
    let lines = history.page(HISTORY_LOOKED_THROUGH, None, &Filter::default());
    let last = lines.into_iter().find(|(_, line)| line.origin.trigger == Trigger::File && line.kind.shown())?;
    last.1.refusal.clone()
}

/// The one place where time comes from.
fn now() -> Now {
    Now { mono: Instant::now(), wall: SystemTime::now() }
}
