//! HTTP/2 connections: what the proxy accepts, the `h2` crate reads as the same messages.
#![no_main]

#[path = "../properties/http2.rs"]
mod property;
#[path = "../properties/whole.rs"]
mod whole;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(16 << 20, || property::same_as_h2(bytes)));
