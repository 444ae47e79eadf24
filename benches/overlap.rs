//! What a switch without overlap costs those who wait: 500 requests a second, handlers of 50 to 200 ms, 20 switches.
//!
//! `cargo bench --bench overlap`. Two applications note for every request whether the other one has any at that moment. A
//! request that fails, or is processed by both at once, ends the run with an error.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a bench prints, and stops at the first surprise")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

const RATE: u32 = 500;
const SWITCHES: u32 = 20;
const HANDLER_MS: std::ops::RangeInclusive<u64> = 50..=200;
/// From the answer to one switch to the next one.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Witness {
    running: [AtomicUsize; 2],
    overlapping: AtomicUsize,
    served: [AtomicUsize; 2],
}

#[derive(Default)]
struct Clients {
    failed: AtomicUsize,
    longest_micros: AtomicU64,
    free: Mutex<Vec<TcpStream>>,
    all_micros: Mutex<Vec<u64>>,
}

/// Ends it with the run.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if runtime.block_on(measure()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure() -> bool {
    let witness = Arc::new(Witness::default());
    let [blue, green] = [application(0, Arc::clone(&witness)).await, application(1, Arc::clone(&witness)).await];
    let dir = tempfile::tempdir().expect("a directory");
    let (_proxy, http) = start(dir.path(), blue, green).await;
    let clients = Arc::new(Clients::default());
    let asking = tokio::spawn(ask(http, Arc::clone(&clients)));
    tokio::time::sleep(PAUSE).await;
    let mut holds = Vec::new();
    for _ in 0..SWITCHES {
        let answer = admin(dir.path(), "POST", "/admin/switch", "{\"overlap\":\"none\"}").await;
        let held = answer["held_us"].as_f64().unwrap_or_else(|| panic!("not switched: {answer}"));
        holds.push(held / 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    asking.abort();
    let _ = asking.await;
    // Those that are still under way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    holds.sort_by(f64::total_cmp);
    let mut all = clients.all_micros.lock().expect("no panic").clone();
    all.sort_unstable();
    let served = witness.served.each_ref().map(|served| served.load(Ordering::SeqCst));
    let (overlapping, failed) = (witness.overlapping.load(Ordering::SeqCst), clients.failed.load(Ordering::SeqCst));
    println!("{RATE} requests a second, handlers of 50 to 200 ms, {SWITCHES} switches without overlap");
    println!("  requests        {} answered, by blue {}, by green {}", all.len(), served[0], served[1]);
    println!("  overlapping     {overlapping}");
    println!("  failed          {failed}");
    let at = |share: f64| all.get((all.len() as f64 * share) as usize).map_or(0.0, |micros| *micros as f64 / 1e3);
    println!("  answered in     median {:.0} ms, p99 {:.0} ms", at(0.5), at(0.99));
    println!(
        "  longest wait    {:.0} ms, handler included",
        clients.longest_micros.load(Ordering::SeqCst) as f64 / 1e3
    );
    println!("  held            median {:.0} ms, longest {:.0} ms", holds[holds.len() / 2], holds[holds.len() - 1]);
    overlapping == 0 && failed == 0
}

async fn application(color: usize, witness: Arc<Witness>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(color, stream, Arc::clone(&witness)));
        }
    });
    address
}

async fn serve(color: usize, mut stream: TcpStream, witness: Arc<Witness>) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::new();
    loop {
        while !read.ends_with(b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                return;
            }
        }
        let probe = read.starts_with(b"GET /healthz");
        read.clear();
        if !probe {
            witness.running[color].fetch_add(1, Ordering::SeqCst);
            let other = || witness.running[1 - color].load(Ordering::SeqCst) > 0;
            let before = other();
            tokio::time::sleep(Duration::from_millis(fastrand::u64(HANDLER_MS))).await;
            if before || other() {
                witness.overlapping.fetch_add(1, Ordering::SeqCst);
            }
            witness.running[color].fetch_sub(1, Ordering::SeqCst);
            witness.served[color].fetch_add(1, Ordering::SeqCst);
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}

/// Asks at the rate, whatever comes back.
async fn ask(http: SocketAddr, clients: Arc<Clients>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    loop {
        tick.tick().await;
        let clients = Arc::clone(&clients);
        tokio::spawn(async move {
            let began = Instant::now();
            let free = clients.free.lock().expect("no panic").pop();
            match once(http, free).await {
                Some(stream) => {
                    let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    clients.longest_micros.fetch_max(took, Ordering::SeqCst);
                    clients.all_micros.lock().expect("no panic").push(took);
                    clients.free.lock().expect("no panic").push(stream);
                }
                None => {
                    clients.failed.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
}

async fn once(http: SocketAddr, free: Option<TcpStream>) -> Option<TcpStream> {
    let mut stream = match free {
        Some(stream) => stream,
        None => TcpStream::connect(http).await.ok()?,
    };
    let _ = stream.set_nodelay(true);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nok") {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    read.starts_with(b"HTTP/1.1 200 ").then_some(stream)
}

async fn start(dir: &Path, blue: SocketAddr, green: SocketAddr) -> (Proxy, SocketAddr) {
    let text = format!(
        "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"unix:{0}/admin.sock\"\n\
         [state]\ndir = \"{0}/state\"\n[health]\npath = \"/healthz\"\n[log]\naccess = \"off\"\n\
         [blue]\nrelease = \"1\"\nendpoints = [\"{blue}\"]\n[green]\nrelease = \"2\"\nendpoints = [\"{green}\"]\n",
        dir.display()
    );
    std::fs::write(dir.join("cutover.toml"), text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command.args(["run", "--config"]).arg(dir.join("cutover.toml")).stdout(Stdio::null()).stderr(Stdio::null());
    let proxy = Proxy(command.spawn().expect("the binary was built"));
    while UnixStream::connect(dir.join("admin.sock")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = admin(dir, "GET", "/admin/status", "").await;
    (proxy, status["http_address"].as_str().and_then(|address| address.parse().ok()).expect("an address"))
}

async fn admin(dir: &Path, method: &str, path: &str, body: &str) -> serde_json::Value {
    let mut stream = UnixStream::connect(dir.join("admin.sock")).await.expect("the admin socket");
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
