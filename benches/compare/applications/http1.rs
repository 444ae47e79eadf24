//! The application of a color: fixed answers, for as little CPU time as possible.
//!
//! `GET /bytes/N` is answered with N bytes, for the sizes that are made ahead; everything else with [`BODY`] of them,
//! after a body that is sent along was read; and what asks for a WebSocket gets one that echoes.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use cutover::internals::domain::color::Color;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{listen, websocket};

/// The length of a body, if nothing else is asked for.
pub(crate) const BODY: usize = 1024;

/// Further lengths that can be asked for.
pub(crate) const LARGER: [usize; 3] = [16 << 10, 128 << 10, 1 << 20];

/// A request's head: how long it is, and what is asked for.
struct Head {
    length: usize,
    /// Of the body that follows.
    body: usize,
    /// Of the body that is wanted.
    wanted: usize,
    upgrade: bool,
}

/// All answers of a color, with the lengths of their bodies.
pub(super) type Answers = Arc<[(usize, Vec<u8>)]>;

pub(super) fn answers(color: Color) -> Answers {
    [BODY].into_iter().chain(LARGER).map(|body| (body, answer(color, body))).collect()
}

/// Serves for as long as the runtime lives.
pub(super) fn start(answers: &Answers, address: SocketAddr) -> SocketAddr {
    let listener = listen(address).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let answers = Arc::clone(answers);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream, Arc::clone(&answers)));
        }
    });
    address
}

fn answer(color: Color, body: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {body}\r\nx-color: {color}\r\n\r\n"
    );
    [head.into_bytes(), vec![b'.'; body]].concat()
}

/// Answers until the proxy closes the connection. Nobody pipelines here.
async fn serve(mut stream: TcpStream, answers: Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            read => filled += read,
        }
        let Some(head) = parse(&buffer[..filled])? else { continue };
        if head.upgrade {
            return websocket::echo(stream).await;
        }
        let mut left = (head.length + head.body).checked_sub(filled).ok_or(ErrorKind::InvalidData)?;
        while left > 0 {
            let most = left.min(buffer.len());
            match stream.read(&mut buffer[..most]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => left -= read,
            }
        }
        let answer = answers.iter().find(|(body, _)| *body == head.wanted).ok_or(ErrorKind::InvalidData)?;
        stream.write_all(&answer.1).await?;
        filled = 0;
    }
}

fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let invalid = |_| io::Error::from(ErrorKind::InvalidData);
    let httparse::Status::Complete(length) = request.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let number = |text: &str| text.parse().map_err(|_| io::Error::from(ErrorKind::InvalidData));
    let wanted = request.path.and_then(|path| path.strip_prefix("/bytes/")).map_or(Ok(BODY), number)?;
    let mut head = Head { length, body: 0, wanted, upgrade: false };
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            head.body = number(str::from_utf8(header.value).unwrap_or_default())?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(ErrorKind::Unsupported.into());
        } else if header.name.eq_ignore_ascii_case("upgrade") {
            head.upgrade = true;
        }
    }
    Ok(Some(head))
}
