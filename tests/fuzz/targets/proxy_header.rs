//! The PROXY header: never a panic, and the same verdict however the bytes come.
#![no_main]

#[path = "../properties/proxy_header.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(1 << 20, || property::one_verdict(bytes)));
