//! The memory that one connection makes the proxy hold. It is part of the process's account ([`buffered`]).

use crate::sys::buffered::{self, Charge};

/// Heads of requests, heads of responses, and blocks of bodies that the client does not take: at most this much. Beyond
/// it new streams are refused.
const LIMIT: usize = 2 << 20;
/// Responses alone: beyond it nothing more is read from endpoints for this connection.
const RESPONSES: usize = 3 << 19;

/// Bodies of requests in memory and the connection's receive window, together.
const UPLOADS: usize = 12 << 20;
/// The same while the process holds as much as it may.
const UPLOADS_WHEN_FULL: usize = 256 << 10;
/// By how much the windows of all streams may grow together.
const WINDOWS: usize = 8 << 20;

/// What a connection holds, in bytes.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Heads of requests, and what else a stream costs.
    requests: usize,
    /// Heads and blocks of responses.
    responses: usize,
    /// Bodies of requests that no endpoint took.
    uploads: usize,
    /// Room in receive windows beyond the first ones.
    windows: usize,
    process: Charge,
}

impl Account {
    /// Whether a new stream that needs this much is served.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.requests + self.responses + bytes <= LIMIT
    }

    /// Whether another response may be read from an endpoint.
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

    /// Replaces what a response holds.
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

    /// Bodies of requests that no endpoint took.
    pub(super) fn uploads(&self) -> usize {
        self.uploads
    }

    /// Bytes by which one receive window may grow: three quarters of what is left for all.
    pub(super) fn growth(&self) -> usize {
        if buffered::is_full() { 0 } else { WINDOWS.saturating_sub(self.windows) / 4 * 3 }
    }

    pub(super) fn reserve_window(&mut self, bytes: usize) {
        self.windows += bytes;
    }

    pub(super) fn release_window(&mut self, bytes: usize) {
        self.windows -= bytes;
    }

    /// Bodies in memory and the connection's window together may have this much.
    pub(super) fn most_uploads(&self) -> usize {
        if buffered::is_full() { UPLOADS_WHEN_FULL } else { UPLOADS }
    }

    fn tell_process(&mut self) {
        self.process.set(self.requests + self.responses + self.uploads);
    }

    /// Everything: a window that has grown may be filled at any time.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.requests + self.responses + self.uploads.max(self.windows)
    }
}
