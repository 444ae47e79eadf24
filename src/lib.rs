//! Cutover: a reverse proxy in front of two environments, blue and green, that moves all traffic by one command.
//!
//! The crate is the program; `src/main.rs` only calls [`cli`]. What is public here is so for the program's own tests,
//! benches and fuzz targets, and promises nothing.
//!
//! # The map
//!
//! A request goes through three folders, from left to right, and comes back the same way:
//!
//! - [`server`]: from accept to a request. Listeners, workers, the PROXY protocol, TLS, the version of HTTP.
//! - [`proxy`]: from a request to its response. Its steps are in `proxy::request`; what it looks up is the snapshot.
//! - `wire`: bytes to messages and back. HTTP/1.1, HTTP/2, sockets; it knows no color.
//!
//! Beside them, one thread decides what workers serve:
//!
//! - [`control`]: events in, effects out. It probes, asks the domain, and publishes the next snapshot.
//! - [`domain`]: which move is right, as a pure state machine. No clock, no I/O, the standard library only.
//! - [`evidence`]: what requests are counted by; the domain judges releases by it.
//! - [`ledger`]: the decisions on disk, before or after they are visible.
//! - [`config`]: the file, its errors, and its watch.
//!
//! Around both:
//!
//! - [`admin`] and [`cli`]: the API, and the commands that use it.
//! - [`notify`] and [`telemetry`]: what people, metrics and logs are told.
//! - [`tls`], [`sys`] and `http_client`: certificates, the operating system, requests of our own.
//! - [`app`]: load, bind, start, stop.
//!
//! `ARCHITECTURE.md` follows five journeys through these folders, function by function. `tests/sim/architecture.rs`
//! holds who may import whom.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod domain;
pub mod evidence;
#[cfg(any(debug_assertions, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod http_client;
pub mod ledger;
pub mod notify;
pub mod proxy;
pub mod server;
pub mod sys;
pub mod telemetry;
pub mod tls;
#[doc(hidden)]
pub mod wire;
