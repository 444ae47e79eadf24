//! The verdict whether a release can serve on the present stores, and the obstacles.

use std::fmt;

use crate::domain::release::Release;
use crate::domain::schema::{Barrier, Currents, FirstWrite, Labels, Overridden, Range, Step, Version};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Safety {
    Yes,
    No(Vec<Obstacle>),
    /// Not safe, and no reason to refuse.
    Unknown(Vec<Doubt>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    Unfit {
        store: String,
        /// The present version, or the one that the move migrates to.
        version: Version,
        /// The move would migrate to it.
        brought: bool,
        current: Option<Version>,
        release: Release,
        needs: Range,
    },
    Barrier {
        store: String,
        version: Option<Version>,
        release: Release,
        barrier: Barrier,
        written: Option<FirstWrite>,
    },
    /// The last move was forced over this question.
    Forced(Overridden),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    NoLabels,
    Unlabelled { store: String, release: Release },
    NoVersion { store: String },
    ProbeFailed { store: String, reason: String },
}

impl Safety {
    fn of(obstacles: Vec<Obstacle>, doubts: Vec<Doubt>) -> Safety {
        match (obstacles.is_empty(), doubts.is_empty()) {
            (false, _) => Safety::No(obstacles),
            (true, false) => Safety::Unknown(doubts),
            (true, true) => Safety::Yes,
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Safety::Yes => "yes",
            Safety::No(_) => "no",
            Safety::Unknown(_) => "unknown",
        }
    }

    #[must_use]
    pub fn why(&self) -> Option<String> {
        fn list(reasons: &[impl fmt::Display]) -> Option<String> {
            Some(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
        match self {
            Safety::Yes => None,
            Safety::No(obstacles) => list(obstacles),
            Safety::Unknown(doubts) => list(doubts),
        }
    }

    #[must_use]
    pub fn obstacles(self) -> Vec<Obstacle> {
        match self {
            Safety::No(obstacles) => obstacles,
            Safety::Yes | Safety::Unknown(_) => Vec::new(),
        }
    }
}

/// The release runs on the present versions, and crosses no passed barrier on `path` (the releases that took traffic
/// after it, oldest first).
#[must_use]
pub(crate) fn runs(release: &Release, labels: &Labels, currents: &Currents, path: &[Step]) -> Safety {
    let (mut obstacles, mut doubts) = (Vec::new(), Vec::new());
    if currents.is_empty() {
        doubts.push(Doubt::NoLabels);
    }
    for (store, current) in currents {
        match (labels.get(store), current.version) {
            (None, _) => doubts.push(Doubt::Unlabelled { store: store.clone(), release: release.clone() }),
            (Some(_), None) if current.failure.is_none() => doubts.push(Doubt::NoVersion { store: store.clone() }),
            (Some(label), Some(version)) if !label.needs.contains(version) => obstacles.push(Obstacle::Unfit {
                store: store.clone(),
                version,
                brought: false,
                current: Some(version),
                release: release.clone(),
                needs: label.needs,
            }),
            _ => {}
        }
        // Labels do not replace a probe that is configured and fails.
        if let Some(reason) = current.failure.clone().filter(|_| !current.is_live()) {
            doubts.push(Doubt::ProbeFailed { store: store.clone(), reason });
        }
    }
    obstacles.extend(barriers(currents, path));
    Safety::of(obstacles, doubts)
}

/// Passed barriers on a path, newest first, one per release.
fn barriers(currents: &Currents, path: &[Step]) -> Vec<Obstacle> {
    let mut passed: Vec<Obstacle> = Vec::new();
    for step in path.iter().rev() {
        for (store, label) in &step.labels {
            let known = passed.iter().any(|known| {
                matches!(known, Obstacle::Barrier { store: at, release, .. } if at == store && *release == step.release)
            });
            let current = currents.get(store);
            if !known && step.has_passed(label, current) {
                passed.push(Obstacle::Barrier {
                    store: store.clone(),
                    version: current.and_then(|current| current.version),
                    release: step.release.clone(),
                    barrier: label.barrier,
                    written: step.written.clone(),
                });
            }
        }
    }
    passed
}

/// The serving release can serve again after `coming` took traffic: it runs on the versions that `coming` migrates to.
#[must_use]
pub(crate) fn admits(coming: &Labels, serving: (&Release, &Labels), currents: &Currents) -> Vec<Obstacle> {
    let (release, labels) = serving;
    let unfit = |(store, label): (&String, &super::Label)| {
        let version = label.migrates_to?;
        // No migration goes backward.
        let current = currents.get(store).and_then(|current| current.version);
        let needs = labels.get(store)?.needs;
        let unfit = current.is_none_or(|current| version >= current) && !needs.contains(version);
        let (store, release) = (store.clone(), release.clone());
        unfit.then_some(Obstacle::Unfit { store, version, brought: true, current, release, needs })
    };
    coming.iter().filter_map(unfit).collect()
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Unfit { store, version, release, needs, .. } => {
                write!(f, "{store} {version}, {release} needs {needs}")
            }
            Obstacle::Barrier { store, version, release, barrier, written } => {
                match version {
                    Some(version) => write!(f, "{store} {version}, ")?,
                    None => write!(f, "{store}, ")?,
                }
                match (barrier, written) {
                    (Barrier::FirstWrite, Some(write)) => {
                        write!(f, "{release} accepted a write (request {}), which was its barrier", write.request)
                    }
                    _ => write!(f, "{release} passed its barrier when it took traffic"),
                }
            }
            Obstacle::Forced(Overridden { by, reason }) => write!(f, "{by} forced the last switch: {reason}"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::NoLabels => f.write_str("no labels"),
            Doubt::Unlabelled { store, release } => write!(f, "{release} has no label for {store}"),
            Doubt::NoVersion { store } => write!(f, "the version of {store} is not known"),
            Doubt::ProbeFailed { store, reason } => write!(f, "the probe of {store} failed: {reason}"),
        }
    }
}
