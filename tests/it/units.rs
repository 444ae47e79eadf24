//! The units for systemd, and what the proxy says to a service manager and takes from one.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::application::Application;
use crate::client::Connection;
use crate::proxy::{Proxy, Setup, command};
use crate::{PATIENCE, until};

fn units() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

fn analyzed(arguments: &[&str], unit: &Path, path: Option<&Path>) -> (bool, String) {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(unit);
    if let Some(path) = path {
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", path.display()));
    }
    let output = command.output().expect("systemd-analyze; tests/run installs it");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let dir = tempfile::tempdir().expect("a directory");
    let binary = env!("CARGO_BIN_EXE_cutover");
    for unit in units() {
        let name = unit.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&unit).expect("a unit").replace("=cutover ", &format!("={binary} "));
        std::fs::write(dir.path().join(&name), text).expect("a unit");
    }
    for unit in units() {
        let name = unit.file_name().expect("a name").to_string_lossy().replace('@', "@shop");
        // The pages are not installed here: `package` looks whether they are beside the units.
        let (_, said) = analyzed(&["verify", "--man=no"], &dir.path().join(&name), Some(dir.path()));
        // systemd before 253 keeps the type of the line before.
        let known = |line: &&str| !line.contains("notify-reload") && line.contains("cutover");
        let faults: Vec<_> = said.lines().filter(known).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}

#[test]
fn a_service_is_exposed_no_more_than_it_has_to_be() {
    for unit in units().iter().filter(|unit| unit.extension().is_some_and(|extension| extension == "service")) {
        let (passed, said) = analyzed(&["security", "--offline=true", "--threshold=15"], unit, None);
        assert!(passed, "{}: {}", unit.display(), said.lines().last().unwrap_or_default());
    }
}

#[test]
fn the_unit_of_an_instance_differs_by_the_instance_alone() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let settings = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name)).expect("a unit");
        let lines = text.lines().filter(|line| line.contains('=') && !line.starts_with('#')).map(str::to_owned);
        lines
            .filter(|line| !line.contains("%i") && !line.contains("cutover.toml") && !line.starts_with("Description"))
            .filter(|line| !["StateDirectory=cutover", "RuntimeDirectory=cutover"].contains(&line.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(settings("cutover.service"), settings("cutover@.service"));
}

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
    path: String,
}

impl Manager {
    fn new() -> Manager {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("an option");
        Manager { socket, path: path.display().to_string(), _dir: dir }
    }

    /// Waits for a message with this.
    async fn until_told(&self, wanted: &str) -> String {
        let mut heard = Vec::new();
        until(&format!("the manager is told {wanted}"), async || {
            let mut message = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut message) {
                let message = String::from_utf8_lossy(&message[..length]).into_owned();
                heard.push(message.clone());
                if message.contains(wanted) {
                    return Some(message);
                }
            }
            None
        })
        .await
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_states_reloads_and_progress() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let manager = Manager::new();
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    let env = [("NOTIFY_SOCKET", manager.path.as_str()), ("WATCHDOG_USEC", "1500000")];
    let proxy = Proxy::start_as(dir, &text, Stdio::null(), &env).await;
    manager.until_told("READY=1").await;
    manager.until_told("STATUS=blue 1.0, steady").await;
    manager.until_told("WATCHDOG=1").await;
    manager.until_told("WATCHDOG=1").await;

    proxy.switch("green").await;
    manager.until_told("STATUS=green 2.0").await;

    proxy.replace_file(&format!("{}# more\n", proxy.text()));
    proxy.signal(Signal::HUP);
    let reloading = manager.until_told("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.until_told("READY=1").await;
    proxy.replace_file("nonsense = 1\n");
    proxy.signal(Signal::HUP);
    manager.until_told("STATUS=reload failed").await;

    // A process that does nothing more is not alive.
    proxy.signal(Signal::STOP);
    let mut message = [0; 4096];
    while manager.socket.recv(&mut message).is_ok() {}
    proxy.signal(Signal::CONT);
    proxy.signal(Signal::TERM);
    manager.until_told("STOPPING=1").await;
}

#[tokio::test]
async fn an_upgrade_names_the_new_process_before_it_is_ready() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let manager = Manager::new();
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    let proxy = Proxy::start_as(dir, &text, Stdio::null(), &[("NOTIFY_SOCKET", manager.path.as_str())]).await;
    manager.until_told("READY=1").await;
    let answer = proxy.post("/admin/upgrade", json!({})).await.json();
    manager.until_told("RELOADING=1").await;
    manager.until_told(&format!("MAINPID={}", answer["pid"])).await;
    manager.until_told("READY=1").await;
    let pid = answer["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a pid"), Signal::KILL).expect("it runs");
}

/// A free port, most likely.
fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// `systemd-socket-activate` starts the proxy with these sockets. What it said, when it has ended or serves.
struct Activated {
    child: tokio::process::Child,
}

impl Activated {
    fn start(file: &Path, sockets: &[String], names: Option<&str>) -> Activated {
        let mut activate = tokio::process::Command::new("systemd-socket-activate");
        for socket in sockets {
            activate.args(["--listen", socket]);
        }
        if let Some(names) = names {
            activate.arg(format!("--fdname={names}"));
        }
        activate.args([env!("CARGO_BIN_EXE_cutover"), "run", "--config"]).arg(file);
        activate.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Activated { child: activate.spawn().expect("systemd-socket-activate; tests/run installs it") }
    }

    async fn said(mut self) -> String {
        use tokio::io::AsyncReadExt;
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let read = tokio::time::timeout(PATIENCE, stderr.read_to_string(&mut said)).await;
        read.expect("it ends").expect("text");
        said
    }
}

#[tokio::test]
async fn sockets_of_systemd_are_found_by_their_names_and_wrong_ones_are_named() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let dir = tempfile::tempdir().expect("a directory");
    let (http, other) = (port(), port());
    let text = Setup::new(&blue, &green).text(dir.path()).replace("127.0.0.1:0", &format!("127.0.0.1:{http}"));
    let file = dir.path().join("cutover.toml");
    std::fs::write(&file, text).expect("a file");
    let at = |port: u16| format!("127.0.0.1:{port}");
    // A connection starts it.
    let knock = |port: u16| async move {
        until("systemd listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await
    };

    for (names, sockets, said) in [
        (Some("web"), at(other), "there is no listener of this name; use one of http, https, preview, admin"),
        (Some("http"), at(other), "but listen.http is 127.0.0.1:"),
        (Some("https"), at(other), "but listen.https is not set"),
        (None, at(other), "but no listener has this address"),
    ] {
        let activated = Activated::start(&file, &[sockets], names);
        let _knock = knock(other).await;
        let log = activated.said().await;
        assert!(log.contains(said), "{names:?}: {log}");
    }

    let activated =
        Activated::start(&file, &[at(http), dir.path().join("admin.sock").display().to_string()], Some("http:admin"));
    let mut first = Connection::over(knock(http).await);
    first.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(first.answer().await.text(), "blue", "the connection that started it waited");
    let status = command(&["status", "--config"]).arg(&file).output().await.expect("it runs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    drop(activated);
}

#[tokio::test]
async fn a_restart_with_a_socket_of_systemd_refuses_no_connection() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let dir = tempfile::tempdir().expect("a directory");
    // The test is the service manager: it keeps the listener, and passes it as descriptor 3.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("127.0.0.1:0", &address.to_string());
    let file = dir.path().join("cutover.toml");
    std::fs::write(&file, text).expect("a file");
    let start = || {
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http exec \"$@\"", "sh"]);
        shell.args([env!("CARGO_BIN_EXE_cutover"), "run", "--config"]).arg(&file).stderr(Stdio::null());
        shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener.try_clone().expect("a handle"))));
        shell.kill_on_drop(true).spawn().expect("a shell")
    };
    let mut child = start();
    for _ in 0..3 {
        let ask = |path: &'static str| async move {
            let mut connection = Connection::tcp(address).await;
            connection.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
            connection.answer().await.status
        };
        assert_eq!(ask("/").await, 200);
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), Signal::TERM).expect("it runs");
        let clients: Vec<_> = (0..20).map(|_| tokio::spawn(ask("/"))).collect();
        tokio::time::timeout(Duration::from_secs(30), child.wait()).await.expect("it ends").expect("it was started");
        child = start();
        for client in clients {
            assert_eq!(client.await.expect("no panic"), 200);
        }
    }
}

#[tokio::test]
async fn all_instances_are_shown_each_with_commands_that_name_it_and_the_worst_exit_code() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let proxy = Proxy::start(&blue, &green).await;
    proxy.until("all is well", |status| status["headline"]["level"] == "ok").await;
    let all = proxy.cli(&["status", "--all"]).await;
    let said = String::from_utf8_lossy(&all.stdout).into_owned();
    assert_eq!(all.status.code(), Some(0), "{said}");
    assert!(said.starts_with("cutover  OK: blue (1.0) serves"), "{said}");

    std::fs::write(proxy.dir.path().join("shop.toml"), "[listen]\nadmin = \"127.0.0.1:1\"\n").expect("a file");
    let freeze = proxy.post("/admin/freeze", json!({ "reason": "weekend" })).await;
    assert_eq!(freeze.status, 200);
    let all = proxy.cli(&["status", "--all"]).await;
    let said = String::from_utf8_lossy(&all.stdout).into_owned();
    assert_eq!(all.status.code(), Some(4), "{said}");
    assert!(said.contains("\nshop     the proxy can't be reached at 127.0.0.1:1"), "{said}");
    let dir = proxy.dir.path().display().to_string();
    assert!(said.contains(&format!("cutover --config {dir}/cutover.toml unfreeze")), "{said}");
    let all = proxy.cli(&["status", "--all", "--json"]).await;
    let document: serde_json::Value = serde_json::from_slice(&all.stdout).expect("one document");
    assert_eq!(document["instances"][1]["instance"], "shop");
    assert_eq!(document["instances"][1]["code"], "unreachable");
}

#[tokio::test]
async fn an_instance_that_is_named_like_the_program_keeps_its_column() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let proxy = Proxy::start(&blue, &green).await;
    let file = proxy.file().display().to_string();
    std::fs::write(proxy.dir.path().join("ab.toml"), "[listen]\nadmin = \"127.0.0.1:1\"\n").expect("a file");
    let all = command(&["--config", &file, "status", "--all"]).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&all.stdout).into_owned();
    let first = |text: &str| said.lines().any(|line| line.starts_with(text));
    assert!(first("ab       the proxy can't be reached") && first("cutover  OK: blue"), "{said}");
}

#[tokio::test]
async fn a_pipe_among_the_files_of_the_instances_is_none() {
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let proxy = Proxy::start(&blue, &green).await;
    let pipe = proxy.dir.path().join("pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
    let all = crate::soon("the command ends", proxy.cli(&["status", "--all", "--json"])).await;
    let document: serde_json::Value = serde_json::from_slice(&all.stdout).expect("one document");
    let instances = document["instances"].as_array().expect("a list");
    assert_eq!(instances.len(), 1, "{document}");
}

#[tokio::test]
async fn an_instance_is_found_by_its_name() {
    let output = command(&["--instance", "no-such-shop", "status"]).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/etc/cutover/no-such-shop.toml can't be read"), "{said}");
    let output = command(&["-i", "../shadow", "status"]).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("an instance has a name of"));
}
