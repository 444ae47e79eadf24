//! One line for each request, written off the request path.
//!
//! Promised interface (the author may refine the inside, not the calls):
//! a worker formats an entry into its own buffer and hands full (or 100 ms old) buffers to the one writer thread
//! through a bounded queue; a full queue drops the buffer and counts its lines.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{AccessLog, LogFormat};

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
    /// Status code; 499 when the client left before the answer.
    pub status: u16,
    /// The rest is empty where the proxy itself answered before a color was chosen.
    pub color: &'static str,
    /// Release label.
    pub release: &'a str,
    /// Upstream name.
    pub upstream: &'a str,
    /// Endpoint, as the configuration writes it.
    pub endpoint: &'a str,
    /// Generation of the snapshot that answered.
    pub generation: u64,
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
    /// The error's name as in `Proxy-Status`, if the proxy answered or cut the answer.
    pub error: Option<&'static str>,
}

/// The writer thread and its queue.
#[derive(Debug)]
pub struct AccessLogWriter {}

/// One worker's end.
#[derive(Debug)]
pub struct AccessLogger {}

impl AccessLogWriter {
    /// Opens the target and starts the thread.
    pub fn start(_target: &AccessLog, _format: LogFormat, _redact_query: bool) -> std::io::Result<AccessLogWriter> {
        Ok(AccessLogWriter {})
    }

    /// An end for one worker; `None` when the log is off, so that workers skip all of it.
    pub fn logger(&self) -> Option<AccessLogger> {
        None
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        0
    }

    /// Opens the file again (after a rotation).
    pub fn reopen(&self) {}

    /// Takes over another target and format after a reload.
    pub fn retarget(&self, _target: &AccessLog, _format: LogFormat, _redact_query: bool) -> std::io::Result<()> {
        Ok(())
    }

    /// Writes what waits, and ends the thread.
    pub fn finish(self) {}
}

impl AccessLogger {
    /// Formats one line into the worker's buffer.
    pub fn log(&mut self, _entry: &Entry<'_>) {}

    /// Hands over what is buffered, if it is older than 100 ms or `now_or_never`; the worker calls it from its tick.
    pub fn flush(&mut self) {}
}
