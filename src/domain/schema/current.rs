//! What stores are at now: by a probe where one answers, else by what releases brought them to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::domain::color::{Color, PerColor};
use crate::domain::schema::{Lineage, Version};

/// An answer that is older says nothing any more.
const FRESH: Duration = Duration::from_secs(10);

/// What one probe answered: which version, or why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The color whose release names the probe.
    pub color: Color,
    /// The store.
    pub store: String,
    /// The answer.
    pub answer: Result<Version, String>,
}

/// What the probes said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live(PerColor<BTreeMap<String, Last>>);

#[derive(Clone, Debug, Default)]
struct Last {
    version: Option<(Version, Instant)>,
    failure: Option<String>,
}

impl Live {
    /// Takes in what probes answered. One that fails keeps its last answer for some seconds.
    pub(crate) fn read(&mut self, now: Instant, readings: Vec<Reading>) {
        for Reading { color, store, answer } in readings {
            let last = self.0[color].entry(store).or_default();
            match answer {
                Ok(version) => *last = Last { version: Some((version, now)), failure: None },
                Err(reason) => last.failure = Some(reason),
            }
        }
        self.forget(now);
    }

    /// Forgets answers that are too old.
    pub(crate) fn forget(&mut self, now: Instant) {
        for last in self.0.blue.values_mut().chain(self.0.green.values_mut()) {
            if last.version.is_some_and(|(_, at)| now.saturating_duration_since(at) > FRESH) {
                last.version = None;
                last.failure.get_or_insert_with(|| "no answer for some seconds".to_owned());
            }
        }
    }

    /// Keeps those that are still configured.
    pub(crate) fn retain(&mut self, probed: &PerColor<BTreeSet<String>>) {
        for color in Color::ALL {
            self.0[color].retain(|store, _| probed[color].contains(store));
        }
    }

    /// What is known of a store: the live color's probe first.
    fn of(&self, active: Color, store: &str) -> (Option<Version>, Option<&str>) {
        let both = [active, active.other()].map(|color| self.0[color].get(store));
        let known = |last: &Last| last.version.map(|(version, _)| version);
        let version = both.iter().flatten().find_map(|last| known(last));
        let failure = both.iter().flatten().find_map(|last| last.failure.as_deref());
        (version, failure)
    }
}

/// Where a version is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A probe answered it.
    Probe,
    /// A release that took traffic brings the store to it.
    Labels,
    /// It isn't.
    Nowhere,
}

/// What a store is at now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its version, if it is known.
    pub version: Option<Version>,
    /// From where.
    pub source: Source,
    /// The last question to its probe failed, with the reason.
    pub failure: Option<String>,
}

impl Current {
    /// A probe answered.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.source == Source::Probe
    }
}

/// What all stores are at now, by name.
pub(crate) type Currents = BTreeMap<String, Current>;

impl Live {
    /// What every store is at: those that are named here, and those that releases were about.
    #[must_use]
    pub(crate) fn currents<'a>(
        &self,
        active: Color,
        lineage: &Lineage,
        named: impl IntoIterator<Item = &'a String>,
    ) -> Currents {
        let applied = lineage.brought_to();
        let mut names: BTreeSet<&str> = named.into_iter().map(String::as_str).collect();
        names.extend(applied.keys().copied());
        names.extend(lineage.steps.iter().flat_map(|step| step.labels.keys()).map(String::as_str));
        let current = |store: &str| {
            let (live, failure) = self.of(active, store);
            let by_labels = applied.get(store).copied();
            let source = match (live, by_labels) {
                (Some(_), _) => Source::Probe,
                (None, Some(_)) => Source::Labels,
                (None, None) => Source::Nowhere,
            };
            Current { version: live.or(by_labels), source, failure: failure.map(str::to_owned) }
        };
        names.into_iter().map(|store| (store.to_owned(), current(store))).collect()
    }
}
