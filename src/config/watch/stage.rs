//! Staging: a release is put into the section of a color, and reported like an edit by anybody else.

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
    /// Into which section.
    pub color: Color,
    /// What it says then.
    pub section: Section,
    /// What is to be done where it does not say so already.
    pub write: Write,
    /// The configuration by which that was decided; by another one nothing is written.
    pub upon: Arc<Config>,
    /// True: nobody wants it any more.
    pub withdrawn: Arc<AtomicBool>,
}

/// Whether a section that differs is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// It is.
    Yes,
    /// It is not; everything is done but that.
    Rehearse,
    /// It is not.
    No,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    /// The file says so already.
    Same,
    /// The file would say something else, and was not written.
    Differs,
    /// The file says so now, and that was reported as an edit.
    Written,
}

/// Why nothing was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StageError {
    /// Another configuration is in force by now, or somebody has just written the file.
    Superseded,
    /// Nobody wants it any more.
    Withdrawn,
    /// The file is not valid as it is.
    Invalid(ConfigError),
    /// With the section it would not be.
    Wrong(ConfigError),
    /// The section can't be put into this file.
    Unwritable(Unwritable),
    /// The file can't be written: the reason.
    Refused(String),
    /// The file was still being written when the time was up: the reason.
    Busy(String),
}

type Answer = Box<dyn FnOnce(Result<Staged, StageError>) + Send>;

/// Somebody who waits for it.
pub(super) struct Stager {
    pub(super) until: Instant,
    stage: Stage,
    answer: Answer,
}

impl Watch {
    /// Puts a release into the newest content of the file. The answer comes after the edit is reported.
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
    /// Stages what waits for it. `looked` is what was found in the file a moment ago.
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
