//! Clients that speak HTTP/1.1, with and without TLS, with bodies of any length, on connections kept or made anew.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::applications::http1::BODY;
use crate::certificate::{Certificate, handshake};
use crate::clients::connection::{GET, parse};
use crate::clients::crew::Worker;

const ALPN: &[u8] = b"http/1.1";

/// What is sent, and the length of what has to come back.
#[derive(Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    wanted: usize,
}

impl Request {
    /// The one that all sections make.
    pub(crate) fn small() -> Request {
        Request { bytes: GET.to_vec(), wanted: BODY }
    }

    /// Asks for a body of this length.
    pub(crate) fn get(wanted: usize) -> Request {
        let head = format!("GET /bytes/{wanted} HTTP/1.1\r\nHost: shop.example.com\r\nAccept: */*\r\n\r\n");
        Request { bytes: head.into_bytes(), wanted }
    }

    /// Sends one.
    pub(crate) fn post(body: usize) -> Request {
        let head = format!("POST /orders HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: {body}\r\n\r\n");
        Request { bytes: [head.into_bytes(), vec![b'.'; body]].concat(), wanted: BODY }
    }
}

/// How connections are made.
#[derive(Clone)]
pub(crate) enum Dial {
    Plain(SocketAddr),
    Tls(SocketAddr, TlsConnector),
}

impl Dial {
    pub(crate) fn tls(to: SocketAddr, certificate: &Certificate) -> Dial {
        Dial::Tls(to, certificate.client(ALPN, true))
    }

    /// Each connection has a full handshake.
    pub(crate) fn full(to: SocketAddr, certificate: &Certificate) -> Dial {
        Dial::Tls(to, certificate.client(ALPN, false))
    }

    pub(crate) async fn open(&self) -> io::Result<Conversation> {
        Ok(match self {
            Dial::Plain(to) => {
                let stream = TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                Conversation { stream: Box::new(stream), handshake: None }
            }
            Dial::Tls(to, client) => {
                let stream = handshake(*to, client).await?;
                let handshake = stream.get_ref().1.handshake_kind();
                Conversation { stream: Box::new(stream), handshake }
            }
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(crate) struct Conversation {
    stream: Box<dyn Stream>,
    handshake: Option<HandshakeKind>,
}

impl Conversation {
    /// Sends a request and reads the whole answer, which has to be a good one; and the connection has to stay.
    pub(crate) async fn ask(&mut self, request: &Request) -> io::Result<()> {
        let close = self.ask_or_close(request).await?;
        if close { Err(io::Error::other("the connection is to be closed")) } else { Ok(()) }
    }

    /// The same; true if the connection takes no other request.
    pub(crate) async fn ask_or_close(&mut self, request: &Request) -> io::Result<bool> {
        self.stream.write_all(&request.bytes).await?;
        self.stream.flush().await?;
        let mut buffer = [0; 16 << 10];
        let mut filled = 0;
        let (mut left, close) = loop {
            match self.stream.read(&mut buffer[filled..]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
            let Some(answer) = parse(&buffer[..filled])? else { continue };
            if answer.status != 200 || answer.length != request.wanted {
                return Err(io::Error::other(format!("{answer:?}")));
            }
            let left = (answer.head + answer.length).checked_sub(filled).ok_or(ErrorKind::InvalidData)?;
            break (left, answer.close);
        };
        while left > 0 {
            let most = left.min(buffer.len());
            match self.stream.read(&mut buffer[..most]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => left -= read,
            }
        }
        Ok(close)
    }
}

/// A client that keeps its connection.
pub(crate) struct Kept(pub(crate) Conversation, pub(crate) Request);

impl Worker for Kept {
    async fn step(&mut self) -> io::Result<()> {
        self.0.ask(&self.1).await
    }
}

/// A client that makes a connection for each request, with this kind of handshake.
pub(crate) struct Anew(Dial, Option<HandshakeKind>);

impl Anew {
    pub(crate) fn plain(to: SocketAddr) -> Anew {
        Anew(Dial::Plain(to), None)
    }

    pub(crate) fn full(to: SocketAddr, certificate: &Certificate) -> Anew {
        Anew(Dial::full(to, certificate), Some(HandshakeKind::Full))
    }

    /// Each resumes the connection it had before; the first one is made here.
    pub(crate) async fn resumed(to: SocketAddr, certificate: &Certificate) -> io::Result<Anew> {
        let dial = Dial::tls(to, certificate);
        dial.open().await?.ask(&Request::small()).await?;
        Ok(Anew(dial, Some(HandshakeKind::Resumed)))
    }
}

impl Worker for Anew {
    async fn step(&mut self) -> io::Result<()> {
        let mut conversation = self.0.open().await?;
        if conversation.handshake != self.1 {
            return Err(io::Error::other(format!("not a handshake of this kind: {:?}", conversation.handshake)));
        }
        conversation.ask(&Request::small()).await
    }
}
