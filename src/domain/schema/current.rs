//! Present versions of the stores: by a probe where one answers, else by the labels of past releases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::domain::color::{Color, PerColor};
use crate::domain::schema::{Lineage, Version};

const FRESH: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The color whose release names the probe.
    pub color: Color,
    pub store: String,
    pub answer: Result<Version, String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Live(PerColor<BTreeMap<String, Last>>);

#[derive(Clone, Debug, Default)]
struct Last {
    version: Option<(Version, Instant)>,
    failure: Option<String>,
}

impl Live {
    /// A failing probe keeps its last answer for some seconds.
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

    pub(crate) fn forget(&mut self, now: Instant) {
        for last in self.0.blue.values_mut().chain(self.0.green.values_mut()) {
            if last.version.is_some_and(|(_, at)| now.saturating_duration_since(at) > FRESH) {
                last.version = None;
                last.failure.get_or_insert_with(|| "no answer for some seconds".to_owned());
            }
        }
    }

    pub(crate) fn retain(&mut self, probed: &PerColor<BTreeSet<String>>) {
        for color in Color::ALL {
            self.0[color].retain(|store, _| probed[color].contains(store));
        }
    }

    /// The live color's probe has precedence.
    fn of(&self, active: Color, store: &str) -> (Option<Version>, Option<&str>) {
        let both = [active, active.other()].map(|color| self.0[color].get(store));
        let known = |last: &Last| last.version.map(|(version, _)| version);
        let version = both.iter().flatten().find_map(|last| known(last));
        let failure = both.iter().flatten().find_map(|last| last.failure.as_deref());
        (version, failure)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Probe,
    Labels,
    Nowhere,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    pub version: Option<Version>,
    pub source: Source,
    pub failure: Option<String>,
}

impl Current {
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.source == Source::Probe
    }
}

pub(crate) type Currents = BTreeMap<String, Current>;

impl Live {
    /// Every named store, and those that past releases migrated.
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
