//! The proxies, each set up as somebody would who wants it to do this work well: one worker, connections kept on both
//! sides, no access log, the client's address passed on, room for as many connections.

pub(crate) mod cutover;
pub(crate) mod envoy;
pub(crate) mod haproxy;
pub(crate) mod nginx;
mod sozu;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Bench;
use crate::certificate::Certificate;
use crate::client::{Connection, GET};
use crate::http2;
use crate::process::Process;
use crate::programs::Programs;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cutover,
    HaProxy,
    Nginx,
    Envoy,
    Sozu,
    Relay,
}

/// What it speaks with the applications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Upstream {
    #[default]
    Http1,
    /// From the first byte on; applications that speak gRPC.
    Http2,
}

/// What it is set up for, besides HTTP/1.1 from end to end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// It speaks TLS too, with HTTP/2 for who asks for it.
    pub(crate) tls: bool,
    pub(crate) upstream: Upstream,
    pub(crate) analysis: Analysis,
    pub(crate) growth: Growth,
}

/// How much of what Cutover has; other proxies are not asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) routes: usize,
    pub(crate) endpoints: usize,
    /// Connections on which nothing is asked.
    pub(crate) idle: usize,
    pub(crate) access_log: bool,
    pub(crate) canary: bool,
    pub(crate) sticky: bool,
    pub(crate) shield: bool,
    /// A client that reads the metrics each second.
    pub(crate) scrape: bool,
}

impl Growth {
    pub(crate) const NONE: Growth = Growth {
        routes: 0,
        endpoints: 1,
        idle: 0,
        access_log: false,
        canary: false,
        sticky: false,
        shield: false,
        scrape: false,
    };
}

impl Default for Growth {
    fn default() -> Growth {
        Growth::NONE
    }
}

/// Cutover's analysis of releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Analysis {
    /// As it is by default, without a deployment under way.
    #[default]
    On,
    /// With modes that judge nothing.
    Off,
}

/// What its files are made from.
struct Site<'a> {
    programs: &'a Programs,
    dir: &'a Path,
    http: SocketAddr,
    https: Option<SocketAddr>,
    admin: SocketAddr,
    blue: SocketAddr,
    green: SocketAddr,
    upstream: Upstream,
    analysis: Analysis,
    growth: Growth,
    certificate: &'a Certificate,
}

/// A running proxy, with blue active. The process goes before its directory.
pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    /// Nobody listens there unless the setup says so.
    pub(crate) https: SocketAddr,
    /// Of Cutover and of Envoy.
    pub(crate) admin: SocketAddr,
    /// From the start of the process to its first good answer.
    pub(crate) start: Duration,
    dir: TempDir,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Cutover => "Cutover",
            Kind::HaProxy => "HAProxy",
            Kind::Nginx => "nginx",
            Kind::Envoy => "Envoy",
            Kind::Sozu => "Sozu",
            Kind::Relay => "TCP relay",
        }
    }
}

impl Proxy {
    /// Starts it for HTTP/1.1 and waits for its first good answer.
    pub(crate) async fn start(kind: Kind, bench: &Bench) -> Proxy {
        Proxy::start_for(Setup::default(), kind, bench).await
    }

    /// Starts it for more than that.
    pub(crate) async fn start_for(setup: Setup, kind: Kind, bench: &Bench) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        let [http, https, admin] = free_addresses();
        let (blue, green) = match setup.upstream {
            Upstream::Http1 => (bench.applications.blue, bench.applications.green),
            // Nothing is switched there.
            Upstream::Http2 => (bench.grpc, bench.grpc),
        };
        let site = Site {
            programs: &bench.programs,
            dir: dir.path(),
            http,
            https: setup.tls.then_some(https),
            admin,
            blue,
            green,
            upstream: setup.upstream,
            analysis: setup.analysis,
            growth: setup.growth,
            certificate: &bench.certificate,
        };
        let mut command = site.command(kind);
        let log = File::create(dir.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the same file")).stderr(log);

        let began = Instant::now();
        let process = Process::start(&mut command, bench.cores);
        let mut proxy = Proxy { process, http, https, admin, start: Duration::ZERO, dir };
        while !proxy.serves(setup, bench).await {
            let failed = proxy.process.has_ended() || began.elapsed() > PATIENCE;
            assert!(!failed, "{} did not start:\n{}", kind.name(), proxy.read("log"));
            // Not a timer: a millisecond is long here.
            tokio::task::yield_now().await;
        }
        proxy.start = began.elapsed();
        proxy
    }

    async fn serves(&self, setup: Setup, bench: &Bench) -> bool {
        if setup.upstream == Upstream::Http2 {
            return http2::answers(self.https, &bench.certificate).await;
        }
        let Ok(mut connection) = Connection::open(self.http).await else { return false };
        connection.ask(GET).await.is_ok_and(|answer| answer.success().is_some())
    }

    /// An order by Cutover's admin API, which has to be carried out.
    pub(crate) async fn order(&self, path: &str, body: &str) {
        let (host, length) = (self.admin, body.len());
        let order = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut connection = Connection::open(self.admin).await.expect("the admin API");
        let answer = connection.ask(order.as_bytes()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path} was not carried out:\n{}", self.read("log"));
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One of them.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).expect("a file of text")
    }
}

impl Site<'_> {
    fn command(&self, kind: Kind) -> Command {
        match kind {
            Kind::Cutover => cutover::command(self),
            Kind::HaProxy => haproxy::command(self),
            Kind::Nginx => nginx::command(self),
            Kind::Envoy => envoy::command(self, self.programs.envoy.as_deref().expect("it was found")),
            Kind::Sozu => sozu::command(self, self.programs.sozu.as_deref().expect("it was found")),
            Kind::Relay => {
                let mut command = Command::new(std::env::current_exe().expect("a path"));
                command.args(["--relay".to_owned(), self.http.to_string(), self.blue.to_string()]);
                command
            }
        }
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("a directory that can be written");
}

/// Addresses that nobody uses at this moment, no two alike.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [const {}; N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound"))
}
