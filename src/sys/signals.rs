//! Signals, as a stream.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What the process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `TERM` or `INT`: end gracefully; the second one: end.
    Stop,
    /// `HUP`: read the configuration again, open the log again.
    Reload,
}

/// The signals of this process from now on.
#[derive(Debug)]
pub struct Signals {
    term: Stream,
    interrupt: Stream,
    hangup: Stream,
    /// Never looked at. That it is taken makes a file beyond the process's size limit an error of the write, like a
    /// full disk, instead of the end of the process.
    _file_size: Stream,
}

impl Signals {
    /// Takes them over from the system's defaults.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}
