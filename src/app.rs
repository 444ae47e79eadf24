//! Assembly: a proxy from its start to its end, by signals, a command of its owner, or an upgrade.

mod activation;
mod executable;
mod manager;
mod message;
mod parting;
mod predecessor;
mod start;
mod upgrade;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::admin;
use crate::app::executable::Executable;
use crate::app::parting::Parting;
use crate::app::predecessor::Predecessor;
use crate::app::start::{Source, Started};
use crate::app::upgrade::{Offer, Successor};
use crate::config::error::ConfigError;
use crate::config::{AdminAddress, Config};
use crate::control::handle::{ControllerHandle, NotUpgraded, Request, UpgradeOrder};
use crate::ledger::LedgerError;
use crate::server::plane::Plane;
use crate::sys::service;
use crate::sys::signals::{Signal, Signals};
use crate::telemetry;
use crate::telemetry::access_log::AccessLogWriter;
use crate::telemetry::upgrades::{self, Outcome};
use crate::tls::TlsError;

const LAST_WORK: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Tls(Vec<TlsError>),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{action}: {source}")]
    Io { action: String, source: std::io::Error },
}

impl Error {
    fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}

pub(crate) fn run(config: &Path) -> Result<(), Error> {
    let ended = serve(config);
    telemetry::flush();
    ended
}

fn serve(config: &Path) -> Result<(), Error> {
    let executable = Executable::of_this_process().map_err(Error::io("could not find the program itself"))?;
    let runtime = control_runtime()?;
    let (started, signals) = {
        let _context = runtime.enter();
        // Before serving, so that no signal meets the system's default.
        let signals = Signals::listen().map_err(Error::io("could not listen for signals"))?;
        let met = Predecessor::meet().map_err(Error::io("could not take over from the process before"))?;
        let started = match met {
            Some((mut predecessor, inherited)) => {
                let started = Started::new(config, Source::Predecessor(&mut predecessor, inherited));
                // Answers the command that asked for the upgrade.
                let mut started = started.inspect_err(|error| predecessor.failed(&error.to_string()))?;
                for (pid, channel) in predecessor.into_channels() {
                    let follow = started.controller.follow(pid, channel);
                    follow.map_err(Error::io("could not watch the process before"))?;
                }
                started
            }
            None => Started::new(config, Source::Manager)?,
        };
        (started, signals)
    };
    runtime.block_on(started.serve(Some((signals, executable)), std::future::pending()));
    // Abandons blocking tasks stuck on a hung disk.
    runtime.shutdown_background();
    Ok(())
}

#[derive(Debug)]
pub(crate) struct Running {
    handle: ControllerHandle,
    http: SocketAddr,
    admin: AdminAddress,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(config: &Path) -> Result<Running, Error> {
        let runtime = control_runtime()?;
        let started = {
            let _context = runtime.enter();
            Started::new(config, Source::Alone)?
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

    #[must_use]
    pub(crate) fn handle(&self) -> &ControllerHandle {
        &self.handle
    }

    #[must_use]
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http
    }

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

impl Started {
    /// Runs until a signal, `stop` or an upgrade, then shuts down: not ready but serving, draining, end.
    async fn serve(self, process: Option<(Signals, Executable)>, stop: impl Future<Output = ()>) {
        let Started { config, mut plane, admin, handle, controller, effects, meters, access_log, ready, mut upgrades } =
            self;
        let (mut signals, executable) = process.unzip();
        let (end_control, control_ends) = oneshot::channel::<()>();
        let control = tokio::spawn(controller.run(effects, async move {
            let _ = control_ends.await;
        }));
        let (orders, ordered) = mpsc::channel(1);
        let admin = tokio::spawn(admin::serve(admin, handle.clone(), ordered));
        service::ready();
        let told = signals
            .is_some()
            .then(|| tokio::spawn(manager::keep_told(handle.clone(), plane.progress().clone())).abort_handle());

        let mut stop = std::pin::pin!(stop);
        let mut upgrading: Option<Upgrading> = None;
        let successor = loop {
            let order = tokio::select! {
                () = &mut stop => break None,
                signal = next(&mut signals) => match signal {
                    Signal::Stop => break None,
                    Signal::Reload => {
                        reload(&handle, &access_log);
                        continue;
                    }
                    Signal::Reopen => {
                        reopen(&access_log);
                        continue;
                    }
                    Signal::Upgrade => UpgradeOrder {
                        timeout: None,
                        actor: "USR2".to_owned(),
                        reason: None,
                        answer: oneshot::channel().0,
                    },
                },
                Some(order) = upgrades.recv() => order,
                upgraded = outcome(&mut upgrading) => match upgraded {
                    Some(successor) => break Some(successor),
                    None => continue,
                },
            };
            let UpgradeOrder { timeout, actor, reason, answer } = order;
            let refusal = match (&upgrading, &executable) {
                (Some(_), _) => "another upgrade is in progress; wait for its outcome: `cutover status`",
                (None, None) => "this proxy runs inside another program, which is to be started again",
                (None, Some(executable)) => {
                    tracing::info!(actor, reason, "Upgrade asked for");
                    service::reloading();
                    let listeners =
                        plane.listening().iter().map(|(listener, socket)| Ok((listener.key(), socket.try_clone()?)));
                    let offer = listeners.collect::<std::io::Result<_>>().map(|listeners| Offer {
                        executable: executable.clone(),
                        listeners,
                        admin: orders.clone(),
                        handle: handle.clone(),
                        patience: timeout.unwrap_or(upgrade::PATIENCE),
                    });
                    let work =
                        async { upgrade::upgrade(offer.map_err(|error| NotUpgraded::Busy(error.to_string()))?).await };
                    upgrading = Some(Upgrading { work: Box::pin(work), answer });
                    continue;
                }
            };
            tracing::warn!(actor, reason, refusal, "Upgrade refused");
            upgrades::count(Outcome::Refused);
            let _ = answer.send(Err(NotUpgraded::Busy(refusal.to_owned())));
        };
        // Later orders are refused: this process is about to end.
        drop(upgrades);
        // Ends a process that was about to take over.
        drop(upgrading);
        told.inspect(tokio::task::AbortHandle::abort);

        ready.send_replace(false);
        let over = config.drain.ends_tunnels_over();
        let ending = match successor {
            Some(successor) => {
                let pid = successor.upgraded.pid;
                tracing::info!(successor = pid, "Another process serves; draining");
                plane.part();
                let _ = orders.send(admin::ListenerCommand::Leave).await;
                let parting = Parting::new(meters, plane.progress().clone(), config.drain.timeout);
                let parting = tokio::spawn(parting.keep_told(successor, plane.close_idle()));
                let drained = async {
                    plane.end(config.drain.timeout, over).await;
                    let _ = admin.await;
                };
                tokio::select! {
                    () = drained => {}
                    () = again(&mut signals, &access_log) => tracing::warn!("Drain cut short by a signal"),
                }
                parting.abort();
                format!("Stopped; process {pid} serves")
            }
            None => {
                service::stopping();
                let shut_down = shut_down(&config, plane, over, &mut signals, &access_log).await;
                let _ = orders.try_send(admin::ListenerCommand::Stop);
                shut_down.to_owned()
            }
        };
        let _ = end_control.send(());
        // The ledger ends with the controller, after its last line.
        let _ = tokio::time::timeout(Duration::from_secs(2), control).await;
        tracing::info!("{ending}");
    }
}

struct Upgrading {
    work: std::pin::Pin<Box<dyn Future<Output = Result<Successor, NotUpgraded>>>>,
    answer: oneshot::Sender<Result<crate::control::handle::Upgraded, NotUpgraded>>,
}

/// `None`: the upgrade failed, and this process serves on.
async fn outcome(upgrading: &mut Option<Upgrading>) -> Option<Successor> {
    let Some(Upgrading { work, .. }) = upgrading else { return std::future::pending().await };
    let ended = work.as_mut().await;
    let Upgrading { answer, .. } = upgrading.take()?;
    match ended {
        Ok(successor) => {
            let _ = answer.send(Ok(successor.upgraded.clone()));
            Some(successor)
        }
        Err(failure) => {
            let reason = failure.reason();
            tracing::error!(reason, "Upgrade failed; this process serves on");
            upgrades::count(failure.outcome());
            service::ready();
            service::status(&format!("upgrade failed: {reason}"));
            let _ = answer.send(Err(failure));
            None
        }
    }
}

/// Fails readiness while still serving, then drains. Returns the outcome for the log.
async fn shut_down(
    config: &Config,
    plane: Plane,
    tunnels_over: Option<Duration>,
    signals: &mut Option<Signals>,
    access_log: &AccessLogWriter,
) -> &'static str {
    plane.set_ready(false);
    // A background proxy has no load balancer in front that must notice.
    let lame_duck = if signals.is_some() { config.readiness.lame_duck } else { Duration::ZERO };
    let drain = if signals.is_some() { config.drain.timeout } else { Duration::from_secs(1) };
    tracing::info!(
        lame_duck_s = lame_duck.as_secs_f64(),
        "Shutting down: readiness now fails; serving for {} s more, then draining",
        lame_duck.as_secs_f64()
    );
    let graceful = async {
        tokio::time::sleep(lame_duck).await;
        plane.shut_down(drain, tunnels_over).await;
    };
    tokio::select! {
        () = graceful => "Shut down after the drain",
        () = again(signals, access_log) => "Shut down at once by a second signal",
    }
}

async fn next(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

async fn again(signals: &mut Option<Signals>, access_log: &AccessLogWriter) {
    loop {
        match next(signals).await {
            Signal::Stop => return,
            Signal::Reload | Signal::Reopen => reopen(access_log),
            Signal::Upgrade => tracing::warn!("USR2 changes nothing: this process is about to end"),
        }
    }
}

/// Not awaited: a hung file must not delay the next signal.
fn reload(handle: &ControllerHandle, access_log: &AccessLogWriter) {
    reopen(access_log);
    let handle = handle.clone();
    tokio::spawn(async move {
        service::reloading();
        let outcome = match handle.ask(Request::Reload).await {
            Ok(Ok(outcome)) if outcome.changed => "reloaded: the new configuration is in force".to_owned(),
            Ok(Ok(_)) => "reloaded: nothing new in the configuration".to_owned(),
            Ok(Err(refusal)) => format!("reload failed, the configuration in force stays: {refusal}"),
            Err(stopping) => stopping.to_string(),
        };
        service::ready();
        service::status(&outcome);
    });
}

fn reopen(access_log: &AccessLogWriter) {
    access_log.reopen();
    tracing::info!("Access log opened again");
}

#[must_use]
pub(crate) fn default_config_path() -> PathBuf {
    PathBuf::from("/etc/cutover/cutover.toml")
}
