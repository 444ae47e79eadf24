//! Answers of HTTP/2 whose bodies are not as long as was said: to a client of HTTP/1.1, what is too much would be the next
//! answer, and what is too little would make the next answer a part of this one.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{Proxy, Setup};

/// What each path is answered with, and it is said that it is five bytes.
fn body(path: &str) -> Option<&'static [u8]> {
    match path {
        "/longer" => Some(b"helloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
        "/shorter" => Some(b"hell"),
        "/none" => Some(b""),
        "/right" => Some(b"hello"),
        _ => None,
    }
}

async fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let _ = answer(request.uri().path(), respond);
    }
}

fn answer(path: &str, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let Some(body) = body(path) else { return respond.send_response(Response::new(()), true).map(drop) };
    let mut head = Response::new(());
    head.headers_mut().insert("content-length", 5.into());
    // In two pieces, so that the first alone is right.
    let mut send = respond.send_response(head, false)?;
    let (first, rest) = body.split_at(body.len().min(5));
    send.send_data(Bytes::from_static(first), false)?;
    send.send_data(Bytes::from_static(rest), true)
}

#[tokio::test]
async fn an_answer_that_is_not_as_long_as_was_said_is_never_two_nor_half_of_the_next() {
    let mut setup = Setup::at(endpoint().await, endpoint().await);
    setup.more = "[upstream.default]\nprotocol = \"http2\"".to_owned();
    let proxy: Proxy = setup.start().await;
    for path in ["/longer", "/shorter", "/none"] {
        let mut client = proxy.connect().await;
        let both = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\n\r\nGET /right HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        client.send(both).await;
        let answer = client.answer().await;
        if answer.status == 200 {
            assert!(!answer.complete || (path, answer.text()) == ("/longer", "hello"), "{path}: {answer:?}");
        } else {
            assert_eq!(answer.status, 502, "{path}: {answer:?}");
        }
        // What follows is the other answer, or nothing.
        let rest = client.rest().await;
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains("poison"), "{path}: {rest}");
        assert!(rest.is_empty() || rest.contains("hello"), "{path}: {rest}");
    }
    assert_eq!(proxy.get("/right").await.text(), "hello");
}
