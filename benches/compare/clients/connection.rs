//! A client connection: HTTP/1.1, one request at a time, and no more understanding of it than counting needs.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use cutover::internals::domain::color::Color;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::applications::http1::BODY;

/// What all clients ask for.
pub(crate) const GET: &[u8] =
    b"GET /orders/17 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: compare\r\nAccept: */*\r\n\r\n";

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The last answer, at the start.
    buffer: Vec<u8>,
}

/// What came back, without the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The color that says it answered.
    pub(crate) color: Option<Color>,
    /// The connection takes no other request.
    pub(crate) close: bool,
    /// The lengths of its two parts.
    pub(crate) head: usize,
    pub(crate) length: usize,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 2048] })
    }

    /// Its closing leaves nothing behind: neither in the kernel, nor what was not read.
    pub(crate) fn close_at_once(&self) {
        self.stream.set_zero_linger().expect("an open connection");
    }

    /// On this side.
    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().expect("an open connection").port()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
            match self.stream.read(&mut self.buffer[filled..]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
            let Some(answer) = parse(&self.buffer[..filled])? else { continue };
            match filled.cmp(&(answer.head + answer.length)) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(answer),
                std::cmp::Ordering::Greater => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }

    /// The body of the answer that came last.
    pub(crate) fn body(&self, answer: Answer) -> &[u8] {
        &self.buffer[answer.head..answer.head + answer.length]
    }
}

impl Answer {
    /// The color, if it is what an application answers.
    pub(crate) fn success(self) -> Option<Color> {
        self.color.filter(|_| self.status == 200 && self.length == BODY)
    }
}

/// What is known once the head is whole.
pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let invalid = |_| io::Error::from(ErrorKind::InvalidData);
    let httparse::Status::Complete(head) = response.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let mut answer = Answer { status: response.code.unwrap_or_default(), color: None, close: false, head, length: 0 };
    for header in response.headers.iter() {
        let value = str::from_utf8(header.value).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("content-length") {
            answer.length = value.parse().map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        } else if header.name.eq_ignore_ascii_case("x-color") {
            answer.color = value.parse().ok();
        } else if header.name.eq_ignore_ascii_case("connection") {
            answer.close = value.eq_ignore_ascii_case("close");
        }
    }
    Ok(Some(answer))
}
