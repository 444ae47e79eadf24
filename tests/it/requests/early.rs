//! Final answers that come before the end of the request: the client gets them, whole and in order.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use h2::Reason;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::Application;
use crate::certificates::Authority;
use crate::client::{Answer, Connection};
use crate::http2::Client;
use crate::proxy::{Proxy, Setup};
use crate::soon;

/// An endpoint that answers the head of a request, and reads no body that it does not want.
async fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) -> Option<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        // A little, so that most of an upload stays unread.
        let mut some = [0; 1024];
        let n = stream.read(&mut some).await.ok().filter(|n| *n > 0)?;
        read.extend_from_slice(&some[..n]);
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut body = read.split_off(end);
    match head.split(' ').nth(1)? {
        // The rest of the body comes later than a proxy waits with `100 Continue`.
        "/denied" => {
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nhello").await.ok()?;
            tokio::time::sleep(Duration::from_millis(1300)).await;
            stream.write_all(b"world").await.ok()?;
        }
        "/denied-in-chunks" => {
            let head = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
            stream.write_all(head.as_bytes()).await.ok()?;
            tokio::time::sleep(Duration::from_millis(1300)).await;
            stream.write_all(b"5\r\nworld\r\n0\r\n\r\n").await.ok()?;
        }
        "/welcome" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.ok()?;
            while body.len() < 5 {
                stream.read_buf(&mut body).await.ok().filter(|n| *n > 0)?;
            }
            stream.write_all(&body[..5]).await.ok()?;
        }
        "/closes" => {
            let head = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            stream.write_all(head.as_bytes()).await.ok()?;
            return None;
        }
        // It wants all of the body, and gets no more than the proxy allows.
        "/reads-on" => loop {
            body.clear();
            stream.read_buf(&mut body).await.ok().filter(|n| *n > 0)?;
        },
        "/reads-no-more" => {
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.ok()?;
        }
        _ => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine";
            stream.write_all(head.as_bytes()).await.ok()?;
            return None;
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    None
}

/// A proxy before that endpoint, with TLS.
struct Site {
    _green: Application,
    proxy: Proxy,
    authority: Authority,
    https: SocketAddr,
}

impl Site {
    async fn start(listen: &str) -> Site {
        let green = Application::start("green").await;
        let authority = Authority::new();
        let dir = tempfile::tempdir().expect("a directory");
        authority.issue(&["site.test", "127.0.0.1"]).write(dir.path(), "site");
        let mut setup = Setup::at(endpoint().await, green.address);
        setup.listen = format!("https = \"127.0.0.1:0\"\n{listen}");
        let path = dir.path().display();
        setup.more = format!("[tls]\ncertificates = [{{ cert = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n");
        let text = setup.text(dir.path());
        let proxy = Proxy::start_in(dir, &text).await;
        let https = proxy.status().await["https_address"].as_str().and_then(|at| at.parse().ok()).expect("an address");
        Site { _green: green, proxy, authority, https }
    }

    /// Plain, and over TLS.
    async fn connections(&self) -> [Connection; 2] {
        [self.proxy.connect().await, self.authority.http1(self.https, "site.test").await]
    }

    async fn clients(&self) -> [Client; 2] {
        let secure = self.authority.connect(self.https, "site.test", &["h2"], None).await.expect("tls");
        [Client::connect(self.proxy.http).await, Client::over(secure).await]
    }
}

fn expecting(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
}

#[tokio::test]
async fn no_100_continue_stands_in_the_body_of_a_final_answer() {
    let site = Site::start("").await;
    let http1 = async |path: &str| {
        let mut client = site.proxy.connect().await;
        client.send(expecting(path)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text(), answer.complete), (403, "helloworld", true), "{path}");
        assert_eq!((answer.interim.len(), answer.header("connection")), (0, Some("close")), "{path}");
        assert!(client.ended().await, "{path}");
    };
    let http2 = async |path: &str| {
        let mut client = Client::connect(site.proxy.http).await;
        let request = Request::post(format!("http://test{path}")).header("expect", "100-continue");
        let (answer, _send) = client.begin(request.body(()).expect("a request"), false).await.expect("it is taken");
        let answer = whole(answer).await;
        assert_eq!((answer.status, answer.text()), (403, "helloworld"), "{path}");
        assert!(answer.trailers.is_empty(), "{:?}", answer.trailers);
    };
    tokio::join!(http1("/denied"), http1("/denied-in-chunks"), http2("/denied"), http2("/denied-in-chunks"));
}

#[tokio::test]
async fn a_body_that_follows_the_head_of_the_final_answer_is_passed_on() {
    let site = Site::start("").await;
    let mut client = site.proxy.connect().await;
    client.send(expecting("/welcome")).await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    client.send("world").await;
    assert_eq!(client.exactly(5).await.as_deref(), Some(&b"world"[..]));
}

async fn whole(answer: h2::client::ResponseFuture) -> Answer {
    crate::http2::whole(answer).await.expect("an answer")
}

/// 8 MiB: more than all buffers on the way together.
const UPLOAD: usize = 8 << 20;

/// As Python's http.client: all of the request is sent before anything is read.
async fn uploaded(client: &mut Connection, path: &str, chunked: bool) -> Answer {
    let framing = match chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {UPLOAD}"),
    };
    soon("the upload", client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"))).await;
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..UPLOAD / piece.len() {
        if chunked {
            client.send(format!("{:x}\r\n", piece.len())).await;
        }
        soon("the upload", client.send(&piece)).await;
        if chunked {
            client.send("\r\n").await;
        }
    }
    if chunked {
        client.send("0\r\n\r\n").await;
    }
    client.answer().await
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_refused_upload_gets_to_read_the_answer() {
    for (listen, paths) in [("", &["/closes", "/reads-no-more"][..]), ("max_body = \"1MiB\"", &["/reads-on"][..])] {
        let site = Site::start(listen).await;
        for chunked in [false, true] {
            for path in paths {
                for mut client in site.connections().await {
                    let answer = uploaded(&mut client, path, chunked).await;
                    assert_eq!((answer.status, answer.complete), (413, true), "{path} in chunks: {chunked}");
                    assert_eq!(answer.header("connection"), Some("close"), "{path}");
                    assert!(client.ended().await, "{path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn over_http_2_a_refused_upload_is_answered_and_reset_without_an_error() {
    for (listen, paths) in [("", &["/closes", "/reads-no-more"][..]), ("max_body = \"1MiB\"", &["/reads-on"][..])] {
        let site = Site::start(listen).await;
        for path in paths {
            for mut client in site.clients().await {
                let request = Request::post(format!("http://test{path}")).body(()).expect("a request");
                let (answer, mut send) = client.begin(request, false).await.expect("it is taken");
                let sending = tokio::spawn(async move {
                    let mut left = UPLOAD;
                    while left > 0 {
                        send.reserve_capacity(left.min(64 << 10));
                        let Some(Ok(room)) = poll_fn(|cx| send.poll_capacity(cx)).await else { break };
                        if send.send_data(Bytes::from(vec![b'x'; room]), false).is_err() {
                            break;
                        }
                        left -= room.min(left);
                    }
                    poll_fn(|cx| send.poll_reset(cx)).await
                });
                assert_eq!(whole(answer).await.status, 413, "{path}");
                let reset = soon("a reset", sending).await.expect("no panic");
                assert_eq!(reset.expect("a reason"), Reason::NO_ERROR, "{path}");
                assert_eq!(client.get("/next").await.text(), "fine", "the connection serves on");
            }
        }
    }
}
