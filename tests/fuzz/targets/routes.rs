//! The routes: what the table finds is what one finds who goes through the list and thinks about nothing else.
#![no_main]

#[path = "../properties/routes.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(1 << 20, || property::same_as_a_walk(bytes)));
