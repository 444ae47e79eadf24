//! TLS on the admin address, with an answer to clients that speak plain HTTP.

use std::io;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admin::api::PLAIN_ON_TLS;
use crate::tls::{ServerTls, client_certificate_is_over, client_subject};

/// First byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
const PATIENCE: Duration = Duration::from_secs(10);

/// Also returns the subject of the client certificate.
pub(super) async fn accept(stream: TcpStream, tls: &ServerTls) -> io::Result<(TlsStream<TcpStream>, Option<String>)> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake was not complete in time");
    tokio::time::timeout(PATIENCE, shake_hands(stream, tls)).await.unwrap_or_else(|_| Err(late()))
}

async fn shake_hands(mut stream: TcpStream, tls: &ServerTls) -> io::Result<(TlsStream<TcpStream>, Option<String>)> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        let length = PLAIN_ON_TLS.len();
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(format!("{head}{PLAIN_ON_TLS}").as_bytes()).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP on an address that speaks TLS"));
    }
    let stream = TlsAcceptor::from(tls.config()).accept(stream).await?;
    let connection = stream.get_ref().1;
    if client_certificate_is_over(connection, SystemTime::now()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client certificate has expired"));
    }
    let subject = client_subject(connection);
    Ok((stream, subject))
}
