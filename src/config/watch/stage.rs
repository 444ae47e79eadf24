//! Staging: the proxy writes a release into the section of a color, and reports it like an edit by a person.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::config::error::{ConfigError, Tolerated};
use crate::config::stage::{Section, Unwritable, staged};
use crate::config::watch::{FileEvent, Message, Owner, Watch, write_back};
use crate::domain::color::Color;

/// A release to put into the file.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub color: Color,
    pub section: Section,
    pub write: Write,
    /// The configuration that the decision is based on; under another one nothing is written.
    pub upon: Arc<Config>,
    /// The caller has given up.
    pub withdrawn: Arc<AtomicBool>,
}

/// The treatment of a section that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Yes,
    /// Every step but the last.
    Rehearse,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    /// The file has the same section already.
    Same,
    /// The section differs, and was not written.
    Differs,
    /// The section was written and reported as an edit.
    Written,
}

/// The reason why nothing was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StageError {
    /// Another configuration is in force by now, or another program has just written the file.
    Superseded,
    Withdrawn,
    Invalid(ConfigError),
    /// The file would be invalid with the section.
    Wrong(ConfigError),
    Unwritable(Unwritable),
    /// The file can't be written.
    Refused(String),
    /// The file was still being written when the time was up.
    Busy(String),
}

type Answer = Box<dyn FnOnce(Result<Staged, StageError>) + Send>;

pub(super) struct Stager {
    pub(super) until: Instant,
    stage: Stage,
    answer: Answer,
}

impl Watch {
    /// Writes a release into the newest content of the file. The answer comes after the report of the edit.
    pub(crate) fn stage(
        &self,
        stage: Stage,
        patience: Duration,
        answer: impl FnOnce(Result<Staged, StageError>) + Send + 'static,
    ) {
        let stager = Stager { until: Instant::now() + patience, stage, answer: Box::new(answer) };
        let _ = self.messages.send(Message::Stage(stager));
    }
}

impl Owner {
    /// Serves every pending request. `looked` is the result of the look before.
    pub(super) fn stage_all(&mut self, looked: &Result<bool, ConfigError>) {
        while let Some(Stager { stage, answer, .. }) = self.stagers.pop_front() {
            let staged = match looked {
                Err(error) => Err(StageError::Invalid(error.clone())),
                Ok(_) => self.stage(&stage),
            };
            answer(staged);
        }
    }

    pub(super) fn give_up_stages(&mut self, now: Instant, why: &str) {
        while self.stagers.front().is_some_and(|stager| stager.until <= now) {
            if let Some(Stager { answer, .. }) = self.stagers.pop_front() {
                answer(Err(StageError::Busy(why.to_owned())));
            }
        }
    }

    fn stage(&mut self, stage: &Stage) -> Result<Staged, StageError> {
        if self.seen.as_ref() != Ok(&self.in_force) || *self.current != *stage.upon {
            return Err(StageError::Superseded);
        }
        let text = staged(&self.in_force, stage.color, &stage.section).map_err(StageError::Unwritable)?;
        let next = Config::parse_with(&self.path, &text, Tolerated::Known(&self.current.unusable))
            .and_then(|next| self.current.check_fixed(&next, &self.path, &text).map(|()| next))
            .map_err(StageError::Wrong)?;
        if next == *self.current {
            return Ok(Staged::Same);
        }
        let elsewhere = &self.current.state.dir;
        match stage.write {
            Write::No => return Ok(Staged::Differs),
            Write::Rehearse => {
                let tried = write_back::rehearse(&self.path, &self.in_force, &text, elsewhere, "");
                return tried.map(|()| Staged::Differs).map_err(refused);
            }
            Write::Yes if stage.withdrawn.load(Ordering::SeqCst) => return Err(StageError::Withdrawn),
            Write::Yes => write_back::replace(&self.path, &self.in_force, &text, elsewhere, "").map_err(refused)?,
        }
        self.seen = Ok(text.clone());
        self.in_force = text;
        self.current = Arc::new(next);
        (self.report)(FileEvent::Edited(Arc::clone(&self.current)));
        Ok(Staged::Written)
    }
}

fn refused(why: String) -> StageError {
    if why == write_back::EDITED { StageError::Superseded } else { StageError::Refused(why) }
}
