//! The proxy of one run: the binary, with a directory of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Ends with the run.
pub(crate) struct Proxy {
    child: Child,
    dir: TempDir,
    pub(crate) http: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// `listen`: further keys there; `config`: sections.
    pub(crate) async fn start(binary: &Path, listen: &str, config: &str, [blue, green]: [SocketAddr; 2]) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, file) = (dir.path(), dir.path().join("cutover.toml"));
        let text = format!(
            "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"unix:{0}/admin.sock\"\nworkers = 2\n{listen}\n\
             [state]\ndir = \"{0}/state\"\n[health]\npath = \"/healthz\"\ntimeout = \"5s\"\ninterval = \"5s\"\n[log]\naccess = \"off\"\n\
             [blue]\nrelease = \"1\"\nendpoints = [\"{blue}\"]\n[green]\nrelease = \"2\"\nendpoints = [\"{green}\"]\n{config}",
            path.display(),
        );
        std::fs::write(&file, text).expect("a file");
        let log = std::fs::File::create(path.join("log")).expect("a file");
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(file).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the binary was built");
        let mut proxy = Proxy { child, dir, http: SocketAddr::from(([127, 0, 0, 1], 0)) };
        while UnixStream::connect(proxy.socket()).await.is_err() {
            if let Ok(Some(ended)) = proxy.child.try_wait() {
                let log = std::fs::read_to_string(proxy.dir.path().join("log")).unwrap_or_default();
                panic!("it ended with {ended}: {log}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = proxy.admin("GET", "/admin/status", "").await;
        proxy.http = status["http_address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
        proxy
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("admin.sock")
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = UnixStream::connect(self.socket()).await.expect("the admin socket");
        let length = body.len();
        let asked = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(asked.as_bytes()).await.expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// All transitions, newest first. A rollback is seen before it is on disk, and in the history after that.
    pub(crate) async fn history(&self) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let transitions = self.transitions().await;
            let newest = transitions.iter().find(|transition| transition["kind"] != "drained");
            let on_its_way = self.admin("GET", "/admin/canary", "").await["canary"].is_object();
            let told = newest.is_some_and(|newest| newest["canary"].is_object()) == on_its_way;
            if told || began.elapsed() > Duration::from_secs(5) {
                return transitions;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As far as they are on disk.
    pub(crate) async fn transitions(&self) -> Vec<Value> {
        let history = self.admin("GET", "/admin/history?limit=100", "").await;
        history["transitions"].as_array().cloned().unwrap_or_default()
    }
}

/// Seconds from one time to another.
pub(crate) fn between(from: &Value, to: &Value) -> f64 {
    let [from, to] = [from, to].map(|at| at.as_str().and_then(|at| humantime::parse_rfc3339(at).ok()).expect("a time"));
    to.duration_since(from).unwrap_or_default().as_secs_f64()
}
