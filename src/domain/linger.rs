//! The color that stopped serving last, whose files pages that are still open ask for.

use std::time::SystemTime;

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::transition::{Decision, Transition};

/// A release that stopped serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// On which color.
    pub color: Color,
    /// Which.
    pub release: Release,
    /// When.
    pub at: SystemTime,
}

impl Left {
    /// What lingers after a restart, by the transitions, newest first. Who moved without overlap wants no second
    /// request.
    pub(crate) fn recalled<'a>(
        decision: &Decision,
        newest_first: impl Iterator<Item = &'a Transition>,
    ) -> Option<Left> {
        let color = decision.active.other();
        let mut stopped: Option<&Transition> = None;
        for transition in newest_first {
            let before = &transition.decision;
            if !decision.serves(color) && before.serves(color) {
                let release = before.release_on(color)?.clone();
                return stopped.filter(|stopped| stopped.held.is_none()).map(|stopped| Left {
                    color,
                    release,
                    at: stopped.at,
                });
            }
            stopped = Some(transition);
        }
        None
    }
}

#[cfg(test)]
mod tests;
