//! What else a proxy does all day: bodies, uploads, new connections, TLS, HTTP/2. CPU time of the proxy for each request,
//! beside the best of its peers in the same run.
//!
//! The application is nginx with files in its cache; the load is `h2load` where it can make it, and our own client where
//! each request needs a connection of its own. Only the CPU time of the proxy is counted, so it makes no difference how
//! fast they are; a request that fails ends the run.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Bench;
use crate::peers::{Addresses, Peer};
use crate::process::Process;
use crate::proxies::free_address;
use crate::table::{self, median};

/// One kind of work.
struct Scenario {
    name: &'static str,
    load: Load,
    requests: u64,
}

enum Load {
    /// Over connections that are kept, by `h2load`: path, over TLS, and what else it is told.
    KeptAlive { path: &'static str, tls: bool, options: &'static [&'static str], body: usize },
    /// A TCP connection for each request.
    Connections,
    /// A TLS connection for each request, with or without a ticket of the one before.
    Handshakes { resumed: bool },
}

const fn h1(path: &'static str, tls: bool, body: usize) -> Load {
    Load::KeptAlive { path, tls, options: &["--h1", "-c32"], body }
}

const SCENARIOS: [Scenario; 11] = [
    Scenario { name: "small, keep-alive", load: h1("/", false, 0), requests: 30_000 },
    Scenario { name: "16 KiB", load: h1("/16k", false, 0), requests: 20_000 },
    Scenario {
        name: "1 MiB",
        load: Load::KeptAlive { path: "/1m", tls: false, options: &["--h1", "-c8"], body: 0 },
        requests: 1_000,
    },
    Scenario { name: "POST 16 KiB", load: h1("/post", false, 16 << 10), requests: 10_000 },
    Scenario {
        name: "POST 1 MiB",
        load: Load::KeptAlive { path: "/post", tls: false, options: &["--h1", "-c8"], body: 1 << 20 },
        requests: 500,
    },
    Scenario { name: "connection each", load: Load::Connections, requests: 6_000 },
    Scenario { name: "TLS, keep-alive", load: h1("/", true, 0), requests: 20_000 },
    Scenario {
        name: "h2 over TLS, 8 x 16",
        load: Load::KeptAlive { path: "/", tls: true, options: &["-c8", "-m16"], body: 0 },
        requests: 30_000,
    },
    Scenario {
        name: "h2 over TLS, 16 KiB",
        load: Load::KeptAlive { path: "/16k", tls: true, options: &["-c8", "-m16"], body: 0 },
        requests: 10_000,
    },
    Scenario { name: "TLS handshake, full", load: Load::Handshakes { resumed: false }, requests: 1_000 },
    Scenario { name: "TLS handshake, resumed", load: Load::Handshakes { resumed: true }, requests: 1_000 },
];

pub(crate) async fn run(bench: &Bench, rounds: u32) -> Result<(), String> {
    if Command::new("h2load").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err("h2load was not found; install the package `nghttp2-client`".to_owned());
    }
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let application = application(bench, dir.path());
    let peers = Peer::found();
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        let mut cpu: Vec<Vec<f64>> = peers.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (peer, cpu) in peers.iter().zip(&mut cpu) {
                if peer.can(scenario.load.needs_tls()) {
                    cpu.push(measure(bench, *peer, application.1, &dir, scenario).await);
                }
            }
        }
        let medians: Vec<Option<f64>> = cpu.iter().map(|cpu| (!cpu.is_empty()).then(|| median(cpu))).collect();
        let best = medians.iter().zip(&peers).skip(1).filter(|(_, peer)| !matches!(peer, Peer::Relay));
        let best = best.filter_map(|(median, _)| *median).fold(f64::INFINITY, f64::min);
        let own = medians[0].expect("Cutover does everything");
        let relay = peers.iter().position(|peer| matches!(peer, Peer::Relay)).and_then(|index| medians[index]);
        let mut row = vec![scenario.name.to_owned()];
        row.extend(medians.iter().map(|median| median.map_or("-".to_owned(), |median| format!("{median:.1}"))));
        row.push(format!("{:.2}", own / best));
        row.push(relay.map_or("-".to_owned(), |relay| format!("{:.2}", own / relay)));
        println!("{}", row.join("  "));
        rows.push(row);
    }
    let mut head = vec!["CPU us/request".to_owned()];
    head.extend(peers.iter().map(|peer| peer.name().to_owned()));
    head.extend(["of the best".to_owned(), "of the relay".to_owned()]);
    table::print_rows(&format!("Scenarios: medians of {rounds} rounds"), &head, &rows);
    for peer in Peer::ALL.iter().filter(|peer| !peers.contains(peer)) {
        println!("{} was not found ({}), and is left out.", peer.name(), peer.source());
    }
    Ok(())
}

impl Load {
    fn needs_tls(&self) -> bool {
        matches!(self, Load::KeptAlive { tls: true, .. } | Load::Handshakes { .. })
    }
}

/// nginx, on the core of the load.
fn application(bench: &Bench, dir: &Path) -> (Process, SocketAddr) {
    let address = free_address();
    for (name, size) in [("index", 1 << 10), ("16k", 16 << 10), ("1m", 1 << 20)] {
        std::fs::write(dir.join(name), vec![b'x'; size]).expect("a file");
    }
    let root = dir.display();
    let text = format!(
        "worker_processes 1; daemon off; pid {root}/application.pid; error_log {root}/application.log crit;
events {{ worker_connections 8192; }}
http {{ access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000;
 client_body_temp_path {root}/temp; proxy_temp_path {root}/temp; fastcgi_temp_path {root}/temp;
 uwsgi_temp_path {root}/temp; scgi_temp_path {root}/temp;
 client_max_body_size 0; client_body_buffer_size 2m; open_file_cache max=10; default_type text/plain;
 server {{ listen {address} backlog=4096; root {root}; location = / {{ try_files /index =404; }}
  location = /post {{ proxy_pass http://{address}/post-read; proxy_set_header Content-Length \"\"; proxy_method GET;
   proxy_pass_request_body off; }}
  location = /post-read {{ return 200 \"ok\"; }} location / {{ }} }} }}
"
    );
    let file = dir.join("application.conf");
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new(&bench.programs.nginx);
    command.arg("-p").arg(dir).arg("-e").arg(dir.join("application.log")).arg("-c").arg(&file);
    (Process::start_beside(&mut command), address)
}

async fn measure(bench: &Bench, peer: Peer, application: SocketAddr, dir: &TempDir, scenario: &Scenario) -> f64 {
    let addresses = Addresses { http: free_address(), https: free_address(), application };
    let (process, files) = peer.start(bench, addresses).await;
    let load = |requests: u64| drive(&scenario.load, addresses, files.path(), dir.path(), requests);
    load((scenario.requests / 5).max(64)).await;
    let before = process.usage();
    load(scenario.requests).await;
    let after = process.usage();
    (after.ran - before.ran).as_secs_f64() * 1e6 / scenario.requests as f64
}

async fn drive(load: &Load, addresses: Addresses, files: &Path, dir: &Path, requests: u64) {
    match load {
        Load::KeptAlive { path, tls, options, body } => {
            let (scheme, to) = if *tls { ("https", addresses.https) } else { ("http", addresses.http) };
            let mut command = tokio::process::Command::new("h2load");
            command.arg(format!("-n{requests}")).args(*options).stdin(Stdio::null());
            if *body > 0 {
                let file = dir.join(format!("body-{body}"));
                std::fs::write(&file, vec![b'y'; *body]).expect("a file");
                command.arg("-d").arg(file);
            }
            let output = command.arg(format!("{scheme}://{to}{path}")).output().await.expect("h2load runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains(&format!(" {requests} 2xx, 0 3xx")), "some requests failed:\n{said}");
        }
        Load::Connections => {
            for _ in 0..requests {
                let stream = TcpStream::connect(addresses.http).await.expect("a connection");
                once(stream).await;
            }
        }
        Load::Handshakes { resumed } => {
            let certificate = CertificateDer::from_pem_file(files.join("site.pem")).expect("a certificate");
            let mut roots = rustls::RootCertStore::empty();
            roots.add(certificate).expect("a certificate");
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .expect("a version")
                .with_root_certificates(roots);
            let mut config = config.with_no_client_auth();
            if !resumed {
                config.resumption = rustls::client::Resumption::disabled();
            }
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            for _ in 0..requests {
                let stream = TcpStream::connect(addresses.https).await.expect("a connection");
                let name = ServerName::try_from("localhost").expect("a name");
                once(connector.connect(name, stream).await.expect("a handshake")).await;
            }
        }
    }
}

/// One request on a connection of its own, to the end of the connection.
async fn once(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it is read");
    let mut answer = Vec::new();
    // Some close without saying so in TLS.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() > 1024, "{}", String::from_utf8_lossy(&answer));
}
