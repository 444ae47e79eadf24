//! How long it takes in an incident: the way back from the start of the command to all traffic on the old color, in the cases
//! that go wrong, and every command of `docs/timings.md`.
//!
//! `cargo bench --profile release --bench rollback`. One client asks without a pause; "traffic" ends when the last request
//! began that the color answered which served before. A wrong color after the command, or an exit code that is not the
//! expected one, ends the run with an error.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a bench prints, and stops at the first surprise")]

#[path = "../tests/it/state/sick_disk/library.rs"]
mod library;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often, unless `CUTOVER_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 200;
/// Every so many rounds one, where a round takes long by design.
const FEW: usize = 5;

/// One of the two, and how it behaves.
struct Application {
    address: SocketAddr,
    well: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
}

/// Ends it with the run.
struct Proxy {
    child: Child,
    dir: tempfile::TempDir,
    http: SocketAddr,
    write_back: bool,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client has seen: when each request began, and whether the old color answered it.
type Seen = Arc<Mutex<Vec<(Instant, bool)>>>;

/// One case of the way back.
struct Case {
    name: &'static str,
    /// Its rounds take long.
    slow: bool,
    args: &'static [&'static str],
    code: i32,
    /// `[state] write_back`
    write_back: bool,
    prepare: fn(&Bench),
    restore: fn(&Bench),
}

struct Bench {
    blue: Application,
    proxy: Proxy,
    sick: PathBuf,
}

const CASES: [Case; 7] = [
    Case { name: "plain", slow: false, args: &[], code: 0, write_back: true, prepare: nothing, restore: nothing },
    Case {
        name: "the disk hangs",
        slow: true,
        args: &[],
        code: 0,
        write_back: true,
        prepare: |bench| std::fs::write(&bench.sick, "").expect("a file"),
        restore: |bench| std::fs::remove_file(&bench.sick).expect("it was there"),
    },
    Case {
        name: "target unhealthy: refused",
        slow: false,
        args: &[],
        code: 3,
        write_back: true,
        prepare: |bench| bench.blue.well.store(false, Ordering::SeqCst),
        restore: |bench| bench.blue.well.store(true, Ordering::SeqCst),
    },
    Case {
        name: "target unhealthy: forced",
        slow: false,
        args: &["--force"],
        code: 0,
        write_back: true,
        prepare: |bench| bench.blue.well.store(false, Ordering::SeqCst),
        restore: |bench| bench.blue.well.store(true, Ordering::SeqCst),
    },
    Case {
        name: "target's checks hang: refused",
        slow: true,
        args: &[],
        code: 3,
        write_back: true,
        prepare: |bench| bench.blue.hangs.store(true, Ordering::SeqCst),
        restore: |bench| bench.blue.hangs.store(false, Ordering::SeqCst),
    },
    Case {
        name: "target's checks hang: forced",
        slow: false,
        args: &["--force"],
        code: 0,
        write_back: true,
        prepare: |bench| bench.blue.hangs.store(true, Ordering::SeqCst),
        restore: |bench| bench.blue.hangs.store(false, Ordering::SeqCst),
    },
    Case {
        name: "the file says the other color",
        slow: false,
        args: &[],
        code: 0,
        write_back: false,
        prepare: nothing,
        restore: nothing,
    },
];

fn nothing(_: &Bench) {}

fn rounds() -> usize {
    std::env::var("CUTOVER_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

fn few() -> usize {
    (rounds() / FEW).max(1)
}

fn main() {
    println!("the way back, from the start of the command, in ms: median / p99 (times)");
    println!("{:<34}{:>20}{:>24}", "", "traffic", "command");
    for case in &CASES {
        way_back(case);
    }
    println!();
    println!("commands, from the start to the end of the program, in ms: median / p99 (times)");
    commands();
}

fn way_back(case: &Case) {
    let bench = Bench::start(case.write_back);
    if !case.write_back {
        // The file orders the new color, and goes on to say so whatever is done.
        let file = bench.proxy.dir.path().join("cutover.toml");
        let text = std::fs::read_to_string(&file).expect("the file");
        std::fs::write(&file, text.replace("active = \"blue\"", "active = \"green\"")).expect("a write");
        bench.proxy.cli(&["wait", "--active", "green"], 0);
        bench.proxy.cli(&["rollback"], 0);
    }
    let (mut traffic, mut command) = (Vec::new(), Vec::new());
    for _ in 0..(if case.slow { few() } else { rounds() }) {
        bench.proxy.cli(&["switch", "green"], 0);
        bench.proxy.rest();
        (case.prepare)(&bench);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Seen::default();
        let client = ask(bench.proxy.http, Arc::clone(&stop), Arc::clone(&seen));
        let began = Instant::now();
        let args: Vec<_> = ["rollback", "--reason", "a bench"].iter().chain(case.args).copied().collect();
        bench.proxy.cli(&args, case.code);
        command.push(began.elapsed());
        let ended = Instant::now();
        stop.store(true, Ordering::SeqCst);
        client.join().expect("every request was answered");
        let seen = seen.lock().expect("no panic");
        let last_old = seen.iter().filter(|(_, old)| *old).map(|(at, _)| *at).max();
        if case.code == 0 {
            assert!(last_old.is_none_or(|at| at <= ended), "{}: the old color answered after the command", case.name);
            traffic.push(last_old.map_or(Duration::ZERO, |at| at.saturating_duration_since(began)));
        } else {
            assert!(seen.iter().all(|(_, old)| *old), "{}: it was refused, and moved", case.name);
        }
        (case.restore)(&bench);
        if case.code != 0 {
            bench.proxy.cli(&["rollback", "--force"], 0);
        }
        bench.proxy.rest();
    }
    println!("{:<34}{:>20}{:>24}", case.name, figures(&mut traffic), figures(&mut command));
}

fn figures(all: &mut [Duration]) -> String {
    all.sort_unstable();
    let at = |share: f64| all[((all.len() as f64 * share) as usize).min(all.len() - 1)].as_secs_f64() * 1e3;
    if all.is_empty() {
        "nothing moves".to_owned()
    } else {
        format!("{:.1} / {:.1} ({})", at(0.5), at(0.99), all.len())
    }
}

/// A command, and what has to be said before and after it.
type Timed = (&'static str, &'static [&'static [&'static str]], &'static [&'static [&'static str]]);

fn commands() {
    const COMMANDS: [Timed; 16] = [
        ("status", &[], &[]),
        ("rollback", &[&["switch"]], &[]),
        ("rollback --force", &[&["switch"]], &[]),
        ("rollback --quarantine", &[&["switch", "--force"]], &[]),
        ("freeze --reason why --until 2h", &[], &[&["unfreeze"]]),
        ("wait --drained", &[], &[]),
        ("history", &[], &[]),
        ("history --kind refused", &[], &[]),
        ("history releases", &[], &[]),
        ("history verify", &[], &[]),
        ("switch --no-overlap --force", &[], &[]),
        ("hold", &[], &[&["release"]]),
        ("release", &[&["hold"]], &[]),
        ("maintenance on", &[], &[&["maintenance", "off"]]),
        ("notify test", &[], &[]),
        ("check", &[], &[]),
    ];
    let bench = Bench::start(true);
    for (line, before, after) in COMMANDS {
        let args: Vec<_> = line.split(' ').collect();
        let mut took = Vec::new();
        for _ in 0..few() {
            before.iter().for_each(|args| drop(bench.proxy.cli(args, 0)));
            bench.proxy.rest();
            let began = Instant::now();
            bench.proxy.cli(&args, 0);
            took.push(began.elapsed());
            after.iter().for_each(|args| drop(bench.proxy.cli(args, 0)));
        }
        println!("{line:<34}{:>20}", figures(&mut took));
    }
    let mut took = Vec::new();
    for _ in 0..few() {
        let began = Instant::now();
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-H", "x-cutover-color: inactive"]).arg(format!("http://{}/", bench.proxy.http));
        let output = curl.output().expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        took.push(began.elapsed());
    }
    println!("{:<34}{:>20}", "curl of the preview", figures(&mut took));
}

impl Bench {
    fn start(write_back: bool) -> Bench {
        let (blue, green) = (Application::start("blue"), Application::start("green"));
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().display();
        let receiver = Application::start("");
        std::fs::write(dir.path().join("url"), format!("http://{}/", receiver.address)).expect("a file");
        let text = format!(
            "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"unix:{at}/admin.sock\"\n\
             [state]\ndir = \"{at}/state\"\nwrite_back = {write_back}\n[health]\npath = \"/healthz\"\n\
             [log]\naccess = \"off\"\n[preview]\nallow = [\"127.0.0.1\"]\n\
             [[notify]]\nname = \"ops\"\nkind = \"slack\"\nurl_file = \"{at}/url\"\n\
             [blue]\nrelease = \"1\"\nendpoints = [\"{}\"]\n[green]\nrelease = \"2\"\nendpoints = [\"{}\"]\n",
            blue.address, green.address
        );
        std::fs::write(dir.path().join("cutover.toml"), text).expect("a file");
        let sick = dir.path().join("sick");
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
        command.args(["run", "--config"]).arg(dir.path().join("cutover.toml")).envs(library::environment(&sick));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built");
        let mut proxy = Proxy { child, dir, http: SocketAddr::from(([127, 0, 0, 1], 0)), write_back };
        while !proxy.dir.path().join("admin.sock").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let http = proxy.status()["http_address"].as_str().and_then(|address| address.parse().ok());
        proxy.http = http.expect("an address");
        proxy.cli(&["wait", "--healthy", "green"], 0);
        Bench { blue, proxy, sick }
    }
}

impl Proxy {
    /// Runs a command, which has to end like this.
    fn cli(&self, args: &[&str], code: i32) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
        command.args(args).env("CUTOVER_CONFIG", self.dir.path().join("cutover.toml")).stdin(Stdio::null());
        let output = command.output().expect("the binary was built");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        output
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.cli(&["status", "--json"], 0).stdout).expect("JSON")
    }

    /// Waits until nothing is left to do of what was done before.
    fn rest(&self) {
        let rests = |status: serde_json::Value| {
            let agrees = !self.write_back || status["file"]["disagrees"] == false;
            status["durable"] == true && status.get("draining").is_none() && agrees
        };
        let until = Instant::now() + Duration::from_secs(2);
        while !rests(self.status()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Application {
    fn start(name: &'static str) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (well, hangs) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let application = Application { address, well: Arc::clone(&well), hangs: Arc::clone(&hangs) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (well, hangs) = (Arc::clone(&well), Arc::clone(&hangs));
                std::thread::spawn(move || serve(name, stream, &well, &hangs));
            }
        });
        application
    }
}

fn serve(name: &str, mut stream: TcpStream, well: &AtomicBool, hangs: &AtomicBool) {
    let _ = stream.set_nodelay(true);
    while let Some(head) = read_head(&mut stream) {
        let probe = head.starts_with(b"GET /healthz");
        if probe && hangs.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(2));
        }
        let status = if probe && !well.load(Ordering::SeqCst) { "503 Not Well" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A head, and the body behind it if there is one.
fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let end = read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if read.len() >= end + 4 + length.unwrap_or(0_usize) {
                return Some(read);
            }
        }
        match stream.read(&mut piece) {
            Ok(count @ 1..) => read.extend_from_slice(&piece[..count]),
            _ => return None,
        }
    }
}

/// Asks on one connection, again and again, until it shall stop; then once more.
fn ask(http: SocketAddr, stop: Arc<AtomicBool>, seen: Seen) -> std::thread::JoinHandle<()> {
    let stream = TcpStream::connect(http).expect("the proxy listens");
    std::thread::spawn(move || {
        let mut stream = stream;
        stream.set_nodelay(true).expect("a socket");
        loop {
            let last = stop.load(Ordering::SeqCst);
            let began = Instant::now();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
            let answer = read_head(&mut stream).expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
            seen.lock().expect("no panic").push((began, answer.ends_with(b"green")));
            if last {
                return;
            }
            // Leaves the processors to what is measured.
            std::thread::sleep(Duration::from_micros(200));
        }
    })
}
