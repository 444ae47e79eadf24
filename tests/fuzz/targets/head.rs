//! Heads of requests: read, rewritten, written, and read again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(1 << 20, || cutover::internals::fuzzing::head(bytes)));
