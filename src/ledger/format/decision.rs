//! The decision in a ledger line.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Standing, deployment, lineage, optional, parse_time, standing, time};
use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::transition::{Decision, FileOrder, Freeze, Generation, Previous, Quarantined};

#[derive(Serialize, Deserialize)]
pub(super) struct Decided {
    generation: u64,
    active: String,
    release: String,
    since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_good: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousRelease>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    freeze: Option<Frozen>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    quarantine: Vec<Bad>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_force: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    maintenance: bool,
    seen: Standing,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    written_back: Vec<String>,
    #[serde(default, skip_serializing_if = "lineage::Written::is_empty")]
    lineage: lineage::Written,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deployment: Option<deployment::Deployed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cooldown: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Frozen {
    by: String,
    reason: String,
    since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Bad {
    release: String,
    since: String,
    by: String,
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct PreviousRelease {
    color: String,
    release: String,
    until: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_good: Option<String>,
}

impl Decided {
    pub(super) fn from(decision: &Decision) -> Decided {
        Decided {
            generation: decision.generation.0,
            active: decision.active.to_string(),
            release: decision.release.to_string(),
            since: time(decision.since),
            known_good: decision.known_good.map(time),
            previous: decision.previous.as_ref().map(|previous| PreviousRelease {
                color: previous.color.to_string(),
                release: previous.release.to_string(),
                until: time(previous.until),
                known_good: previous.known_good.map(time),
            }),
            freeze: decision.freeze.as_ref().map(|freeze| Frozen {
                by: freeze.by.clone(),
                reason: freeze.reason.clone(),
                since: time(freeze.since),
                until: freeze.until.map(time),
            }),
            quarantine: decision.quarantine.iter().map(bad).collect(),
            by_force: decision.by_force,
            maintenance: decision.maintenance,
            seen: standing(decision.seen.active, &decision.seen.release),
            written_back: decision.written_back.iter().map(Color::to_string).collect(),
            lineage: lineage::Written::from(&decision.lineage),
            deployment: decision.deployment.as_ref().map(deployment::Deployed::from),
            cooldown: decision.cooldown.map(time),
        }
    }

    pub(super) fn into_decision(self, version: u32) -> Option<Decision> {
        let since = parse_time(&self.since)?;
        // The first version did not know good releases: any release that served was a rollback target.
        let good = |known: Option<String>, otherwise: SystemTime| match (known, version) {
            (None, 1) => Some(Some(otherwise)),
            (known, _) => optional(known, |at| parse_time(&at)),
        };
        let previous = match self.previous {
            Some(left) => {
                let until = parse_time(&left.until)?;
                Some(Previous {
                    color: left.color.parse().ok()?,
                    release: Release::new(&left.release),
                    until,
                    known_good: good(left.known_good, until)?,
                })
            }
            None => None,
        };
        let freeze = match self.freeze {
            Some(freeze) => Some(Freeze {
                by: freeze.by,
                reason: freeze.reason,
                since: parse_time(&freeze.since)?,
                until: optional(freeze.until, |until| parse_time(&until))?,
            }),
            None => None,
        };
        let (active, release) = self.seen.into_pair()?;
        Some(Decision {
            generation: Generation(self.generation),
            active: self.active.parse().ok()?,
            release: Release::new(&self.release),
            since,
            known_good: good(self.known_good, since)?,
            previous,
            freeze,
            quarantine: self.quarantine.into_iter().map(Bad::into_quarantined).collect::<Option<_>>()?,
            by_force: self.by_force,
            maintenance: self.maintenance,
            seen: FileOrder { active, release },
            written_back: self.written_back.iter().map(|color| color.parse().ok()).collect::<Option<_>>()?,
            lineage: self.lineage.into_lineage()?,
            deployment: optional(self.deployment, deployment::Deployed::into_deployment)?,
            cooldown: optional(self.cooldown, |until| parse_time(&until))?,
        })
    }
}

impl Bad {
    fn into_quarantined(self) -> Option<Quarantined> {
        Some(Quarantined {
            release: Release::new(&self.release),
            since: parse_time(&self.since)?,
            by: self.by,
            reason: self.reason,
        })
    }
}

fn bad(quarantined: &Quarantined) -> Bad {
    Bad {
        release: quarantined.release.to_string(),
        since: time(quarantined.since),
        by: quarantined.by.clone(),
        reason: quarantined.reason.clone(),
    }
}
