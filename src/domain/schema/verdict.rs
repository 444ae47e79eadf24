//! Whether a release can serve on what the stores are at, and what stands in its way.

use std::fmt;

use crate::domain::release::Release;
use crate::domain::schema::{Barrier, Currents, FirstWrite, Labels, Overridden, Range, Step, Version};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can.
    Yes,
    /// It can't, for these reasons.
    No(Vec<Obstacle>),
    /// Nobody knows. Not safe, and no reason to refuse.
    Unknown(Vec<Doubt>),
}

/// One reason why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A release can't run on a version.
    Unfit {
        /// Of this store.
        store: String,
        /// This version: where it is, or where the move would bring it.
        version: Version,
        /// The move would bring it there.
        brought: bool,
        /// The version that it is at, if it is known.
        current: Option<Version>,
        /// The release that can't.
        release: Release,
        /// What it needs.
        needs: Range,
    },
    /// A release on the way passed its barrier.
    Barrier {
        /// At this store.
        store: String,
        /// The version that it is at, if it is known.
        version: Option<Version>,
        /// The release.
        release: Release,
        /// Which kind.
        barrier: Barrier,
        /// What passed it, if that was a write.
        written: Option<FirstWrite>,
    },
    /// The last move was forced over this very question.
    Forced(Overridden),
}

/// Why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No release says anything of any store.
    NoLabels,
    /// This release says nothing of a store that others speak of.
    Unlabelled {
        /// The store.
        store: String,
        /// The release.
        release: Release,
    },
    /// What the store is at is not known.
    NoVersion {
        /// The store.
        store: String,
    },
    /// Its probe fails.
    ProbeFailed {
        /// The store.
        store: String,
        /// Why.
        reason: String,
    },
}

impl Verdict {
    fn of(obstacles: Vec<Obstacle>, doubts: Vec<Doubt>) -> Verdict {
        match (obstacles.is_empty(), doubts.is_empty()) {
            (false, _) => Verdict::No(obstacles),
            (true, false) => Verdict::Unknown(doubts),
            (true, true) => Verdict::Yes,
        }
    }

    /// In one word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Yes => "yes",
            Verdict::No(_) => "no",
            Verdict::Unknown(_) => "unknown",
        }
    }

    /// Why it is not `yes`, in a few words.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        fn list(reasons: &[impl fmt::Display]) -> Option<String> {
            Some(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
        match self {
            Verdict::Yes => None,
            Verdict::No(obstacles) => list(obstacles),
            Verdict::Unknown(doubts) => list(doubts),
        }
    }

    /// What stands in the way.
    #[must_use]
    pub fn obstacles(self) -> Vec<Obstacle> {
        match self {
            Verdict::No(obstacles) => obstacles,
            Verdict::Yes | Verdict::Unknown(_) => Vec::new(),
        }
    }
}

/// Whether a release can run on what the stores are at, and, coming from `path` (the releases that took traffic after
/// it, oldest first), crosses no barrier that is passed.
#[must_use]
pub(crate) fn runs(release: &Release, labels: &Labels, currents: &Currents, path: &[Step]) -> Verdict {
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
        // What labels say is no truth where somebody was to be asked for it.
        if let Some(reason) = current.failure.clone().filter(|_| !current.is_live()) {
            doubts.push(Doubt::ProbeFailed { store: store.clone(), reason });
        }
    }
    obstacles.extend(barriers(currents, path));
    Verdict::of(obstacles, doubts)
}

/// The barriers on a path that are passed, the newest first, each release's once.
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

/// Whether what serves now could serve again after another release took traffic: whether it can run on what that one
/// brings the stores to.
#[must_use]
pub(crate) fn admits(coming: &Labels, serving: (&Release, &Labels), currents: &Currents) -> Vec<Obstacle> {
    let (release, labels) = serving;
    let unfit = |(store, label): (&String, &super::Label)| {
        let version = label.migrates_to?;
        // It would not take a store back.
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
