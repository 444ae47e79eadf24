//! The proxy under test: the real binary, with a file and a state directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::application::Application;
use crate::client::{Answer, Connection};
use crate::{soon, until};

/// A running proxy. It ends with the test.
pub(crate) struct Proxy {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) http: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
}

/// What every test may change.
pub(crate) struct Setup {
    pub(crate) active: &'static str,
    pub(crate) blue: String,
    pub(crate) green: String,
    /// Further sections.
    pub(crate) more: String,
    /// Keys for `[listen]`.
    pub(crate) listen: String,
    /// Keys for `[drain]`.
    pub(crate) drain: String,
    /// Keys for `[health]`.
    pub(crate) health: String,
}

impl Setup {
    pub(crate) fn new(blue: &Application, green: &Application) -> Setup {
        Setup::at(blue.address, green.address)
    }

    /// With applications of another kind.
    pub(crate) fn at(blue: SocketAddr, green: SocketAddr) -> Setup {
        Setup {
            active: "blue",
            blue: format!("release = \"1.0\"\nendpoints = [\"{blue}\"]"),
            green: format!("release = \"2.0\"\nendpoints = [\"{green}\"]"),
            more: String::new(),
            listen: String::new(),
            drain: "timeout = \"20s\"".to_owned(),
            health: "path = \"/healthz\"\ninterval = \"100ms\"".to_owned(),
        }
    }

    pub(crate) fn text(&self, dir: &Path) -> String {
        let Setup { active, blue, green, more, listen, drain, health } = self;
        let dir = dir.display();
        format!(
            r#"# Kept by the tests.
active = "{active}"    # the order

[listen]
http = "127.0.0.1:0"
admin = "unix:{dir}/admin.sock"
workers = 2
{listen}

[state]
dir = "{dir}/state"

[health]
{health}
timeout = "5s"
rise = 1
fall = 1

[gate]
timeout = "5s"

[drain]
{drain}

[readiness]
lame_duck = "0s"

[log]
access = "{dir}/access.log"

[blue]
{blue}

[green]
{green}

{more}
"#
        )
    }

    pub(crate) async fn start(&self) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        let text = self.text(dir.path());
        Proxy::start_in(dir, &text).await
    }
}

impl Proxy {
    /// With the usual setup.
    pub(crate) async fn start(blue: &Application, green: &Application) -> Proxy {
        Setup::new(blue, green).start().await
    }

    pub(crate) async fn start_in(dir: tempfile::TempDir, text: &str) -> Proxy {
        Proxy::start_with(dir, text, Stdio::null()).await
    }

    /// With a standard output of the test's own.
    pub(crate) async fn start_with(dir: tempfile::TempDir, text: &str, stdout: Stdio) -> Proxy {
        Proxy::start_as(dir, text, stdout, &[]).await
    }

    /// With an environment of the test's own.
    pub(crate) async fn start_as(dir: tempfile::TempDir, text: &str, stdout: Stdio, env: &[(&str, &str)]) -> Proxy {
        std::fs::write(dir.path().join("cutover.toml"), text).expect("a file");
        let (child, log) = spawn(dir.path(), stdout, Stdio::piped(), env);
        let mut proxy = Proxy { dir, http: SocketAddr::from(([127, 0, 0, 1], 0)), child, log };
        proxy.wait_until_serving().await;
        proxy
    }

    /// With a limit on open files.
    pub(crate) async fn start_with_open_files(setup: &Setup, limit: usize) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("cutover.toml"), setup.text(dir.path())).expect("a file");
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &limit.to_string(), env!("CARGO_BIN_EXE_cutover")]);
        limited.args(["run", "--config"]);
        let (child, log) = spawn_command(without_environment(limited), dir.path(), Stdio::null(), Stdio::piped(), &[]);
        let mut proxy = Proxy { dir, http: SocketAddr::from(([127, 0, 0, 1], 0)), child, log };
        proxy.wait_until_serving().await;
        proxy
    }

    /// With a standard error that the test does not read.
    pub(crate) async fn start_deaf(setup: &Setup, stderr: Stdio) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("cutover.toml"), setup.text(dir.path())).expect("a file");
        let (child, log) = spawn(dir.path(), Stdio::null(), stderr, &[]);
        let mut proxy = Proxy { dir, http: SocketAddr::from(([127, 0, 0, 1], 0)), child, log };
        proxy.wait_until_serving().await;
        proxy
    }

    async fn wait_until_serving(&mut self) {
        let socket = self.dir.path().join("admin.sock");
        let status = until("the proxy answers", async || {
            if let Ok(Some(ended)) = self.child.try_wait() {
                panic!("the proxy ended with {ended}:\n{}", self.log());
            }
            let mut connection = Connection::unix(&socket).await.ok()?;
            connection.try_send("GET /admin/status HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
            Some(connection.try_answer(false).await?.json())
        })
        .await;
        self.http = status["http_address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("cutover.toml")
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.file()).expect("the file can be read")
    }

    pub(crate) fn ledger(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("state/ledger.jsonl")).expect("the ledger can be read")
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic while it is held").clone()
    }

    /// A new client connection.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::tcp(self.http).await
    }

    /// A GET on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.connect().await.get(path).await
    }

    /// The color that a new request sees.
    pub(crate) async fn color(&self) -> String {
        self.get("/").await.text().to_owned()
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut connection = Connection::unix(&self.dir.path().join("admin.sock")).await.expect("the admin socket");
        let length = body.len();
        connection
            .send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        connection.answer().await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.admin("POST", path, &body.to_string()).await
    }

    /// Moves everything to a color; it has to be taken.
    pub(crate) async fn switch(&self, to: &str) -> Value {
        let answer = self.post("/admin/switch", json!({ "to": to })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn status(&self) -> Value {
        self.admin("GET", "/admin/status", "").await.json()
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, async || Some(self.status().await).filter(|status| wanted(status))).await
    }

    pub(crate) async fn until_color(&self, color: &str) -> Value {
        self.until(&format!("{color} is active"), |status| status["active"] == color).await
    }

    /// Waits until the log has a line with this.
    pub(crate) async fn until_logged(&self, text: &str) -> String {
        until(&format!("the log says {text:?}"), async || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
        .await
    }

    /// An edit by atomic rename, as editors and deploy tools do it.
    pub(crate) fn replace_file(&self, text: &str) {
        let next = self.dir.path().join("next.toml");
        std::fs::write(&next, text).expect("a file");
        std::fs::rename(next, self.file()).expect("a rename");
    }

    /// An edit in place, as `sed -i` does not and `echo >` does.
    pub(crate) fn write_file(&self, text: &str) {
        std::fs::write(self.file(), text).expect("a write");
    }

    /// Its text with another `active`.
    pub(crate) fn ordering(&self, color: &str) -> String {
        let text = self.text();
        let other = if color == "blue" { "green" } else { "blue" };
        text.replace(&format!("active = \"{other}\""), &format!("active = \"{color}\""))
    }

    /// Runs the command line against it.
    pub(crate) async fn cli(&self, args: &[&str]) -> Output {
        let mut command = command(args);
        command.env("CUTOVER_CONFIG", self.file());
        soon("the command ends", command.output()).await.expect("the command runs")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.child.start_kill().expect("it runs");
        let _ = self.child.wait().await;
    }

    /// `kill -9`, and start again with the same file and state.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill().await;
        self.restart().await;
    }

    /// Starts again after it ended.
    pub(crate) async fn restart(&mut self) {
        let (child, log) = spawn(self.dir.path(), Stdio::null(), Stdio::piped(), &[]);
        (self.child, self.log) = (child, log);
        self.wait_until_serving().await;
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        soon("the proxy ends", self.child.wait()).await.expect("it was started")
    }
}

/// The binary with arguments, and nothing of the caller's environment that it would look at.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = without_environment(Command::new(env!("CARGO_BIN_EXE_cutover")));
    command.args(args);
    command
}

fn without_environment(mut command: Command) -> Command {
    for name in ["CUTOVER_CONFIG", "CUTOVER_ADMIN", "CUTOVER_TOKEN", "CUTOVER_LOG", "STATE_DIRECTORY", "NOTIFY_SOCKET"]
    {
        command.env_remove(name);
    }
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn spawn(dir: &Path, stdout: Stdio, stderr: Stdio, env: &[(&str, &str)]) -> (Child, Arc<Mutex<String>>) {
    spawn_command(command(&["run", "--config"]), dir, stdout, stderr, env)
}

fn spawn_command(
    mut command: Command,
    dir: &Path,
    stdout: Stdio,
    stderr: Stdio,
    env: &[(&str, &str)],
) -> (Child, Arc<Mutex<String>>) {
    command.arg(dir.join("cutover.toml")).stdout(stdout).stderr(stderr).envs(env.iter().copied());
    let mut child = command.spawn().expect("the binary was built");
    let log = Arc::new(Mutex::new(String::new()));
    let Some(stderr) = child.stderr.take() else { return (child, log) };
    let mut lines = BufReader::new(stderr).lines();
    let sink = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut log = sink.lock().expect("no panic while it is held");
            log.push_str(&line);
            log.push('\n');
        }
    });
    (child, log)
}

/// Runs it where it must not start: its exit code, and what it said.
pub(crate) async fn refused_start(dir: &Path) -> (Option<i32>, String) {
    let mut command = command(&["run", "--config"]);
    command.arg(dir.join("cutover.toml")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    let status = soon("it gives up", async {
        let _ = stderr.read_to_string(&mut said).await;
        child.wait().await
    });
    (status.await.expect("it was started").code(), said)
}
