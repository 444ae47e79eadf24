//! How the rest of the program talks to the controller: typed commands with answers, and what it shows of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub(crate) use crate::config::stage::{Section, StoreLabel};
use crate::config::{ColorConfig, TokenConfig};
pub(crate) use crate::control::timeline::{Numbers, Point};
use crate::domain::analysis::Report;
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::DeploymentId;
use crate::domain::force::Guard;
use crate::domain::headline::Finding;
use crate::domain::health::Health;
use crate::domain::history::{Filter, Run};
use crate::domain::release::Release;
use crate::domain::rollout::{Command, Outcome, Refusal, View};
use crate::domain::split::Weight;
use crate::domain::transition::{Drained, Generation, Origin, Transition};
pub(crate) use crate::ledger::Verified;
pub(crate) use crate::ledger::answers::{Answered, Answers, Known};
pub(crate) use crate::ledger::ticks::TicksError as RecordError;
use crate::telemetry::exposition::Format;
use crate::telemetry::meter::InFlight;
use crate::telemetry::metrics::Waiting;
use crate::tls::server::CertificateFacts;

pub(crate) use crate::notify::{SinkStatus, Tried};

/// What the mailbox of the controller takes from outside.
#[derive(Debug)]
pub(crate) enum Request {
    /// A command; the answer comes when it is decided. A dropped receiver cuts nothing in half.
    /// With a mark: only if the color that it moves to still has what staging it answered with: [`StageOutcome::mark`].
    Command(Ticket, Option<String>, Command, oneshot::Sender<Result<Outcome, Refusal>>),
    /// The client of a command gives up. The command is called off if it still waits, and answered in either case.
    GiveUp(Ticket),
    /// Put a release on a color; the answer comes when it is in the file and in force.
    Stage(StageOrder, oneshot::Sender<Result<StageOutcome, Refusal>>),
    /// Everything at a glance.
    Status(oneshot::Sender<Status>),
    /// The last quarter of an hour, second by second, oldest first.
    Timeline(oneshot::Sender<Vec<Point>>),
    /// Past transitions, newest first: at most `limit`, older than generation/sequence `before` if given.
    History {
        /// How many.
        limit: usize,
        /// Only older than this sequence number.
        before: Option<u64>,
        /// Only these.
        filter: Filter,
        /// With their sequence numbers.
        answer: oneshot::Sender<Vec<(u64, Arc<Transition>)>>,
    },
    /// The line of the command with this actor and `Idempotency-Key`, if there is one that tells what became of it.
    OfKey(String, String, oneshot::Sender<Option<Arc<Transition>>>),
    /// Which release served where, newest first.
    Releases(oneshot::Sender<Vec<Run>>),
    /// Hold the chain of the ledger together.
    Verify(oneshot::Sender<Result<Verified, String>>),
    /// Read the file again now.
    Reload(oneshot::Sender<Result<ReloadOutcome, Refusal>>),
    /// The configuration in force as TOML, secrets removed.
    Config(oneshot::Sender<String>),
    /// Send a notice to a sink or to all sinks, or every kind of notice (`true`); `None` comes back if there is no such
    /// sink.
    NotifyTest(Option<String>, bool, oneshot::Sender<Option<Vec<Tried>>>),
    /// Try whether the disk of the ledger takes anything; why not.
    TryDisk(oneshot::Sender<Result<(), String>>),
    /// The deployments of which there is a record, newest first.
    Deployments(oneshot::Sender<Vec<DeploymentId>>),
    /// That record, as it is on disk.
    Record(DeploymentId, oneshot::Sender<Result<Vec<u8>, RecordError>>),
    /// The text of all series.
    Metrics(Format, oneshot::Sender<String>),
}

/// Names a command from before it is understood until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

impl Ticket {
    fn new() -> Ticket {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Ticket(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Why nobody waits for a command any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// The client is gone.
    HungUp,
    /// It said so.
    Cancelled,
}

/// For how long the client of a command waits.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    gave_up: watch::Receiver<Option<GaveUp>>,
    /// An earlier process carried the command out already, and this is its line in the ledger.
    carried_out: Option<Arc<Transition>>,
}

impl Patience {
    /// And the end of it.
    #[must_use]
    pub(crate) fn new() -> (watch::Sender<Option<GaveUp>>, Patience) {
        let (sender, receiver) = watch::channel(None);
        (sender, Patience { gave_up: receiver, carried_out: None })
    }

    /// The command was carried out already: it is answered by its line, and not carried out again.
    #[must_use]
    pub(crate) fn carried_out(self, line: Arc<Transition>) -> Patience {
        Patience { carried_out: Some(line), ..self }
    }

    /// Until the client says that it gives up, or, with `connected`, is gone.
    async fn over(&mut self, connected: bool) {
        let over = |gave_up: &Option<GaveUp>| match gave_up {
            Some(GaveUp::Cancelled) => true,
            Some(GaveUp::HungUp) => connected,
            None => false,
        };
        if self.gave_up.wait_for(over).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReloadOutcome {
    /// False: the same bytes as before.
    pub changed: bool,
}

/// A release to put on a color.
#[derive(Clone, Debug)]
pub(crate) struct StageOrder {
    /// Which color.
    pub color: Color,
    /// What the file says of it then.
    pub section: Section,
    /// Only if this is the generation in force.
    pub if_generation: Option<Generation>,
    /// Also where a rollback would go to what it replaces.
    pub replace_way_back: bool,
    /// Say whether it would be done; change nothing.
    pub dry_run: bool,
    /// Who, and why.
    pub origin: Origin,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) struct StageOutcome {
    /// False: the file said so already.
    pub changed: bool,
    /// Only asked.
    pub dry_run: bool,
    /// The color.
    pub color: Color,
    /// Its release.
    pub release: Release,
    /// The generation in force.
    pub generation: Generation,
    /// Names what the color has.
    pub mark: String,
    /// What it had before; `None`: nothing, or the same.
    pub replaced: Option<ColorConfig>,
}

/// A cheap handle; clones talk to the same controller.
#[derive(Clone, Debug)]
pub(crate) struct ControllerHandle {
    /// The mailbox.
    pub requests: mpsc::Sender<Request>,
    /// Each decision and each finished drain; for `events` and `wait`.
    pub news: broadcast::Sender<News>,
    /// False as soon as the shutdown begins.
    pub ready: watch::Receiver<bool>,
    /// Who may do what; changes with the configuration.
    pub tokens: watch::Receiver<Arc<[TokenConfig]>>,
    /// The answers that a repeated command gets again.
    pub answers: Answers,
}

/// The controller has ended: the process is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy is stopping")]
pub(crate) struct Stopping;

impl ControllerHandle {
    /// Sends a request that carries its answer's way, and waits for the answer.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// Gives a command, and waits for its answer. When the patience is over, the command is called off if it still
    /// waits. A way back ends only when its client says so, and so does every command with `detach`.
    pub(crate) async fn command(
        &self,
        command: Command,
        patience: Patience,
        detach: bool,
    ) -> Result<Result<Outcome, Refusal>, Stopping> {
        self.staged_command(None, command, patience, detach).await
    }

    /// The same, with the mark of what was staged.
    pub(crate) async fn staged_command(
        &self,
        mark: Option<String>,
        command: Command,
        mut patience: Patience,
        detach: bool,
    ) -> Result<Result<Outcome, Refusal>, Stopping> {
        if let Some(line) = &patience.carried_out {
            return Ok(Outcome::of_line(line));
        }
        let connected = !detach && !matches!(command, Command::Rollback { .. } | Command::CanaryAbort { .. });
        let ticket = Ticket::new();
        let (answer, mut answered) = oneshot::channel();
        self.requests.send(Request::Command(ticket, mark, command, answer)).await.map_err(|_| Stopping)?;
        tokio::select! {
            decided = &mut answered => return decided.map_err(|_| Stopping),
            () = patience.over(connected) => {}
        }
        self.requests.send(Request::GiveUp(ticket)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// The deployments of which there is a record, newest first.
    pub(crate) async fn deployments(&self) -> Result<Vec<DeploymentId>, Stopping> {
        self.ask(Request::Deployments).await
    }

    /// What the judge of a deployment was told, as it is on disk.
    pub(crate) async fn deployment_record(&self, id: DeploymentId) -> Result<Result<Vec<u8>, RecordError>, Stopping> {
        self.ask(|answer| Request::Record(id, answer)).await
    }
}

/// Something happened that people may want to see at once.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// A transition took effect (or a file order was refused).
    Transition(u64, Arc<Transition>),
    /// A drain ended.
    Drained(Drained),
    /// Requests are held, or go on.
    Held(bool),
    /// An endpoint's health changed.
    Health {
        /// Of which color.
        color: Color,
        /// Of which upstream.
        upstream: String,
        /// Which.
        endpoint: String,
        /// What it is now.
        health: Health,
        /// Why.
        detail: String,
    },
    /// The configuration was read: `None` is good, else the full error text.
    Reloaded(Option<String>),
    /// A second is over.
    Numbers(Point),
}

/// Everything an operator needs at a glance.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// What is to be known first, the worst first; never empty.
    pub headline: Vec<Finding>,
    /// The core's view.
    pub view: View,
    /// Where the judge of the deployment in force stands.
    pub analysis: Option<Report>,
    /// Per color.
    pub colors: PerColor<ColorStatus>,
    /// A color that does not serve and is asked for old files.
    pub linger: Option<LingerStatus>,
    /// A color that is being drained.
    pub draining: Option<DrainingStatus>,
    /// The last drain that ended, since the start of the process.
    pub last_drain: Option<Drained>,
    /// The way back as it would be now.
    pub way_back: WayBack,
    /// Since when maintenance is on, by whom and why, as far as is known.
    pub maintained: Option<(SystemTime, Origin)>,
    /// Requests that are held.
    pub waiting: Waiting,
    /// The last configuration error in full, if the file is invalid now.
    pub config_error: Option<String>,
    /// The file's path.
    pub config_path: String,
    /// The addresses in use (port 0 resolved).
    pub http_address: String,
    /// With TLS.
    pub https_address: Option<String>,
    /// How to look at the color that does not serve, if one may.
    pub preview: Option<PreviewStatus>,
    /// What clients are shown.
    pub certificates: Vec<CertificateFacts>,
    /// Why those that were read before stay in force.
    pub certificate_errors: Vec<String>,
    /// When the release that serves will be known good, if it is not and goes on.
    pub known_good_in: Option<Duration>,
    /// An edit of `active` in the file is an order.
    pub file_orders: bool,
    /// The file says another color than the live one, and orders.
    pub file_disagrees: bool,
    /// The program's version.
    pub version: &'static str,
    /// Since the start.
    pub uptime: Duration,
    /// Requests the access log had to drop.
    pub access_log_dropped: u64,
    /// Files that can't be used now.
    pub problems: Vec<FileProblem>,
    /// The names of endpoints.
    pub names: Vec<NameStatus>,
    /// Who is told of what happens, and how that goes.
    pub sinks: Vec<(String, SinkStatus)>,
}

/// The way back as it would be now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// A rollback would be made.
    pub possible: bool,
    /// The guards that would refuse it, and that `force` would override.
    pub guards: Vec<Guard>,
    /// What speaks against it, or why there is nowhere to go.
    pub why: Option<String>,
    /// The command that goes back.
    pub command: Option<String>,
}

/// A file that can't be used now, or was tampered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileProblem {
    /// The setting that names it.
    pub setting: String,
    /// The file.
    pub path: String,
    /// The reason.
    pub reason: String,
}

/// How to look at the color that does not serve.
#[derive(Clone, Debug)]
pub(crate) struct PreviewStatus {
    /// The color.
    pub color: Color,
    /// The field that asks for it.
    pub header: String,
    /// The host name that is for it.
    pub host: Option<String>,
    /// The port that is for it.
    pub address: Option<String>,
}

/// A reason why the processes of a color may not be stopped.
#[derive(Clone, Debug)]
pub(crate) enum Need {
    /// It serves.
    Serves,
    /// It gets this share of the requests.
    Share(Weight),
    /// Traffic is about to move there.
    Move,
    /// Requests that it got before are under way.
    Drain {
        /// What is left.
        left: InFlight,
        /// When the rest is cut off.
        ends_in: Duration,
    },
    /// A rollback goes there.
    WayBack {
        /// To this release.
        release: Release,
        /// From this one.
        serving: Release,
        /// When the one that serves is known good, if nothing comes between.
        until: Option<SystemTime>,
    },
    /// Only here an endpoint is up: in this upstream, or in every one (`None`).
    WayOut {
        /// The upstream.
        upstream: Option<String>,
        /// The color.
        color: Color,
    },
    /// Pages of its release are still open, and it is asked for their files.
    Lingering {
        /// When that ends by itself.
        until: SystemTime,
    },
}

/// A color that does not serve and is asked for old files.
#[derive(Clone, Debug)]
pub(crate) struct LingerStatus {
    /// The color.
    pub color: Color,
    /// Its release.
    pub release: Release,
    /// The paths of the files.
    pub paths: Vec<String>,
    /// When it ends by itself.
    pub until: SystemTime,
    /// Endpoints that are up; 0: nobody is asked.
    pub up: usize,
}

/// One color in the status.
#[derive(Clone, Debug)]
pub(crate) struct ColorStatus {
    /// Who needs it; empty: its processes may be stopped.
    pub needs: Vec<Need>,
    /// What is deployed there.
    pub release: Release,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStatus>,
    /// In flight now.
    pub in_flight: InFlight,
    /// Requests since the start.
    pub requests: u64,
    /// Requests a second, over the last ten seconds.
    pub requests_per_second: f64,
    /// Of these, answered with 5xx, a second.
    pub errors_per_second: f64,
}

/// One endpoint in the status.
#[derive(Clone, Debug)]
pub(crate) struct EndpointStatus {
    /// Its upstream.
    pub upstream: String,
    /// As the configuration writes it; of a name with the address in brackets.
    pub endpoint: String,
    /// The name stands for it no more; it serves until another address of the name is up.
    pub leaving: bool,
    /// What is known.
    pub health: Health,
    /// The last probe in a few words.
    pub detail: String,
    /// It has begun to pass: so many checks in a row, of those that bring it up.
    pub starting: Option<(u32, u32)>,
    /// Since when it is so.
    pub since: SystemTime,
    /// It is left out of the choice for so long, because it failed too often.
    pub ejected_for: Option<Duration>,
    /// Its answers name another release than the label, and since when.
    pub answers_as: Option<(String, SystemTime)>,
}

/// A name of endpoints in the status.
#[derive(Clone, Debug)]
pub(crate) struct NameStatus {
    /// As the configuration writes it.
    pub name: String,
    /// The addresses in use.
    pub addresses: Vec<String>,
    /// Why it does not resolve, and since when.
    pub failure: Option<(String, SystemTime)>,
}

/// A drain under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainingStatus {
    /// Of which color.
    pub color: Color,
    /// What is left.
    pub left: InFlight,
    /// When the rest is ended.
    pub ends_in: Duration,
}
