//! Cutover: a reverse proxy in front of two environments, blue and green, that moves all traffic by one command.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod domain;
#[doc(hidden)]
pub mod fuzzing;
pub mod ledger;
pub mod notify;
pub mod proxy;
pub mod server;
pub mod sys;
pub mod telemetry;
pub mod tls;
#[doc(hidden)]
pub mod wire;
