//! Cutover: a reverse proxy in front of two environments, blue and green, that moves all traffic by one command.
//!
//! The crate is the program; `src/main.rs` only calls [`run`]. Everything else is private. The feature `internals`
//! opens what the program's own tests, benches and fuzz targets use.
//!
//! # The map
//!
//! A request goes through three folders, from left to right, and comes back the same way:
//!
//! - `server`: from accept to a request. Listeners, workers, the PROXY protocol, TLS, the version of HTTP.
//! - `proxy`: from a request to its response. Its steps are in `proxy::request`; what it looks up is the snapshot.
//! - `wire`: bytes to messages and back. HTTP/1.1, HTTP/2, sockets; it knows no color.
//!
//! Beside them, one thread decides what workers serve:
//!
//! - `control`: events in, effects out. It probes, asks the domain, and publishes the next snapshot.
//! - `domain`: which move is right, as a pure state machine. No clock, no I/O, the standard library only.
//! - `evidence`: what requests are counted by; the domain judges releases by it.
//! - `ledger`: the decisions on disk, before or after they are visible.
//! - `config`: the file, its errors, and its watch.
//!
//! Around both:
//!
//! - `admin` and `cli`: the API, and the commands that use it.
//! - `notify` and `telemetry`: what people, metrics and logs are told.
//! - `tls`, `sys` and `http_client`: certificates, the operating system, requests of our own.
//! - `app`: load, bind, start, stop.
//!
//! `ARCHITECTURE.md` follows five journeys through these folders, function by function. `tests/sim/architecture.rs`
//! holds who may import whom.

// Without it, nothing but `run` can be reached.
#![cfg_attr(feature = "internals", warn(unreachable_pub))]
#![cfg_attr(feature = "internals", allow(missing_docs, reason = "what is hidden needs documents only where it helps"))]

mod admin;
mod app;
mod cli;
mod config;
mod control;
mod domain;
mod evidence;
mod http_client;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod ledger;
mod notify;
mod proxy;
mod server;
mod sys;
mod telemetry;
mod tls;
mod wire;

pub use cli::run;
