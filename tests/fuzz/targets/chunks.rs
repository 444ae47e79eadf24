//! Chunked bodies: undone in the same way however they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(1 << 20, || {
    if let Some((piece, bytes)) = bytes.split_first() {
        cutover::internals::fuzzing::chunks(bytes, usize::from(*piece));
    }
}));
