//! The new process's part of an upgrade: it takes the listeners, then the ledger, and serves when the running process
//! says so. It writes nothing before the last message.

use std::io;
use std::os::fd::OwnedFd;

use crate::app::message::{self, Message, PROTOCOL, VARIABLE};
use crate::config::error::UnusableFile;
use crate::sys::handover;
use crate::sys::inherited::Inherited;

/// The process that has started this one.
#[derive(Debug)]
pub(super) struct Predecessor {
    channel: OwnedFd,
    pub(super) pid: u32,
    /// Files that it can't use either, without reasons.
    pub(super) unusable: Vec<UnusableFile>,
    /// It ended after it had given the ledger away: nobody else can serve.
    gone: bool,
}

impl Predecessor {
    /// `None`: this process was started by nobody who serves. With the listeners.
    pub(super) fn meet() -> io::Result<Option<(Predecessor, Inherited)>> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let channel = handover::at_stdin()?;
        let mut predecessor = Predecessor { channel, pid: 0, unusable: Vec::new(), gone: false };
        let Message::Hello { protocol, pid, version, unusable } = predecessor.receive()?.0 else {
            return Err(unexpected());
        };
        if protocol != PROTOCOL {
            let reason = format!("version {version} can't be replaced while it serves; restart the service instead");
            return Err(io::Error::other(reason));
        }
        predecessor.pid = pid;
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

    /// Says that the configuration is valid; the lock of the ledger, and the generation in force.
    pub(super) fn ledger(&mut self) -> io::Result<(OwnedFd, u64)> {
        message::send(&self.channel, &Message::Loaded, &[])?;
        match self.receive()? {
            (Message::Ledger { generation }, mut lock) => Ok((lock.pop().ok_or_else(unexpected)?, generation)),
            _ => Err(unexpected()),
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

    /// Says why this process can't take over.
    pub(super) fn failed(&self, reason: &str) {
        let _ = message::send(&self.channel, &Message::Failed { reason: reason.to_owned() }, &[]);
    }

    /// The channel: see [`crate::control::predecessor`].
    pub(super) fn into_channel(self) -> OwnedFd {
        self.channel
    }

    fn step(&mut self, say: &Message, expect: &Message) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        let said = message::send(&self.channel, say, &[]).and_then(|()| message::receive(&self.channel));
        match said {
            Ok(Some((message, _))) if message == *expect => Ok(()),
            Ok(Some(_)) => Err(unexpected()),
            Ok(None) => {
                self.lost();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.lost();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// This process would have been ended first if the predecessor had given up.
    fn lost(&mut self) {
        self.gone = true;
        tracing::warn!(pid = self.pid, "The process before ended during the upgrade; this one takes over alone");
    }

    fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        message::receive(&self.channel)?.ok_or_else(|| io::Error::other("the process before ended during the upgrade"))
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the process before said something unexpected")
}
