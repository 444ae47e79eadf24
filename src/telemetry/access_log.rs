//! One line per request, written off the request path.
//!
//! Each worker passes its buffer on, full or every 100 ms, through a bounded queue to one writer thread. When the
//! writer can't keep up (an unread pipe, a slow disk), buffers are dropped and their lines counted; no request waits.
//! The writer thread also opens the file, since a path can hang.

mod combined;
mod line;
mod output;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::{AccessLog, LogConfig, LogFormat};
use crate::domain::split::Weight;
use crate::telemetry::access_log::line::Clock;
use crate::telemetry::access_log::output::Output;

/// Bytes at which a buffer is passed on.
const FULL: usize = 32 * 1024;
/// Queue length in buffers: 16 MiB.
const WAITING: usize = 512;
const FIRST_OPEN: Duration = Duration::from_secs(1);
const LAST_LINES: Duration = Duration::from_secs(2);

/// The facts of a finished request. Borrowed: copied only into the line.
#[derive(Debug)]
pub struct Entry<'a> {
    pub request_id: &'a [u8],
    pub trace_id: Option<&'a [u8]>,
    /// The client as forwarded by trusted proxies, else the peer.
    pub client: &'a str,
    pub peer: SocketAddr,
    pub method: &'a str,
    /// As the client sent it.
    pub host: &'a [u8],
    /// Path and query, as the client sent them.
    pub path: &'a str,
    pub protocol: &'static str,
    /// 499: the client left before the answer; 0: the connection ended without HTTP.
    pub status: u16,
    /// This and the next five are empty or 0 where the proxy answered before it chose a color.
    pub color: &'static str,
    pub release: &'a str,
    pub upstream: &'a str,
    pub endpoint: &'a str,
    /// The generation of the answering snapshot.
    pub generation: u64,
    pub preview: bool,
    /// From the parsed request head to the last byte of the response.
    pub duration: Duration,
    pub ttfb: Option<Duration>,
    /// From the sent request to the response head.
    pub upstream_time: Option<Duration>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub retries: u32,
    pub grpc_status: Option<u16>,
    /// The chosen color failed, and the other one answered.
    pub shielded: bool,
    /// The chosen color lacks the file, and the other one answered.
    pub lingered: bool,
    /// Reason as in `cutover_refused_total`, if the request ended at the proxy.
    pub refused: Option<&'static str>,
    /// Name as in `Proxy-Status`, if the proxy answered or cut the response off.
    pub error: Option<&'static str>,
    pub blame: Option<&'static str>,
    /// Looks up fields of the request's head, for `log.fields`.
    pub header: Header<'a>,
}

#[derive(Clone, Copy)]
pub struct Header<'a>(pub &'a dyn Fn(&[u8]) -> Option<&'a [u8]>);

impl std::fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Header")
    }
}

impl Entry<'_> {
    fn is_success(&self) -> bool {
        let answered = (100..400).contains(&self.status) && self.grpc_status.is_none_or(|status| status == 0);
        let undisturbed = self.error.is_none() && self.refused.is_none() && self.blame.is_none();
        answered && undisturbed && self.retries == 0 && !self.shielded
    }
}

/// The format of lines, shared with the workers so that a reload reaches them.
#[derive(Debug, Default)]
struct Style {
    off: AtomicBool,
    /// A [`Form`].
    form: AtomicU8,
    redact_query: AtomicBool,
    /// Share of the successes that is written, in ten-thousandths.
    sample: AtomicU16,
    fields: ArcSwap<Vec<Field>>,
    dropped: AtomicU64,
    /// Target to open before the next lines.
    next: Mutex<Option<AccessLog>>,
    /// Reason that lines are being dropped.
    trouble: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Field {
    header: String,
    key: String,
}

enum Message {
    Lines(Vec<u8>),
    Target,
    End,
}

#[derive(Debug)]
pub struct AccessLogWriter {
    queue: SyncSender<Message>,
    style: Arc<Style>,
    target: Mutex<AccessLog>,
    thread: Option<JoinHandle<()>>,
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug)]
pub struct AccessLogger {
    queue: SyncSender<Message>,
    style: Arc<Style>,
    buffer: Vec<u8>,
    lines: u64,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Combined,
    /// For people, where only a terminal reads it.
    Terminal,
}

impl Form {
    fn of(target: &AccessLog, format: LogFormat) -> Form {
        match format {
            LogFormat::Auto if *target == AccessLog::Stdout && io::stdout().is_terminal() => Form::Terminal,
            LogFormat::Auto | LogFormat::Json => Form::Json,
            LogFormat::Text => Form::Combined,
        }
    }
}

impl AccessLogWriter {
    /// Waits briefly for the thread to open the target.
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

    pub fn logger(&self) -> AccessLogger {
        AccessLogger {
            queue: self.queue.clone(),
            style: Arc::clone(&self.style),
            buffer: Vec::new(),
            lines: 0,
            clock: Clock::default(),
        }
    }

    pub fn dropped(&self) -> u64 {
        self.style.dropped.load(Ordering::Relaxed)
    }

    pub fn trouble(&self) -> Option<String> {
        self.style.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn target(&self) -> AccessLog {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reopens the file, after a rotation. Returns at once.
    pub fn reopen(&self) {
        self.hand_over(self.target());
    }

    /// Returns at once.
    pub fn retarget(&self, config: &LogConfig) {
        let LogConfig { access: target, format, redact_query, fields, sample } = config;
        self.style.off.store(*target == AccessLog::Off, Ordering::Relaxed);
        self.style.form.store(Form::of(target, *format) as u8, Ordering::Relaxed);
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
        // A writer stuck on an unread pipe is abandoned.
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
    /// `false`: nothing needs to be gathered.
    pub fn is_on(&self) -> bool {
        !self.style.off.load(Ordering::Relaxed)
    }

    pub fn log(&mut self, entry: &Entry<'_>) {
        let sample = Weight::new(self.style.sample.load(Ordering::Relaxed)).unwrap_or(Weight::ALL);
        if sample != Weight::ALL && entry.is_success() && !sample.takes(fastrand::u64(..)) {
            return;
        }
        let redact_query = self.style.redact_query.load(Ordering::Relaxed);
        let fields = self.style.fields.load();
        let now = self.clock.now();
        let write = match self.style.form.load(Ordering::Relaxed) {
            form if form == Form::Combined as u8 => combined::combined,
            form if form == Form::Terminal as u8 => line::terminal,
            _ => line::json,
        };
        write(&mut self.buffer, now, entry, &fields, redact_query);
        self.lines += 1;
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

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
