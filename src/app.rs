//! Assembly: a configuration becomes a running proxy, and a running proxy ends well.
//!
//! The order of the start is the order of what matters: the decision from the ledger, the snapshot, the workers; then
//! everything else. The only place that starts long-lived threads and tasks.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::admin::{self, AdminListener};
use crate::config::error::{ConfigError, UnusableFile};
use crate::config::{AdminAddress, Config};
use crate::control::handle::{ControllerHandle, Request};
use crate::control::{Controller, Parts, first_decision};
use crate::domain::rollout::Effect;
use crate::domain::transition::{Decision, Kind, Origin, Transition, Trigger};
use crate::ledger::{Ledger, LedgerError};
use crate::server::plane::Plane;
use crate::sys::signals::{Signal, Signals};
use crate::sys::{descriptors, limits, service};
use crate::telemetry;
use crate::telemetry::access_log::AccessLogWriter;
use crate::tls::TlsError;

/// How long the first start waits for the disk before it serves without.
const FIRST_COMMIT: Duration = Duration::from_secs(2);
/// How long the end waits for what is being read or written still.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration is not valid.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// What TLS needs can't be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Tls(Vec<TlsError>),
    /// The ledger can't be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The operating system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was tried, with what.
        action: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}

/// Runs the proxy of a configuration file until it is told to stop.
pub(crate) fn run(config: &Path) -> Result<(), Error> {
    let ended = serve(config);
    telemetry::flush();
    ended
}

fn serve(config: &Path) -> Result<(), Error> {
    let runtime = control_runtime()?;
    let (started, signals) = {
        let _context = runtime.enter();
        // Before anything is served, so that no signal finds the system's defaults.
        let signals = Signals::listen().map_err(Error::io("could not listen for signals"))?;
        (Started::new(config)?, signals)
    };
    runtime.block_on(started.serve(Some(signals), std::future::pending()));
    // What a disk that hangs has not given back is left behind.
    runtime.shutdown_timeout(LAST_WORK);
    Ok(())
}

/// A proxy that runs in the background of this process.
#[derive(Debug)]
pub(crate) struct Running {
    handle: ControllerHandle,
    http: SocketAddr,
    admin: AdminAddress,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts it on threads of its own.
    pub(crate) fn start(config: &Path) -> Result<Running, Error> {
        let runtime = control_runtime()?;
        let started = {
            let _context = runtime.enter();
            Started::new(config)?
        };
        let (handle, http, admin) = (started.handle.clone(), started.plane.local_addr(), started.admin.address());
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            runtime.block_on(started.serve(None, async move {
                let _ = stopped.await;
            }));
            runtime.shutdown_timeout(LAST_WORK);
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(work);
        let thread = Some(thread.map_err(Error::io("could not start the control thread"))?);
        Ok(Running { handle, http, admin, stop: Some(stop), thread })
    }

    /// The way to its controller.
    #[must_use]
    pub(crate) fn handle(&self) -> &ControllerHandle {
        &self.handle
    }

    /// Where it serves.
    #[must_use]
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Where its admin API is.
    #[must_use]
    pub(crate) fn admin_address(&self) -> &AdminAddress {
        &self.admin
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        telemetry::flush();
    }
}

fn control_runtime() -> Result<tokio::runtime::Runtime, Error> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(Error::io("could not start the control runtime"))
}

/// Everything that serves, and what is still to be run.
struct Started {
    config: Arc<Config>,
    plane: Plane,
    admin: AdminListener,
    handle: ControllerHandle,
    controller: Controller,
    effects: Vec<Effect>,
    access_log: Arc<AccessLogWriter>,
    ready: watch::Sender<bool>,
}

impl Started {
    fn new(path: &Path) -> Result<Started, Error> {
        let (config, text) = Config::load_for_start(path)?;
        let config = Arc::new(config);
        telemetry::init(config.log.format).map_err(Error::io("could not start the log"))?;
        limits::raise_open_files();
        for UnusableFile { setting, path, reason } in &config.unusable {
            tracing::error!(setting, path, reason, "Unusable file; everything else is served");
        }

        let (ledger, mut recovered) = Ledger::open(&config.state.dir)?;
        for warning in &recovered.warnings {
            tracing::warn!("{warning}.");
        }
        let (decision, durable) = match recovered.transitions.last() {
            Some((_, last)) => (last.decision.clone(), true),
            None => {
                let first = first(path, first_decision(&config));
                let written = write_first(&ledger, first.clone());
                let decision = first.decision.clone();
                recovered.transitions.extend(written.map(|sequence| (sequence, first)));
                (decision, written.is_some())
            }
        };

        if config.colors[decision.active].is_empty() {
            return Err(ConfigError::empties(path, decision.active).into());
        }
        let http = config.listen.http;
        let https = config.listen.https.map(|https| format!(", or on {https} (listen.https)")).unwrap_or_default();
        let bound = Plane::bind(&config);
        let preview =
            config.listen.preview.map(|preview| format!(", or on {preview} (listen.preview)")).unwrap_or_default();
        let bound = bound.map_err(Error::io(format!("could not listen on {http} (listen.http){https}{preview}")))?;
        let (mut plane, mut publisher) = bound;
        let trust = publisher.trusted().load(&config).map_err(Error::Tls)?;
        publisher.trust(trust);
        let nothing_retired = publisher.publish(&config, &decision);
        debug_assert!(nothing_retired.is_none(), "nothing served before");
        let admin = AdminListener::bind(&config.listen);
        let admin = admin.map_err(Error::io("could not listen on listen.admin"))?;
        let access_log = AccessLogWriter::start(&config.log);
        let access_log = Arc::new(access_log.map_err(Error::io("could not start the writer of the access log"))?);
        let (limit, room) = descriptors::measure(config.listen.workers);
        if room < config.listen.max_connections {
            tracing::warn!(
                limit,
                room,
                max_connections = config.listen.max_connections,
                "Limit on open files below listen.max_connections; raise it (LimitNOFILE=, ulimit -n)",
            );
        }
        plane.start(&access_log).map_err(Error::io("could not start the workers"))?;
        plane.set_ready(true);
        tracing::info!(
            http = %plane.local_addr(),
            https = plane.tls_addr().map(tracing::field::display),
            preview = plane.preview_addr().map(tracing::field::display),
            admin = %admin.address(),
            active = %decision.active,
            release = %decision.release,
            generation = decision.generation.0,
            "Serving.",
        );

        let ready = watch::Sender::new(true);
        let parts = Parts {
            config: Arc::clone(&config),
            path: path.to_owned(),
            text,
            decision,
            durable,
            publisher,
            ledger,
            recovered,
            access_log: Arc::clone(&access_log),
            http_address: plane.local_addr(),
            https_address: plane.tls_addr(),
            preview_address: plane.preview_addr(),
        };
        let controller = Controller::new(parts, ready.subscribe());
        let (handle, controller, effects) = controller.map_err(Error::io("could not watch the configuration"))?;
        Ok(Started { config, plane, admin, handle, controller, effects, access_log, ready })
    }

    /// Runs everything until a signal or `stop`, and ends it: not ready first, still serving; then finish; then end.
    async fn serve(self, signals: Option<Signals>, stop: impl Future<Output = ()>) {
        let Started { config, plane, admin, handle, controller, effects, access_log, ready } = self;
        let (end_control, control_ends) = oneshot::channel::<()>();
        let control = tokio::spawn(controller.run(effects, async move {
            let _ = control_ends.await;
        }));
        let (end_admin, admin_ends) = oneshot::channel::<()>();
        let admin = tokio::spawn(admin::serve(admin, handle.clone(), async move {
            let _ = admin_ends.await;
        }));
        service::ready();
        service::status(&format!("serving on {}", plane.local_addr()));

        let mut signals = signals;
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                signal = next(&mut signals) => match signal {
                    Signal::Stop => break,
                    Signal::Reload => reload(&handle, &access_log),
                    Signal::Reopen => reopen(&access_log),
                    Signal::Upgrade => not_upgraded(),
                },
            }
        }

        service::stopping();
        ready.send_replace(false);
        plane.set_ready(false);
        // A background proxy has no balancer in front that would have to notice.
        let lame_duck = if signals.is_some() { config.readiness.lame_duck } else { Duration::ZERO };
        let drain = if signals.is_some() { config.drain.timeout } else { Duration::from_secs(1) };
        tracing::info!(
            lame_duck_s = lame_duck.as_secs_f64(),
            "Shutting down: readiness now fails; serving for {} s more, then draining",
            lame_duck.as_secs_f64()
        );
        let graceful = async {
            tokio::time::sleep(lame_duck).await;
            plane.shut_down(drain, config.drain.ends_tunnels_over()).await;
        };
        tokio::select! {
            () = graceful => tracing::info!("Shut down after the drain"),
            () = again(&mut signals, &access_log) => tracing::warn!("Shut down at once by a second signal"),
        }
        let _ = end_admin.send(());
        let _ = end_control.send(());
        // With the controller ends the ledger, after its last line is written.
        let _ = tokio::time::timeout(Duration::from_secs(2), control).await;
        admin.abort();
    }
}

/// The first line of a new ledger.
fn first(path: &Path, decision: Decision) -> Transition {
    let origin = Origin {
        trigger: Trigger::Start,
        actor: path.display().to_string(),
        source: String::new(),
        reason: None,
        key: None,
    };
    Transition::new(Kind::Start, decision.since, origin, decision)
}

/// Writes the first line; its number if it is on disk.
fn write_first(ledger: &Ledger, transition: Transition) -> Option<u64> {
    let (done, written) = std::sync::mpsc::channel();
    ledger.commit(transition, move |result| {
        // Nobody waits any more if the disk took too long.
        let _ = done.send(result);
    });
    match written.recv_timeout(FIRST_COMMIT) {
        Ok(Ok(sequence)) => Some(sequence),
        Ok(Err(error)) => {
            tracing::error!(%error, "The ledger can't be written; serving by the file's word until it can.");
            None
        }
        Err(_) => {
            tracing::error!("The disk does not answer; serving by the file's word until it does.");
            None
        }
    }
}

async fn next(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// The next signal that says stop.
async fn again(signals: &mut Option<Signals>, access_log: &AccessLogWriter) {
    loop {
        match next(signals).await {
            Signal::Stop => return,
            Signal::Reload | Signal::Reopen => reopen(access_log),
            Signal::Upgrade => not_upgraded(),
        }
    }
}

/// Nobody waits for it: a file that hangs must not keep the next signal from being heard.
fn reload(handle: &ControllerHandle, access_log: &AccessLogWriter) {
    reopen(access_log);
    let handle = handle.clone();
    tokio::spawn(async move {
        // The controller logs the outcome.
        let _ = handle.ask(Request::Reload).await;
    });
}

fn reopen(access_log: &AccessLogWriter) {
    access_log.reopen();
    tracing::info!("Access log opened again");
}

fn not_upgraded() {
    tracing::warn!(
        "USR2 changes nothing: an upgrade without a restart is not supported yet. \
         To upgrade, replace the binary and restart the service"
    );
}

/// The configuration file where none is named.
#[must_use]
pub(crate) fn default_config_path() -> PathBuf {
    PathBuf::from("/etc/cutover/cutover.toml")
}
