use std::io;

use tokio::net::UnixStream;

use super::*;
use crate::proxy::deadlines::slots::DeadlineSlots;

async fn full() -> (Wire, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    loop {
        ours.writable().await.expect("open");
        match ours.try_write(&[b'x'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    (Wire::new(Socket::Unix(ours)), theirs)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_refused_and_not_waited_for() {
    let (wire, _client) = full().await;
    let slot = DeadlineSlots::default().add(Phase::Head, None);
    let refusing = refuse(&slot, wire, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    tokio::time::timeout(2 * LAST_ANSWER, refusing).await.expect("the connection is given up");
}

fn size_of_waiting<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_connection_that_waits_has_no_room_for_what_is_rare() {
    // Each idle connection has this future: box what is large and rare.
    assert!(size_of_waiting(serve) <= 2048, "{} bytes", size_of_waiting(serve));
}
