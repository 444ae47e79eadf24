//! A crash at any point between a transition and its notice loses none, and gives none a second id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::{Bench, sink, webhook};
use crate::client::Connection;
use crate::receiver::{Manner, Receiver};
use crate::until;

/// `CUTOVER_KILL_ROUNDS=200` for the long run.
fn rounds() -> u64 {
    std::env::var("CUTOVER_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// Switches and rollbacks, one after the other, until the process is gone.
async fn move_until_killed(dir: &std::path::Path) {
    let socket = dir.join("admin.sock");
    for round in 0.. {
        let path = if round % 3 == 2 { "/admin/rollback" } else { "/admin/switch" };
        let Ok(mut connection) = Connection::unix(&socket).await else { return };
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}");
        if connection.try_send(request).await.is_err() || connection.try_answer(false).await.is_none() {
            return;
        }
    }
}

/// What makes a transition that one, as the ledger and a notice say it.
type Transition = (String, u64, String);

#[tokio::test]
async fn a_crash_between_a_transition_and_its_notice_loses_no_notice_and_doubles_no_id() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks =
        webhook(bench.path(), "log", &receiver, "retry = [\"100ms\"]\ntimeout = \"1s\"\nevents = [\"deployment.*\"]");
    // Every release is known good at once, so that rollbacks are among what is told.
    let sinks = format!("{sinks}\n[bake]\nduration = \"0s\"\n");
    let (mut proxy, _blue, _green) = bench.start(&sinks).await;
    for _ in 0..rounds() {
        // Most of the time it is there; the crash comes before, in the midst of and after what it answers.
        receiver.behaves(match fastrand::u8(0..8) {
            0 => Manner::Dies,
            1 => Manner::Says(500, ""),
            2 => Manner::Hangs,
            _ => Manner::Takes,
        });
        let life = Duration::from_micros(fastrand::u64(0..60_000));
        let dir = proxy.dir.path().to_owned();
        tokio::select! {
            () = move_until_killed(&dir) => panic!("it ended by itself:\n{}", proxy.log()),
            () = tokio::time::sleep(life) => proxy.kill().await,
        }
        proxy.restart().await;
    }
    receiver.behaves(Manner::Takes);
    proxy.kill_and_restart().await;
    proxy.until("nothing waits", |status| sink(status, "log")["pending"] == 0).await;

    // Line 1 was there before the sink was; what is noted is nobody's news.
    let mut lines: BTreeMap<u64, Transition> = BTreeMap::new();
    for line in proxy.ledger().lines() {
        let entry = serde_json::from_str::<Value>(line).expect("JSON")["entry"].clone();
        let number = entry["seq"].as_u64().expect("a number");
        if number > 1 && entry["kind"] != "noted" {
            let kind = entry["kind"].as_str().expect("a kind").to_owned();
            // The ledger keeps microseconds, a notice milliseconds.
            let at = entry["at"].as_str().expect("a time")[..23].to_owned();
            lines.insert(number, (kind, entry["decision"]["generation"].as_u64().expect("a number"), at));
        }
    }
    assert!(!lines.is_empty());
    let told = until("every line is told", async || {
        let received = receiver.received();
        let taken = received
            .iter()
            .filter(|r| matches!(r.manner, Manner::Takes))
            .map(|r| r.json()["data"]["sequence"].as_u64());
        let taken: BTreeSet<u64> = taken.flatten().collect();
        lines.keys().all(|number| taken.contains(number)).then_some(received)
    })
    .await;

    let mut by_id: BTreeMap<String, BTreeSet<Transition>> = BTreeMap::new();
    let mut ids: BTreeMap<Transition, BTreeSet<String>> = BTreeMap::new();
    let mut by_line: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for received in told.iter().filter(|r| r.json()["data"]["kind"].is_string()) {
        let (json, id) = (received.json(), received.id());
        let data = &json["data"];
        assert_eq!(data["event_id"], id);
        let transition = (
            data["kind"].as_str().expect("a kind").to_owned(),
            data["generation"].as_u64().expect("a number"),
            json["timestamp"].as_str().expect("a time")[..23].to_owned(),
        );
        if let Some(number) = data["sequence"].as_u64() {
            assert_eq!(lines.get(&number), Some(&transition), "line {number}");
            by_line.entry(number).or_default().insert(id.clone());
        }
        by_id.entry(id.clone()).or_default().insert(transition.clone());
        ids.entry(transition).or_default().insert(id);
    }
    for (id, transitions) in &by_id {
        assert_eq!(transitions.len(), 1, "{id} is of {transitions:?}");
    }
    for (transition, ids) in &ids {
        assert_eq!(ids.len(), 1, "{transition:?} has {ids:?}");
    }
    assert_eq!(by_line.keys().collect::<Vec<_>>(), lines.keys().collect::<Vec<_>>());
    let again = told.len() - by_id.len();
    println!(
        "{} rounds: {} lines, {} ids, {} notices received, {again} of them again",
        rounds(),
        lines.len(),
        by_id.len(),
        told.len()
    );
}
