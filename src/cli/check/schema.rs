//! The labels of a file, compared with the data stores of the running proxy.

use crate::admin::api::{StatusAnswer, StoreAnswer};
use crate::config::Config;
use crate::domain::color::Color;
use crate::domain::schema::{Barrier, Current, Currents, Obstacle, Safety, Source, Version, admits, runs};

/// One sentence per finding; none where no release names a store.
pub(super) fn sentences(config: &Config, status: &StatusAnswer) -> Vec<String> {
    let Ok(active) = status.active.parse::<Color>() else { return Vec::new() };
    let mut currents: Currents = status.stores.iter().map(|store| (store.store.clone(), current(store))).collect();
    for (_, color) in config.colors.iter() {
        for store in color.schema.keys() {
            currents.entry(store.clone()).or_insert(Current { version: None, source: Source::Nowhere, failure: None });
        }
    }
    if currents.is_empty() {
        return Vec::new();
    }
    let mut sentences: Vec<_> = currents.iter().map(|(store, current)| stands(store, current)).collect();
    let (target, serving) = (&config.colors[active.other()], &config.colors[active]);
    let there = format!("{} (release {})", active.other(), target.release);
    let verdict = runs(&target.release, &target.schema, &currents, &[]);
    let mut obstacles = verdict.clone().obstacles();
    obstacles.extend(admits(&target.schema, (&serving.release, &serving.schema), &currents));
    let barriers = target.schema.iter().filter(|(_, label)| label.barrier == Barrier::Applied);
    let barriers: Vec<_> = barriers.map(|(store, _)| store.as_str()).collect();
    sentences.push(match (obstacles.as_slice(), &verdict) {
        ([], Safety::Yes) if !barriers.is_empty() => format!(
            "A switch to {there} would be done, and there would be no safe way back: its barrier at {} is passed with it.",
            barriers.join(", ")
        ),
        ([], Safety::Unknown(_)) => {
            format!("A switch to {there} would not be refused, but is not known to be safe: {}.", reason(&verdict))
        }
        ([], _) => format!("A switch to {there} would be safe, and so would be the way back."),
        (obstacles, _) => format!("A switch to {there} would be refused: {}.", list(obstacles)),
    });
    if status.rollback.release.as_deref() == Some(target.release.as_str()) {
        let barrier = status.rollback.unsafe_why.as_ref().filter(|_| status.rollback.safe == "no");
        sentences.push(match (&verdict, barrier) {
            (Safety::Yes, None) => format!("The way back to {there} is safe."),
            (Safety::Unknown(_), None) => {
                format!("The way back to {there} is not known to be safe: {}.", reason(&verdict))
            }
            (Safety::No(_), _) => format!("The way back to {there} is not safe: {}.", reason(&verdict)),
            (_, Some(why)) => format!("The way back to {there} is not safe now: {why}."),
        });
    }
    sentences
}

fn current(store: &StoreAnswer) -> Current {
    let source = match store.source.as_str() {
        "probe" => Source::Probe,
        "labels" => Source::Labels,
        _ => Source::Nowhere,
    };
    Current { version: store.version.map(Version), source, failure: store.probe_error.clone() }
}

fn stands(store: &str, current: &Current) -> String {
    let failure = current.failure.as_ref().map(|reason| format!("; its probe failed: {reason}")).unwrap_or_default();
    match (current.version, current.source) {
        (Some(version), Source::Probe) => format!("{store} is at {version}, by its probe{failure}."),
        (Some(version), _) => format!("{store} is at {version}, by the labels of what took traffic{failure}."),
        (None, _) => format!("The version of {store} is not known{failure}."),
    }
}

fn reason(verdict: &Safety) -> String {
    verdict.why().unwrap_or_default()
}

fn list(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
