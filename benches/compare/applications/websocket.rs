//! WebSockets: a message and its echo, as bytes that are the same each time. After the upgrade a proxy passes on what
//! comes; whoever looked into the frames would find them right.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Of a message.
const PAYLOAD: usize = 64;

/// A final frame of text, from the client: masked with zeros.
pub(crate) const SENT: [u8; 6 + PAYLOAD] = {
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
pub(crate) const ECHO: [u8; 2 + PAYLOAD] = {
    let mut frame = [b'.'; 2 + PAYLOAD];
    frame[0] = 0x81;
    frame[1] = PAYLOAD as u8;
    frame
};

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
