//! Cutover beside HAProxy, nginx and a plain TCP relay: the work of a request, switching under load, and the footprint.
//!
//! `cargo bench --bench compare`, or `cargo bench --bench compare -- work --rounds 9`. Needs two cores and the Debian
//! packages `haproxy` and `nginx`. The proxy under test has the first core for itself; the applications behind it and
//! the clients in front of it share the second one. What is printed can be pasted into a document as it is.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a bench prints, and stops at the first surprise"
)]

mod application;
mod client;
mod cores;
mod footprint;
mod histogram;
mod load;
mod peers;
mod process;
mod proxies;
mod relay;
mod scenarios;
mod switch;
mod table;
mod work;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::application::Applications;
use crate::cores::Cores;
use crate::proxies::Programs;

/// Compares Cutover with HAProxy, nginx and a plain TCP relay.
#[derive(Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench --bench compare --")]
struct Args {
    /// What to measure; without one, everything.
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// How often each proxy is measured in the section `work`.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests in each round of the section `work`.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Connections that ask without a pause.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// What cargo passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// This process is the relay: where it listens, and where it connects to.
    #[arg(long, hide = true, num_args = 2)]
    relay: Vec<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// CPU time of a request, throughput and latency.
    Work,
    /// Twenty switches while requests are made.
    Switch,
    /// Start, and resident memory.
    Footprint,
    /// Bodies, uploads, new connections, TLS and HTTP/2. Only when it is asked for: it takes minutes.
    Scenarios,
}

/// What every section works with.
struct Bench {
    programs: Programs,
    cores: Cores,
    applications: Applications,
    connections: usize,
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
    let programs = Programs::find()?;
    let cores = Cores::choose()?;
    cutover::sys::limits::raise_open_files();
    header(&programs);
    let applications = Applications::start().await;
    let bench = Bench { programs, cores, applications, connections: args.connections.into() };
    let chosen = |section| args.sections.is_empty() || args.sections.contains(&section);
    if chosen(Section::Work) {
        work::run(&bench, args.rounds, args.requests).await;
    }
    if chosen(Section::Switch) {
        switch::run(&bench).await;
    }
    if chosen(Section::Footprint) {
        footprint::run(&bench).await;
    }
    if args.sections.contains(&Section::Scenarios) {
        scenarios::run(&bench, args.rounds).await?;
    }
    Ok(())
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
fn header(programs: &Programs) {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc is mounted");
    let cpus = std::fs::read_to_string("/proc/cpuinfo").expect("proc is mounted");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    println!("{}", version(&programs.cutover, "--version"));
    println!("{}", version(&programs.haproxy, "-v"));
    println!("{}", version(&programs.nginx, "-v"));
    println!("Linux {}, {count} CPUs, {}", kernel.trim(), model.trim_start_matches([' ', '\t', ':']));
}

/// The first line in which a program names itself; nginx does so on standard error.
fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
}
