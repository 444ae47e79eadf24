//! The application behind the proxies, once in each color: one fixed answer, for as little CPU time as possible.

use std::net::SocketAddr;

use cutover::domain::color::Color;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The length of every body.
pub(crate) const BODY: usize = 1024;

/// Where the colors are. They serve for as long as the runtime lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applications {
    pub(crate) blue: SocketAddr,
    pub(crate) green: SocketAddr,
}

impl Applications {
    pub(crate) async fn start() -> Applications {
        Applications { blue: start(Color::Blue).await, green: start(Color::Green).await }
    }
}

async fn start(color: Color) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {BODY}\r\nx-color: {color}\r\n\r\n"
    );
    let answer: &'static [u8] = [head.into_bytes(), vec![b'.'; BODY]].concat().leak();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream, answer));
        }
    });
    address
}

/// Answers until the proxy closes the connection. Nobody pipelines here, so a head ends where the bytes end.
async fn serve(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            read => filled += read,
        }
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            stream.write_all(answer).await?;
            filled = 0;
        }
    }
}
