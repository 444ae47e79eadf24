//! Upgrades that are killed, hang, or meet no program: the process that can serve does so, says why, and counts it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{BINARY, Successors, generations, replace, replaceable};
use crate::application::Application;
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

const STAND_IN: &str = "CUTOVER_TEST_STAND_IN";

/// The new process of other tests, which [`stand_in`] starts: it does its part, and dies or hangs behind a message.
#[test]
fn a_stand_in_for_the_new_process() {
    let Ok(end) = std::env::var(STAND_IN) else { return };
    let (dies, behind) = end.split_once(':').map(|(how, behind)| (how == "dies", behind)).expect("an end");
    let channel = UnixDatagram::from(std::io::stdin().as_fd().try_clone_to_owned().expect("a channel"));
    let mut text = vec![0; 64 << 10];
    loop {
        let length = channel.recv(&mut text).expect("a message");
        let message: Value = serde_json::from_slice(&text[..length]).expect("a message");
        let name = message["message"].as_str().expect("a name");
        if name == behind {
            if dies {
                let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
            }
            loop {
                std::thread::park();
            }
        }
        let answer = match name {
            "hello" => json!({ "message": "present" }),
            "begin" => json!({ "message": "loaded" }),
            "ledger" => json!({ "message": "ready", "generation": message["generation"], "version": "0.0.0" }),
            _ => continue,
        };
        channel.send(answer.to_string().as_bytes()).expect("it is sent");
    }
}

fn stand_in(binary: &Path, end: &str) {
    let tests = std::env::current_exe().expect("a path");
    let tests = tests.display();
    let name = "upgrade::enemies::a_stand_in_for_the_new_process";
    replace(binary, &format!("#!/bin/sh\n{STAND_IN}={end} exec {tests} --exact {name} --nocapture\n"));
}

/// The real program, whose worker 1 gets nothing done while the file `stuck` is there.
fn stick(binary: &Path, stuck: &Path) {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stuck_worker-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/upgrade/stuck_worker.c");
        let mut cc = std::process::Command::new("cc");
        let compiled = cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().expect("cc runs");
        assert!(compiled.success(), "cc: {compiled}");
        library
    });
    std::fs::write(stuck, "").expect("a file");
    let (library, stuck) = (library.display(), stuck.display());
    replace(binary, &format!("#!/bin/sh\nLD_PRELOAD={library} STUCK_WORKER={stuck} exec {BINARY} \"$@\"\n"));
}

/// Upgrades with this outcome.
async fn counted(proxy: &Proxy, outcome: &str) -> u64 {
    let page = proxy.admin("GET", "/metrics", "").await;
    let series = format!("cutover_upgrades_total{{outcome=\"{outcome}\"}} ");
    let line = page.text().lines().find_map(|line| line.strip_prefix(&series)).expect("the series").to_owned();
    line.parse().expect("a number")
}

/// It fails for this reason, is counted as this, and leaves the running process as it was.
async fn fails(proxy: &Proxy, timeout: &str, reason: &str, outcome: &str) {
    let (pid, before) = (proxy.pid(), counted(proxy, outcome).await);
    let answer = proxy.post("/admin/upgrade", json!({ "timeout": timeout })).await;
    let said = answer.json();
    assert_eq!((answer.status, said["code"].as_str()), (500, Some("upgrade_failed")), "{said}\n{}", proxy.log());
    let detail = said["detail"].as_str().expect("a reason");
    assert!(detail.contains(reason) && detail.contains("serves on"), "{reason}: {detail}");
    proxy.until_logged(reason).await;
    assert_eq!(counted(proxy, outcome).await, before + 1, "{outcome}");
    assert_eq!(proxy.status().await["pid"], pid);
    assert_eq!(proxy.color().await, "blue");
}

fn new_process(proxy: &Proxy) -> u32 {
    let log = proxy.log();
    let begun = log.lines().rfind(|line| line.contains("Upgrade begun")).expect("a line");
    let begun: Value = serde_json::from_str(begun).expect("a document");
    begun["successor"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid")
}

fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_new_process_that_is_killed_at_any_step_leaves_the_running_one_in_charge() {
    let (_blue, _green, proxy, binary) = replaceable().await;
    for step in ["hello", "begin", "ledger", "go"] {
        stand_in(&binary, &format!("dies:{step}"));
        fails(&proxy, "20s", "ended by signal 9 before it served", "died").await;
    }
    // It decides and writes as before.
    proxy.switch("green").await;
    assert_eq!(generations(&proxy).last(), Some(&2));
}

#[tokio::test]
async fn a_new_process_that_hangs_at_any_step_is_killed_and_the_running_one_serves_on() {
    let (_blue, _green, proxy, binary) = replaceable().await;
    for (step, reason) in [
        ("hello", "did not answer"),
        ("begin", "did not load its configuration within 500ms"),
        ("ledger", "did not serve after it got the ledger within 2s"),
    ] {
        stand_in(&binary, &format!("hangs:{step}"));
        fails(&proxy, "500ms", reason, "late").await;
        assert!(is_gone(new_process(&proxy)), "{step}");
    }
    proxy.switch("green").await;
    assert_eq!(generations(&proxy).last(), Some(&2));
}

#[tokio::test]
async fn a_new_process_with_a_stuck_worker_does_not_take_over() {
    let (_blue, _green, proxy, binary) = replaceable().await;
    stick(&binary, &proxy.dir.path().join("stuck"));
    fails(&proxy, "30s", "worker 1 did not answer a request within 5 s", "rejected").await;
    proxy.switch("green").await;
}

#[tokio::test]
async fn a_file_that_is_no_program_is_refused_by_name() {
    let (_blue, _green, proxy, binary) = replaceable().await;
    let can_not = format!("{} can't be started", binary.display());
    for garbage in ["", "\u{1}\u{2}garbage\n", "#!/does/not/exist\n"] {
        replace(&binary, garbage);
        fails(&proxy, "20s", &can_not, "not_started").await;
    }
    std::fs::remove_file(&binary).expect("it is there");
    fails(&proxy, "20s", &can_not, "not_started").await;
    std::fs::create_dir(&binary).expect("a directory");
    fails(&proxy, "20s", &can_not, "not_started").await;
    std::fs::remove_dir(&binary).expect("it is there");
    // The start of a copy that was interrupted: without the code, and with the headers that name it.
    let start = std::fs::read(BINARY).expect("a file");
    std::fs::write(&binary, &start[..64 << 10]).expect("a file");
    std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let answer = proxy.post("/admin/upgrade", json!({})).await;
    assert_eq!((answer.status, &answer.json()["code"]), (500, &json!("upgrade_failed")), "{}", answer.text());
    assert_eq!(proxy.status().await["pid"], proxy.pid());
}

#[tokio::test]
async fn an_invalid_file_is_counted_as_the_new_process_s_refusal() {
    let (_blue, _green, proxy, _binary) = replaceable().await;
    proxy.replace_file(&format!("nonsense = 1\n{}", proxy.text()));
    fails(&proxy, "20s", "nonsense", "rejected").await;
}

#[tokio::test]
async fn another_state_directory_is_refused_with_both_names() {
    let (_blue, _green, proxy, _binary) = replaceable().await;
    let dir = proxy.dir.path().display().to_string();
    let text = proxy.text();
    proxy.replace_file(&text.replace("/state\"", "/elsewhere\""));
    let reason = format!("state.dir is {dir}/elsewhere, but the running process keeps its ledger in {dir}/state");
    fails(&proxy, "20s", &reason, "rejected").await;
    proxy.replace_file(&text);
    proxy.switch("green").await;
    assert!(!proxy.dir.path().join("elsewhere").exists());
}

#[tokio::test]
async fn a_second_upgrade_is_refused_while_one_is_under_way() {
    let (_blue, _green, proxy, binary) = replaceable().await;
    let (runs, goes_on) = (proxy.dir.path().join("runs"), proxy.dir.path().join("goes_on"));
    let script = "#!/bin/sh\n: >RUNS\nuntil [ -e GOES_ON ]; do sleep 0.05; done\nexit 7\n";
    replace(&binary, &script.replace("RUNS", &runs.to_string_lossy()).replace("GOES_ON", &goes_on.to_string_lossy()));
    let first = async {
        let answer = proxy.post("/admin/upgrade", json!({})).await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        answer.json()
    };
    let second = async {
        until("the first one runs", async || runs.exists().then_some(())).await;
        let output = proxy.cli(&["upgrade"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("another upgrade is in progress"), "{said}");
        proxy.signal(Signal::USR2);
        until("both are counted", async || (counted(&proxy, "refused").await == 2).then_some(())).await;
        std::fs::write(&goes_on, "").expect("a file");
    };
    let (first, ()) = soon("both end", futures_util::future::join(first, second)).await;
    assert!(first["detail"].as_str().is_some_and(|detail| detail.contains("exit code 7")), "{first}");
}

#[tokio::test]
async fn when_the_old_process_is_killed_before_it_gives_the_ledger_the_new_one_takes_over_alone() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let dir = tempfile::tempdir().expect("a directory");
    let text =
        Setup::new(&blue, &green).text(dir.path()).replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"60s\"");
    let mut proxy = Proxy::start_in(dir, &text).await;
    green.set_healthy(false);
    proxy.until("green is down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    // A move that waits for its gate delays the ledger.
    let moved = proxy.post("/admin/switch", json!({ "to": "green" }));
    let upgraded = async {
        proxy.until("the gate waits", |status| status["phase"] == "gating").await;
        proxy.signal(Signal::USR2);
        proxy.until_logged("asking for the ledger").await;
    };
    tokio::select! {
        answer = moved => panic!("{}", answer.text()),
        () = upgraded => {}
    }
    let mut successors = Successors::default();
    successors.0.push(new_process(&proxy));
    proxy.kill().await;
    proxy.until_logged("takes over alone").await;
    alone(&proxy, &successors).await;
}

#[tokio::test]
async fn when_the_old_process_is_killed_behind_the_ledger_the_new_one_takes_over_alone() {
    let (_blue, _green, mut proxy, binary) = replaceable().await;
    let stuck = proxy.dir.path().join("stuck");
    stick(&binary, &stuck);
    proxy.signal(Signal::USR2);
    proxy.until_logged("asking for the ledger").await;
    let mut successors = Successors::default();
    let new = new_process(&proxy);
    successors.0.push(new);
    // They are started on the decision that the ledger names.
    until("the new process has workers", async || {
        let threads = std::fs::read_dir(format!("/proc/{new}/task")).ok()?;
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim_end().to_owned()).any(|name| name == "worker-1").then_some(())
    })
    .await;
    proxy.kill().await;
    std::fs::remove_file(&stuck).expect("it is there");
    alone(&proxy, &successors).await;
}

/// The new process serves on the same decision, decides, writes, and says how it came to that.
async fn alone(proxy: &Proxy, successors: &Successors) {
    let status = until("the new process serves", async || {
        let mut connection = crate::client::Connection::unix(&proxy.dir.path().join("admin.sock")).await.ok()?;
        connection.try_send("GET /admin/status HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
        Some(connection.try_answer(false).await?.json()).filter(|status| status["pid"] == successors.0[0])
    })
    .await;
    assert_eq!((&status["generation"], &status["active"]), (&json!(1), &json!("blue")), "{status}");
    assert_eq!(proxy.color().await, "blue");
    assert_eq!((counted(proxy, "alone").await, counted(proxy, "done").await), (1, 0));
    let answer = proxy.post("/admin/switch", json!({ "to": "green", "force": ["health"], "reason": "x" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(generations(proxy).last(), Some(&2));
}

#[tokio::test]
async fn the_draining_process_reports_the_death_of_the_one_that_took_over() {
    let (blue, _green, proxy, _binary) = replaceable().await;
    let mut slow = crate::switch::ask(&proxy, "/late").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    let mut successors = Successors::default();
    successors.upgrade(&proxy).await;
    assert_eq!(counted(&proxy, "done").await, 1);
    drop(successors);
    proxy.until_logged("The process that took over has ended").await;
    blue.open_gate();
    assert_eq!(slow.answer().await.text(), "blue");
}

#[tokio::test]
async fn a_program_that_is_no_proxy_gets_no_listener_to_keep_open() {
    let (_blue, _green, mut proxy, binary) = replaceable().await;
    let sleeper = proxy.dir.path().join("sleeper");
    // In a session of its own, so no signal to the group of the new process reaches it.
    let script = "#!/bin/sh\nexec 3<&0\nsetsid sh -c 'echo $$ >SLEEPER; exec sleep 300 <&3' 3<&3 &\n\
                  until [ -s SLEEPER ]; do sleep 0.05; done\nexit 7\n";
    replace(&binary, &script.replace("SLEEPER", &sleeper.to_string_lossy()));
    fails(&proxy, "20s", "ended with exit code 7", "died").await;
    let pid = until("it sleeps", async || std::fs::read_to_string(&sleeper).ok()?.trim().parse::<i32>().ok()).await;
    proxy.signal(Signal::TERM);
    proxy.ended().await;
    let free = async || std::net::TcpListener::bind(proxy.http).ok();
    until("the port is free", free).await;
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("it sleeps to the end");
}

#[tokio::test]
async fn a_new_process_inherits_its_standard_streams_and_nothing_else() {
    let (_blue, _green, proxy, binary) = replaceable().await;
    let (open, mut kept) = (proxy.dir.path().join("open"), proxy.connect().await);
    assert_eq!(kept.get("/").await.status, 200);
    replace(&binary, &format!("#!/bin/sh\nexec ls -l /proc/self/fd >{}\n", open.display()));
    fails(&proxy, "20s", "ended with exit code 0", "died").await;
    let listed = std::fs::read_to_string(&open).expect("a list");
    // Pipes may come from whoever runs the tests.
    let targets: Vec<_> = listed.lines().filter_map(|line| Some(line.split_once(" -> ")?.1)).collect();
    assert_eq!(targets.iter().filter(|target| target.starts_with("socket:")).count(), 1, "{listed}");
    let of_the_proxy =
        |target: &&str| target.starts_with("anon_inode:") || target.contains("/state") || target.ends_with(".log");
    assert_eq!(targets.iter().find(|target| of_the_proxy(target)), None, "{listed}");
}
