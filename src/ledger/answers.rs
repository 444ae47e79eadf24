//! `answers.jsonl`, beside the ledger: answers to commands with an `Idempotency-Key`, for a day.
//!
//! A key is on disk before its command is carried out, and its answer before the client has it, so a repeated command
//! finds its answer even after a crash. A thread of its own writes the file; a hanging disk blocks nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const NAME: &str = "answers.jsonl";
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
const MOST: usize = 2_000;
const MOST_BYTES: usize = 8 << 20;
/// Unused lines before the file is rewritten.
const SLACK: usize = 500;

/// As the client got it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub status: u16,
    pub media_type: String,
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    Otherwise,
    /// Its command began at this generation, and the process ended before the answer.
    Interrupted(u64),
    Answered(Answered),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    /// Milliseconds since 1970.
    at: u64,
    actor: String,
    key: String,
    digest: String,
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Answered>,
    /// The command was not carried out, and the key is free again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forgotten: bool,
}

impl Line {
    fn name(&self) -> (String, String) {
        (self.actor.clone(), self.key.clone())
    }

    fn size(&self) -> usize {
        let answer = self.answer.as_ref().map_or(0, |answer| answer.body.len() + answer.media_type.len());
        answer + self.actor.len() + self.key.len() + self.digest.len()
    }
}

#[derive(Debug, Default)]
struct Kept {
    lines: BTreeMap<(String, String), Line>,
    bytes: usize,
}

impl Kept {
    fn put(&mut self, line: Line) {
        self.remove(&line.name());
        if line.forgotten {
            return;
        }
        self.bytes += line.size();
        self.lines.insert(line.name(), line);
    }

    fn remove(&mut self, name: &(String, String)) {
        if let Some(before) = self.lines.remove(name) {
            self.bytes -= before.size();
        }
    }

    fn trim(&mut self, now: u64) {
        let oldest = now.saturating_sub(millis(KEPT_FOR));
        // A clock that was set back must not keep a line forever.
        let newest = now.saturating_add(millis(KEPT_FOR));
        self.lines.retain(|_, line| line.at > oldest && line.at < newest);
        self.bytes = self.lines.values().map(Line::size).sum();
        while self.lines.len() > MOST || self.bytes > MOST_BYTES {
            let Some(name) = self.lines.values().min_by_key(|line| line.at).map(Line::name) else { return };
            self.remove(&name);
        }
    }
}

type Done = Box<dyn FnOnce() + Send>;

#[derive(Clone, Debug)]
pub(crate) struct Answers {
    kept: Arc<Mutex<Kept>>,
    writer: mpsc::Sender<(Line, Handed)>,
}

/// Called when a line is on disk, or can't be.
struct Handed(Done);

impl std::fmt::Debug for Handed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handed")
    }
}

impl Answers {
    /// Reads the file and starts its writer. An unusable file costs the durability of keys only.
    #[must_use]
    pub(crate) fn open(dir: &Path) -> Answers {
        let path = dir.join(NAME);
        let mut kept = Kept::default();
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "Answers of earlier commands unreadable");
                String::new()
            }
        };
        // A crash leaves half a line at most.
        let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let written = if text.is_empty() || text.ends_with('\n') { lines.len() } else { usize::MAX };
        lines.into_iter().for_each(|line| kept.put(line));
        kept.trim(now());
        let kept = Arc::new(Mutex::new(kept));
        let (writer, handed) = mpsc::channel();
        let file = AnswersFile { path, open: None, written, kept: Arc::clone(&kept), failing: false };
        let thread = std::thread::Builder::new().name("answers".to_owned()).spawn(move || file.write_all(&handed));
        if let Err(error) = thread {
            tracing::warn!(%error, "Answers of commands not written: no thread");
        }
        Answers { kept, writer }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub(crate) fn known(&self, actor: &str, key: &str, digest: &str) -> Known {
        let mut kept = self.kept();
        kept.trim(now());
        match kept.lines.get(&(actor.to_owned(), key.to_owned())) {
            None => Known::Nothing,
            Some(line) if line.digest != digest => Known::Otherwise,
            Some(Line { answer: Some(answer), .. }) => Known::Answered(answer.clone()),
            Some(line) => Known::Interrupted(line.generation),
        }
    }

    /// The command of a key begins. `done` is called when that is on disk, or can't be.
    pub(crate) fn begin(
        &self,
        (actor, key): (&str, &str),
        digest: &str,
        generation: u64,
        done: impl FnOnce() + Send + 'static,
    ) {
        let (actor, key, digest) = (actor.to_owned(), key.to_owned(), digest.to_owned());
        let line = Line { at: now(), actor, key, digest, generation, answer: None, forgotten: false };
        self.put(line, Box::new(done));
    }

    /// The command of a key is answered; `None`: it was not carried out, and the key is free again.
    pub(crate) fn end(
        &self,
        (actor, key): (&str, &str),
        answer: Option<Answered>,
        done: impl FnOnce() + Send + 'static,
    ) {
        let began = self.kept().lines.get(&(actor.to_owned(), key.to_owned())).cloned();
        let Some(began) = began else { return done() };
        let forgotten = answer.is_none();
        self.put(Line { answer, forgotten, ..began }, Box::new(done));
    }

    fn put(&self, line: Line, done: Done) {
        let mut kept = self.kept();
        kept.put(line.clone());
        kept.trim(now());
        drop(kept);
        if let Err(mpsc::SendError((_, Handed(done)))) = self.writer.send((line, Handed(done))) {
            done();
        }
    }
}

struct AnswersFile {
    path: PathBuf,
    open: Option<File>,
    written: usize,
    kept: Arc<Mutex<Kept>>,
    failing: bool,
}

impl AnswersFile {
    fn write_all(mut self, handed: &mpsc::Receiver<(Line, Handed)>) {
        while let Ok((line, Handed(done))) = handed.recv() {
            let written = self.write(&line);
            if let Err(error) = &written
                && !self.failing
            {
                tracing::warn!(file = %self.path.display(), %error, "Answers of commands not written; a restart forgets them");
            }
            if written.is_ok() && self.failing {
                tracing::info!(file = %self.path.display(), "Answers of commands written again");
            }
            self.failing = written.is_err();
            done();
        }
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let needed = self.kept.lock().unwrap_or_else(PoisonError::into_inner).lines.len();
        if self.failing || self.written > needed + SLACK {
            // The rewrite includes the line.
            return self.write_anew();
        }
        let file = match &mut self.open {
            Some(file) => file,
            None => self.open.insert(options().append(true).create(true).open(&self.path)?),
        };
        file.write_all(&text(line))?;
        file.sync_data()?;
        self.written += 1;
        Ok(())
    }

    fn write_anew(&mut self) -> io::Result<()> {
        self.open = None;
        let lines: Vec<_> = self.kept.lock().unwrap_or_else(PoisonError::into_inner).lines.values().cloned().collect();
        let aside = self.path.with_extension("jsonl.new");
        let mut file = options().write(true).create(true).truncate(true).open(&aside)?;
        for line in &lines {
            file.write_all(&text(line))?;
        }
        file.sync_data()?;
        fs::rename(&aside, &self.path)?;
        self.written = lines.len();
        self.open = Some(options().append(true).open(&self.path)?);
        Ok(())
    }
}

/// Answers name releases and reasons, so other users can't read the file.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn text(line: &Line) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

fn now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
