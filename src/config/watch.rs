//! The one owner of the configuration file: it watches it, reads it, and writes the one value back.
//!
//! One thread does all of it, so that what it reports is in the order in which it happened: an edit by a human, an edit
//! of ours, an edit by a human. What we wrote ourselves is never reported as an edit.

mod write_back;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::config::error::{ConfigError, Tolerated};
use crate::config::{self, Config};
use crate::domain::color::Color;

/// An edit comes as a handful of events; it is read when they have been quiet for so long,
const QUIET: Duration = Duration::from_millis(5);
/// or when the first of them is so old.
const PATIENCE: Duration = Duration::from_millis(50);
/// A file that is not valid may be half written. It is not called invalid before it has stood so for this long.
const HALF_WRITTEN: Duration = Duration::from_millis(250);

/// How long the end waits for a write-back that is under way.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What happened to the file.
#[derive(Clone, Debug)]
pub enum FileEvent {
    /// It has new, valid content.
    Edited(Arc<Config>),
    /// It can't be read or is not valid; what was in force stays so.
    Invalid(ConfigError),
    /// It says again, byte for byte, what is in force, after having been invalid.
    Restored,
    /// The write-back went through, or why it did not.
    WroteBack(Result<Color, String>),
}

/// What an explicit look at the file found.
pub type Looked = Result<bool, ConfigError>;

enum Message {
    Event,
    Reload(Box<dyn FnOnce(Looked) + Send>),
    WriteBack(Color),
    Stop,
}

/// The watching thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Watch {
    messages: Sender<Message>,
    /// Closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

impl Watch {
    /// Watches `path`, whose content `text` is in force as `current`. Where no events come, the file is read every
    /// `poll`.
    pub fn start(
        path: PathBuf,
        text: String,
        current: Arc<Config>,
        poll: Duration,
        report: impl Fn(FileEvent) + Send + 'static,
    ) -> std::io::Result<Watch> {
        let (messages, inbox) = mpsc::channel();
        let (running, ended) = mpsc::channel();
        let events = messages.clone();
        let work = move || {
            let _running: Sender<()> = running;
            let mut owner = Owner {
                path,
                seen: Ok(text.clone()),
                in_force: text,
                current,
                incomplete: false,
                suspect: None,
                report: Box::new(report),
                watcher: None,
                watched: Vec::new(),
            };
            owner.run(&inbox, &events, poll);
        };
        std::thread::Builder::new().name("config-watch".to_owned()).spawn(work)?;
        Ok(Watch { messages, ended: Mutex::new(ended) })
    }

    /// Looks at the file now. The answer: whether there was anything new, or what is wrong with it.
    pub fn reload(&self, answer: impl FnOnce(Looked) + Send + 'static) {
        let _ = self.messages.send(Message::Reload(Box::new(answer)));
    }

    /// Edits the value of `active`; [`FileEvent::WroteBack`] follows.
    pub fn write_back(&self, color: Color) {
        let _ = self.messages.send(Message::WriteBack(color));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.messages.send(Message::Stop);
        // Unless a disk that hangs keeps it.
        let _ = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(LAST_WRITE);
    }
}

/// Why the file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It may have changed. Content that is not valid gets some time to become so.
    Watching,
    /// Somebody wants it read, and with it the secrets that it names, which may have changed where it has not.
    Asked,
    /// It is about to be written.
    Writing,
}

struct Owner {
    path: PathBuf,
    /// The last content that was reported: the text, or why there was none.
    seen: Result<String, String>,
    /// The last valid content.
    in_force: String,
    current: Arc<Config>,
    /// The content is as in force, and what it names can't be read any more.
    incomplete: bool,
    /// Content that is not valid and may be half written, and since when it stands.
    suspect: Option<(Result<String, String>, Instant)>,
    report: Box<dyn Fn(FileEvent) + Send>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
}

impl Owner {
    fn run(&mut self, inbox: &Receiver<Message>, events: &Sender<Message>, poll: Duration) {
        self.watch_and_look(events);
        loop {
            let wait = if self.suspect.is_some() { HALF_WRITTEN.min(poll) } else { poll };
            let message = match inbox.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let message = match message {
                Some(Message::Event) => match settle(inbox) {
                    Some(other) => {
                        let _ = self.look(Why::Watching);
                        Some(other)
                    }
                    None => Some(Message::Event),
                },
                other => other,
            };
            match message {
                Some(Message::Event) | None => self.watch_and_look(events),
                Some(Message::Reload(answer)) => answer(self.look(Why::Asked)),
                Some(Message::WriteBack(color)) => self.write_back(color),
                Some(Message::Stop) => return,
            }
        }
    }

    /// In this order: what is written before the watch stands is seen by the look; what is written later is an event.
    fn watch_and_look(&mut self, events: &Sender<Message>) {
        self.watch(events);
        // What it found has been reported.
        let _ = self.look(Why::Watching);
    }

    /// Reads the file and reports what is new.
    fn look(&mut self, why: Why) -> Looked {
        let found = config::read(&self.path);
        let reported = found == self.seen;
        let same = reported && found.as_ref() == Ok(&self.in_force);
        // Files that could not be used at the start may be mended by now.
        let mended = !self.current.unusable.is_empty() && why == Why::Watching;
        if same && why != Why::Asked && !self.incomplete && !mended {
            self.suspect = None;
            return Ok(false);
        }
        // Also what was not valid a moment ago: a secret that it names may have come.
        let parsed = match &found {
            Ok(text) => Config::parse_with(&self.path, text, Tolerated::Known(&self.current.unusable))
                .and_then(|next| self.current.check_fixed(&next, &self.path, text).map(|()| next)),
            Err(reason) => Err(ConfigError::unreadable(&self.path, reason)),
        };
        match (parsed, found) {
            (Ok(next), Ok(text)) => {
                self.suspect = None;
                self.seen = Ok(text.clone());
                let was_complete = !std::mem::take(&mut self.incomplete);
                if text == self.in_force && next == *self.current {
                    if !(same && was_complete) {
                        (self.report)(FileEvent::Restored);
                    }
                    return Ok(false);
                }
                self.in_force = text;
                self.current = Arc::new(next);
                (self.report)(FileEvent::Edited(Arc::clone(&self.current)));
                Ok(true)
            }
            (Ok(_), Err(_)) => Ok(false),
            (Err(error), _) if reported && (!same || self.incomplete) => {
                self.suspect = None;
                Err(error)
            }
            (Err(error), _) if same => {
                self.incomplete = true;
                (self.report)(FileEvent::Invalid(error.clone()));
                Err(error)
            }
            (Err(error), found) => {
                let since = match self.suspect.take() {
                    Some((same, since)) if same == found => since,
                    _ => Instant::now(),
                };
                if why == Why::Watching && since.elapsed() < HALF_WRITTEN {
                    self.suspect = Some((found, since));
                    return Err(error);
                }
                self.seen = found;
                (self.report)(FileEvent::Invalid(error.clone()));
                Err(error)
            }
        }
    }

    fn write_back(&mut self, color: Color) {
        // Whatever a human has written by now comes first.
        let result = match self.look(Why::Writing) {
            Err(error) => Err(format!("the file is not valid: {error}")),
            Ok(true) => Err("the file was edited at the same time".to_owned()),
            // What is in force is what was seen.
            Ok(false) => write_back::write_back(&self.path, &self.in_force, color),
        };
        let report = result.map(|written| {
            let mut next = Config::clone(&self.current);
            next.active = color;
            self.current = Arc::new(next);
            self.in_force.clone_from(&written);
            self.seen = Ok(written);
            color
        });
        (self.report)(FileEvent::WroteBack(report));
    }

    /// Watches the directory of the path, and that of the file behind it if it is a link: editors replace files, and
    /// ConfigMaps replace the link that a directory is reached by. Both may have changed since.
    fn watch(&mut self, events: &Sender<Message>) {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut wanted = vec![parent(&self.path)];
        if let Ok(real) = self.path.canonicalize() {
            let real = parent(&real);
            if wanted[0].canonicalize().ok() != Some(real.clone()) {
                wanted.push(real);
            }
        }
        if wanted == self.watched && self.watcher.is_some() {
            return;
        }
        let events = events.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let told = match event {
                // Reading is no news, least of all our own.
                Ok(event) => {
                    !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
                }
                Err(_) => true,
            };
            if told {
                let _ = events.send(Message::Event);
            }
        });
        self.watcher = watcher.ok().and_then(|mut watcher| {
            let watching = wanted.iter().all(|dir| watcher.watch(dir, RecursiveMode::NonRecursive).is_ok());
            watching.then_some(watcher)
        });
        // Without a watcher the poll finds everything, only later; it is tried again then.
        self.watched = wanted;
    }
}

/// Waits until the events of one edit are over. Gives back whatever else came.
fn settle(inbox: &Receiver<Message>) -> Option<Message> {
    let until = Instant::now() + PATIENCE;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match inbox.recv_timeout(QUIET.min(left)) {
            Ok(Message::Event) => {}
            Ok(other) => return Some(other),
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests;
