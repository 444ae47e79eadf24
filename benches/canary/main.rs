//! How soon a bad release is found, and that a good one is not: canaries end to end, on real sockets.
//!
//! ```text
//! cargo bench --profile release --bench canary -- [--runs 30] [--at-once 3] [--only spike,route,…]
//! cargo bench --profile release --bench canary -- worlds [sticky login …] [--runs 10] [--at-once 8]
//! ```
//!
//! Without a word: detection and false alarms; `worlds`: sites as people have them (`worlds.rs`). `--cutover PATH` plays another build
//! of the program. Each run is a proxy of its own, with two
//! applications and a load; some run at once, because what is measured is requests and evidence, not speed. Where the time of a day
//! is compressed, the table says how. A run that ends otherwise than it must ends the bench with an error.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a bench prints, and stops at the first surprise")]

#[allow(dead_code, reason = "shared with `cutover demo`, which needs more of it")]
#[path = "../../src/cli/demo/load.rs"]
mod load;
mod proxy;
mod run;
mod scenarios;
#[path = "../../src/cli/demo/shop.rs"]
mod shop;
mod worlds;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use run::Outcome;
use scenarios::{SCENARIOS, Scenario};

struct Options {
    runs: Option<usize>,
    at_once: Option<usize>,
    only: Option<Vec<String>>,
    binary: PathBuf,
    /// Of all, if it is empty.
    worlds: Option<Vec<String>>,
}

fn options() -> Options {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_cutover"));
    let mut options = Options { runs: None, at_once: None, only: None, binary, worlds: None };
    // `cargo bench` adds `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--runs" => options.runs = Some(value().parse().expect("a number")),
            "--at-once" => options.at_once = Some(value().parse().expect("a number")),
            "--only" => options.only = Some(value().split(',').map(str::to_owned).collect()),
            "--cutover" => options.binary = value().into(),
            "worlds" => options.worlds = Some(Vec::new()),
            world if options.worlds.is_some() && !world.starts_with('-') => {
                options.worlds.get_or_insert_default().push(arg);
            }
            _ => panic!("{arg} is not known; there are worlds, --runs, --at-once, --only, --cutover"),
        }
    }
    options
}

fn main() -> ExitCode {
    let options = options();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Some(names) = &options.worlds {
        let (runs, at_once) = (options.runs.unwrap_or(10), options.at_once.unwrap_or(8));
        let good = runtime.block_on(worlds::run(names, runs, at_once, &options.binary));
        return if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut good = true;
    for scenario in SCENARIOS {
        if options.only.as_ref().is_some_and(|only| !only.iter().any(|name| name == scenario.name)) {
            continue;
        }
        let (runs, at_once) = (options.runs.unwrap_or(30), options.at_once.unwrap_or(3));
        let outcomes = runtime.block_on(all(scenario, runs, at_once, &options.binary));
        good &= report(scenario, &outcomes);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn all(scenario: &'static Scenario, runs: usize, at_once: usize, binary: &Path) -> Vec<Outcome> {
    let places = Arc::new(Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for _ in 0..runs {
        let (places, binary) = (Arc::clone(&places), binary.to_owned());
        running.spawn(async move {
            let _place = places.acquire().await.expect("it is never closed");
            run::run(scenario, &binary).await
        });
    }
    running.join_all().await
}

/// Prints it; whether all ended as it must.
fn report(scenario: &Scenario, outcomes: &[Outcome]) -> bool {
    let runs = outcomes.len();
    let count = |of: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| of(outcome)).count();
    let taken_back = count(|outcome| outcome.taken_back.is_some());
    println!("{}: {}", scenario.name, scenario.what);
    println!("  {}", scenario.how);
    println!("  rolled back     {taken_back} of {runs}");
    let found: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.taken_back.as_ref()).collect();
    if !found.is_empty() {
        let named = found.iter().filter(|found| found.words.contains(scenario.named)).count();
        println!("  named           {:?} in {named} of {taken_back}", scenario.named);
        spread("requests to it", found.iter().map(|found| found.exposed as f64), 0, scenario.expected);
        if scenario.page_counts {
            spread("of that page", found.iter().map(|found| found.on_page as f64), 0, "");
        }
        spread("seconds", found.iter().map(|found| found.seconds), 1, "");
        spread("errors seen", found.iter().map(|found| found.harmed as f64), 0, "");
    }
    if taken_back < runs {
        let suspected = count(|outcome| outcome.suspected);
        let unhealthy = count(|outcome| outcome.baseline_unhealthy);
        let passed = count(|outcome| outcome.known_good);
        println!(
            "  suspected       {suspected} of {runs}; both fail: said {unhealthy} times; known good at the end: {passed}"
        );
        spread("requests to it", outcomes.iter().filter_map(|outcome| outcome.assigned).map(|n| n as f64), 0, "");
        let clocks = || outcomes.iter().filter_map(|outcome| outcome.clock);
        if clocks().next().is_some() {
            spread("needs requests", clocks().map(|(requests, _)| requests), 0, "");
            spread("needs seconds", clocks().filter_map(|(_, seconds)| seconds), 0, "");
            spread(
                "seconds each",
                clocks().filter_map(|(requests, seconds)| Some(seconds? / requests)),
                2,
                scenario.expected,
            );
        }
    }
    let lost: u64 = outcomes.iter().map(|outcome| outcome.lost).sum();
    let after: u64 = outcomes.iter().map(|outcome| outcome.after).sum();
    println!("  lost requests   {lost}; to the candidate after it was taken back: {after}");
    for outcome in outcomes.iter().filter(|outcome| outcome.taken_back.is_some() != scenario.bad) {
        println!("  otherwise       {}", outcome.last_words);
    }
    println!();
    taken_back == if scenario.bad { runs } else { 0 } && lost == 0 && after == 0
}

fn spread(name: &str, values: impl Iterator<Item = f64>, digits: usize, expected: &str) {
    let mut values: Vec<f64> = values.collect();
    if values.is_empty() {
        return;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1];
    let expected = if expected.is_empty() { String::new() } else { format!("   ({expected})") };
    println!(
        "  {name:<15} median {:.digits$}, p95 {:.digits$}, from {:.digits$} to {:.digits$}{expected}",
        at(0.5),
        at(0.95),
        values[0],
        values[values.len() - 1]
    );
}
