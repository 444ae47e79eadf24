//! Staged releases: their refusals, and their line in the ledger.

use std::fmt;
use std::time::SystemTime;

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::rollout::{Move, Refusal, Rollout};
use crate::domain::transition::{Asked, Kind, Origin, Transition};
use crate::domain::written;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageRefusal {
    InUse {
        color: Color,
        release: Release,
        /// In words: `serves`.
        by: String,
        next: String,
    },
    /// A new endpoint is an endpoint of the serving color: the same process.
    SameProcess {
        endpoint: String,
        color: Color,
        serving: Release,
    },
    /// Staging would replace the rollback target.
    WayBack {
        color: Color,
        release: Release,
        serving: Release,
        until: Option<SystemTime>,
    },
    FileNotWritable(String),
    /// The file would be invalid, or lacks something the release needs: the reason.
    Unfit(String),
    Empty(Color),
    /// The color no longer has the staged release.
    Replaced {
        color: Color,
        now: Release,
        /// Actor and reason, if it was staged.
        by: Option<(String, Option<String>)>,
    },
}

/// As `codes!` of [`Refusal`].
macro_rules! codes {
    ($($code:literal: $refusals:pat,)+) => {
        impl StageRefusal {
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    $($refusals => $code,)+
                }
            }

            pub(super) const CODES: &[&'static str] = &[$($code),+];
        }
    };
}

codes! {
    "in_use": StageRefusal::InUse { .. } | StageRefusal::SameProcess { .. },
    "way_back": StageRefusal::WayBack { .. },
    "file_not_writable": StageRefusal::FileNotWritable(_),
    "bad_request": StageRefusal::Unfit(_),
    "nothing_deployed": StageRefusal::Empty(_),
    "target_changed": StageRefusal::Replaced { .. },
}

impl fmt::Display for StageRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageRefusal::InUse { color, release, by, next } => {
                write!(f, "{color} ({release}) {by}, so nothing can be staged there. Next: {next}")
            }
            StageRefusal::SameProcess { endpoint, color, serving } => write!(
                f,
                "{endpoint} is an endpoint of {color} ({serving}), which serves, so the new release would be the old process. Next: start the new release on an address of its own, and name that",
            ),
            StageRefusal::WayBack { color, release, serving, until } => {
                write!(f, "a rollback goes to {release} on {color} ")?;
                match until {
                    Some(until) => write!(f, "until {serving} is known good at {}", written::time(*until))?,
                    None => write!(f, "while {serving} is not known good")?,
                }
                write!(
                    f,
                    ", and this would replace it; nothing was staged. Next: wait with `cutover wait --safe-to-stop {color}`, or give the way back up with --replace-way-back (`replace_way_back`)"
                )
            }
            StageRefusal::FileNotWritable(why) => write!(f, "{why}; nothing was staged"),
            StageRefusal::Empty(color) => write!(
                f,
                "nothing is deployed on {color}; nothing was moved. Next: `cutover deploy --release LABEL --endpoint ADDRESS`"
            ),
            StageRefusal::Unfit(why) => write!(f, "{why}; nothing was staged"),
            StageRefusal::Replaced { color, now, by } => {
                write!(f, "{color} no longer has the staged release: ")?;
                match by {
                    Some((actor, reason)) => {
                        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                        write!(f, "{actor} staged {now}{reason}")?;
                    }
                    None => write!(f, "the file says {now}")?,
                }
                f.write_str("; nothing was moved. Next: `cutover status`")
            }
        }
    }
}

impl Rollout {
    #[must_use]
    pub fn busy(&self) -> Option<Refusal> {
        self.under_way().map(Move::in_progress)
    }

    pub(super) fn staged(&mut self, now: Now, to: (Color, Release), origin: Origin, refusal: Option<&Refusal>) {
        let asked = Asked { kind: Kind::Staged, to: Some(to) };
        match refusal {
            Some(refusal) => self.record_refused(now, asked, origin, None, refusal),
            None => {
                let line = Transition::new(Kind::Staged, now.wall, origin, self.decision.clone());
                self.journal.record(Transition { asked: Some(asked), ..line });
            }
        }
    }
}
