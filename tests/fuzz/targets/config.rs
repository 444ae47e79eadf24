//! The configuration: never a panic, every error has a place, and what is valid is read as the same when it is rendered.
#![no_main]

#[path = "../properties/config.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|text: &str| cutover_fuzz::within(16 << 20, || property::reads(text)));
