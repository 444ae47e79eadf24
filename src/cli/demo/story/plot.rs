//! Each story's plot: the behavior of both releases, its changes, and the expected end.

use std::time::Duration;

use crate::cli::args::Story;
use crate::cli::demo::shop::{LOGIN, Manner, PAGES};
use crate::domain::transition::{Kind, Transition, Trigger};
use crate::domain::verdict::{Class, Judgement};

const WITH_LOGIN: [&str; 3] = ["/", "/search", LOGIN];
/// Users of the story of a disturbance, in which some have errors.
const USERS: u32 = 3_000;

pub(super) const GOOD: Manner =
    Manner { errors: 0.001, median: Duration::from_millis(10), sigma: 0.6, slower: 1.0, refused: 0.4 };
const DISTURBED: Manner = Manner { errors: 0.5, ..GOOD };
const BROKEN: Manner = Manner { errors: 1.0, ..GOOD };

/// Both releases behave like this from a moment after the canary's begin.
pub(super) struct Act {
    pub(super) at: Duration,
    pub(super) old: Manner,
    pub(super) new: Manner,
    /// Empty if the story's title says it.
    pub(super) told: &'static str,
}

const DISTURBANCE: [Act; 3] = [
    Act {
        at: Duration::from_secs(2),
        old: DISTURBED,
        new: DISTURBED,
        told: "a database fails that both releases share: half of all requests get a 500, on both colors",
    },
    Act { at: Duration::from_secs(7), old: GOOD, new: GOOD, told: "the database is back: both releases are well" },
    Act { at: Duration::from_secs(11), old: GOOD, new: BROKEN, told: "2.14.0 breaks: each of its answers is a 500" },
];

impl Story {
    pub(super) fn title(self) -> &'static str {
        match self {
            Story::Checkout => "its /checkout takes 3 times as long",
            Story::Spike => "8 % of its answers are errors, instead of 0.1 %",
            Story::Login => "its /login answers 401 to everybody, where 40 % of the requests get one anyhow",
            Story::Sticky => "it begins to fail for everybody, after a disturbance that hit both releases",
        }
    }

    pub(super) fn new_release(self) -> Manner {
        match self {
            Story::Checkout => Manner { slower: 3.0, ..GOOD },
            Story::Spike => Manner { errors: 0.08, ..GOOD },
            Story::Login => Manner { refused: 1.0, ..GOOD },
            Story::Sticky => GOOD,
        }
    }

    pub(super) fn acts(self) -> &'static [Act] {
        match self {
            Story::Checkout | Story::Spike | Story::Login => &[],
            Story::Sticky => &DISTURBANCE,
        }
    }

    pub(super) fn pages(self) -> &'static [&'static str] {
        match self {
            Story::Checkout | Story::Spike | Story::Sticky => &PAGES,
            Story::Login => &WITH_LOGIN,
        }
    }

    /// Clients with a network each; 0: one client has all requests.
    pub(super) fn users(self) -> u32 {
        if self == Story::Sticky { USERS } else { 0 }
    }

    pub(super) fn configuration(self) -> (&'static str, &'static str) {
        match self {
            Story::Checkout | Story::Spike | Story::Login => ("", ""),
            Story::Sticky => (
                "trusted_proxies = [\"127.0.0.1\"]            # the load says for which user it asks\n",
                "[canary]\nsticky = \"address\"\n",
            ),
        }
    }

    pub(super) fn settings(self) -> &'static str {
        match self {
            Story::Checkout | Story::Spike | Story::Login => {
                "All settings are the defaults, except one: latencies are judged after 2 s instead of 30 s."
            }
            Story::Sticky => {
                "Each of 3,000 users stays on one color (canary.sticky). The other settings are the defaults, except one: \
                 latencies are judged after 2 s instead of 30 s."
            }
        }
    }

    /// A withdrawn release may return: its 4xx may be intended.
    pub(super) fn is_withdrawn(self) -> bool {
        self == Story::Login
    }

    pub(super) fn is_end(self, transition: &Transition) -> bool {
        let kind = if self.is_withdrawn() { Kind::Abort } else { Kind::Rollback };
        transition.kind == kind && transition.origin.trigger == Trigger::Automatic
    }

    pub(super) fn notice(self) -> &'static str {
        if self.is_withdrawn() { "deployment.aborted" } else { "deployment.rolled_back" }
    }

    pub(super) fn is_found(self, judgement: &Judgement) -> bool {
        judgement.findings.iter().any(|finding| match self {
            Story::Checkout => finding.class != Class::Error && finding.route.as_deref() == Some("/checkout"),
            Story::Spike | Story::Sticky => finding.class == Class::Error,
            Story::Login => finding.class == Class::ClientError && finding.route.as_deref() == Some(LOGIN),
        })
    }
}
