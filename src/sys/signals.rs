//! Signals, as a stream.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// `TERM`, `INT` or `QUIT`: end gracefully; the second one: end.
    Stop,
    /// `HUP`: read the configuration again, open the log again.
    Reload,
    /// `USR1`: open the log again.
    Reopen,
    /// `USR2`: hand over to a new binary.
    Upgrade,
}

/// The signals of this process from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Stream,
    interrupt: Stream,
    quit: Stream,
    hangup: Stream,
    user1: Stream,
    user2: Stream,
    /// Never looked at. That it is taken makes a file beyond the process's size limit an error of the write, like a
    /// full disk, instead of the end of the process.
    _file_size: Stream,
}

impl Signals {
    /// Takes them over from the system's defaults.
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

    /// The next one.
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
