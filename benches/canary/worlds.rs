//! Worlds: sites as people have them, on real sockets, and how a deployment ends in them. docs/analysis.md has the promises.
//!
//! Each run is a process of the proxy with two applications and their users, from 1.5 to 4 minutes long. Some run at once: they sleep
//! mostly, and 250 requests a second in each are what the machine has to bear.

mod list;
mod site;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::proxy::{Proxy, between};
use list::{Must, WORLDS, World};
use site::{Application, Clock, Traffic, Users};

/// The usual is learned in this time.
const USUAL: Duration = Duration::from_secs(8);
/// A candidate that has the traffic has it by then.
const TRAFFIC_BY: f64 = 120.0;

struct Outcome {
    /// In a word or two.
    seen: String,
    right: bool,
    /// Seconds since the beginning, or since the harm began.
    after: f64,
    harmed: u64,
    lost: u64,
    evidence: String,
}

/// Plays them, and prints a row for each run as it ends; whether all ended as they must.
pub(crate) async fn run(names: &[String], runs: usize, at_once: usize, binary: &Path) -> bool {
    for name in names {
        assert!(WORLDS.iter().any(|world| world.name == name), "no world is called {name}");
    }
    let chosen = || WORLDS.iter().filter(|world| names.is_empty() || names.iter().any(|name| name == world.name));
    for world in chosen() {
        println!("{:<8} {}: {}", world.name, world.what, world.must.words());
    }
    println!(
        "\n{:<8} {:>3}  {:<5} {:<12} {:>6}  {:>6} {:>4}  evidence",
        "world", "run", "", "seen", "after", "harmed", "lost"
    );
    let (places, mut playing) = (Arc::new(Semaphore::new(at_once)), JoinSet::new());
    // One of each first, so that a table that is cut short has something of all.
    for number in 0..runs {
        for world in chosen() {
            let (places, binary) = (Arc::clone(&places), PathBuf::from(binary));
            playing.spawn(async move {
                let _place = places.acquire_owned().await.expect("it is never closed");
                (world, number, play(world, &binary).await)
            });
        }
    }
    let mut outcomes: Vec<(&World, Outcome)> = Vec::new();
    while let Some(played) = playing.join_next().await {
        let (world, number, outcome) = played.expect("no run panics");
        println!(
            "{:<8} {:>3}  {:<5} {:<12} {:>4.0} s  {:>6} {:>4}  {}",
            world.name,
            number + 1,
            if outcome.right { "right" } else { "WRONG" },
            outcome.seen,
            outcome.after,
            outcome.harmed,
            outcome.lost,
            outcome.evidence
        );
        outcomes.push((world, outcome));
    }
    println!("\n{:<8} {:<32} {:>7}  {:>7} {:>7}  {:>6}", "world", "must be", "right", "median", "longest", "harmed");
    for world in chosen() {
        let mut of: Vec<&Outcome> =
            outcomes.iter().filter(|(played, _)| played.name == world.name).map(|(_, outcome)| outcome).collect();
        of.sort_by(|one, other| one.after.total_cmp(&other.after));
        let right = of.iter().filter(|outcome| outcome.right).count();
        println!(
            "{:<8} {:<32} {:>4}/{:<2}  {:>5.0} s {:>5.0} s  {:>6}",
            world.name,
            world.must.words(),
            right,
            of.len(),
            of[of.len() / 2].after,
            of[of.len() - 1].after,
            of.iter().map(|outcome| outcome.harmed).max().unwrap_or_default()
        );
    }
    outcomes.iter().all(|(_, outcome)| outcome.right)
}

async fn play(world: &World, binary: &Path) -> Outcome {
    let clock = Arc::new(Clock::default());
    let blue = Application::start(false, Arc::clone(&clock), world.serve, world.pauses).await;
    let green = Application::start(true, Arc::clone(&clock), world.serve, world.pauses).await;
    let trusted = "trusted_proxies = [\"127.0.0.1\"]";
    let proxy = Proxy::start(binary, trusted, world.config, [blue.address, green.address]).await;
    let traffic = Traffic { rate: world.rate, users: world.users, path: world.path, harms_from: world.harms_from };
    let users = Users::start(proxy.http, traffic, Arc::clone(&clock));
    tokio::time::sleep(USUAL).await;
    clock.begin();
    let (path, body) = if world.switch { ("/admin/switch", "{\"to\":\"green\"}") } else { ("/admin/canary", "{}") };
    let mut tries = 0;
    let started = loop {
        tries += 1;
        let started = proxy.admin("POST", path, body).await;
        if started["changed"] == true {
            break started;
        }
        // On a machine that is too busy a check may fail.
        assert!(started["code"] == "unhealthy" && tries < 30, "{started}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.begin();
    };
    let mut alone_at = None;
    let mut words = String::new();
    let happened = loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = clock.at();
        let history = proxy.transitions().await;
        let happened = Happened::of(&history, &started["at"]);
        if happened.has_traffic && alone_at.is_none() {
            clock.is_alone();
            alone_at = Some(now);
        }
        let canary = proxy.admin("GET", "/admin/canary", "").await["canary"].take();
        if let Some(said) = canary["judgement"]["words"].as_str() {
            said.clone_into(&mut words);
        }
        let until = match (world.from_traffic, alone_at) {
            (false, _) => world.lasts,
            (true, Some(at)) => at + world.lasts,
            (true, None) => TRAFFIC_BY,
        };
        if happened.end.is_some() || now >= until {
            break happened;
        }
    };
    happened.told(world, words, users.seen(), clock.at())
}

/// What the history says.
struct Happened {
    /// `rolled back` or `withdrawn`, when, and why.
    end: Option<(&'static str, f64, String)>,
    paused: Option<(f64, String)>,
    advanced: bool,
    has_traffic: bool,
}

impl Happened {
    fn of(history: &[Value], began: &Value) -> Happened {
        let first = |kinds: &[&str]| {
            let found = history.iter().rev().find(|transition| kinds.iter().any(|kind| transition["kind"] == *kind))?;
            let words = found["judgement"]["words"].as_str().or(found["reason"].as_str()).unwrap_or_default();
            Some((between(began, &found["at"]), words.to_owned()))
        };
        let end = first(&["rollback"]).map(|(at, words)| ("rolled back", at, words));
        Happened {
            end: end.or_else(|| first(&["abort"]).map(|(at, words)| ("withdrawn", at, words))),
            paused: first(&["suspect", "canary_hold", "would_roll_back"]),
            advanced: first(&["advance"]).is_some(),
            has_traffic: first(&["switch"]).is_some(),
        }
    }

    fn told(self, world: &World, words: String, seen: site::Seen, now: f64) -> Outcome {
        let since = if world.harms_from.is_finite() { world.harms_from } else { 0.0 };
        let (what, after, evidence) = match (&self.end, &self.paused) {
            (Some((what, at, why)), _) => (*what, *at - since, why.clone()),
            (None, Some((at, why))) => ("paused", *at - since, why.clone()),
            (None, None) if self.has_traffic => ("has all", now - since, words),
            (None, None) => ("goes on", now - since, words),
        };
        let reached = !world.from_traffic || self.has_traffic;
        let right = match world.must {
            Must::Back { within, named } => {
                what == "rolled back" && (0.0..=within).contains(&after) && evidence.contains(named)
            }
            Must::Withdrawn { within } => what == "withdrawn" && after <= within && !self.advanced && !self.has_traffic,
            Must::Stays => reached && what != "rolled back" && what != "withdrawn",
            Must::Untouched => reached && (what == "goes on" || what == "has all"),
        };
        Outcome { seen: what.to_owned(), right, after, harmed: seen.harmed, lost: seen.lost, evidence }
    }
}
