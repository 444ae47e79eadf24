//! The proxies, each set up as somebody would who wants it to do this work well: connections kept on both sides,
//! no access log, the client's address passed on, and as many workers and as much room for clients as the others.

pub(crate) mod cutover;
mod envoy;
mod haproxy;
pub(crate) mod kind;
mod nginx;
pub(crate) mod programs;
pub(crate) mod relay;
pub(crate) mod setup;
mod sozu;
pub(crate) mod way;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::applications::address;
use crate::bench::Bench;
use crate::certificate::Certificate;
use crate::clients::connection::{Connection, GET};
use crate::clients::http2;
use crate::machine::process::Process;
use crate::proxies::kind::Kind;
use crate::proxies::programs::Programs;
use crate::proxies::setup::{Setup, Upstream};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What its files are made from.
struct Site<'a> {
    programs: &'a Programs,
    dir: &'a Path,
    http: SocketAddr,
    https: Option<SocketAddr>,
    admin: SocketAddr,
    blue: SocketAddr,
    green: SocketAddr,
    setup: Setup,
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

impl Proxy {
    /// Starts it for HTTP/1.1 and waits for its first good answer.
    pub(crate) async fn start(kind: Kind, bench: &Bench) -> Proxy {
        Proxy::start_for(Setup::default(), kind, bench).await
    }

    /// Starts it for more than that.
    pub(crate) async fn start_for(setup: Setup, kind: Kind, bench: &Bench) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        let [http, https, admin] = free_addresses();
        bench.applications.widen(setup.growth.endpoints);
        let (blue, green) = match setup.upstream {
            Upstream::Http1 => (bench.applications.blue, bench.applications.green),
            // Nothing is switched there.
            Upstream::Http2 => (bench.applications.grpc, bench.applications.grpc),
        };
        let site = Site {
            programs: &bench.programs,
            dir: dir.path(),
            http,
            https: setup.tls.then_some(https),
            admin,
            blue,
            green,
            setup,
            certificate: &bench.certificate,
        };
        let mut command = site.command(kind);
        let log = File::create(dir.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the same file")).stderr(log);

        let began = Instant::now();
        let process = Process::start(&mut command, bench.cores, setup.workers);
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

/// So many addresses of one application, which listens on every address of the loopback interface that is asked for.
fn endpoints(application: SocketAddr, count: usize) -> impl Iterator<Item = SocketAddr> {
    let further = (1..count).map(move |n| SocketAddr::new(address(n), application.port()));
    std::iter::once(application).chain(further)
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("a directory that can be written");
}

/// Addresses that nobody uses at this moment, no two alike.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [const {}; N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound"))
}
