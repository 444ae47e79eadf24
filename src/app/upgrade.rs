//! The running process's part of an upgrade: it starts the new one, gives it the listeners and then the ledger, and
//! stops accepting when the new one serves. Until the last message everything can be taken back.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout, timeout_at};

use crate::admin;
use crate::app::executable::Executable;
use crate::app::message::{self, Message, PROTOCOL, VARIABLE};
use crate::control::handle::{ControllerHandle, HandedOver, NotUpgraded, Request, Upgraded};
use crate::sys::handover::{self, MOST_DESCRIPTORS};
use crate::sys::service;
use crate::telemetry::upgrades::Outcome;

/// How long a new process may take until it serves, where nobody says otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long moves that are under way may take until they refuse the upgrade.
const BUSY: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How long no decision is made at most.
const FROZEN: Duration = Duration::from_secs(10);
/// How long a process that has closed its channel may take to end.
const ENDS: Duration = Duration::from_secs(1);
/// How long the listener of the admin API may take for an answer.
const ADMIN: Duration = Duration::from_secs(2);

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) struct Offer {
    pub(super) executable: Executable,
    /// By their keys in `[listen]`.
    pub(super) listeners: Vec<(&'static str, OwnedFd)>,
    pub(super) admin: mpsc::Sender<admin::ListenerCommand>,
    pub(super) handle: ControllerHandle,
    pub(super) patience: Duration,
}

/// The process that serves now. Something to read on the channel, or its end: connections without a request are to be
/// closed.
pub(super) struct Successor {
    pub(super) upgraded: Upgraded,
    pub(super) channel: Arc<UnixDatagram>,
}

/// A new process in a group of its own, which ends with this unless it is released.
struct Starting {
    child: Option<Child>,
    // Closed when the process has ended: an end of the channel before that means that this process was killed.
    channel: Arc<UnixDatagram>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // For one that has left the group.
            let _ = self.say(&Message::Withdrawn, &[]);
            // A script's children keep the listeners open as unread messages.
            if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Has a new process take over. Dropping it before it is done ends the new process.
pub(super) async fn upgrade(offer: Offer) -> Result<Successor, NotUpgraded> {
    let began = Instant::now();
    let failed = |error: io::Error| NotUpgraded::Failed(Outcome::Died, error.to_string());
    let starting = Starting::start(&offer.executable)?;
    let pid = starting.child.as_ref().map_or(0, Child::id);
    tracing::info!(successor = pid, file = %offer.executable.path.display(), "Upgrade begun");
    let deadline = began + offer.patience;
    let path = offer.executable.path.display();
    let in_time = timeout_at(deadline.into(), starting.introduce(&offer)).await;
    in_time.unwrap_or_else(|_| {
        let what = format!("answer (if {path} is no Cutover of 0.2 or later, restart the service instead)");
        Err(late(&what, offer.patience))
    })?;
    let loaded = starting.expect(|message| (message == Message::Loaded).then_some(()));
    let in_time = timeout_at(deadline.into(), loaded).await;
    in_time.unwrap_or_else(|_| Err(late("load its configuration", offer.patience)))?;

    let handed = hand_over(&offer.handle).await?;
    let generation = handed.generation;
    let frozen_for = FROZEN.min(deadline.saturating_duration_since(Instant::now()).max(ADMIN));
    let frozen = Instant::now() + frozen_for;
    let in_time = async {
        let before = handed.before.iter().rev().take(MOST_DESCRIPTORS - 1).rev();
        let (before, channels): (_, Vec<_>) = before.map(|(pid, channel)| (*pid, channel.as_fd())).unzip();
        let descriptors: Vec<_> = channels.into_iter().chain([handed.ledger.lock.as_fd()]).collect();
        starting.say(&Message::Ledger { generation: generation.0, before }, &descriptors).map_err(failed)?;
        let ready = |message| match message {
            Message::Ready { generation, version } => Some((generation, version)),
            _ => None,
        };
        let (ready, version) = starting.expect(ready).await?;
        if ready != generation.0 {
            let reason = format!("the new process came up on generation {ready} instead of {}", generation.0);
            return Err(NotUpgraded::Failed(Outcome::Rejected, reason));
        }
        starting.say(&Message::Go, &[]).map_err(failed)?;
        starting.expect(|message| (message == Message::Serving).then_some(version)).await
    };
    let in_time = timeout_at(frozen.into(), in_time).await;
    let version = in_time.unwrap_or_else(|_| Err(late("serve after it got the ledger", frozen_for)))?;
    service::main_process(pid);
    if let Err(error) = starting.say(&Message::Done, &[]) {
        service::main_process(std::process::id());
        return Err(failed(error));
    }
    // From here on nothing can fail, and nothing waits.
    handed.ledger.give_away();
    let _ = handed.done.send(());
    let upgraded = Upgraded { pid, version, generation, took: began.elapsed() };
    Ok(Successor { upgraded, channel: starting.release() })
}

fn late(what: &str, patience: Duration) -> NotUpgraded {
    // Without the rest of a second.
    let patience = if patience >= ADMIN { Duration::from_secs(patience.as_secs()) } else { patience };
    let patience = humantime::format_duration(patience);
    NotUpgraded::Failed(Outcome::Late, format!("the new process did not {what} within {patience}, and was killed"))
}

/// Stops the controller, as soon as nothing moves.
async fn hand_over(handle: &ControllerHandle) -> Result<HandedOver, NotUpgraded> {
    let began = Instant::now();
    loop {
        match handle.ask(Request::HandOver).await {
            Ok(Ok(handed)) => return Ok(handed),
            Ok(Err(why)) if began.elapsed() >= BUSY => return Err(NotUpgraded::Busy(why)),
            Ok(Err(_)) => sleep(LOOK_AGAIN).await,
            Err(stopping) => return Err(NotUpgraded::Busy(stopping.to_string())),
        }
    }
}

impl Starting {
    fn start(executable: &Executable) -> Result<Starting, NotUpgraded> {
        let Executable { path, name, arguments } = executable;
        let started = handover::pair().and_then(|(ours, theirs)| {
            // Only the type is another one: nothing but `sys::handover` reads and writes.
            let channel = Arc::new(UnixDatagram::from_std(ours.into())?);
            let mut command = Command::new(path);
            command.arg0(name).args(arguments).env(VARIABLE, "1").stdin(Stdio::from(theirs)).process_group(0);
            for of_this_process in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
                command.env_remove(of_this_process);
            }
            Ok(Starting { child: Some(command.spawn()?), channel })
        });
        started.map_err(|error| {
            let reason = format!("{} can't be started: {error}", path.display());
            NotUpgraded::Failed(Outcome::NotStarted, reason)
        })
    }

    fn say(&self, message: &Message, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<()> {
        message::send(&self.channel, message, descriptors)
    }

    /// Gives the listeners, once the new process has said that it knows what to do with them: a program that does not,
    /// or one that it has started, could keep them open for ever.
    async fn introduce(&self, offer: &Offer) -> Result<(), NotUpgraded> {
        let (answer, handle) = oneshot::channel();
        let _ = offer.admin.send(admin::ListenerCommand::Handle(answer)).await;
        let handle = timeout(ADMIN, handle).await;
        let (socket, owned): (OwnedFd, Option<PathBuf>) = match handle {
            Ok(Ok(Ok(handle))) => handle,
            Ok(Ok(Err(error))) => return Err(NotUpgraded::Busy(format!("listen.admin: {error}"))),
            _ => return Err(NotUpgraded::Busy("the admin API has no room for connections".to_owned())),
        };
        let unusable = offer.handle.ask(Request::Unusable).await;
        let unusable = unusable.map_err(|stopping| NotUpgraded::Busy(stopping.to_string()))?;
        let hello = Message::Hello {
            protocol: PROTOCOL,
            pid: std::process::id(),
            version: VERSION.to_owned(),
            asks: true,
            unusable: unusable.into_iter().map(|file| (file.setting, file.path)).collect(),
        };
        match self.say(&hello, &[]) {
            Ok(()) => self.expect(|message| (message == Message::Present).then_some(())).await?,
            Err(error) => return Err(self.not_told(error).await),
        }
        let introduced = || {
            for key in ["http", "https", "preview"] {
                let of_key = offer.listeners.iter().filter(|(of, _)| *of == key).map(|(_, socket)| socket.as_fd());
                for some in of_key.collect::<Vec<_>>().chunks(MOST_DESCRIPTORS) {
                    self.say(&Message::Listeners { key: key.to_owned(), owned: None }, some)?;
                }
            }
            self.say(&Message::Listeners { key: admin::KEY.to_owned(), owned }, &[socket.as_fd()])?;
            self.say(&Message::Begin, &[])
        };
        match introduced() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.not_told(error).await),
        }
    }

    async fn not_told(&self, error: io::Error) -> NotUpgraded {
        match error.kind() {
            io::ErrorKind::BrokenPipe => self.ended().await,
            _ => NotUpgraded::Failed(Outcome::Died, error.to_string()),
        }
    }
    async fn expect<T>(&self, is_it: impl FnOnce(Message) -> Option<T>) -> Result<T, NotUpgraded> {
        let rejected = |reason: String| NotUpgraded::Failed(Outcome::Rejected, reason);
        let end = async {
            while self.how_it_ended().is_none() {
                sleep(LOOK_AGAIN).await;
            }
        };
        let received = tokio::select! {
            biased;
            received = self.channel.async_io(Interest::READABLE, || message::receive(&self.channel)) => received,
            // A process that it has started may keep the channel open.
            () = end => match message::receive(&self.channel) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                last => last,
            },
        };
        match received.map_err(|error| rejected(error.to_string()))? {
            Some((Message::Failed { reason }, _)) => Err(rejected(reason)),
            Some((message, _)) => {
                is_it(message).ok_or_else(|| rejected("the new process said something unexpected".to_owned()))
            }
            None => Err(self.ended().await),
        }
    }

    /// The new process has closed its channel, or has ended.
    async fn ended(&self) -> NotUpgraded {
        let began = Instant::now();
        loop {
            if let Some(how) = self.how_it_ended() {
                let reason = format!("the new process ended {how} before it served; see the log");
                return NotUpgraded::Failed(Outcome::Died, reason);
            }
            if began.elapsed() >= ENDS {
                let reason = "the new process gave up before it served; see the log".to_owned();
                return NotUpgraded::Failed(Outcome::Died, reason);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// `None`: it runs.
    fn how_it_ended(&self) -> Option<String> {
        let options = rustix::process::WaitIdOptions::EXITED
            | rustix::process::WaitIdOptions::NOHANG
            | rustix::process::WaitIdOptions::NOWAIT;
        let id = rustix::process::Pid::from_raw(self.child.as_ref()?.id().cast_signed())?;
        let status = rustix::process::waitid(rustix::process::WaitId::Pid(id), options).ok()??;
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("with exit code {code}"),
            (None, Some(signal)) => format!("by signal {signal}"),
            (None, None) => "at once".to_owned(),
        })
    }

    fn release(mut self) -> Arc<UnixDatagram> {
        drop(self.child.take());
        Arc::clone(&self.channel)
    }
}
