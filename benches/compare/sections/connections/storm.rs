//! A storm: clients that all connect at the same moment, ask once, and stay.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::star;
use crate::bench::Bench;
use crate::clients::http1::{Conversation, Dial, Request};
use crate::machine::spent::Before;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::Setup;
use crate::report::Report;
use crate::report::table::median;

const CLIENTS: usize = 2000;
/// A client that waits longer has given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// One proxy, round by round.
#[derive(Default)]
struct Record {
    /// Milliseconds until half of the clients had their answers, and until all had them.
    half: Vec<f64>,
    last: Vec<f64>,
    failed: usize,
    /// Microseconds for each connection.
    own: Vec<f64>,
    machine: Vec<f64>,
    disturbed: Vec<bool>,
}

pub(super) async fn run(bench: &Bench, report: &mut Report, rounds: u32) {
    let mut rows = Vec::new();
    for tls in [false, true] {
        let kinds: Vec<Kind> = bench.programs.kinds().into_iter().filter(|kind| !tls || *kind != Kind::Relay).collect();
        let mut records: Vec<Record> = kinds.iter().map(|_| Record::default()).collect();
        for round in 0..rounds as usize {
            for turn in 0..kinds.len() {
                let index = (round + turn) % kinds.len();
                records[index].measure(kinds[index], tls, bench).await;
            }
        }
        let protocol = if tls { "TLS, full handshakes" } else { "plain" };
        rows.extend(kinds.iter().zip(&records).map(|(kind, record)| record.row(protocol, kind.name(), rounds)));
        eprintln!("compare: storm, {protocol} done");
    }
    let title = format!(
        "A storm of {CLIENTS} connections: all at once, a request on each; time until half of the answers, and until the \
         last one"
    );
    let head = ["", "proxy", "half ms", "last ms", "failed", "CPU us/connection", "of the machine"];
    report.table(&title, &head, &rows);
    report.paragraph(
        "Failed: in all rounds together. About a second more to the last answer: the queue of the listener was too short, \
         and the kernel of the client tried again. Queues are 4,096 long where the configuration can say so; Sozu's is \
         1,024.",
    );
}

impl Record {
    async fn measure(&mut self, kind: Kind, tls: bool, bench: &Bench) {
        let proxy = Proxy::start_for(Setup { tls, ..Setup::default() }, kind, bench).await;
        let dial = if tls { Dial::full(proxy.https, &bench.certificate) } else { Dial::Plain(proxy.http) };
        drop(storm(&dial, bench.connections).await);
        let before = Before::now(&proxy.process);
        let began = Instant::now();
        let mut answers = storm(&dial, CLIENTS).await;
        let spent = before.spent(&proxy.process);
        self.failed += CLIENTS - answers.len();
        answers.sort_by_key(|(at, _)| *at);
        let at = |index: usize| answers.get(index).map_or(f64::NAN, |(at, _)| (*at - began).as_secs_f64() * 1e3);
        self.half.push(at(CLIENTS / 2 - 1));
        self.last.push(at(answers.len().saturating_sub(1)));
        self.own.push(spent.proxy.as_secs_f64() * 1e6 / CLIENTS as f64);
        self.machine.push(spent.machine.as_secs_f64() * 1e6 / CLIENTS as f64);
        self.disturbed.push(spent.disturbed);
    }

    fn row(&self, protocol: &str, name: &str, rounds: u32) -> Vec<String> {
        let star = star(&self.disturbed);
        vec![
            protocol.to_owned(),
            name.to_owned(),
            format!("{:.0}", median(&self.half)),
            format!("{:.0}", median(&self.last)),
            format!("{} of {}", self.failed, CLIENTS * rounds as usize),
            format!("{:.1}{star}", median(&self.own)),
            format!("{:.1}{star}", median(&self.machine)),
        ]
    }
}

/// The connections that got good answers, and when. They stay open.
async fn storm(dial: &Dial, clients: usize) -> Vec<(Instant, Conversation)> {
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let dial = dial.clone();
        running.spawn(timeout(PATIENCE, async move {
            let mut conversation = dial.open().await?;
            conversation.ask(&Request::small()).await?;
            std::io::Result::Ok((Instant::now(), conversation))
        }));
    }
    let ended = running.join_all().await;
    ended.into_iter().filter_map(|ended| ended.ok()?.ok()).collect()
}
