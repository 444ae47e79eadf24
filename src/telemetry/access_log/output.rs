//! The writer thread's output, with a bound on every wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::config::AccessLog;
use crate::telemetry::access_log::Style;

/// A pipe that takes nothing for this long loses the lines.
const PATIENCE: Duration = Duration::from_secs(1);
const OPEN_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Output {
    target: Option<AccessLog>,
    file: Option<File>,
    open_again: Option<Instant>,
    rest: Vec<u8>,
}

impl Output {
    pub(super) fn open(&mut self, target: AccessLog, style: &Style) {
        self.rest.clear();
        self.file = None;
        self.open_again = None;
        if let AccessLog::File(path) = &target {
            match open(path) {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    self.open_again = Some(Instant::now() + OPEN_AGAIN);
                    let reason = match error.raw_os_error() {
                        Some(code) if code == rustix::io::Errno::NXIO.raw_os_error() => {
                            "can't be opened: no process reads this pipe".to_owned()
                        }
                        _ => format!("can't be opened: {error}"),
                    };
                    self.target = Some(target.clone());
                    return trouble(style, path, Some(reason));
                }
            }
        }
        self.target = Some(target);
        style.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn write(&mut self, lines: &[u8], style: &Style) {
        if self.file.is_none()
            && self.open_again.is_some_and(|at| at <= Instant::now())
            && let Some(target) = self.target.take()
        {
            self.open(target, style);
        }
        let written = match (&self.target, &mut self.file) {
            (Some(AccessLog::Stdout), _) => {
                let mut out = io::stdout().lock();
                out.write_all(lines).and_then(|()| out.flush()).map_err(|error| (0, error))
            }
            (Some(AccessLog::File(_)), Some(file)) => {
                let rest = std::mem::take(&mut self.rest);
                match write_all(file, &rest) {
                    Ok(()) => write_all(file, lines),
                    Err((written, error)) => {
                        self.rest = rest.get(written..).unwrap_or_default().to_vec();
                        Err((0, error))
                    }
                }
            }
            (Some(AccessLog::File(_)), None) => {
                style.dropped.fetch_add(count(lines), Ordering::Relaxed);
                return;
            }
            (Some(AccessLog::Off) | None, _) => Ok(()),
        };
        let path = match &self.target {
            Some(AccessLog::File(path)) => path.as_path(),
            Some(AccessLog::Stdout | AccessLog::Off) | None => Path::new("stdout"),
        };
        match written {
            Ok(()) => trouble(style, path, None),
            Err((written, error)) => {
                let mut left = lines.get(written..).unwrap_or_default();
                if written > 0 && lines.get(written - 1) != Some(&b'\n') {
                    // The rest of this line is written first when there is room again.
                    let end = left.iter().position(|byte| *byte == b'\n').map_or(left.len(), |end| end + 1);
                    self.rest = left.get(..end).unwrap_or_default().to_vec();
                    left = left.get(end..).unwrap_or_default();
                }
                if error.kind() == io::ErrorKind::BrokenPipe {
                    self.rest.clear();
                }
                style.dropped.fetch_add(count(left), Ordering::Relaxed);
                let reason = match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        "takes no lines: the process that reads this pipe does not read".to_owned()
                    }
                    _ => format!("can't be written: {error}"),
                };
                trouble(style, path, Some(reason));
            }
        }
    }
}

/// Never blocks: a pipe without a reader is an error.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}

/// An error comes with the number of bytes written before it.
fn write_all(file: &mut File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let until = Instant::now() + PATIENCE;
    let mut written = 0;
    while let Some(left) = bytes.get(written..).filter(|left| !left.is_empty()) {
        match file.write(left) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let patience = until.saturating_duration_since(Instant::now());
                let timeout = Timespec::try_from(patience).ok();
                let ready = poll(&mut [PollFd::new(file, PollFlags::OUT)], timeout.as_ref());
                if patience.is_zero() || matches!(ready, Ok(0)) {
                    return Err((written, error));
                }
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn trouble(style: &Style, path: &Path, reason: Option<String>) {
    let mut known = style.trouble.lock().unwrap_or_else(PoisonError::into_inner);
    if *known == reason {
        return;
    }
    match &reason {
        Some(reason) => {
            tracing::warn!(file = %path.display(), reason, "Access log lines dropped");
        }
        None => tracing::info!(file = %path.display(), "Access log written again"),
    }
    *known = reason;
}
