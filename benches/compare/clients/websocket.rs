//! Clients of WebSockets: each sends a message and reads its echo, again and again.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::applications::websocket::{ECHO, SENT};
use crate::clients::crew::Worker;

const UPGRADE: &[u8] =
    b"GET /socket HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// An open one.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Socket> {
        let mut stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        stream.write_all(UPGRADE).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let upgraded = head.starts_with(b"HTTP/1.1 101 ");
        upgraded.then_some(Socket(stream)).ok_or_else(|| io::Error::other(String::from_utf8_lossy(&head).into_owned()))
    }
}

impl Worker for Socket {
    async fn step(&mut self) -> io::Result<()> {
        self.0.write_all(&SENT).await?;
        let mut echo = [0; ECHO.len()];
        self.0.read_exact(&mut echo).await?;
        if echo == ECHO { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    }
}
