//! The strangers: each kind is one way to misbehave, done a bounded number of times.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Connection;

/// Longer than the idle timeout of the upstream, so that it is the proxy that ends what a stranger leaves open.
const HOLD: Duration = Duration::from_millis(700);
/// Acts of each kind.
const ACTS: usize = 48;
/// Of them, at once.
const AT_ONCE: usize = 16;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) kinds: usize,
    pub(super) acts: usize,
}

/// Who misbehaves towards whom.
#[derive(Clone)]
pub(super) struct Population {
    proxy: SocketAddr,
    /// A field that leads to the candidate, where users can choose; empty where they can't.
    cookie: String,
}

/// Strangers of one kind are different users: of each user the judge counts one event.
const USERS: usize = 24;

macro_rules! kinds {
    ($proxy:expr, $cookies:expr, $told:expr, $($kind:ident),+ $(,)?) => {{
        tokio::join!($(async {
            for _ in 0..ACTS / AT_ONCE {
                let acts = (0..AT_ONCE).map(|_| {
                    let cookie = fastrand::choice(&$cookies).cloned().unwrap_or_default();
                    let who = Population { proxy: $proxy, cookie };
                    async move {
                        // An act that the proxy ends early is one that it has survived.
                        let _ = who.$kind().await;
                    }
                });
                futures_util::future::join_all(acts).await;
            }
        }),+);
        $( { let _ = stringify!($kind); $told.kinds += 1; $told.acts += ACTS; } )+
    }};
}

impl Population {
    /// Everything, all kinds beside each other.
    pub(super) async fn run(proxy: SocketAddr, chooses: bool) -> Told {
        let cookies = if chooses { cookies_of_the_candidate(proxy).await } else { Vec::new() };
        let mut told = Told::default();
        kinds!(
            proxy,
            cookies,
            told,
            reads_nothing_of_a_length,
            reads_nothing_of_chunks,
            opens_no_window,
            sends_half_a_head,
            sends_half_a_body,
            sends_half_a_body_to_an_impatient_endpoint,
            uploads_slowly,
            resets,
            cancels,
            sends_rubbish,
            opens_and_leaves_a_stream,
            waits_on_a_quiet_stream,
            makes_quiet_calls,
            opens_a_tunnel_and_vanishes,
            asks_for_what_cannot_be_written,
            scans,
            has_a_new_cookie_each_time,
            hides_a_request_in_a_body,
            fails_to_log_in,
        );
        told
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.proxy).await
    }

    async fn say(&self, head: &str, body: &[u8]) -> std::io::Result<TcpStream> {
        let mut stream = self.connect().await?;
        stream.write_all(format!("{head} HTTP/1.1\r\nHost: shop\r\n{}", self.cookie).as_bytes()).await?;
        stream.write_all(body).await?;
        Ok(stream)
    }

    /// Reads all of an answer that is not the candidate's, and the first bytes of one that is.
    async fn reads_only_the_other(&self, path: &str) -> std::io::Result<()> {
        let mut stream = self.say(&format!("GET {path}"), b"\r\n").await?;
        let mut first = vec![0; 256];
        let read = stream.read(&mut first).await?;
        if String::from_utf8_lossy(&first[..read]).to_lowercase().contains("x-color: blue") {
            let mut rest = vec![0; 64 << 10];
            let _ = tokio::time::timeout(HOLD, async { while let Ok(1..) = stream.read(&mut rest).await {} }).await;
        } else {
            tokio::time::sleep(HOLD).await;
        }
        Ok(())
    }

    async fn reads_nothing_of_a_length(self) -> std::io::Result<()> {
        self.reads_only_the_other("/bytes?20000000").await
    }

    async fn reads_nothing_of_chunks(self) -> std::io::Result<()> {
        self.reads_only_the_other("/chunks?20000000").await
    }

    async fn http2(&self, window: u32) -> std::io::Result<h2::client::SendRequest<Bytes>> {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (sender, connection) = builder.handshake(self.connect().await?).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        sender.ready().await.map_err(std::io::Error::other)
    }

    fn request(&self, method: Method, path: &str) -> Request<()> {
        let mut request = Request::builder().method(method).uri(format!("http://shop{path}"));
        if let Some(cookie) = self.cookie.trim_end().strip_prefix("Cookie: ") {
            request = request.header("cookie", cookie);
        }
        request.body(()).expect("a request")
    }

    async fn opens_no_window(self) -> std::io::Result<()> {
        let mut sender = self.http2(0).await?;
        let (answer, _) =
            sender.send_request(self.request(Method::GET, "/bytes?2000000"), true).map_err(std::io::Error::other)?;
        let _answer = tokio::time::timeout(HOLD, answer).await;
        tokio::time::sleep(HOLD).await;
        Ok(())
    }

    async fn sends_half_a_head(self) -> std::io::Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: sh").await?;
        tokio::time::sleep(HOLD).await;
        Ok(())
    }

    async fn sends_half_a_body(self) -> std::io::Result<()> {
        let _stream = self.say("POST /echo", b"Content-Length: 1000\r\n\r\nhalf").await?;
        tokio::time::sleep(HOLD).await;
        Ok(())
    }

    async fn sends_half_a_body_to_an_impatient_endpoint(self) -> std::io::Result<()> {
        let mut stream = self.say("POST /impatient", b"Content-Length: 1000\r\n\r\nhalf").await?;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(HOLD, stream.read_to_end(&mut answer)).await;
        Ok(())
    }

    async fn uploads_slowly(self) -> std::io::Result<()> {
        let mut stream = self.say("POST /echo", b"Content-Length: 8\r\n\r\n").await?;
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(120)).await;
            stream.write_all(b"x").await?;
        }
        stream.read_u8().await.map(drop)
    }

    /// With a reset, at a moment of its own.
    async fn resets(self) -> std::io::Result<()> {
        let path = fastrand::choice(["GET /bytes?1000000", "GET /late", "GET /", "GET /hangs"]).unwrap_or_default();
        let mut stream = self.say(path, b"\r\n").await?;
        if fastrand::bool() {
            let mut some = [0; 1000];
            let _ = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut some)).await;
        }
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    }

    async fn cancels(self) -> std::io::Result<()> {
        let mut sender = self.http2(65_535).await?;
        for _ in 0..10 {
            sender = sender.ready().await.map_err(std::io::Error::other)?;
            let (answer, mut send) =
                sender.send_request(self.request(Method::POST, "/hangs"), false).map_err(std::io::Error::other)?;
            let _ = tokio::time::timeout(Duration::from_millis(5), answer).await;
            send.send_reset(h2::Reason::CANCEL);
        }
        Ok(())
    }

    async fn sends_rubbish(self) -> std::io::Result<()> {
        let rubbish: [&[u8]; 6] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET /\xff HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n",
        ];
        let mut stream = self.connect().await?;
        stream.write_all(fastrand::choice(rubbish).unwrap_or_default()).await?;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(HOLD, stream.read_to_end(&mut answer)).await;
        Ok(())
    }

    async fn opens_and_leaves_a_stream(self) -> std::io::Result<()> {
        let mut stream = self.say("GET /events", b"\r\n").await?;
        let mut some = [0; 300];
        let _ = tokio::time::timeout(HOLD, stream.read(&mut some)).await;
        Ok(())
    }

    async fn waits_on_a_quiet_stream(self) -> std::io::Result<()> {
        let mut stream = self.say("GET /events", b"\r\n").await?;
        let mut all = Vec::new();
        let _ = tokio::time::timeout(HOLD * 2, stream.read_to_end(&mut all)).await;
        Ok(())
    }

    async fn makes_quiet_calls(self) -> std::io::Result<()> {
        let mut sender = self.http2(65_535).await?;
        let mut call = self.request(Method::POST, "/quiet-call");
        call.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        call.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        let (answer, _send) = sender.send_request(call, false).map_err(std::io::Error::other)?;
        let _ = tokio::time::timeout(HOLD * 2, async {
            let mut body = answer.await.ok()?.into_body();
            poll_fn(|cx| body.poll_data(cx)).await
        })
        .await;
        Ok(())
    }

    async fn opens_a_tunnel_and_vanishes(self) -> std::io::Result<()> {
        let mut stream = self.say("GET /upgrade", b"Connection: upgrade\r\nUpgrade: shout\r\n\r\n").await?;
        let mut some = [0; 300];
        let _ = tokio::time::timeout(HOLD, stream.read(&mut some)).await;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    }

    async fn asks_for_what_cannot_be_written(self) -> std::io::Result<()> {
        let targets = ["/?q=\"a\"", "/<x>", "/`", "/{a}", "/a|b", "/a^b", "/a\\b"];
        let target = fastrand::choice(targets).unwrap_or_default();
        let mut stream = self.say(&format!("GET {target}"), b"\r\n").await?;
        let mut answer = [0; 512];
        let _ = tokio::time::timeout(HOLD, stream.read(&mut answer)).await;
        let mut stream = self.connect().await?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: a%41\r\n{}\r\n", self.cookie).as_bytes()).await?;
        let _ = tokio::time::timeout(HOLD, stream.read(&mut answer)).await;
        Ok(())
    }

    async fn scans(self) -> std::io::Result<()> {
        let mut connection = Connection::tcp(self.proxy).await;
        for _ in 0..20 {
            let path = format!("/{:x}.php", fastrand::u64(..));
            let cookie = &self.cookie;
            connection.try_send(format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{cookie}\r\n")).await?;
            if connection.try_answer(false).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn has_a_new_cookie_each_time(self) -> std::io::Result<()> {
        let mut connection = Connection::tcp(self.proxy).await;
        for _ in 0..20 {
            let request = format!("GET / HTTP/1.1\r\nHost: shop\r\nCookie: user={}\r\n\r\n", fastrand::u64(..));
            connection.try_send(request).await?;
            if connection.try_answer(false).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn hides_a_request_in_a_body(self) -> std::io::Result<()> {
        let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut stream = self.connect().await?;
        let request =
            format!("GET /.cutover/ready HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut answer)).await;
        let answers = String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count();
        assert_eq!(answers, 1, "a body became a request");
        Ok(())
    }

    /// Client errors of strangers, on a route of their own.
    async fn fails_to_log_in(self) -> std::io::Result<()> {
        let mut stream = self.say("POST /login", b"Content-Length: 0\r\n\r\n").await?;
        let mut answer = [0; 512];
        let _ = tokio::time::timeout(HOLD, stream.read(&mut answer)).await;
        Ok(())
    }
}

/// Fields of users that the candidate serves, found by asking.
async fn cookies_of_the_candidate(proxy: SocketAddr) -> Vec<String> {
    let (mut connection, mut found, mut user) = (Connection::tcp(proxy).await, Vec::new(), 0);
    while found.len() < USERS {
        let field = format!("Cookie: user=stranger{user}\r\n");
        connection.send(format!("GET / HTTP/1.1\r\nHost: shop\r\n{field}\r\n")).await;
        if connection.answer().await.text() == "green" {
            found.push(field);
        }
        user += 1;
        assert!(user < 1000, "nobody gets to the candidate");
    }
    found
}
