//! The ledger between two processes: one stops writing, the other takes over the lock, and neither writes meanwhile.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::ledger::file::LedgerFile;

/// An ask to the writer: everything before it is on disk when it answers, and nothing is written until it is told to.
pub(super) struct Park {
    parked: oneshot::Sender<io::Result<OwnedFd>>,
    given_away: mpsc::Receiver<()>,
}

/// A ledger that nobody writes. Dropping it lets the writer go on.
#[derive(Debug)]
pub(crate) struct Parked {
    /// The locked directory. The lock holds as long as any process has it.
    pub lock: OwnedFd,
    give_away: mpsc::Sender<()>,
}

impl Parked {
    /// Another process writes from now on, and this one never again.
    pub(crate) fn give_away(self) {
        // A writer that has ended writes nothing either.
        let _ = self.give_away.send(());
    }
}

impl Park {
    pub(super) fn new() -> (Park, impl Future<Output = Result<Parked, String>>) {
        let (parked, answer) = oneshot::channel::<io::Result<OwnedFd>>();
        let (give_away, given_away) = mpsc::channel();
        let answer = async move {
            match answer.await {
                Ok(Ok(lock)) => Ok(Parked { lock, give_away }),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(super::ENDED.to_owned()),
            }
        };
        (Park { parked, given_away }, answer)
    }

    /// Stops the writer. False: another process writes now.
    pub(super) fn wait(self, file: &LedgerFile) -> bool {
        self.parked.send(file.lock()).is_err() || self.given_away.recv().is_err()
    }
}
