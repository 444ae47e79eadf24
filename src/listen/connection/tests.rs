use std::io;

use tokio::net::UnixStream;

use super::*;

/// A client that reads nothing, and whose line is full.
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
    let refusing = refuse(wire, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    tokio::time::timeout(2 * LINGER, refusing).await.expect("the connection is given up");
}
