//! Signals, as a stream.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// `TERM`, `INT` or `QUIT`: graceful stop; the second one: immediate.
    Stop,
    /// `HUP`: reload the configuration, reopen the log.
    Reload,
    /// `USR1`: reopen the log.
    Reopen,
    /// `USR2`: hand over to a new binary.
    Upgrade,
}

#[derive(Debug)]
pub(crate) struct Signals {
    term: Stream,
    interrupt: Stream,
    quit: Stream,
    hangup: Stream,
    user1: Stream,
    user2: Stream,
    /// Never read. Catching it makes a write beyond the process's file size limit an error, like a full disk.
    _file_size: Stream,
}

impl Signals {
    /// Replaces the system's defaults.
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.user1.recv() => Signal::Reopen,
            _ = self.user2.recv() => Signal::Upgrade,
        }
    }
}
