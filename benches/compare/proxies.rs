//! The proxies, each set up as somebody would who wants it to do this work well: one worker, connections kept on both
//! sides, no access log, the client's address passed on, room for as many connections.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cutover::domain::color::Color;
use tempfile::TempDir;

use crate::Bench;
use crate::application::Applications;
use crate::client::{Connection, GET};
use crate::process::Process;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cutover,
    HaProxy,
    Nginx,
    Relay,
}

/// The files to run.
pub(crate) struct Programs {
    pub(crate) cutover: PathBuf,
    pub(crate) haproxy: PathBuf,
    pub(crate) nginx: PathBuf,
}

/// A running proxy, with blue active. The process goes before its directory.
pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) http: SocketAddr,
    /// Of Cutover.
    pub(crate) admin: SocketAddr,
    /// From the start of the process to its first good answer.
    pub(crate) start: Duration,
    dir: TempDir,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Cutover, Kind::HaProxy, Kind::Nginx, Kind::Relay];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Cutover => "Cutover",
            Kind::HaProxy => "HAProxy",
            Kind::Nginx => "nginx",
            Kind::Relay => "TCP relay",
        }
    }
}

impl Programs {
    /// Names the package of what is missing.
    pub(crate) fn find() -> Result<Programs, String> {
        let find = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            // Where Debian puts them, which is not in everybody's PATH.
            let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
            let found = directories.map(|directory| directory.join(name)).find(|file| file.is_file());
            found.ok_or_else(|| format!("{name} was not found; install the package `{name}`"))
        };
        Ok(Programs { cutover: env!("CARGO_BIN_EXE_cutover").into(), haproxy: find("haproxy")?, nginx: find("nginx")? })
    }
}

impl Proxy {
    /// Starts it and waits for its first good answer.
    pub(crate) async fn start(kind: Kind, bench: &Bench) -> Proxy {
        let dir = tempfile::tempdir().expect("a directory");
        let (http, admin) = (free_address(), free_address());
        let (path, colors) = (dir.path(), bench.applications);
        let mut command = match kind {
            Kind::Cutover => cutover(&bench.programs, path, http, admin, colors),
            Kind::HaProxy => haproxy(&bench.programs, path, http, colors),
            Kind::Nginx => nginx(&bench.programs, path, http, colors),
            Kind::Relay => relay(http, colors),
        };
        let log = File::create(path.join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the same file")).stderr(log);

        let began = Instant::now();
        let process = Process::start(&mut command, bench.cores);
        let mut proxy = Proxy { process, http, admin, start: Duration::ZERO, dir };
        while !proxy.serves().await {
            let failed = proxy.process.has_ended() || began.elapsed() > PATIENCE;
            assert!(!failed, "{} did not start:\n{}", kind.name(), proxy.read("log"));
            // Not a timer: a millisecond is long here.
            tokio::task::yield_now().await;
        }
        proxy.start = began.elapsed();
        proxy
    }

    async fn serves(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.http).await else { return false };
        connection.ask(GET).await.is_ok_and(|answer| answer.success().is_some())
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

/// The name of Cutover's configuration file.
pub(crate) const CUTOVER_FILE: &str = "cutover.toml";

fn cutover(
    programs: &Programs,
    dir: &Path,
    http: SocketAddr,
    admin: SocketAddr,
    Applications { blue, green }: Applications,
) -> Command {
    let path = dir.display();
    let text = format!(
        r#"active = "blue"

[listen]
http = "{http}"
admin = "{admin}"
workers = 1
max_connections = 8192

[state]
dir = "{path}/state"

[readiness]
lame_duck = "0s"    # nothing is in front

[drain]
timeout = "1s"

[log]
access = "off"

[blue]
release = "1"
endpoints = ["{blue}"]

[green]
release = "2"
endpoints = ["{green}"]
"#
    );
    write(dir, CUTOVER_FILE, &text);
    command(&programs.cutover, ["run".as_ref(), "--config".as_ref(), dir.join(CUTOVER_FILE).as_os_str()])
}

/// The name of the map in which HAProxy looks up the active color.
pub(crate) const HAPROXY_MAP: &str = "active.map";

/// The name of HAProxy's runtime socket.
pub(crate) const HAPROXY_SOCKET: &str = "haproxy.sock";

fn haproxy(programs: &Programs, dir: &Path, http: SocketAddr, Applications { blue, green }: Applications) -> Command {
    let path = dir.display();
    let text = format!(
        "global
    nbthread 1
    maxconn 8192
    stats socket {path}/{HAPROXY_SOCKET} mode 600 level admin

defaults
    mode http
    option forwardfor
    http-reuse always
    timeout connect 2s
    timeout client 75s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 75s

frontend site
    bind {http}
    use_backend %[str(active),map({path}/{HAPROXY_MAP},blue)]

backend blue
    server one {blue}

backend green
    server one {green}
"
    );
    write(dir, "haproxy.cfg", &text);
    write(dir, HAPROXY_MAP, "active blue\n");
    command(&programs.haproxy, ["-db".as_ref(), "-f".as_ref(), dir.join("haproxy.cfg").as_os_str()])
}

/// The name of the file that says where nginx passes requests to.
pub(crate) const NGINX_ACTIVE: &str = "active.conf";

/// What is in that file.
pub(crate) fn nginx_active(color: Color) -> String {
    format!("proxy_pass http://{color};\n")
}

/// nginx in its own directory.
pub(crate) fn nginx_command(programs: &Programs, dir: &Path) -> Command {
    let conf = dir.join("nginx.conf");
    command(
        &programs.nginx,
        ["-p".as_ref(), dir.as_os_str(), "-e".as_ref(), "stderr".as_ref(), "-c".as_ref(), conf.as_ref()],
    )
}

fn nginx(programs: &Programs, dir: &Path, http: SocketAddr, Applications { blue, green }: Applications) -> Command {
    let text = format!(
        "worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr crit;

events {{
    worker_connections 8192;
}}

http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    keepalive_requests 1000000;
    keepalive_timeout 75s;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;

    upstream blue {{
        server {blue};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    upstream green {{
        server {green};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    server {{
        listen {http};
        location / {{
            include {NGINX_ACTIVE};
        }}
    }}
}}
"
    );
    write(dir, "nginx.conf", &text);
    write(dir, NGINX_ACTIVE, &nginx_active(Color::Blue));
    nginx_command(programs, dir)
}

fn relay(http: SocketAddr, Applications { blue, .. }: Applications) -> Command {
    let this = std::env::current_exe().expect("a path");
    let (listen, upstream) = (http.to_string(), blue.to_string());
    command(&this, ["--relay".as_ref(), listen.as_ref(), upstream.as_ref()])
}

fn command<const N: usize>(program: &Path, arguments: [&OsStr; N]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("a directory that can be written");
}

/// An address that nobody uses at this moment.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}
