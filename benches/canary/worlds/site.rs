//! A site of two applications and its users. An application answers as the world says for its color, the path and the moment; its
//! process may pause, and then nothing is answered by it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an application is asked.
pub(crate) struct Ask<'a> {
    pub(crate) path: &'a str,
    /// Of the new release.
    pub(crate) candidate: bool,
    /// Seconds since the deployment began; negative before.
    pub(crate) at: f64,
    /// Seconds since the candidate has the traffic.
    pub(crate) alone: Option<f64>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) seconds: f64,
}

pub(crate) type Serve = fn(&Ask<'_>) -> Answer;

/// One number of a lognormal distribution.
pub(crate) fn lognormal(median: f64, sigma: f64) -> f64 {
    let (u, v) = (1.0 - fastrand::f64(), fastrand::f64());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    median * (sigma * normal).exp()
}

/// Time as both applications know it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    began: Mutex<Option<Instant>>,
    alone: Mutex<Option<Instant>>,
}

impl Clock {
    pub(crate) fn begin(&self) {
        *self.began.lock().expect("nobody panics") = Some(Instant::now());
    }

    /// The candidate has the traffic.
    pub(crate) fn is_alone(&self) {
        self.alone.lock().expect("nobody panics").get_or_insert_with(Instant::now);
    }

    pub(crate) fn at(&self) -> f64 {
        self.began.lock().expect("nobody panics").map_or(-1.0, |at| at.elapsed().as_secs_f64())
    }

    fn alone(&self) -> Option<f64> {
        self.alone.lock().expect("nobody panics").map(|at| at.elapsed().as_secs_f64())
    }
}

/// One application. Ends when it is dropped.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Process {
    candidate: bool,
    clock: Arc<Clock>,
    serve: Serve,
    paused_until: Mutex<Instant>,
}

impl Application {
    /// `pauses`: a pause of so many seconds each 20 to 60 s.
    pub(crate) async fn start(candidate: bool, clock: Arc<Clock>, serve: Serve, pauses: Option<f64>) -> Application {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let process = Arc::new(Process { candidate, clock, serve, paused_until: Mutex::new(Instant::now()) });
        let mut tasks = JoinSet::new();
        if let Some(seconds) = pauses {
            let process = Arc::clone(&process);
            tasks.spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs_f64(20.0 + 40.0 * fastrand::f64())).await;
                    *process.paused_until.lock().expect("nobody panics") =
                        Instant::now() + Duration::from_secs_f64(seconds);
                }
            });
        }
        tasks.spawn(async move {
            loop {
                match listener.accept().await {
                    // A connection that breaks is the end of that connection.
                    Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&process).on(stream))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Application { address, _tasks: tasks }
    }
}

impl Process {
    async fn on(self: Arc<Process>, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut read = Vec::with_capacity(1024);
        loop {
            while !read.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            }
            let head = String::from_utf8_lossy(&read);
            let path = head.split(' ').nth(1).unwrap_or_default();
            let status = if path == "/healthz" { 200 } else { self.work(path).await };
            let body = if self.candidate { "green\n" } else { "blue\n" };
            let answer = format!("HTTP/1.1 {status} It\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            read.clear();
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    async fn work(&self, path: &str) -> u16 {
        self.wait_for_process().await;
        let ask = Ask { path, candidate: self.candidate, at: self.clock.at(), alone: self.clock.alone() };
        let answer = (self.serve)(&ask);
        tokio::time::sleep(Duration::from_secs_f64(answer.seconds)).await;
        self.wait_for_process().await;
        answer.status
    }

    async fn wait_for_process(&self) {
        let until = *self.paused_until.lock().expect("nobody panics");
        if until > Instant::now() {
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

/// Users, and what they saw of the candidate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) candidate: u64,
    /// Answers of the candidate since it went bad, with 4xx or 5xx.
    pub(crate) harmed: u64,
    /// Answered by the proxy itself, or not at all.
    pub(crate) lost: u64,
}

/// Requests at a rate, whatever comes back. Ends when it is dropped.
pub(crate) struct Users {
    seen: Arc<Mutex<Seen>>,
    _task: JoinSet<()>,
}

/// Where requests go, and whose they are.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) rate: f64,
    /// So many users, with a network each.
    pub(crate) users: u32,
    pub(crate) path: fn() -> String,
    /// From this second on the candidate does harm.
    pub(crate) harms_from: f64,
}

impl Users {
    pub(crate) fn start(to: SocketAddr, traffic: Traffic, clock: Arc<Clock>) -> Users {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut task = JoinSet::new();
        task.spawn(ask(to, traffic, clock, Arc::clone(&seen)));
        Users { seen, _task: task }
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().expect("nobody panics")
    }
}

async fn ask(to: SocketAddr, traffic: Traffic, clock: Arc<Clock>, seen: Arc<Mutex<Seen>>) {
    let free = Arc::new(Mutex::new(Vec::new()));
    let mut due = Instant::now();
    let mut under_way = JoinSet::new();
    loop {
        // Requests come by chance; late ones are made up for.
        due += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / traffic.rate);
        tokio::time::sleep_until(due.into()).await;
        while under_way.try_join_next().is_some() {}
        let (free, seen, clock) = (Arc::clone(&free), Arc::clone(&seen), Arc::clone(&clock));
        under_way.spawn(async move {
            let (path, user) = ((traffic.path)(), fastrand::u32(..traffic.users));
            let harms = clock.at() >= traffic.harms_from;
            let kept = free.lock().expect("nobody panics").pop();
            let answer = tokio::time::timeout(PATIENCE, asked(to, kept, &path, user)).await;
            let mut seen = seen.lock().expect("nobody panics");
            match answer {
                Ok(Ok((stream, status, body))) if body == b"green\n" || body == b"blue\n" => {
                    let of_candidate = body == b"green\n";
                    seen.candidate += u64::from(of_candidate);
                    seen.harmed += u64::from(of_candidate && harms && status >= 400);
                    free.lock().expect("nobody panics").push(stream);
                }
                _ => seen.lost += 1,
            }
        });
    }
}

/// A kept connection may have been closed for being idle; then the request has another one.
async fn asked(
    to: SocketAddr,
    kept: Option<TcpStream>,
    path: &str,
    user: u32,
) -> std::io::Result<(TcpStream, u16, Vec<u8>)> {
    let is_kept = kept.is_some();
    match once(to, kept, path, user).await {
        Err(_) if is_kept => once(to, None, path, user).await,
        outcome => outcome,
    }
}

/// The connection, the status, and the body.
async fn once(
    to: SocketAddr,
    kept: Option<TcpStream>,
    path: &str,
    user: u32,
) -> std::io::Result<(TcpStream, u16, Vec<u8>)> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(to).await?,
    };
    stream.set_nodelay(true)?;
    let [_, a, b, c] = user.to_be_bytes();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: site\r\nX-Forwarded-For: {}.{b}.{c}.7\r\n\r\n", 11 + u32::from(a));
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if length.is_some_and(|length| read.len() >= end + 4 + length) {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            return Ok((stream, status, read.split_off(end + 4)));
        }
    }
}
