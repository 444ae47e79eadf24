//! The record of each deployment's evidence: `analysis/dep-42.jsonl` in the state directory.
//!
//! The file *is* the evidence. A restart reads it and restores the judge; `cutover replay` judges it by other rules.
//! Each line is one tick. A thread of its own writes, and lines that it can't write are left out, which costs evidence
//! only. The file is not synced: only a machine failure loses written lines, and less evidence is still valid.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::domain::analysis::{Judge, Policy, Tick};
use crate::domain::deployment::DeploymentId;
use crate::domain::verdict::Judgement;

mod wire;

const DIR: &str = "analysis";
const KEPT: usize = 20;
const WAITING: usize = 1_000;
/// Largest file: some hours of a busy service. Later ticks are judged and not recorded.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// A step that began with the requests of this tick.
    Step(u64),
    Tick(Box<Tick>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    pub id: DeploymentId,
    pub release: String,
    pub stable: String,
    pub policy: Policy,
    pub entries: Vec<Entry>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TicksError {
    #[error("no deployment {0} is recorded; the last {KEPT} are kept")]
    Unknown(DeploymentId),
    #[error("{} can't be read: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("line {line} of the record of {id} can't be read: {reason}")]
    Damaged {
        id: DeploymentId,
        /// From 1.
        line: usize,
        reason: String,
    },
}

impl Recorded {
    /// Half a line at the end, left by a crash, is ignored.
    pub(crate) fn parse(id: DeploymentId, text: impl BufRead) -> Result<Recorded, TicksError> {
        let damaged = |line: usize, reason: String| TicksError::Damaged { id, line: line + 1, reason };
        let mut lines = text.split(b'\n').enumerate().peekable();
        let mut recorded: Option<Recorded> = None;
        while let Some((number, line)) = lines.next() {
            let line = line.map_err(|error| damaged(number, error.to_string()))?;
            if line.is_empty() {
                continue;
            }
            match wire::read(&line) {
                Ok(wire::Line::Head(head)) if recorded.is_none() => recorded = Some(head.into_recorded(id)),
                Ok(wire::Line::Entry(entry)) if recorded.is_some() => {
                    recorded.iter_mut().for_each(|recorded| recorded.entries.push(entry.clone()));
                }
                Ok(_) => return Err(damaged(number, "it is out of place".to_owned())),
                Err(_) if lines.peek().is_none() && recorded.is_some() => break,
                Err(reason) => return Err(damaged(number, reason)),
            }
        }
        recorded.ok_or_else(|| damaged(0, "the file is empty".to_owned()))
    }

    pub(crate) fn load(state: &Path, id: DeploymentId) -> Result<Recorded, TicksError> {
        let path = file_of(state, id);
        match File::open(&path) {
            Ok(file) => Recorded::parse(id, BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TicksError::Unknown(id)),
            Err(source) => Err(TicksError::Io { path, source }),
        }
    }

    /// The judge after the last line, and its last judgement.
    #[must_use]
    pub(crate) fn judge(&self) -> (Judge, Option<Judgement>) {
        self.judge_by(self.policy.clone(), |_, _| ())
    }

    /// By another policy; `said` gets each judgement.
    pub(crate) fn judge_by(
        &self,
        policy: Policy,
        mut said: impl FnMut(&Tick, &Judgement),
    ) -> (Judge, Option<Judgement>) {
        let mut judge = Judge::new(policy);
        let mut last = None;
        for entry in &self.entries {
            match entry {
                Entry::Step(first) => judge.begin_step(*first),
                Entry::Tick(tick) => {
                    let judgement = judge.tick(tick);
                    said(tick, &judgement);
                    last = Some(judgement);
                }
            }
        }
        (judge, last)
    }

    #[must_use]
    pub(crate) fn last_tick(&self) -> Option<&Tick> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Tick(tick) => Some(&**tick),
            Entry::Step(_) => None,
        })
    }
}

pub(crate) fn text(state: &Path, id: DeploymentId) -> Result<Vec<u8>, TicksError> {
    let path = file_of(state, id);
    fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TicksError::Unknown(id),
        _ => TicksError::Io { path, source },
    })
}

#[must_use]
pub(crate) fn known(state: &Path) -> Vec<DeploymentId> {
    let mut known: Vec<DeploymentId> = files(&state.join(DIR)).into_keys().collect();
    known.reverse();
    known
}

fn file_of(state: &Path, id: DeploymentId) -> PathBuf {
    state.join(DIR).join(format!("{id}.jsonl"))
}

/// The last value of [`TickLog::users`]; empty without a file.
#[must_use]
pub(crate) fn users(state: &Path, id: DeploymentId) -> Vec<u8> {
    fs::read(users_of(state, id)).unwrap_or_default()
}

fn users_of(state: &Path, id: DeploymentId) -> PathBuf {
    file_of(state, id).with_extension("users")
}

/// Replaces the file, and those of other deployments.
fn keep_users(state: &Path, id: DeploymentId, users: &[u8]) {
    let (path, beside) = (users_of(state, id), file_of(state, id).with_extension("users-new"));
    let kept = (|| {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(users)?;
        fs::rename(&beside, &path)
    })();
    if let Err(error) = kept {
        return failed(&path, &error);
    }
    for entry in fs::read_dir(state.join(DIR)).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "users") && entry.path() != path {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn files(dir: &Path) -> BTreeMap<DeploymentId, PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let path = entry.path();
        let number = path.file_name()?.to_str()?.strip_prefix("dep-")?.strip_suffix(".jsonl")?.parse().ok()?;
        Some((DeploymentId(number), path))
    });
    named.collect()
}

enum Task {
    Begin(Box<Recorded>),
    Append(DeploymentId, Entry),
    Users(DeploymentId, Vec<u8>),
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(crate) struct TickLog {
    queue: Option<SyncSender<Task>>,
    writer: Option<JoinHandle<()>>,
}

impl TickLog {
    pub(crate) fn start(state: &Path) -> io::Result<TickLog> {
        let (queue, waiting) = sync_channel::<Task>(WAITING);
        let state = state.to_owned();
        let work = move || {
            let mut open: Option<Open> = None;
            while let Ok(task) = waiting.recv() {
                match task {
                    Task::Begin(head) => open = Open::begin(&state, &head),
                    Task::Users(id, users) => keep_users(&state, id, &users),
                    Task::Flush(written) => {
                        // A process that takes over goes on with the file.
                        open = None;
                        let _ = written.send(());
                    }
                    Task::Append(id, entry) => {
                        if open.as_ref().is_none_or(|open| open.id != id) {
                            open = Open::again(&state, id);
                        }
                        if let Some(open) = &mut open {
                            open.append(&entry);
                        }
                    }
                }
            }
        };
        let writer = std::thread::Builder::new().name("ticks".to_owned()).spawn(work)?;
        Ok(TickLog { queue: Some(queue), writer: Some(writer) })
    }

    /// A deployment begins, or its record begins anew. `head` has no entries.
    pub(crate) fn begin(&self, head: Recorded) {
        self.hand_over(Task::Begin(Box::new(head)));
    }

    pub(crate) fn append(&self, id: DeploymentId, entry: Entry) {
        self.hand_over(Task::Append(id, entry));
    }

    /// The users whose events were counted, if users are sticky.
    pub(crate) fn users(&self, id: DeploymentId, users: Vec<u8>) {
        self.hand_over(Task::Users(id, users));
    }

    /// Resolves when everything before it is written.
    pub(crate) fn flush(&self) -> oneshot::Receiver<()> {
        let (written, answer) = oneshot::channel();
        self.hand_over(Task::Flush(written));
        answer
    }

    fn hand_over(&self, task: Task) {
        let queue = self.queue.as_ref().expect("there until drop");
        if let Err(TrySendError::Full(_)) = queue.try_send(task) {
            tracing::debug!("The disk is slow; a tick of the analysis is not recorded.");
        }
    }
}

impl Drop for TickLog {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The file being written. After a failure nothing more is written, so that no line is missing in between.
struct Open {
    id: DeploymentId,
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

impl Open {
    fn begin(state: &Path, head: &Recorded) -> Option<Open> {
        let dir = state.join(DIR);
        let path = file_of(state, head.id);
        let begun = (|| {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&wire::head(head))?;
            Ok(file)
        })();
        let begun = begun.map_err(|error: io::Error| failed(&path, &error)).ok()?;
        let old = files(&dir).into_iter().rev().skip(KEPT);
        for (_, path) in old {
            let _ = fs::remove_file(path);
        }
        Open::new(head.id, path, begun)
    }

    /// Continues the record of an earlier process.
    fn again(state: &Path, id: DeploymentId) -> Option<Open> {
        let path = file_of(state, id);
        let opened = whole_lines(&path).map_err(|error| failed(&path, &error)).ok()?;
        Open::new(id, path, opened)
    }

    fn new(id: DeploymentId, path: PathBuf, file: File) -> Option<Open> {
        let length = file.metadata().ok()?.len();
        Some(Open { id, path, file: Some(file), length })
    }

    fn append(&mut self, entry: &Entry) {
        let Some(file) = &mut self.file else { return };
        let line = wire::entry(entry);
        self.length += line.len() as u64;
        if self.length > MAX_BYTES {
            tracing::warn!(file = %self.path.display(), "Record of the analysis full; further ticks are judged and not recorded");
            self.file = None;
        } else if let Err(error) = file.write_all(&line) {
            failed(&self.path, &error);
            self.file = None;
        }
    }
}

/// Opens a file for appending, behind its last whole line.
fn whole_lines(path: &Path) -> io::Result<File> {
    let bytes = fs::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let file = OpenOptions::new().append(true).open(path)?;
    file.set_len(whole as u64)?;
    Ok(file)
}

fn failed(path: &Path, error: &io::Error) {
    tracing::warn!(file = %path.display(), %error, "Analysis not recorded; a restart resumes from the last record");
}

#[cfg(test)]
mod tests;
