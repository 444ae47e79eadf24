//! HTTP/1.1 connections: what the proxy accepts, hyper reads as the same messages.
#![no_main]

#[path = "../properties/http1.rs"]
mod property;
#[path = "../properties/whole.rs"]
mod whole;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(4 << 20, || property::same_as_hyper(bytes)));
