//! Frames of a WebSocket: where they end, however they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cutover_fuzz::within(1 << 20, || {
    if let Some((how, bytes)) = bytes.split_first() {
        cutover::internals::fuzzing::websocket(bytes, how & 1 != 0, usize::from(how >> 1));
    }
}));
