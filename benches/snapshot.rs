//! What it costs to admit a request: route, color, endpoint and lease, from one snapshot.
//!
//! `cargo bench --bench snapshot`. The cost must follow the length of the path and not the number of routes; the last
//! column says by how much a table of so many routes is slower than a table of one, measured in the same run. The last line
//! is the table of one, with both colors serving.

#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use cutover::internals::config::Config;
use cutover::internals::domain::color::Color;
use cutover::internals::domain::deployment::Deployment;
use cutover::internals::domain::release::Release;
use cutover::internals::domain::split::Weight;
use cutover::internals::domain::transition::Decision;
use cutover::internals::samples::canary;
use cutover::internals::server::plane::Plane;

const ROUNDS: usize = 9;
const CALLS: u32 = 200_000;

fn main() {
    let cases = [(1, Weight::NONE), (100, Weight::NONE), (10_000, Weight::NONE), (1, Weight::HALF)];
    let planes: BTreeMap<_, _> = cases.iter().map(|case| (*case, published(*case))).collect();
    let mut nanos: BTreeMap<(usize, Weight), Vec<f64>> = BTreeMap::new();
    // In turns, so that whatever else the machine does hits all alike.
    for _ in 0..ROUNDS {
        for (case, (_plane, publisher)) in &planes {
            nanos.entry(*case).or_default().push(admit(publisher.live(), case.0));
        }
    }
    let median = |case| {
        let mut values = nanos[&case].clone();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("{:>8}  {:>5}  {:>12}  {:>10}", "routes", "split", "ns/admission", "x one route");
    for case in cases {
        let (routes, weight) = (case.0, case.1.to_string());
        println!("{routes:>8}  {weight:>5}  {:>12.1}  {:>10.2}", median(case), median(case) / median(cases[0]));
    }
}

/// Nanoseconds for one admission, over paths that hit routes all over the table.
fn admit(live: &cutover::internals::proxy::live::Live, routes: usize) -> f64 {
    let paths: Vec<String> = (0..64).map(|n| format!("/service/{}/orders/17", n * routes / 64)).collect();
    let began = Instant::now();
    for call in 0..CALLS {
        let path = &paths[call as usize % paths.len()];
        let found = live.with(|snapshot| snapshot.admit_for_bench(0, "shop.example.com", path, u64::from(call)));
        assert!(black_box(found).is_some(), "every path has a route and an endpoint");
    }
    Duration::as_secs_f64(&began.elapsed()) * 1e9 / f64::from(CALLS)
}

fn published((routes, weight): (usize, Weight)) -> (Plane, cutover::internals::proxy::publisher::Publisher) {
    let mut text = String::from(
        "active = \"blue\"\n\
         [listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n\
         [blue]\nrelease = \"1\"\nendpoints = [\"127.0.0.1:9\", \"127.0.0.1:10\"]\n\
         [green]\nrelease = \"2\"\nendpoints = [\"127.0.0.1:11\", \"127.0.0.1:12\"]\n",
    );
    for route in 0..routes {
        text.push_str(&format!("[[route]]\npath = \"/service/{route}\"\nupstream = \"default\"\n"));
    }
    let config = Config::parse(std::path::Path::new("bench.toml"), &text).expect("a valid configuration");
    let (plane, mut publisher) = Plane::alone(&config).expect("a free port");
    let release = Release::new("1");
    let decision = Decision {
        deployment: Some(Deployment { salt: 1, ..canary(1, weight) }),
        ..Decision::first(Color::Blue, release, SystemTime::now())
    };
    drop(publisher.publish(&config, &decision));
    (plane, publisher)
}
