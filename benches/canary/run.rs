//! One run: a proxy, two shops, a load, one canary, and what became of it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::proxy::{Proxy, between};
use crate::scenarios::Scenario;
use crate::shop::{PAGES, Shop};

/// What was under way at the rollback has ended by then.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) taken_back: Option<TakenBack>,
    pub(crate) suspected: bool,
    pub(crate) baseline_unhealthy: bool,
    pub(crate) known_good: bool,
    /// Requests to the candidate, as last seen.
    pub(crate) assigned: Option<u64>,
    /// What the evidence clock says at the end: requests, and seconds.
    pub(crate) clock: Option<(f64, Option<f64>)>,
    pub(crate) lost: u64,
    /// To the candidate, after it was taken back.
    pub(crate) after: u64,
    pub(crate) last_words: String,
}

pub(crate) struct TakenBack {
    pub(crate) words: String,
    pub(crate) exposed: u64,
    pub(crate) harmed: u64,
    /// Of `/checkout`, to the candidate.
    pub(crate) on_page: u64,
    pub(crate) seconds: f64,
}

pub(crate) async fn run(scenario: &Scenario, binary: &Path) -> Outcome {
    let blue = Shop::open("blue", scenario.before).await.expect("a port");
    let green = Shop::open("green", scenario.before).await.expect("a port");
    let proxy = Proxy::start(binary, "", scenario.config, [blue.address, green.address]).await;
    let load = Load::start(proxy.http, scenario.rate, &PAGES, 0);
    tokio::time::sleep(scenario.usual).await;
    blue.behaves(scenario.stable);
    green.behaves(scenario.candidate);
    let began = Instant::now();
    let started = proxy.admin("POST", "/admin/canary", "{}").await;
    assert_eq!(started["changed"], true, "{started}");
    let mut outcome = Outcome::default();
    while began.elapsed() < scenario.lasts {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let canary = proxy.admin("GET", "/admin/canary", "").await["canary"].clone();
        if canary.is_null() {
            break;
        }
        outcome.assigned = canary["routes"][0]["candidate"]["assigned"].as_u64().or(outcome.assigned);
        let next = &canary["next"];
        outcome.clock = next["needs_requests"].as_f64().map(|requests| (requests, next["needs_s"].as_f64()));
        outcome.last_words = canary["judgement"]["words"].as_str().unwrap_or_default().to_owned();
    }
    let transitions = proxy.history().await;
    let of = |kind: &str| transitions.iter().find(|transition| transition["kind"] == kind);
    outcome.suspected = of("suspect").is_some();
    outcome.baseline_unhealthy = of("baseline_unhealthy").is_some();
    outcome.known_good = of("known_good").is_some();
    if let Some(rollback) = of("rollback") {
        let judgement = &rollback["judgement"];
        tokio::time::sleep(SETTLED).await;
        let before = green.requests();
        tokio::time::sleep(SETTLED).await;
        outcome.after = green.requests() - before;
        let number = |key: &str| judgement[key].as_u64().unwrap_or_default();
        outcome.taken_back = Some(TakenBack {
            words: judgement["words"].as_str().unwrap_or_default().to_owned(),
            exposed: number("exposed"),
            harmed: number("harmed"),
            on_page: load.seen().green.checkouts,
            seconds: between(&started["at"], &rollback["at"]),
        });
        outcome.last_words = format!("{} ({})", judgement["words"], rollback["reason"]);
    }
    outcome.lost = load.seen().lost;
    outcome
}
