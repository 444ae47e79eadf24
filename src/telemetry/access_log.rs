//! One line for each request, written off the request path.
//!
//! A worker formats the line into a buffer of its own and hands full buffers, or every 100 ms what there is, to one
//! writer thread through a bounded queue. When the writer can't keep up (a pipe that nobody reads, a slow disk) buffers
//! are dropped and their lines counted; no request ever waits for its line. The writer thread also opens the file, so
//! that a path that hangs holds up nobody else.

mod line;
mod output;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::{AccessLog, LogConfig, LogFormat};
use crate::domain::split::Weight;
use crate::telemetry::access_log::line::Clock;
use crate::telemetry::access_log::output::Output;

/// A buffer is handed on when it holds so much.
const FULL: usize = 32 * 1024;
/// So many buffers wait for the writer at most: 16 MiB.
const WAITING: usize = 512;
/// How long the start waits for the file.
const FIRST_OPEN: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What is known of a request when it has ended. Borrowed: nothing is copied but into the line.
#[derive(Debug)]
pub struct Entry<'a> {
    /// `X-Request-Id`
    pub request_id: &'a [u8],
    /// From `traceparent`, if it was there.
    pub trace_id: Option<&'a [u8]>,
    /// The client as forwarded by trusted proxies, else the peer.
    pub client: &'a str,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Method.
    pub method: &'a str,
    /// The `Host`, as the client sent it.
    pub host: &'a [u8],
    /// Path and query, as the client sent them.
    pub path: &'a str,
    /// `HTTP/1.1`
    pub protocol: &'static str,
    /// Status code; 499 when the client left before the answer; 0 where the connection ended without HTTP.
    pub status: u16,
    /// This and the next five are empty or 0 where the proxy answered before a color was chosen.
    pub color: &'static str,
    /// Release label.
    pub release: &'a str,
    /// Upstream name.
    pub upstream: &'a str,
    /// Endpoint, as the configuration writes it.
    pub endpoint: &'a str,
    /// Generation of the snapshot that answered.
    pub generation: u64,
    /// It was for the color that does not serve.
    pub preview: bool,
    /// From the parsed request head to the last byte of the response.
    pub duration: Duration,
    /// To the response head.
    pub ttfb: Option<Duration>,
    /// From the sent request to the response head.
    pub upstream_time: Option<Duration>,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// How often the request was sent again.
    pub retries: u32,
    /// Of a gRPC call.
    pub grpc_status: Option<u16>,
    /// The color that it was given to has failed it, and the other one answered.
    pub shielded: bool,
    /// The color that it was given to does not know the file, and the other one answered.
    pub lingered: bool,
    /// Why it ended at the proxy, as in `cutover_refused_total`.
    pub refused: Option<&'static str>,
    /// The error's name as in `Proxy-Status`, if the proxy answered or cut the answer.
    pub error: Option<&'static str>,
    /// Who is to blame, if something went wrong.
    pub blame: Option<&'static str>,
    /// Fields of the request's head, for `log.fields`.
    pub header: Header<'a>,
}

/// The value of a field by its name.
#[derive(Clone, Copy)]
pub struct Header<'a>(pub &'a dyn Fn(&[u8]) -> Option<&'a [u8]>);

impl std::fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Header")
    }
}

impl Entry<'_> {
    /// Nothing went wrong, at nobody.
    fn is_success(&self) -> bool {
        let answered = (100..400).contains(&self.status) && self.grpc_status.is_none_or(|status| status == 0);
        let undisturbed = self.error.is_none() && self.refused.is_none() && self.blame.is_none();
        answered && undisturbed && self.retries == 0 && !self.shielded
    }
}

/// How lines look, shared with the workers so that a reload reaches them.
#[derive(Debug, Default)]
struct Style {
    off: AtomicBool,
    text: AtomicBool,
    redact_query: AtomicBool,
    /// The share of the successes that is written, in ten-thousandths.
    sample: AtomicU16,
    /// Fields of the request that are written besides.
    fields: ArcSwap<Vec<Field>>,
    dropped: AtomicU64,
    /// What the writer opens before it writes the next lines.
    next: Mutex<Option<AccessLog>>,
    /// Why lines are dropped, while they are.
    trouble: Mutex<Option<String>>,
}

/// A field of the request, and its name in a line.
#[derive(Debug)]
struct Field {
    header: String,
    key: String,
}

enum Message {
    Lines(Vec<u8>),
    /// There is another target.
    Target,
    End,
}

/// The writer thread and its queue.
#[derive(Debug)]
pub struct AccessLogWriter {
    queue: SyncSender<Message>,
    style: Arc<Style>,
    target: Mutex<AccessLog>,
    thread: Option<JoinHandle<()>>,
    /// Closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// One worker's end.
#[derive(Debug)]
pub struct AccessLogger {
    queue: SyncSender<Message>,
    style: Arc<Style>,
    buffer: Vec<u8>,
    lines: u64,
    clock: Clock,
}

/// Lines for eyes: where that is configured, or nobody but a terminal reads them.
fn is_text(target: &AccessLog, format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => *target == AccessLog::Stdout && io::stdout().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    }
}

impl AccessLogWriter {
    /// Starts the thread, which opens the target. Waits for that, but not for long.
    pub fn start(config: &LogConfig) -> io::Result<AccessLogWriter> {
        let (queue, waiting) = mpsc::sync_channel(WAITING);
        let style = Arc::new(Style::default());
        let shared = Arc::clone(&style);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let (running, ended) = mpsc::channel();
        let (opened, first) = mpsc::channel();
        let work = move || {
            write(&waiting, &shared, opened);
            drop::<mpsc::Sender<()>>(running);
        };
        let thread = Some(thread.spawn(work)?);
        let target_now = Mutex::new(config.access.clone());
        let writer = AccessLogWriter { queue, style, target: target_now, thread, ended: Mutex::new(ended) };
        writer.retarget(config);
        let _ = first.recv_timeout(FIRST_OPEN);
        Ok(writer)
    }

    /// An end for one worker.
    pub fn logger(&self) -> AccessLogger {
        AccessLogger {
            queue: self.queue.clone(),
            style: Arc::clone(&self.style),
            buffer: Vec::new(),
            lines: 0,
            clock: Clock::default(),
        }
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.style.dropped.load(Ordering::Relaxed)
    }

    /// Why lines are dropped now, if they are.
    pub fn trouble(&self) -> Option<String> {
        self.style.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The target.
    pub fn target(&self) -> AccessLog {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the file opened again, after a rotation. Comes back at once.
    pub fn reopen(&self) {
        self.hand_over(self.target());
    }

    /// Takes over another target and style. Comes back at once.
    pub fn retarget(&self, config: &LogConfig) {
        let LogConfig { access: target, format, redact_query, fields, sample } = config;
        self.style.off.store(*target == AccessLog::Off, Ordering::Relaxed);
        self.style.text.store(is_text(target, *format), Ordering::Relaxed);
        self.style.redact_query.store(*redact_query, Ordering::Relaxed);
        self.style.sample.store(sample.basis_points(), Ordering::Relaxed);
        let field = |header: &String| Field { header: header.clone(), key: header.replace('-', "_") };
        self.style.fields.store(Arc::new(fields.iter().map(field).collect()));
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target.clone();
        self.hand_over(target.clone());
    }

    fn hand_over(&self, target: AccessLog) {
        *self.style.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
        // A full queue wakes the writer as well.
        let _ = self.queue.try_send(Message::Target);
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        // A writer that hangs in a write, because nobody reads the pipe, is left behind.
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.queue.try_send(Message::End).is_ok()
            && ended.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Disconnected)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl AccessLogger {
    /// Whether there is a log at all; if not, nothing needs to be gathered.
    pub fn is_on(&self) -> bool {
        !self.style.off.load(Ordering::Relaxed)
    }

    /// Formats one line into the worker's buffer.
    pub fn log(&mut self, entry: &Entry<'_>) {
        let sample = Weight::new(self.style.sample.load(Ordering::Relaxed)).unwrap_or(Weight::ALL);
        if sample != Weight::ALL && entry.is_success() && !sample.takes(fastrand::u64(..)) {
            return;
        }
        let redact_query = self.style.redact_query.load(Ordering::Relaxed);
        let fields = self.style.fields.load();
        let now = self.clock.now();
        if self.style.text.load(Ordering::Relaxed) {
            line::text(&mut self.buffer, now, entry, &fields, redact_query);
        } else {
            line::json(&mut self.buffer, now, entry, &fields, redact_query);
        }
        self.lines += 1;
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.buffer);
        match self.queue.try_send(Message::Lines(lines)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.style.dropped.fetch_add(self.lines, Ordering::Relaxed);
            }
        }
        self.lines = 0;
    }
}

fn write(waiting: &Receiver<Message>, style: &Style, opened: mpsc::Sender<()>) {
    let mut output = Output::default();
    let mut opened = Some(opened);
    while let Ok(message) = waiting.recv() {
        let next = style.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(next) = next {
            output.open(next, style);
            drop(opened.take());
        }
        match message {
            Message::Lines(lines) => output.write(&lines, style),
            Message::Target => {}
            Message::End => return,
        }
    }
}

#[cfg(test)]
mod tests;
