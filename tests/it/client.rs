//! An HTTP/1.1 client that shows everything that is on the wire, and can send what no library would.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::soon;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Of the heads with 1xx that came before.
    pub(crate) interim: Vec<u16>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The body ended as its framing says.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }
}

impl Connection {
    pub(crate) async fn tcp(address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).await.expect("the proxy accepts");
        stream.set_nodelay(true).expect("a socket option");
        Connection::over(stream)
    }

    pub(crate) async fn unix(path: &Path) -> std::io::Result<Connection> {
        Ok(Connection::over(UnixStream::connect(path).await?))
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Connection {
        Connection { stream: Box::new(stream), read: Vec::new() }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the proxy reads");
    }

    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// A GET, and its answer.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.answer().await
    }

    /// The next answer, whole.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer(false).await.expect("an answer")
    }

    /// The next answer to a HEAD.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        self.try_answer(true).await.expect("an answer")
    }

    pub(crate) async fn try_answer(&mut self, head_only: bool) -> Option<Answer> {
        soon("an answer", async {
            let mut answer = self.head().await?;
            if head_only || answer.status == 204 || answer.status == 304 || answer.status == 101 {
                answer.complete = true;
            } else {
                self.body(&mut answer).await;
            }
            Some(answer)
        })
        .await
    }

    /// Only the head; the body follows on the connection.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        let mut interim = Vec::new();
        loop {
            let head = soon("a head", self.until_blank_line()).await?;
            let mut answer = parse_head(&head);
            if answer.status / 100 == 1 && answer.status != 101 {
                interim.push(answer.status);
                continue;
            }
            answer.interim = interim;
            return Some(answer);
        }
    }

    async fn body(&mut self, answer: &mut Answer) {
        let chunked = answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        let length = answer.header("content-length").map(|length| length.parse().expect("a number"));
        if chunked {
            loop {
                let Some(size) = self.line().await else { return };
                let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16).expect("a size");
                if size == 0 {
                    break;
                }
                let Some(bytes) = self.exactly(size).await else { return };
                answer.body.extend(bytes);
                assert_eq!(self.line().await.as_deref(), Some(""), "a chunk ends with its line");
            }
            while let Some(line) = self.line().await {
                if line.is_empty() {
                    answer.complete = true;
                    return;
                }
                answer.trailers.push(field(&line));
            }
        } else if let Some(length) = length {
            while answer.body.len() < length {
                if self.read.is_empty() && self.more().await == 0 {
                    return;
                }
                let take = self.read.len().min(length - answer.body.len());
                answer.body.extend(self.read.drain(..take));
            }
            answer.complete = true;
        } else {
            while self.more().await > 0 {}
            answer.body = std::mem::take(&mut self.read);
            answer.complete = true;
        }
    }

    /// So many bytes, unless the end comes first.
    pub(crate) async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.read.len() < n {
            if soon("more bytes", self.more()).await == 0 {
                return None;
            }
        }
        Some(self.read.drain(..n).collect())
    }

    /// What comes until the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        soon("the end of the connection", async { while self.more().await > 0 {} }).await;
        std::mem::take(&mut self.read)
    }

    /// Nothing more comes but the end.
    pub(crate) async fn ended(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("a line is text"));
            }
            if self.more().await == 0 {
                return None;
            }
        }
    }

    async fn until_blank_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return Some(String::from_utf8(head).expect("a head is text"));
            }
            if self.more().await == 0 {
                return None;
            }
        }
    }

    /// Reads once; 0 at the end, however it came.
    async fn more(&mut self) -> usize {
        self.stream.read_buf(&mut self.read).await.unwrap_or(0)
    }
}

fn parse_head(head: &str) -> Answer {
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {first:?}"));
    Answer { status, headers: lines.map(field).collect(), ..Answer::default() }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field in {line:?}"));
    (name.to_owned(), value.trim().to_owned())
}
