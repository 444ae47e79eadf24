//! The one durable file, `ledger.jsonl`: one line per transition, with the whole decision after it.
//!
//! History and state are the same file: the state is its last valid line. [`Ledger::commit`] hands a transition to the
//! one writer, first in, first out, so the last line is always the latest decision; the answer comes after
//! `fdatasync`. A hanging disk blocks the writer only.

pub(crate) mod answers;
mod error;
mod file;
mod format;
mod park;
mod read;
pub(crate) mod ticks;
mod verify;

use std::fmt;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime};

use crate::domain::transition::Transition;
use crate::ledger::file::LedgerFile;
use crate::ledger::park::Park;

pub(crate) use crate::ledger::error::LedgerError;
pub(crate) use crate::ledger::park::Parked;
pub(crate) use crate::ledger::verify::{Verified, verify};

#[derive(Debug)]
pub(crate) struct Recovered {
    pub transitions: Vec<(u64, Transition)>,
    pub warnings: Vec<String>,
}

type Done = Box<dyn FnOnce(Result<u64, String>) + Send>;
type Told = Box<dyn FnOnce(Result<Verified, String>) + Send>;

enum Task {
    Append(Box<Transition>, fn(), Done),
    Verify(Told),
    Park(Park),
}

const ENDED: &str = "the writer of the ledger has ended; restart the process";

/// Interval for comparing the file with the one that a restart would read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// False also while that is unknown.
    pub whole: bool,
    pub trouble: Option<String>,
    /// Rewrites because another program removed or replaced it.
    pub rewritten: u64,
    pub last_loss: Option<(SystemTime, String)>,
}

impl Default for Condition {
    fn default() -> Condition {
        Condition { whole: true, trouble: None, rewritten: 0, last_loss: None }
    }
}

/// How long the end waits for queued lines. A hanging disk does not prevent the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The ledger of this process. Dropping it writes the queued lines, unless the disk hangs.
pub(crate) struct Ledger {
    queue: Option<mpsc::Sender<Task>>,
    condition: Arc<Mutex<Condition>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// Creates directory and file if necessary, and locks the directory for this process.
    pub(crate) fn open(dir: &Path) -> Result<(Ledger, Recovered), LedgerError> {
        Ledger::begin(dir, LedgerFile::open(dir)?)
    }

    /// Opens the ledger of a process that has parked it, by its lock.
    pub(crate) fn take_over(dir: &Path, lock: OwnedFd) -> Result<(Ledger, Recovered), LedgerError> {
        Ledger::begin(dir, LedgerFile::take_over(dir, lock)?)
    }

    fn begin(dir: &Path, (file, recovered): (LedgerFile, Recovered)) -> Result<(Ledger, Recovered), LedgerError> {
        let (queue, waiting) = mpsc::channel();
        let (running, ended) = mpsc::channel();
        let condition = file.condition();
        let work = move || {
            // Releases the lock of the directory before the end is reported.
            write(file, &waiting);
            drop::<mpsc::Sender<()>>(running);
        };
        let writer = std::thread::Builder::new().name("ledger".to_owned()).spawn(work);
        writer.map_err(|source| LedgerError::io("start the writer of", dir, source))?;
        Ok((Ledger { queue: Some(queue), condition, ended: Mutex::new(ended) }, recovered))
    }

    /// Tries to write a file beside the ledger. Blocks as long as the disk does.
    pub(crate) fn try_disk(dir: &Path) -> Result<(), String> {
        let tried = tempfile::Builder::new().prefix(".cutover-dry-run-").tempfile_in(dir).and_then(|mut file| {
            file.write_all(&[b' '; 4096])?;
            file.as_file().sync_data()
        });
        tried.map_err(|error| format!("{}: {error}", dir.display()))
    }

    /// `done` gets the sequence number once the line is on disk, or the reason of the failure. The writer's thread
    /// calls `pause` between its steps, and `done`.
    pub(crate) fn commit(
        &self,
        transition: Transition,
        pause: fn(),
        done: impl FnOnce(Result<u64, String>) + Send + 'static,
    ) {
        let queue = self.queue.as_ref().expect("there until drop");
        if let Err(mpsc::SendError(Task::Append(_, _, done))) =
            queue.send(Task::Append(Box::new(transition), pause, Box::new(done)))
        {
            done(Err(ENDED.to_owned()));
        }
    }

    /// Writes what was handed over before, and stops until the answer is dropped or given away.
    pub(crate) fn park(&self) -> impl Future<Output = Result<Parked, String>> + use<> {
        let queue = self.queue.as_ref().expect("there until drop");
        let (park, parked) = Park::new();
        // A writer that has ended drops it, which is the answer.
        let _ = queue.send(Task::Park(park));
        parked
    }

    pub(crate) fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies the chain of the whole file after the queued lines. `told` is called on the writer's thread.
    pub(crate) fn verify(&self, told: impl FnOnce(Result<Verified, String>) + Send + 'static) {
        let queue = self.queue.as_ref().expect("there until drop");
        if let Err(mpsc::SendError(Task::Verify(told))) = queue.send(Task::Verify(Box::new(told))) {
            told(Err(ENDED.to_owned()));
        }
    }
}

fn write(mut file: LedgerFile, waiting: &mpsc::Receiver<Task>) {
    loop {
        match waiting.recv_timeout(LOOK_EVERY) {
            Ok(Task::Append(line, pause, done)) => done(file.append(&line, pause).map_err(|error| error.to_string())),
            Ok(Task::Verify(told)) => told(file.verify().map_err(|error| error.to_string())),
            Ok(Task::Park(park)) => {
                if !park.wait(&file) {
                    return;
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => file.look(),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                // The next process reads this file. A failure was reported.
                let _ = file.restore_if_lost(&[]);
                return;
            }
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        drop(self.queue.take());
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(LAST_LINES);
    }
}

#[cfg(test)]
mod tests;
