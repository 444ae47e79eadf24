//! The color that stopped serving last. Pages that are still open request its files.

use std::time::SystemTime;

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::transition::{Decision, Transition};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retired {
    pub color: Color,
    pub release: Release,
    pub at: SystemTime,
}

impl Retired {
    /// Found after a restart in the transitions, newest first. A move without overlap leaves nothing lingering.
    pub(crate) fn recalled<'a>(
        decision: &Decision,
        newest_first: impl Iterator<Item = &'a Transition>,
    ) -> Option<Retired> {
        let color = decision.active.other();
        let mut stopped: Option<&Transition> = None;
        for transition in newest_first {
            let before = &transition.decision;
            if !decision.serves(color) && before.serves(color) {
                let release = before.release_on(color)?.clone();
                return stopped.filter(|stopped| stopped.held.is_none()).map(|stopped| Retired {
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
