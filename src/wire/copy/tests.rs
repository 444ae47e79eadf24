use std::future::poll_fn;
use std::io::Read;
use std::net::TcpListener;

use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::Wire;
use crate::wire::socket::Socket;

#[tokio::test]
async fn a_large_body_goes_in_turns_of_a_bounded_length() {
    const LENGTH: usize = 16 << 20;
    let framing = Framing::Length(LENGTH as u64);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let to = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut read = Vec::new();
        stream.read_to_end(&mut read).expect("all of it");
        read.len()
    });
    let (from, _other) = UnixStream::pair().expect("two sockets");
    let mut from = Wire::new(Socket::Unix(from).rewound(&vec![b'.'; LENGTH]));
    from.expect_body(framing);
    let mut to = Wire::new(Socket::Tcp(to));
    to.announce_body(framing);

    let (mut from, mut to) = (Side::Http1(Box::new(from)), Side::Http1(Box::new(to)));
    let (mut copied, mut longest) = (Copied::default(), 0);
    let whole = poll_fn(|cx| {
        let before = copied.bytes;
        let polled = poll_copy(cx, &mut from, &mut to, &mut copied);
        longest = longest.max(copied.bytes - before);
        polled
    });
    whole.await.expect("both ends are there");
    drop(to);
    assert_eq!(reader.join().expect("no panic"), LENGTH);
    assert!(longest < 2 * TURN, "{longest} bytes at once");
}
