//! Upgrades by real processes: nobody who is connected, or connects, notices; and one that fails changes nothing.

mod enemies;
mod predecessors;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::application::Application;
use crate::client::Connection;
use crate::http2::Client;
use crate::proxy::{Proxy, Setup, copy_program, refused_start};
use crate::server::versions::{Identity, secure, with_tls};
use crate::switch::tunnel::echo;
use crate::{soon, until};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// Ends the processes that took over, which are nobody's children.
#[derive(Default)]
struct Successors(Vec<u32>);

impl Successors {
    async fn upgrade(&mut self, proxy: &Proxy) -> Value {
        let answer = proxy.post("/admin/upgrade", json!({})).await;
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), proxy.log());
        let answer = answer.json();
        self.0.push(answer["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid"));
        answer
    }
}

impl Drop for Successors {
    fn drop(&mut self) {
        for pid in &self.0 {
            // Only if the number is not another program's by now.
            if std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(7).any(|word| word == b"cutover"))
            {
                let pid = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// What clients of one kind got.
#[derive(Default)]
struct Count {
    good: AtomicUsize,
    bad: std::sync::Mutex<Vec<String>>,
}

impl Count {
    fn note(&self, what: Result<(), String>) {
        match what {
            Ok(()) => drop(self.good.fetch_add(1, Ordering::Relaxed)),
            Err(why) => self.bad.lock().expect("no panic while it is held").push(why),
        }
    }
}

/// Clients that ask again and again until they are told to stop.
struct Load {
    counts: BTreeMap<&'static str, Arc<Count>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn new() -> Load {
        Load { counts: BTreeMap::new(), stop: Arc::default(), tasks: Vec::new() }
    }

    fn add<F>(&mut self, kind: &'static str, client: impl Fn(Arc<Count>, Arc<AtomicBool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let count = self.counts.entry(kind).or_default();
        self.tasks.push(tokio::spawn(client(Arc::clone(count), Arc::clone(&self.stop))));
    }

    /// Waits until every kind got some more answers.
    async fn goes_on(&self) {
        let before: Vec<_> = self.counts.values().map(|count| count.good.load(Ordering::Relaxed)).collect();
        until("every client got answers", async || {
            let more = |(count, before): (&Arc<Count>, &usize)| count.good.load(Ordering::Relaxed) >= before + 3;
            self.counts.values().zip(&before).all(more).then_some(())
        })
        .await;
    }

    #[expect(clippy::print_stdout, reason = "the figures, with --nocapture")]
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            soon("a client ends", task).await.expect("no panic");
        }
        for (kind, count) in self.counts {
            let bad = count.bad.lock().expect("no panic while it is held");
            println!("{kind}: {} answered, {} failed", count.good.load(Ordering::Relaxed), bad.len());
            assert!(bad.is_empty(), "{kind}: {bad:?}");
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Asks on a connection as long as the proxy keeps it.
async fn ask_while_kept(mut connection: Connection, count: &Count, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let sent = connection.try_send(GET).await.map_err(|error| error.to_string());
        let answer = match sent {
            Ok(()) => connection.try_answer(false).await.ok_or_else(|| "no answer".to_owned()),
            Err(error) => Err(error),
        };
        let closes = answer.as_ref().map_or(true, |answer| answer.header("connection") == Some("close"));
        count.note(answer.and_then(|answer| match (answer.status, answer.complete) {
            (200, true) => Ok(()),
            (status, _) => Err(format!("status {status}")),
        }));
        if closes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn every_protocol(proxy: &Proxy, https: std::net::SocketAddr, identity: Arc<Identity>) -> Load {
    let http = proxy.http;
    let mut load = Load::new();
    for _ in 0..3 {
        load.add("HTTP/1.1", |count, stop| async move {
            while !stop.load(Ordering::Relaxed) {
                match TcpStream::connect(http).await {
                    Ok(stream) => ask_while_kept(Connection::over(stream), &count, &stop).await,
                    Err(error) => count.note(Err(format!("refused: {error}"))),
                }
            }
        });
        load.add("new connections", |count, stop| async move {
            while !stop.load(Ordering::Relaxed) {
                let asked = async {
                    let stream = TcpStream::connect(http).await.map_err(|error| format!("refused: {error}"))?;
                    let mut connection = Connection::over(stream);
                    connection.try_send(GET).await.map_err(|error| error.to_string())?;
                    let answer = connection.try_answer(false).await.ok_or("no answer")?;
                    if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
                };
                count.note(asked.await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    load.add("HTTP/2", |count, stop| async move {
        while !stop.load(Ordering::Relaxed) {
            let mut client = Client::connect(http).await;
            loop {
                match client.try_get("/").await {
                    Ok(answer) if answer.status == 200 => count.note(Ok(())),
                    Ok(answer) => count.note(Err(format!("status {}", answer.status))),
                    // The library takes no request after GOAWAY, and sends none.
                    Err(error) if error.is_go_away() || !error.is_io() && !error.is_reset() => break,
                    Err(error) => {
                        count.note(Err(error.to_string()));
                        break;
                    }
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    load.add("TLS", |count, stop| {
        let identity = Arc::clone(&identity);
        async move {
            while !stop.load(Ordering::Relaxed) {
                match secure(https, &identity, None, "http/1.1").await {
                    Ok(stream) => ask_while_kept(Connection::over(stream), &count, &stop).await,
                    Err(error) => count.note(Err(format!("handshake: {error}"))),
                }
            }
        }
    });
    load.add("WebSocket", |count, stop| async move {
        use futures_util::{SinkExt, StreamExt};
        while !stop.load(Ordering::Relaxed) {
            let Ok(stream) = TcpStream::connect(http).await else {
                count.note(Err("refused".to_owned()));
                continue;
            };
            let Ok((mut socket, _)) = client_async("ws://test/ws", stream).await else {
                count.note(Err("no upgrade".to_owned()));
                continue;
            };
            // Stays over several upgrades.
            for n in 0..200_u32 {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let sent = Message::text(n.to_string());
                let echoed = match socket.send(sent.clone()).await {
                    Ok(()) => matches!(socket.next().await, Some(Ok(echoed)) if echoed == sent),
                    Err(_) => false,
                };
                count.note(if echoed { Ok(()) } else { Err(format!("message {n} got lost")) });
                if !echoed {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    load
}

/// A proxy with WebSockets and TLS.
async fn start(
    canary: bool,
) -> (Application, Application, Proxy, std::net::SocketAddr, Arc<Identity>, tempfile::TempDir) {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let (blue_echo, green_echo) = (echo().await, echo().await);
    let dir = tempfile::tempdir().expect("a directory");
    let identity = Identity::new(dir.path(), "localhost");
    let mut setup = Setup::new(&blue, &green);
    setup.blue.push_str(&format!("\n[blue.upstreams]\nws = [\"{blue_echo}\"]"));
    setup.green.push_str(&format!("\n[green.upstreams]\nws = [\"{green_echo}\"]"));
    setup.health = "interval = \"100ms\"".to_owned();
    setup.more =
        "[[route]]\npath = \"/ws\"\nupstream = \"ws\"\n[[route]]\npath = \"/\"\nupstream = \"default\"\n".to_owned();
    if canary {
        setup.more.push_str("[analysis]\ntick = \"100ms\"\n[canary]\nsteps = [\"50%\"]\n");
    }
    let (proxy, https) = with_tls(&mut setup, &identity, "").await;
    (blue, green, proxy, https, Arc::new(identity), dir)
}

fn generations(proxy: &Proxy) -> Vec<u64> {
    let lines = proxy.ledger();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a whole line"));
    lines.map(|line| line["entry"]["decision"]["generation"].as_u64().expect("a number")).collect()
}

/// `CUTOVER_TEST_UPGRADES` for more of them.
#[tokio::test]
async fn upgrades_with_switches_reloads_and_a_canary_between_lose_no_request_and_no_evidence() {
    let (_blue, _green, proxy, https, identity, _dir) = start(true).await;
    let mut successors = Successors::default();
    let load = every_protocol(&proxy, https, identity).await;
    let upgrades = std::env::var("CUTOVER_TEST_UPGRADES").ok().and_then(|number| number.parse().ok()).unwrap_or(4);
    for round in 0..upgrades {
        load.goes_on().await;
        let before = proxy.status().await;
        let upgraded = successors.upgrade(&proxy).await;
        let after = proxy.status().await;
        assert_eq!(after["pid"], upgraded["pid"]);
        assert_ne!(after["pid"], before["pid"]);
        for same in ["generation", "active", "release", "since"] {
            assert_eq!(after[same], before[same], "{same} in round {round}");
        }
        match round % 4 {
            0 => drop(proxy.switch(if before["active"] == "blue" { "green" } else { "blue" }).await),
            1 => {
                proxy.replace_file(&format!("{}# {round}\n", proxy.text()));
                let answer = proxy.post("/admin/reload", json!({})).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            2 => {
                let answer = proxy.post("/admin/canary", json!({})).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                until("some evidence is recorded", async || {
                    let known = proxy.admin("GET", "/admin/deployments", "").await.json();
                    let newest = known["deployments"][0]["id"].as_str()?.to_owned();
                    let record = proxy.dir.path().join(format!("state/analysis/{newest}.jsonl"));
                    let lines = std::fs::read_to_string(record).ok()?.lines().count();
                    (lines >= 4).then_some(())
                })
                .await;
            }
            _ => drop(proxy.post("/admin/canary/abort", json!({ "reason": "enough" })).await),
        }
    }
    load.goes_on().await;
    load.end().await;
    let generations = generations(&proxy);
    assert!(generations.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1), "{generations:?}");
    let verified = proxy.admin("GET", "/admin/history/verify", "").await.json();
    assert_eq!(verified["ok"], true, "{verified}");
    assert!(!proxy.log().contains("Evidence from before the restart lost"), "{}", proxy.log());
}

#[tokio::test]
async fn usr2_upgrades_and_the_process_before_ends_behind_its_last_connection() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let mut proxy = Proxy::start(&blue, &green).await;
    let mut successors = Successors::default();
    let mut kept = proxy.connect().await;
    assert_eq!(kept.get("/").await.status, 200);
    let before = proxy.pid();
    proxy.signal(Signal::USR2);
    let status = proxy.until("another process serves", |status| status["pid"] != before).await;
    successors.0.push(status["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid"));
    // A connection without a request is not closed under its client.
    let answer = kept.get("/").await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(proxy.ended().await.success());
    proxy.until_logged("Stopped; process").await;
    assert!(proxy.dir.path().join("admin.sock").exists(), "the socket is the new process's");
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_switch_after_an_upgrade_reaches_connections_of_the_process_before() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let proxy = Proxy::start(&blue, &green).await;
    let mut successors = Successors::default();
    let mut kept = proxy.connect().await;
    assert_eq!(kept.get("/").await.text(), "blue");
    successors.upgrade(&proxy).await;
    proxy.switch("green").await;
    // Its old color would be wrong; a closed connection makes the client ask anew.
    assert!(kept.ended().await);
    assert_eq!(proxy.color().await, "green");
}

/// A proxy that was started from a path that can be replaced.
async fn replaceable() -> (Application, Application, Proxy, PathBuf) {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let dir = tempfile::tempdir().expect("a directory");
    let binary = dir.path().join("cutover");
    copy_program(Path::new(BINARY), &binary);
    let text = Setup::new(&blue, &green).text(dir.path());
    let proxy = Proxy::start_from(dir, &text, &binary).await;
    (blue, green, proxy, binary)
}

fn replace(binary: &Path, script: &str) {
    let (written, next) = (binary.with_extension("written"), binary.with_extension("next"));
    std::fs::write(&written, script).expect("a file");
    copy_program(&written, &next);
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    std::fs::rename(&next, binary).expect("a rename");
}

#[tokio::test]
async fn a_new_process_that_fails_leaves_the_running_one_as_it_was() {
    let (_blue, _green, proxy, binary) = replaceable().await;
    let pid = proxy.status().await["pid"].clone();
    let mut kept = proxy.connect().await;
    for (script, timeout, reason) in [
        ("#!/bin/sh\nexit 7\n", "20s", "ended with exit code 7"),
        ("#!/bin/sh\nkill -9 $$\n", "20s", "ended by signal 9"),
        ("#!/bin/sh\nexec sleep 60\n", "300ms", "did not answer"),
        ("no program\n", "20s", "can't be started"),
    ] {
        replace(&binary, script);
        let answer = proxy.post("/admin/upgrade", json!({ "timeout": timeout })).await;
        let said = answer.json();
        assert_eq!((answer.status, said["code"].as_str()), (500, Some("upgrade_failed")), "{said}");
        assert!(said["detail"].as_str().is_some_and(|detail| detail.contains(reason)), "{reason}: {said}");
        proxy.until_logged("Upgrade failed").await;
        assert_eq!(proxy.status().await["pid"], pid);
        let answer = kept.get("/").await;
        assert_eq!((answer.status, answer.header("connection")), (200, None), "its connections stay");
    }
    // It decides and writes as before.
    proxy.switch("green").await;
    assert_eq!(generations(&proxy).last(), Some(&2));
}

#[tokio::test]
async fn an_invalid_file_fails_the_upgrade_with_its_error_and_exit_code_1() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let proxy = Proxy::start(&blue, &green).await;
    let pid = proxy.pid();
    proxy.replace_file(&format!("nonsense = 1\n{}", proxy.text()));
    let output = proxy.cli(&["upgrade", "--json"]).await;
    let said: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!((output.status.code(), said["code"].as_str()), (Some(1), Some("upgrade_failed")), "{said}");
    assert!(said["detail"].as_str().is_some_and(|detail| detail.contains("nonsense")), "{said}");
    assert_eq!(proxy.status().await["pid"], pid);
}

#[tokio::test]
async fn an_upgrade_loses_no_certificate_and_no_other_file_that_the_running_process_has() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let dir = tempfile::tempdir().expect("a directory");
    let (identity, other) = (Identity::new(dir.path(), "localhost"), Identity::new(dir.path(), "other"));
    let page = dir.path().join("down.html");
    std::fs::write(&page, "<p>Back soon").expect("a file");
    let mut setup = Setup::new(&blue, &green);
    setup.more = format!("[maintenance]\npage = \"{}\"\n", page.display());
    let (proxy, https) = with_tls(&mut setup, &identity, "").await;
    let key = std::fs::read(&identity.key).expect("a key");
    let refused = async |file: &std::path::Path| {
        let output = proxy.cli(&["upgrade", "--json"]).await;
        let said: Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!((output.status.code(), said["code"].as_str()), (Some(1), Some("upgrade_failed")), "{said}");
        let detail = said["detail"].as_str().expect("a reason");
        let check = proxy.cli(&["check", "--json"]).await;
        let check: Value = serde_json::from_slice(&check.stdout).expect("a document");
        let reason = check["errors"][0]["message"].as_str().expect("a message");
        assert!(reason.contains(&*file.to_string_lossy()) && detail.contains(reason), "{reason}: {detail}");
        assert_eq!(proxy.status().await["pid"], proxy.pid());
        let mut stream = Connection::over(secure(https, &identity, None, "http/1.1").await.expect("a handshake"));
        assert_eq!(stream.get("/").await.status, 200);
    };
    std::fs::copy(&other.key, &identity.key).expect("a copy");
    refused(&identity.key).await;
    std::fs::remove_file(&identity.key).expect("it is there");
    refused(&identity.key).await;
    std::fs::write(&identity.key, key).expect("a file");
    std::fs::remove_file(&page).expect("it is there");
    refused(&page).await;
}

#[tokio::test]
async fn a_file_that_the_running_process_can_not_use_either_is_no_obstacle_to_an_upgrade() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let dir = tempfile::tempdir().expect("a directory");
    let (identity, other) = (Identity::new(dir.path(), "localhost"), Identity::new(dir.path(), "other"));
    std::fs::copy(&other.key, &identity.key).expect("a copy");
    let (proxy, _) = with_tls(&mut Setup::new(&blue, &green), &identity, "").await;
    let mut successors = Successors::default();
    successors.upgrade(&proxy).await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn the_ledger_in_use_names_the_process_that_took_over() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let mut proxy = Proxy::start(&blue, &green).await;
    let mut successors = Successors::default();
    let upgraded = successors.upgrade(&proxy).await;
    proxy.ended().await;
    let (code, said) = refused_start(proxy.dir.path()).await;
    assert!(code != Some(0) && said.contains(&format!("(process {})", upgraded["pid"])), "{code:?} {said}");
}

#[tokio::test]
async fn a_new_process_that_hangs_is_ended_with_its_children_which_keep_no_listener() {
    let (_blue, _green, mut proxy, binary) = replaceable().await;
    let ran = proxy.dir.path().join("ran");
    // A script's child keeps its standard input, with the listeners unread in it.
    replace(&binary, &format!("#!/bin/sh\nexec 3<&0\nsleep 60 <&3 &\n: >{}\nwait\n", ran.display()));
    proxy.signal(Signal::USR2);
    until("the script runs", async || ran.exists().then_some(())).await;
    proxy.signal(Signal::TERM);
    proxy.ended().await;
    let refused = async || TcpStream::connect(proxy.http).await.is_err().then_some(());
    until("the port is free", refused).await;
}

#[tokio::test]
async fn an_upgrade_of_a_process_that_stops_is_refused_at_once() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("lame_duck = \"0s\"", "lame_duck = \"1h\"");
    let proxy = Proxy::start_in(dir, &text).await;
    proxy.signal(Signal::TERM);
    until("it is not ready", async || (proxy.admin("GET", "/readyz", "").await.status == 503).then_some(())).await;
    let output = proxy.cli(&["upgrade", "--json"]).await;
    let said: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!((output.status.code(), said["code"].as_str()), (Some(1), Some("stopping")), "{said}");
}

#[tokio::test]
async fn an_upgrade_during_a_pause_is_refused_with_the_command_that_ends_it() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let proxy = Proxy::start(&blue, &green).await;
    assert_eq!(proxy.post("/admin/pause", json!({})).await.status, 200);
    let output = proxy.cli(&["upgrade"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("in_progress") && said.contains("unpause"), "{said}");
    assert_eq!(proxy.status().await["pid"], proxy.pid());
}

#[tokio::test]
async fn after_the_last_line_of_the_log_the_process_is_gone() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let log = proxy.log();
    assert!(log.lines().last().is_some_and(|last| last.contains("Shut down after the drain")), "{log}");
}
