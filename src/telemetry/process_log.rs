//! The process log, written to standard error by its own thread.
//!
//! An unread pipe, a journal or a disk that hangs must delay neither a rollback nor a request. Lines that find the
//! queue full are dropped; their number is logged once there is room.

mod json;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::time::Duration;

pub(super) use json::JsonLine;

const WAITING: usize = 4096;
const LAST_LINES: Duration = Duration::from_secs(2);

/// One per process, like standard error.
static LOG: OnceLock<ProcessLog> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(mpsc::Sender<()>),
}

#[derive(Debug)]
struct ProcessLog {
    queue: SyncSender<Message>,
    on_terminal: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lines(&'static ProcessLog);

pub(super) fn start() -> io::Result<Lines> {
    // Bypasses the lock of `io::stderr`, which a hung write would hold.
    start_in(File::from(io::stderr().as_fd().try_clone_to_owned()?))
}

pub(super) fn start_in(output: File) -> io::Result<Lines> {
    if let Some(log) = LOG.get() {
        return Ok(Lines(log));
    }
    let (queue, waiting) = mpsc::sync_channel(WAITING);
    let on_terminal = output.is_terminal();
    std::thread::Builder::new().name("process-log".to_owned()).spawn(move || write(&waiting, output))?;
    Ok(Lines(LOG.get_or_init(|| ProcessLog { queue, on_terminal })))
}

pub(crate) fn flush() {
    let (written, wait) = mpsc::channel();
    if let Some(log) = LOG.get()
        && log.queue.try_send(Message::Flush(written)).is_ok()
    {
        let _ = wait.recv_timeout(LAST_LINES);
    }
}

impl Lines {
    pub(super) fn on_terminal(self) -> bool {
        self.0.on_terminal
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.queue.try_send(Message::Line(line.to_owned())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(waiting: &Receiver<Message>, mut output: File) {
    loop {
        let message = match waiting.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Empty) => {
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    tracing::warn!(dropped, "Log lines dropped: nothing reads them");
                }
                match waiting.recv() {
                    Ok(message) => message,
                    Err(_) => return,
                }
            }
            Err(TryRecvError::Disconnected) => return,
        };
        match message {
            // A failed write can be reported nowhere.
            Message::Line(line) => drop(output.write_all(&line)),
            Message::Flush(written) => drop(written.send(())),
        }
    }
}
