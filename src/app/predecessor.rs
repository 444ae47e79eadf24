//! The new process's part of an upgrade: it takes the listeners, then the ledger, and serves when the running process
//! says so. It writes nothing before the last message.

use std::io;
use std::os::fd::OwnedFd;

use crate::app::message::{self, Message, PROTOCOL, VARIABLE};
use crate::config::error::UnusableFile;
use crate::sys::handover;
use crate::sys::inherited::Inherited;
use crate::telemetry::upgrades::{self, Outcome};

/// The process that has started this one.
#[derive(Debug)]
pub(super) struct Predecessor {
    channel: OwnedFd,
    pub(super) pid: u32,
    /// Files that it can't use either, without reasons.
    pub(super) unusable: Vec<UnusableFile>,
    /// Processes that served before it, and their channels.
    earlier: Vec<(u32, OwnedFd)>,
    /// It ended after it had given the listeners away: nobody else can serve.
    gone: bool,
}

/// The ledger of the running process.
pub(super) struct Given {
    pub(super) lock: OwnedFd,
    /// In force.
    pub(super) generation: u64,
}

impl Predecessor {
    /// `None`: this process was started by nobody who serves. With the listeners.
    pub(super) fn meet() -> io::Result<Option<(Predecessor, Inherited)>> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let channel = handover::at_stdin()?;
        let mut predecessor = Predecessor { channel, pid: 0, unusable: Vec::new(), earlier: Vec::new(), gone: false };
        let Message::Hello { protocol, pid, version, asks, unusable } = predecessor.receive()?.0 else {
            return Err(unexpected());
        };
        if protocol != PROTOCOL {
            let reason = format!("version {version} can't be replaced while it serves; restart the service instead");
            return Err(io::Error::other(reason));
        }
        predecessor.pid = pid;
        if asks {
            message::send(&predecessor.channel, &Message::Present, &[])?;
        }
        let unusable = unusable.into_iter();
        predecessor.unusable =
            unusable.map(|(setting, path)| UnusableFile { setting, path, reason: String::new() }).collect();
        let mut inherited = Inherited::default();
        loop {
            match predecessor.receive()? {
                (Message::Listeners { key, owned: None }, sockets) => {
                    sockets.into_iter().for_each(|socket| inherited.add(&key, socket));
                }
                (Message::Listeners { key, owned: Some(path) }, sockets) => {
                    sockets.into_iter().for_each(|socket| inherited.add_owned(&key, socket, path.clone()));
                }
                (Message::Begin, _) => return Ok(Some((predecessor, inherited))),
                _ => return Err(unexpected()),
            }
        }
    }

    /// Says that the configuration is valid. `None`: the predecessor has ended, and its ledger is free.
    pub(super) fn ledger(&mut self) -> io::Result<Option<Given>> {
        tracing::info!(predecessor = self.pid, "Configuration valid; asking for the ledger");
        match self.ask(&Message::Loaded)? {
            Some((Message::Ledger { generation, before }, mut given)) => {
                let lock = given.pop().ok_or_else(unexpected)?;
                self.earlier = before.into_iter().zip(given).collect();
                Ok(Some(Given { lock, generation }))
            }
            Some(_) => Err(unexpected()),
            None => Ok(None),
        }
    }

    /// Says that the workers answer, and waits until they may accept.
    pub(super) fn ready(&mut self, generation: u64) -> io::Result<()> {
        self.step(&Message::Ready { generation, version: env!("CARGO_PKG_VERSION").to_owned() }, &Message::Go)
    }

    /// Says that they do, and waits until the predecessor decides and writes no more.
    pub(super) fn serving(&mut self) -> io::Result<()> {
        self.step(&Message::Serving, &Message::Done)
    }

    pub(super) fn failed(&self, reason: &str) {
        let _ = message::send(&self.channel, &Message::Failed { reason: reason.to_owned() }, &[]);
    }

    pub(super) fn count(&self) {
        upgrades::count(if self.gone { Outcome::Alone } else { Outcome::Done });
    }

    /// Its channel and those of earlier ones: see [`crate::control::predecessor`].
    pub(super) fn into_channels(self) -> impl Iterator<Item = (u32, OwnedFd)> {
        self.earlier.into_iter().chain([(self.pid, self.channel)])
    }

    fn step(&mut self, say: &Message, expect: &Message) -> io::Result<()> {
        match self.ask(say)? {
            Some((message, _)) if message != *expect => Err(unexpected()),
            Some(_) | None => Ok(()),
        }
    }

    /// `None`: the predecessor has ended, and this process takes over alone. One that gave up says so.
    fn ask(&mut self, say: &Message) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        if self.gone {
            return Ok(None);
        }
        let said = message::send(&self.channel, say, &[]).and_then(|()| message::receive(&self.channel));
        let answer = match said {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            said => said?,
        };
        if matches!(answer, Some((Message::Withdrawn, _))) {
            return Err(io::Error::other("the running process has given the upgrade up, and serves on"));
        }
        if answer.is_none() {
            self.gone = true;
            tracing::warn!(
                predecessor = self.pid,
                "The process before ended during the upgrade; this one takes over alone"
            );
        }
        Ok(answer)
    }

    fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        message::receive(&self.channel)?.ok_or_else(|| io::Error::other("the process before ended during the upgrade"))
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the process before said something unexpected")
}
