//! A client's HTTP/2 connection: the same however what comes is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(8 << 20, || {
    if let Some((piece, bytes)) = bytes.split_first() {
        cutover::internals::fuzzing::frames(bytes, usize::from(*piece));
    }
}));
