//! The one owner of the configuration file: it watches it, reads it, and writes the one value back.
//!
//! One thread does all of it, so that what it reports is in the order in which it happened: an edit by a human, an edit
//! of ours, an edit by a human. What we wrote ourselves is never reported as an edit.

mod settle;
mod stage;
mod write_back;

pub(crate) use stage::{Stage, StageError, Staged, Write};

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::config::Config;
use crate::config::error::{ConfigError, Tolerated};
use crate::config::watch::settle::{Evidence, Reading, Settled, Settling, Told};
use crate::config::watch::stage::Stager;
use crate::domain::color::Color;

/// How long a look waits for a file that is being written.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long the end waits for a write-back that is under way.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What happened to the file.
#[derive(Clone, Debug)]
pub(crate) enum FileEvent {
    /// It has new, valid content.
    Edited(Arc<Config>),
    /// It can't be read or is not valid; what was in force stays so.
    Invalid(ConfigError),
    /// It says again, byte for byte, what is in force, after having been invalid.
    Restored,
    /// The write-back went through, or why it did not.
    WroteBack(Result<Color, String>),
}

/// What an explicit look at the file found: whether there was anything new.
pub(crate) type Looked = Result<bool, LookError>;

/// Why an explicit look at the file brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookError {
    /// The file can't be read or is not valid.
    Invalid(ConfigError),
    /// The file was still being written when the time was up, or could not be read in time: the reason.
    Busy(String),
}

enum Message {
    Told(Told),
    Look(Asker),
    WriteBack(Color),
    Stage(Stager),
    Stop,
}

/// Somebody who waits for a look at the file.
struct Asker {
    until: Instant,
    /// It wants the files read again that the configuration names, also where its text is as before.
    thorough: bool,
    answer: Box<dyn FnOnce(Looked) + Send>,
}

/// The watching thread. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watch {
    messages: Sender<Message>,
    /// Closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

impl Watch {
    /// Watches `path`, whose content `text` is in force as `current`. Where no events come, the file is read every
    /// `poll`.
    pub(crate) fn start(
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
                settling: Settling::default(),
                askers: Vec::new(),
                write_backs: VecDeque::new(),
                stagers: VecDeque::new(),
                report: Box::new(report),
                watcher: None,
                watched: (Vec::new(), Vec::new()),
            };
            owner.run(&inbox, &events, poll);
        };
        std::thread::Builder::new().name("config-watch".to_owned()).spawn(work)?;
        Ok(Watch { messages, ended: Mutex::new(ended) })
    }

    /// Looks at the file now, and at the secrets that it names. The answer comes after everything that was found is
    /// reported, and at the latest after `patience`, unless the disk hangs.
    pub(crate) fn reload(&self, patience: Duration, answer: impl FnOnce(Looked) + Send + 'static) {
        self.ask(patience, true, answer);
    }

    /// The same for the file alone: where its text is in force, nothing is wrong with it.
    pub(crate) fn look(&self, patience: Duration, answer: impl FnOnce(Looked) + Send + 'static) {
        self.ask(patience, false, answer);
    }

    fn ask(&self, patience: Duration, thorough: bool, answer: impl FnOnce(Looked) + Send + 'static) {
        let asker = Asker { until: Instant::now() + patience, thorough, answer: Box::new(answer) };
        let _ = self.messages.send(Message::Look(asker));
    }

    /// Edits the value of `active`; [`FileEvent::WroteBack`] follows.
    pub(crate) fn write_back(&self, color: Color) {
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

struct Owner {
    path: PathBuf,
    /// The last content that was reported: the text, or why there was none.
    seen: Result<String, String>,
    /// The last valid content.
    in_force: String,
    current: Arc<Config>,
    /// The content is as in force, and what it names can't be read any more.
    incomplete: bool,
    settling: Settling,
    askers: Vec<Asker>,
    /// What has to be written into the file, and until when, in order.
    write_backs: VecDeque<(Instant, Color)>,
    /// What has to be staged, in order.
    stagers: VecDeque<Stager>,
    report: Box<dyn Fn(FileEvent) + Send>,
    watcher: Option<RecommendedWatcher>,
    /// The watched directories, and the names of the file in them.
    watched: (Vec<PathBuf>, Vec<OsString>),
}

impl Owner {
    fn run(&mut self, inbox: &Receiver<Message>, events: &Sender<Message>, poll: Duration) {
        loop {
            // In this order: what is written before the watch stands is seen by the look; what is written later is an
            // event.
            self.watch(events);
            let again = self.look();
            let wait = again.map_or(poll, |at| at.saturating_duration_since(Instant::now()).min(poll));
            let mut message = match inbox.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            while let Some(next) = message.take() {
                match next {
                    Message::Told(told) => self.settling.note(told, &self.path),
                    Message::Look(asker) => self.askers.push(asker),
                    Message::WriteBack(color) => self.write_backs.push_back((Instant::now() + PATIENCE, color)),
                    Message::Stage(stager) => self.stagers.push_back(stager),
                    Message::Stop => {
                        if !self.write_backs.is_empty() {
                            self.look();
                        }
                        return;
                    }
                }
                message = inbox.try_recv().ok();
            }
        }
    }

    /// Takes what counts now, and does what waited for it. Gives back when to look again, where something still waits.
    fn look(&mut self) -> Option<Instant> {
        loop {
            match self.settling.look(&self.path, &self.seen, self.in_force.len()) {
                Settled::Content(reading, Evidence::Passed) => {
                    let _ = self.take(reading, Evidence::Passed);
                }
                Settled::Content(reading, evidence) => {
                    let Some(looked) = self.take(reading, evidence) else {
                        return Some(Instant::now() + settle::QUIET);
                    };
                    // First, so that who asks behind it finds it in force.
                    self.stage_all(&looked);
                    let in_force = self.seen.as_ref() == Ok(&self.in_force);
                    for Asker { thorough, answer, .. } in self.askers.drain(..) {
                        match &looked {
                            Err(_) if in_force && !thorough => answer(Ok(false)),
                            looked => answer(looked.clone().map_err(LookError::Invalid)),
                        }
                    }
                    self.write_all_back(looked);
                    return None;
                }
                Settled::Not(why, again) => {
                    let now = Instant::now();
                    for asker in self.askers.extract_if(.., |asker| asker.until <= now) {
                        (asker.answer)(Err(LookError::Busy(why.clone())));
                    }
                    while self.write_backs.front().is_some_and(|(until, _)| *until <= now) {
                        self.write_backs.pop_front();
                        (self.report)(FileEvent::WroteBack(Err(why.clone())));
                    }
                    self.give_up_stages(now, &why);
                    let deadlines = self.askers.iter().map(|asker| asker.until);
                    let deadlines = deadlines.chain(self.stagers.iter().map(|stager| stager.until));
                    return deadlines.chain(self.write_backs.iter().map(|(until, _)| *until)).chain([again]).min();
                }
            }
        }
    }

    /// Reports what is new in the content. `None`: it is not valid, and may be mended in a moment.
    fn take(&mut self, reading: Reading, evidence: Evidence) -> Option<Result<bool, ConfigError>> {
        // Content that has passed is not what was asked for.
        let current = evidence != Evidence::Passed;
        let thorough = current && self.askers.iter().any(|asker| asker.thorough);
        let found = reading.found;
        let reported = found == self.seen;
        let same = reported && found.as_ref() == Ok(&self.in_force);
        // Files that could not be used at the start may be mended by now.
        let mended = !self.current.unusable.is_empty() && self.write_backs.is_empty();
        if same && !thorough && !self.incomplete && !mended {
            return Some(Ok(false));
        }
        // Content that was not valid a moment ago may be now: a secret that it names may have come.
        let parsed = match &found {
            Ok(text) => Config::parse_with(&self.path, text, Tolerated::Known(&self.current.unusable))
                .and_then(|next| self.current.check_fixed(&next, &self.path, text).map(|()| next)),
            Err(reason) => Err(ConfigError::unreadable(&self.path, reason)),
        };
        match (parsed, found) {
            (Ok(next), Ok(text)) => {
                self.seen = Ok(text.clone());
                let was_complete = !std::mem::take(&mut self.incomplete);
                if text == self.in_force && next == *self.current {
                    if !(same && was_complete) {
                        (self.report)(FileEvent::Restored);
                    }
                    return Some(Ok(false));
                }
                self.in_force = text;
                self.current = Arc::new(next);
                (self.report)(FileEvent::Edited(Arc::clone(&self.current)));
                Some(Ok(true))
            }
            (Ok(_), Err(_)) => Some(Ok(false)),
            (Err(error), _) if reported && (!same || self.incomplete) => Some(Err(error)),
            (Err(error), found) => {
                let nobody_waits = self.askers.is_empty() && self.write_backs.is_empty() && self.stagers.is_empty();
                let urgent = current && !nobody_waits;
                // Some programs empty a file, close it, and write it then.
                if !urgent && matches!(evidence, Evidence::Closed | Evidence::Passed) {
                    return None;
                }
                self.incomplete |= same;
                self.seen = found;
                (self.report)(FileEvent::Invalid(error.clone()));
                Some(Err(error))
            }
        }
    }

    fn write_all_back(&mut self, looked: Result<bool, ConfigError>) {
        let mut obstacle = match looked {
            Err(error) => Some(format!("the file is not valid: {error}")),
            Ok(true) => Some("the file was edited at the same time".to_owned()),
            // What is in force is what was seen.
            Ok(false) => None,
        };
        while let Some((_, color)) = self.write_backs.pop_front() {
            let result = match &obstacle {
                Some(why) => Err(why.clone()),
                None => write_back::write_back(&self.path, &self.in_force, color, &self.current.state.dir),
            };
            if obstacle.as_deref() == Some("the file was edited at the same time") {
                obstacle = None;
            }
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
    }

    /// Watches the directory of the path, and that of the file behind it if it is a link: editors replace files, and
    /// ConfigMaps replace the link that a directory is reached by. Both may have changed since.
    fn watch(&mut self, events: &Sender<Message>) {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = |path: &Path| path.file_name().map(OsString::from);
        let mut dirs = vec![parent(&self.path)];
        let mut names: Vec<OsString> = name(&self.path).into_iter().collect();
        if let Ok(real) = self.path.canonicalize() {
            names.extend(name(&real));
            let real = parent(&real);
            if dirs[0].canonicalize().ok() != Some(real.clone()) {
                dirs.push(real);
            }
        }
        let wanted = (dirs, names);
        if wanted == self.watched && self.watcher.is_some() {
            return;
        }
        let (events, names) = (events.clone(), wanted.1.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let told = event.map_or(Some(Told::Lost), |event| settle::told(&event, &names));
            if let Some(told) = told {
                let _ = events.send(Message::Told(told));
            }
        });
        self.watcher = watcher.ok().and_then(|mut watcher| {
            let watching = wanted.0.iter().all(|dir| watcher.watch(dir, RecursiveMode::NonRecursive).is_ok());
            watching.then_some(watcher)
        });
        // Without a watcher the poll finds everything, only later; it is tried again then.
        self.watched = wanted;
        self.settling.forget();
    }
}

#[cfg(test)]
mod tests;
