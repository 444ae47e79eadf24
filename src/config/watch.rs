//! The one owner of the configuration file: a thread that watches, reads and writes it.
//!
//! One thread does everything, so reports keep the order of edits by people and by the proxy. The proxy's own edits are
//! never reported as edits.

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
use crate::sys::turns::Turns;

/// The longest time that a look waits for a file that is being written.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a file that takes milliseconds to read.
const LONG: usize = 64 << 10;

/// The longest time that the shutdown waits for a pending write-back.
const LAST_WRITE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) enum FileEvent {
    /// The file has new, valid content.
    Edited(Arc<Config>),
    /// The file is unreadable or invalid; the configuration in force stays.
    Invalid(ConfigError),
    /// After invalid content the file is again, byte for byte, the configuration in force.
    Restored,
    WroteBack(Result<Color, String>),
}

/// The result of a requested look: true for new content.
pub(crate) type Looked = Result<bool, LookError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookError {
    /// The file is unreadable or invalid.
    Invalid(ConfigError),
    /// The file was still being written, or could not be read, when the time was up.
    Busy(String),
}

enum Message {
    Told(Told),
    Look(Asker),
    WriteBack(Color),
    Stage(Stager),
    Stop,
}

struct Asker {
    until: Instant,
    /// The files that the configuration names are read again even where its text is unchanged.
    thorough: bool,
    answer: Box<dyn FnOnce(Looked) + Send>,
}

/// The handle of the thread, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    messages: Sender<Message>,
    /// Closed at the end of the thread.
    ended: Mutex<Receiver<()>>,
}

impl Watch {
    /// Watches `path`, whose content `text` is in force as `current`. Without events, the file is read every `poll`.
    /// A write-back calls `pause` between its steps: its order has been carried out.
    pub(crate) fn start(
        path: PathBuf,
        text: String,
        current: Arc<Config>,
        poll: Duration,
        pause: fn(),
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
                pause,
                report: Box::new(report),
                watcher: None,
                watched: (Vec::new(), Vec::new()),
            };
            owner.run(&inbox, &events, poll);
        };
        std::thread::Builder::new().name("config-watch".to_owned()).spawn(work)?;
        Ok(Watch { messages, ended: Mutex::new(ended) })
    }

    /// Looks at the file now, and at the secrets that it names. The answer comes after the reports of this look, and at
    /// the latest after `patience`, unless the disk hangs.
    pub(crate) fn reload(&self, patience: Duration, answer: impl FnOnce(Looked) + Send + 'static) {
        self.ask(patience, true, answer);
    }

    /// Looks at the file alone: text in force counts as valid.
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
        // A hung disk may keep the thread.
        let _ = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(LAST_WRITE);
    }
}

struct Owner {
    path: PathBuf,
    /// The last reported content: the text, or the reason why there was none.
    seen: Result<String, String>,
    /// The last valid text.
    in_force: String,
    current: Arc<Config>,
    /// The text is in force, and files that it names became unusable.
    incomplete: bool,
    settling: Settling,
    askers: Vec<Asker>,
    /// Pending colors with their deadlines, in order.
    write_backs: VecDeque<(Instant, Color)>,
    stagers: VecDeque<Stager>,
    pause: fn(),
    report: Box<dyn Fn(FileEvent) + Send>,
    watcher: Option<RecommendedWatcher>,
    /// The watched directories, and the file's names in them.
    watched: (Vec<PathBuf>, Vec<OsString>),
}

/// A reading beside the texts before it.
#[derive(Clone, Copy)]
struct Known {
    reported: bool,
    in_force: bool,
}

impl Known {
    fn is_old(self) -> bool {
        self.reported && self.in_force
    }
}

impl Owner {
    fn run(&mut self, inbox: &Receiver<Message>, events: &Sender<Message>, poll: Duration) {
        loop {
            if !self.write_backs.is_empty() {
                (self.pause)();
            }
            // Watch first: the look sees earlier writes, and later ones are events.
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

    /// Takes settled content, and serves the requests that waited for it. Returns the time of the next look if a
    /// request still waits.
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
                    // Before the answers, so that a caller finds the staged release in force.
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

    /// Reports new content. `None`: the content is invalid and may be half of an edit.
    ///
    /// Content is compared with two texts: `seen`, which was reported last, and `in_force`, the last valid one. They
    /// differ while the file is invalid.
    fn take(&mut self, reading: Reading, evidence: Evidence) -> Option<Result<bool, ConfigError>> {
        let found = reading.found;
        let known = Known { reported: found == self.seen, in_force: found.as_ref() == Ok(&self.in_force) };
        if known.is_old() && !self.has_to_read_again(evidence) {
            return Some(Ok(false));
        }
        // The same text may have become valid: a secret that it names may exist now.
        match (self.parse(&found), found) {
            (Ok(next), Ok(text)) => Some(Ok(self.take_valid(next, text, known))),
            (Ok(_), Err(_)) => Some(Ok(false)),
            (Err(error), _) if known.reported && (!known.in_force || self.incomplete) => Some(Err(error)),
            (Err(_), _) if self.may_be_half_written(evidence) => None,
            (Err(error), found) => {
                self.incomplete |= known.is_old();
                self.seen = found;
                (self.report)(FileEvent::Invalid(error.clone()));
                Some(Err(error))
            }
        }
    }

    /// The text is in force; the files that it names may have changed.
    fn has_to_read_again(&self, evidence: Evidence) -> bool {
        let asked = evidence != Evidence::Passed && self.askers.iter().any(|asker| asker.thorough);
        // Unusable files of the start may be repaired by now.
        let mended = !self.current.unusable.is_empty() && self.write_backs.is_empty();
        asked || mended || self.incomplete
    }

    /// Some programs empty and close a file before they write it. A request that waits gets its answer at once, except
    /// about content that has been replaced since.
    fn may_be_half_written(&self, evidence: Evidence) -> bool {
        let nobody_waits = self.askers.is_empty() && self.write_backs.is_empty() && self.stagers.is_empty();
        match evidence {
            Evidence::Passed => true,
            Evidence::Closed => nobody_waits,
            Evidence::Known | Evidence::Quiet => false,
        }
    }

    fn parse(&self, found: &Result<String, String>) -> Result<Config, ConfigError> {
        let text = found.as_ref().map_err(|reason| ConfigError::unreadable(&self.path, reason))?;
        let _turns = (text.len() > LONG).then(Turns::begin);
        let next = Config::parse_with(&self.path, text, Tolerated::Known(&self.current.unusable))?;
        self.current.check_fixed(&next, &self.path, text)?;
        Ok(next)
    }

    /// True: the configuration is another one than before.
    fn take_valid(&mut self, next: Config, text: String, known: Known) -> bool {
        self.seen = Ok(text.clone());
        let was_complete = !std::mem::take(&mut self.incomplete);
        if text == self.in_force && next == *self.current {
            if !(known.is_old() && was_complete) {
                (self.report)(FileEvent::Restored);
            }
            return false;
        }
        self.in_force = text;
        self.current = Arc::new(next);
        (self.report)(FileEvent::Edited(Arc::clone(&self.current)));
        true
    }

    fn write_all_back(&mut self, looked: Result<bool, ConfigError>) {
        let mut obstacle = match looked {
            Err(error) => Some(format!("the file is not valid: {error}")),
            Ok(true) => Some("the file was edited at the same time".to_owned()),
            Ok(false) => None,
        };
        while let Some((_, color)) = self.write_backs.pop_front() {
            let result = match &obstacle {
                Some(why) => Err(why.clone()),
                None => {
                    (self.pause)();
                    let elsewhere = &self.current.state.dir;
                    write_back::write_back(&self.path, &self.in_force, color, elsewhere, self.pause)
                }
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

    /// Watches the directory of the path and, behind a link, that of the real file: editors replace files, and
    /// ConfigMaps replace the link to a directory. Both may have changed since the last call.
    fn watch(&mut self, events: &Sender<Message>) {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = |path: &Path| path.file_name().map(OsString::from);
        let mut dirs = vec![parent(&self.path)];
        let mut names: Vec<OsString> = name(&self.path).into_iter().collect();
        if let Ok(real) = self.path.canonicalize() {
            // Also where it is the same name: a file that is gone and came back is watched anew.
            names.extend(name(&real));
            let dir = parent(&real);
            if real != self.path && dirs[0].canonicalize().ok().as_ref() != Some(&dir) {
                dirs.push(dir);
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
        // Without a watcher the poll finds every edit later, and the watch is tried again.
        self.watched = wanted;
        self.settling.forget();
    }
}

#[cfg(test)]
mod tests;
