//! The one durable file, `ledger.jsonl`: one line a transition, each with the whole decision after it.
//!
//! History and state are the same file: the state is its last valid line. [`Ledger::commit`] hands a transition to the
//! one writer, first in, first out, so that what is on disk is always the latest decision that was handed over; the
//! answer comes when `fdatasync` has returned. A disk that hangs holds up the writer and nobody else.

pub(crate) mod answers;
mod error;
mod file;
mod format;
mod read;
pub(crate) mod ticks;
mod verify;

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime};

use crate::domain::transition::Transition;
use crate::ledger::file::LedgerFile;

pub(crate) use crate::ledger::error::LedgerError;
pub(crate) use crate::ledger::verify::{Verified, verify};

/// What an opened ledger tells.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// All valid transitions with their sequence numbers, oldest first.
    pub transitions: Vec<(u64, Transition)>,
    /// What had to be set aside, in words.
    pub warnings: Vec<String>,
}

type Done = Box<dyn FnOnce(Result<u64, String>) + Send>;
type Told = Box<dyn FnOnce(Result<Verified, String>) + Send>;

/// What the writer does.
enum Task {
    Append(Box<Transition>, Done),
    Verify(Told),
}

const ENDED: &str = "the writer of the ledger has ended; restart the process";

/// From look to look at the file that a restart would read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether the ledger on disk is the one that this process wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// It is. False also while nobody can tell.
    pub whole: bool,
    /// The reason where it is not.
    pub trouble: Option<String>,
    /// How often it was written anew because another program removed or replaced it.
    pub rewritten: u64,
    /// When that happened last, and the reason.
    pub last_loss: Option<(SystemTime, String)>,
}

impl Default for Condition {
    fn default() -> Condition {
        Condition { whole: true, trouble: None, rewritten: 0, last_loss: None }
    }
}

/// How long the end waits for what was handed over. A disk that hangs does not keep the process from ending.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The ledger of this process. Dropping it finishes what was handed over, unless the disk hangs.
pub(crate) struct Ledger {
    queue: Option<mpsc::Sender<Task>>,
    condition: Arc<Mutex<Condition>>,
    /// Closed when the writer has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// Opens the ledger in this directory, makes both if there are none, and locks the directory for this process.
    pub(crate) fn open(dir: &Path) -> Result<(Ledger, Recovered), LedgerError> {
        let (file, recovered) = LedgerFile::open(dir)?;
        let (queue, waiting) = mpsc::channel();
        let (running, ended) = mpsc::channel();
        let condition = file.condition();
        let work = move || {
            // Gives the lock of the directory back before it says that it has ended.
            write(file, &waiting);
            drop::<mpsc::Sender<()>>(running);
        };
        let writer = std::thread::Builder::new().name("ledger".to_owned()).spawn(work);
        writer.map_err(|source| LedgerError::io("start the writer of", dir, source))?;
        Ok((Ledger { queue: Some(queue), condition, ended: Mutex::new(ended) }, recovered))
    }

    /// Whether a line could be written now, by a file of its own beside the ledger. Blocks as long as the disk does.
    pub(crate) fn try_disk(dir: &Path) -> Result<(), String> {
        let tried = tempfile::Builder::new().prefix(".cutover-dry-run-").tempfile_in(dir).and_then(|mut file| {
            file.write_all(&[b' '; 4096])?;
            file.as_file().sync_data()
        });
        tried.map_err(|error| format!("{}: {error}", dir.display()))
    }

    /// Hands a transition over. `done` gets its sequence number when it is on disk, or the reason why it is not; it is
    /// called on the writer's thread.
    pub(crate) fn commit(&self, transition: Transition, done: impl FnOnce(Result<u64, String>) + Send + 'static) {
        let queue = self.queue.as_ref().expect("there until drop");
        if let Err(mpsc::SendError(Task::Append(_, done))) =
            queue.send(Task::Append(Box::new(transition), Box::new(done)))
        {
            done(Err(ENDED.to_owned()));
        }
    }

    /// Whether the file is whole, as far as was seen last.
    pub(crate) fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Holds the chain of the whole file together, when everything that was handed over before is written. `told` is
    /// called on the writer's thread.
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
            Ok(Task::Append(line, done)) => done(file.append(&line).map_err(|error| error.to_string())),
            Ok(Task::Verify(told)) => told(file.verify().map_err(|error| error.to_string())),
            Err(mpsc::RecvTimeoutError::Timeout) => file.look(),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                // The next process reads what stands there. A failure was told.
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
