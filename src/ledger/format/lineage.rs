//! The lineage in a ledger line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{parse_time, time};
use crate::domain::release::Release;
use crate::domain::schema::{Barrier, FirstWrite, Label, Lineage, Overridden, RolledBack, Step, Version};

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Written {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    applied: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Stepped>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overridden: Option<Forced>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_back: Option<Back>,
    /// Older versions know the last rollback only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken_back_before: Vec<Back>,
}

#[derive(Serialize, Deserialize)]
struct Back {
    color: String,
    release: String,
    at: String,
    by: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reordered: bool,
}

#[derive(Serialize, Deserialize)]
struct Stepped {
    release: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    schema: BTreeMap<String, Labelled>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written: Option<Write>,
}

#[derive(Serialize, Deserialize)]
struct Labelled {
    needs: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    migrates_to: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    barrier: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Write {
    at: String,
    request: String,
}

#[derive(Serialize, Deserialize)]
struct Forced {
    by: String,
    reason: String,
}

impl Written {
    pub(super) fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.steps.is_empty() && self.overridden.is_none() && self.taken_back.is_none()
    }

    pub(super) fn from(lineage: &Lineage) -> Written {
        let (last, before) = match lineage.rolled_back.split_last() {
            Some((last, before)) => (Some(last), before),
            None => (None, [].as_slice()),
        };
        Written {
            applied: lineage.applied.iter().map(|(store, version)| (store.clone(), version.0)).collect(),
            steps: lineage.steps.iter().map(Stepped::from).collect(),
            overridden: lineage
                .overridden
                .as_ref()
                .map(|forced| Forced { by: forced.by.clone(), reason: forced.reason.clone() }),
            taken_back: last.map(Back::from),
            taken_back_before: before.iter().map(Back::from).collect(),
        }
    }

    pub(super) fn into_lineage(self) -> Option<Lineage> {
        let taken_back = self.taken_back_before.into_iter().chain(self.taken_back);
        Some(Lineage {
            applied: self.applied.into_iter().map(|(store, version)| (store, Version(version))).collect(),
            steps: self.steps.into_iter().map(Stepped::into_step).collect::<Option<_>>()?,
            overridden: self.overridden.map(|forced| Overridden { by: forced.by, reason: forced.reason }),
            rolled_back: taken_back.map(Back::into_rolled_back).collect::<Option<_>>()?,
        })
    }
}

impl Back {
    fn from(left: &RolledBack) -> Back {
        Back {
            color: left.color.to_string(),
            release: left.release.to_string(),
            at: time(left.at),
            by: left.by.clone(),
            reordered: left.reordered,
        }
    }

    fn into_rolled_back(self) -> Option<RolledBack> {
        Some(RolledBack {
            color: self.color.parse().ok()?,
            release: Release::new(&self.release),
            at: parse_time(&self.at)?,
            by: self.by,
            reordered: self.reordered,
        })
    }
}

impl Stepped {
    fn from(step: &Step) -> Stepped {
        let labelled = |label: &Label| Labelled {
            needs: label.needs.to_string(),
            migrates_to: label.migrates_to.map(|version| version.0),
            barrier: (label.barrier != Barrier::None).then(|| label.barrier.as_str().to_owned()),
        };
        Stepped {
            release: step.release.to_string(),
            schema: step.labels.iter().map(|(store, label)| (store.clone(), labelled(label))).collect(),
            written: step.written.as_ref().map(|write| Write { at: time(write.at), request: write.request.clone() }),
        }
    }

    fn into_step(self) -> Option<Step> {
        let label = |(store, written): (String, Labelled)| {
            let barrier = match written.barrier {
                None => Barrier::None,
                Some(name) => Barrier::NAMES.iter().find(|(known, _)| *known == name)?.1,
            };
            let migrates_to = written.migrates_to.map(Version);
            Some((store, Label { needs: written.needs.parse().ok()?, migrates_to, barrier }))
        };
        let written = match self.written {
            Some(write) => Some(FirstWrite { at: parse_time(&write.at)?, request: write.request }),
            None => None,
        };
        Some(Step {
            release: Release::new(&self.release),
            labels: self.schema.into_iter().map(label).collect::<Option<_>>()?,
            written,
        })
    }
}
