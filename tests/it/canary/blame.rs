//! Who is to blame for the end of a request, and what follows: each row of `docs/blame.md` over real sockets.
//!
//! A candidate of two endpoints has nearly all requests; one failure is enough to eject an endpoint.

mod client;
mod endpoint;
mod itself;
mod shared;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cutover::internals::domain::color::Color;
use cutover::internals::domain::verdict::Class;
use cutover::internals::evidence::routes::Counts;
use cutover::internals::proxy::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::Application;
use crate::canary::split::Site;
use crate::client::Connection;

/// What an endpoint does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Answers at once, and keeps the connection.
    Say(&'static str),
    /// Answers at once, and closes.
    SayAndClose(&'static str),
    /// Answers when nothing has come for 300 ms, and closes: a read timeout.
    SayWhenTired(&'static str),
    /// Sends a body of 32 MiB, and gives up when nothing was taken for 1.5 s: a write timeout.
    Send,
    /// The same in chunks.
    SendInChunks,
    /// Switches protocols and sends as much, as far as it is taken.
    SwitchAndSend,
    /// Neither reads nor answers any more.
    Hang,
}

/// What is said to a request for evidence against a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    None,
    Good,
    Error,
    ClientError,
    Abort,
}

/// What is expected of a request.
struct Row {
    error: Option<&'static str>,
    blame: Option<&'static str>,
    evidence: Evidence,
    ejected: bool,
}

struct Bench {
    site: Site,
    _blue: Application,
}

impl Bench {
    async fn start(does: Does) -> Bench {
        Bench::with(does, "").await
    }

    /// `more`: further keys of the upstream, and sections.
    async fn with(does: Does, more: &str) -> Bench {
        Bench::before([server(does).await, server(does).await].map(|address| address.to_string()), more).await
    }

    /// With these endpoints of the candidate.
    async fn before([first, second]: [String; 2], more: &str) -> Bench {
        Bench::among(2, &format!("\"{first}\", \"{second}\""), more).await
    }

    async fn connect(&self) -> Connection {
        self.site.connect().await
    }

    /// Sends bytes, and keeps the connection.
    async fn send(&self, bytes: &str) -> Connection {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client
    }

    /// Asks for something; the status of the answer, if one comes.
    async fn get(&self) -> Option<u16> {
        let mut client = self.send(GET).await;
        client.try_answer(false).await.map(|answer| answer.status)
    }

    /// With this endpoint alone, and one worker, so that all requests can share a connection.
    async fn before_one(green: &str, more: &str) -> Bench {
        Bench::among(1, &format!("\"{green}\""), more).await
    }

    async fn among(workers: u8, green: &str, more: &str) -> Bench {
        let blue = Application::start("blue").await;
        let more = format!(
            "[canary]\nsticky = \"address\"\n[retry]\nattempts = 0\n[upstream.default]\n\
             eject = {{ consecutive = 1, for = \"1h\" }}\nconnect_timeout = \"300ms\"\n{more}"
        );
        let mut site = Site::with(workers, blue.address, green, &more);
        let _ = site.weight(Some(9_999));
        Bench { site, _blue: blue }
    }

    /// Waits for the line of the one request, and looks at what followed.
    async fn ended(self, row: Row) {
        self.ended_at("/case", row).await;
    }

    /// The same, of the one to this target.
    async fn ended_at(mut self, target: &str, row: Row) {
        let line = self.site.logged(|line| line["path"] == target).await;
        let said = |key: &str| line[key].as_str();
        assert_eq!((said("error"), said("blame")), (row.error, row.blame), "{line}");
        let counts = self.site.counted("")[Color::Green];
        assert_eq!(evidence(&counts), row.evidence, "{counts:?}");
        let now = clock::millis(Instant::now());
        let pool = &self.site.publisher.pools()[Color::Green][0];
        let ejected = pool.endpoints.iter().filter(|endpoint| endpoint.ejected_until(now).is_some()).count();
        assert_eq!(ejected, usize::from(row.ejected), "ejected endpoints");
    }

    /// The client is to blame, and nothing follows for anybody else.
    async fn blames_client(self, error: Option<&'static str>) {
        self.ended(Row { error, blame: Some("client"), evidence: Evidence::None, ejected: false }).await;
    }

    async fn blames_endpoint(self, error: Option<&'static str>, ejected: bool) {
        self.ended(Row { error, blame: Some("endpoint"), evidence: Evidence::Error, ejected }).await;
    }
}

fn evidence(counts: &Counts) -> Evidence {
    let bad = |class: Class| counts.bad[class as usize];
    match (counts.completed, bad(Class::Error), bad(Class::ClientError), bad(Class::Abort)) {
        (0, 0, 0, 0) => Evidence::None,
        (1, 0, 0, 0) => Evidence::Good,
        (1, 1, 0, 0) => Evidence::Error,
        (1, 0, 1, 0) => Evidence::ClientError,
        (1, 0, 0, 1) => Evidence::Abort,
        _ => panic!("more than one request: {counts:?}"),
    }
}

const GET: &str = "GET /case HTTP/1.1\r\nHost: a\r\n\r\n";
/// The head of an upload, and some of its bytes.
const HALF: &str = "POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it";
const BODY: usize = 32 << 20;

async fn server(does: Does) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, does));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, does: Does) -> Option<()> {
    let mut read = Vec::new();
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        (stream.read_buf(&mut read).await.ok()? > 0).then_some(())?;
    }
    match does {
        Does::Say(text) => {
            stream.write_all(text.as_bytes()).await.ok()?;
            while stream.read_buf(&mut read).await.ok()? > 0 {}
        }
        Does::SayAndClose(text) => stream.write_all(text.as_bytes()).await.ok()?,
        Does::SayWhenTired(text) => {
            let patience = Duration::from_millis(300);
            while let Ok(Ok(1..)) = tokio::time::timeout(patience, stream.read_buf(&mut read)).await {}
            stream.write_all(text.as_bytes()).await.ok()?;
        }
        Does::Send | Does::SendInChunks => {
            let chunked = matches!(does, Does::SendInChunks);
            let framing = if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {BODY}") };
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes()).await.ok()?;
            let piece = vec![b'x'; 64 << 10];
            let piece = if chunked { [&b"10000\r\n"[..], &piece, b"\r\n"].concat() } else { piece };
            for _ in 0..BODY / (64 << 10) {
                tokio::time::timeout(Duration::from_millis(1_500), stream.write_all(&piece)).await.ok()?.ok()?;
            }
        }
        Does::SwitchAndSend => {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&vec![b'x'; BODY]).await.ok()?;
        }
        Does::Hang => std::future::pending().await,
    }
    Some(())
}
