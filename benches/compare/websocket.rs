//! WebSockets: a message and its echo, as bytes that are the same each time. After the upgrade a proxy passes on what
//! comes; whoever looked into the frames would find them right.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::crew::Worker;

/// Of a message.
pub(crate) const PAYLOAD: usize = 64;

/// A final frame of text, from the client: masked with zeros.
const SENT: [u8; 6 + PAYLOAD] = {
    let mut frame = [b'.'; 6 + PAYLOAD];
    let head = [0x81, 0x80 | PAYLOAD as u8, 0, 0, 0, 0];
    let mut index = 0;
    while index < head.len() {
        frame[index] = head[index];
        index += 1;
    }
    frame
};

/// The same from the server, which does not mask.
const ECHO: [u8; 2 + PAYLOAD] = {
    let mut frame = [b'.'; 2 + PAYLOAD];
    frame[0] = 0x81;
    frame[1] = PAYLOAD as u8;
    frame
};

const UPGRADE: &[u8] =
    b"GET /socket HTTP/1.1\r\nHost: shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The application's side, for that key.
pub(crate) async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(head).await?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            read => filled += read,
        }
        let whole = filled / SENT.len();
        if !buffer[..filled].chunks_exact(SENT.len()).all(|frame| frame == SENT) {
            return Err(ErrorKind::InvalidData.into());
        }
        for _ in 0..whole {
            stream.write_all(&ECHO).await?;
        }
        buffer.copy_within(whole * SENT.len()..filled, 0);
        filled -= whole * SENT.len();
    }
}

/// A client's side that is open.
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
