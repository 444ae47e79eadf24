//! The memory that one connection makes the proxy hold, which counts to the process's account ([`buffered`]).

use crate::sys::buffered::{self, Charge};

/// Heads, and response bodies that the client has not taken. Beyond it new streams are refused.
const LIMIT: usize = 2 << 20;
/// Responses alone. Beyond it nothing is read from endpoints for this connection.
const RESPONSES: usize = 3 << 19;

/// Request bodies in memory, plus the connection's receive window.
const UPLOADS: usize = 12 << 20;
/// The same while the process is at its memory limit.
const UPLOADS_WHEN_FULL: usize = 256 << 10;
/// Total growth of all stream windows.
const WINDOWS: usize = 8 << 20;

/// All fields are bytes.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Heads of requests, and the fixed cost of streams.
    requests: usize,
    responses: usize,
    uploads: usize,
    windows: usize,
    process: Charge,
}

impl Account {
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.requests + self.responses + bytes <= LIMIT
    }

    pub(super) fn takes_responses(&self) -> bool {
        self.responses < RESPONSES
    }

    pub(super) fn charge_request(&mut self, bytes: usize) {
        self.requests += bytes;
        self.tell_process();
    }

    pub(super) fn release_request(&mut self, bytes: usize) {
        self.requests -= bytes;
        self.tell_process();
    }

    pub(super) fn change_response(&mut self, from: usize, to: usize) {
        self.responses = self.responses - from + to;
        self.tell_process();
    }

    pub(super) fn charge_upload(&mut self, bytes: usize) {
        self.uploads += bytes;
        self.tell_process();
    }

    pub(super) fn release_upload(&mut self, bytes: usize) {
        self.uploads -= bytes;
        self.tell_process();
    }

    pub(super) fn uploads(&self) -> usize {
        self.uploads
    }

    /// Growth allowed for one receive window: three quarters of what is left for all.
    pub(super) fn growth(&self) -> usize {
        if buffered::is_full() { 0 } else { WINDOWS.saturating_sub(self.windows) / 4 * 3 }
    }

    pub(super) fn reserve_window(&mut self, bytes: usize) {
        self.windows += bytes;
    }

    pub(super) fn release_window(&mut self, bytes: usize) {
        self.windows -= bytes;
    }

    pub(super) fn most_uploads(&self) -> usize {
        if buffered::is_full() { UPLOADS_WHEN_FULL } else { UPLOADS }
    }

    fn tell_process(&mut self) {
        self.process.set(self.requests + self.responses + self.uploads);
    }

    /// The worst case: a window that has grown may be filled at any time.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.requests + self.responses + self.uploads.max(self.windows)
    }
}
