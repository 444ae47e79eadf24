//! The rest of the program's way to the controller: requests with answers, and the status.

mod access;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::config::ColorConfig;
use crate::config::error::UnusableFile;
pub(crate) use crate::config::stage::{Section, StoreLabel};
pub(crate) use crate::control::timeline::{Numbers, Point};
pub(crate) use crate::control::upgrade::{HandedOver, NotUpgraded, UpgradeOrder, Upgraded};
use crate::domain::analysis::Report;
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::DeploymentId;
use crate::domain::force::Guard;
use crate::domain::headline::Finding;
use crate::domain::health::Health;
use crate::domain::history::{Filter, Run};
use crate::domain::release::Release;
pub(crate) use crate::domain::rollout::Phase;
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

pub(crate) use access::Access;

pub(crate) use crate::notify::{SinkStatus, Tried};

#[derive(Debug)]
pub(crate) enum Request {
    Command(Ticket, Option<String>, Command, oneshot::Sender<Result<Outcome, Refusal>>),
    /// The client gave up: a command that still waits is cancelled. It is answered in either case.
    GiveUp(Ticket),
    Stage(StageOrder, oneshot::Sender<Result<StageOutcome, Refusal>>),
    Status(oneshot::Sender<Status>),
    Timeline(oneshot::Sender<Vec<Point>>),
    History {
        limit: usize,
        /// Only older than this sequence number.
        before: Option<u64>,
        filter: Filter,
        answer: oneshot::Sender<Vec<(u64, Arc<Transition>)>>,
    },
    /// The line that records a command of this actor and `Idempotency-Key`.
    OfKey(String, String, oneshot::Sender<Option<Arc<Transition>>>),
    Releases(oneshot::Sender<Vec<Run>>),
    Verify(oneshot::Sender<Result<Verified, String>>),
    Reload(oneshot::Sender<Result<ReloadOutcome, Refusal>>),
    Config(oneshot::Sender<String>),
    /// Files of the configuration in force that were tolerated.
    Unusable(oneshot::Sender<Vec<UnusableFile>>),
    /// A notice to a sink or to all, or every kind of notice (`true`). `None`: no such sink.
    NotifyTest(Option<String>, bool, oneshot::Sender<Option<Vec<Tried>>>),
    TryDisk(oneshot::Sender<Result<(), String>>),
    Deployments(oneshot::Sender<Vec<DeploymentId>>),
    Record(DeploymentId, oneshot::Sender<Result<Vec<u8>, RecordError>>),
    Metrics(Format, oneshot::Sender<String>),
    /// Decide nothing more, and write nothing, until the answer is dropped or done; or why that can't be now.
    HandOver(oneshot::Sender<Result<HandedOver, String>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

impl Ticket {
    fn new() -> Ticket {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Ticket(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    HungUp,
    Cancelled,
}

#[derive(Clone, Debug)]
pub(crate) struct Patience {
    gave_up: watch::Receiver<Option<GaveUp>>,
    /// The ledger line of a command that an earlier process carried out.
    carried_out: Option<Arc<Transition>>,
}

impl Patience {
    #[must_use]
    pub(crate) fn new() -> (watch::Sender<Option<GaveUp>>, Patience) {
        let (sender, receiver) = watch::channel(None);
        (sender, Patience { gave_up: receiver, carried_out: None })
    }

    /// The command is answered from its line, and not carried out again.
    #[must_use]
    pub(crate) fn carried_out(self, line: Arc<Transition>) -> Patience {
        Patience { carried_out: Some(line), ..self }
    }

    /// Resolves when the client gives up, or, with `connected`, is gone.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReloadOutcome {
    pub changed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct StageOrder {
    pub color: Color,
    pub section: Section,
    pub if_generation: Option<Generation>,
    /// Even if a rollback would go to the release that it replaces.
    pub replace_way_back: bool,
    pub dry_run: bool,
    pub origin: Origin,
}

#[derive(Clone, Debug)]
pub(crate) struct StageOutcome {
    pub changed: bool,
    pub dry_run: bool,
    pub color: Color,
    pub release: Release,
    pub generation: Generation,
    /// Names the release, endpoints and labels of the color.
    pub mark: String,
    pub replaced: Option<ColorConfig>,
}

#[derive(Clone, Debug)]
pub(crate) struct ControllerHandle {
    pub requests: mpsc::Sender<Request>,
    /// Decisions and finished drains, for `events` and `wait`.
    pub news: broadcast::Sender<News>,
    pub ready: watch::Receiver<bool>,
    /// It changes with the configuration.
    pub access: watch::Receiver<Access>,
    pub answers: Answers,
    /// Upgrades, which are the assembly's.
    pub upgrades: mpsc::Sender<UpgradeOrder>,
}

/// The controller has ended, and the process is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy is stopping")]
pub(crate) struct Stopping;

impl ControllerHandle {
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// When the patience is over, a command that still waits is cancelled. Rollbacks, and commands with `detach`, end
    /// only if the client says so.
    pub(crate) async fn command(
        &self,
        command: Command,
        patience: Patience,
        detach: bool,
    ) -> Result<Result<Outcome, Refusal>, Stopping> {
        self.staged_command(None, command, patience, detach).await
    }

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

    /// Has a new process take over.
    pub(crate) async fn upgrade(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<Upgraded, NotUpgraded>>) -> UpgradeOrder,
    ) -> Result<Result<Upgraded, NotUpgraded>, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.upgrades.send(order(answer)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    pub(crate) async fn deployments(&self) -> Result<Vec<DeploymentId>, Stopping> {
        self.ask(Request::Deployments).await
    }

    /// The judge's input, as on disk.
    pub(crate) async fn deployment_record(&self, id: DeploymentId) -> Result<Result<Vec<u8>, RecordError>, Stopping> {
        self.ask(|answer| Request::Record(id, answer)).await
    }
}

#[derive(Clone, Debug)]
pub(crate) enum News {
    Transition(u64, Arc<Transition>),
    Drained(Drained),
    Held(bool),
    Health { color: Color, upstream: String, endpoint: String, health: Health, detail: String },
    Reloaded(Option<String>),
    Numbers(Point),
}

#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub headline: Vec<Finding>,
    pub view: View,
    pub analysis: Option<Report>,
    pub colors: PerColor<ColorStatus>,
    pub linger: Option<LingerStatus>,
    pub draining: Option<DrainingStatus>,
    pub last_drain: Option<Drained>,
    pub way_back: WayBack,
    pub maintained: Option<(SystemTime, Origin)>,
    pub waiting: Waiting,
    pub config_error: Option<String>,
    pub config_path: String,
    /// With port 0 resolved.
    pub http_address: String,
    pub https_address: Option<String>,
    pub preview: Option<PreviewStatus>,
    pub certificates: Vec<CertificateFacts>,
    pub certificate_errors: Vec<String>,
    pub known_good_in: Option<Duration>,
    pub file_orders: bool,
    /// The file names another color than the serving one, and its `active` is an order.
    pub file_disagrees: bool,
    pub version: &'static str,
    pub uptime: Duration,
    pub access_log_dropped: u64,
    pub problems: Vec<FileProblem>,
    pub names: Vec<NameStatus>,
    pub sinks: Vec<(String, SinkStatus)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WayBack {
    pub possible: bool,
    pub guards: Vec<Guard>,
    /// Obstacles, or the reason why there is no target.
    pub why: Option<String>,
    pub command: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileProblem {
    pub setting: String,
    pub path: String,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub(crate) struct PreviewStatus {
    pub color: Color,
    pub header: String,
    pub host: Option<String>,
    pub address: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Need {
    Serves,
    Share(Weight),
    Move,
    Drain {
        left: InFlight,
        ends_in: Duration,
    },
    WayBack {
        release: Release,
        serving: Release,
        until: Option<SystemTime>,
    },
    /// Only here an endpoint is up: in this upstream, or in all of them (`None`).
    WayOut {
        upstream: Option<String>,
        color: Color,
    },
    Lingering {
        until: SystemTime,
    },
    /// A process that served before an upgrade has requests on it; `None`: it has not said yet.
    Predecessor {
        pid: u32,
        left: Option<InFlight>,
        ends_in: Option<Duration>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct LingerStatus {
    pub color: Color,
    pub release: Release,
    pub paths: Vec<String>,
    pub until: SystemTime,
    /// Endpoints that are up; with 0 it gets no requests.
    pub up: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct ColorStatus {
    /// Empty: its processes may be stopped.
    pub needs: Vec<Need>,
    pub release: Release,
    pub endpoints: Vec<EndpointStatus>,
    pub in_flight: InFlight,
    pub requests: u64,
    /// Over the last ten seconds.
    pub requests_per_second: f64,
    pub errors_per_second: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct EndpointStatus {
    pub upstream: String,
    /// As the configuration writes it; with the address in brackets for a name.
    pub endpoint: String,
    /// Its name has lost the address; it serves until another one is up.
    pub leaving: bool,
    pub health: Health,
    pub detail: String,
    /// Consecutive passes of an endpoint that is not up, and the number that brings it up.
    pub starting: Option<(u32, u32)>,
    pub since: SystemTime,
    /// Ejected after failures for this time.
    pub ejected_for: Option<Duration>,
    /// Another release that its responses name, and since when.
    pub answers_as: Option<(String, SystemTime)>,
}

#[derive(Clone, Debug)]
pub(crate) struct NameStatus {
    pub name: String,
    pub addresses: Vec<String>,
    pub failure: Option<(String, SystemTime)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainingStatus {
    pub color: Color,
    pub left: InFlight,
    pub ends_in: Duration,
}
