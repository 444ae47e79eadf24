//! Several endpoints of one color: who gets a request, who gets none for a while, and what is asked again.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::proxy::{Proxy, Setup};
use crate::until;

/// What an endpoint does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer,
    /// Reads it, and closes.
    Close,
    Say503,
    /// Answers the first one of a connection, and closes at the next one.
    AnswerOnce,
    /// Answers, and closes without having said so.
    AnswerAndClose,
}

/// One endpoint.
struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    does: Mutex<Does>,
    /// Leaves probes without an answer.
    silent: watch::Sender<bool>,
    requests: Mutex<Vec<String>>,
    open: AtomicUsize,
    /// Of these, those on which anything was said.
    spoken: AtomicUsize,
    /// Of these, the numbers of those that carried a request of a client.
    used: Mutex<BTreeSet<usize>>,
    next: AtomicUsize,
}

/// The number of a connection, until it is closed.
struct Number<'a>(&'a Shared, usize);

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.0.used.lock().expect("no panic while it is held").remove(&self.1);
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Counted<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    async fn start(does: Does) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            does: Mutex::new(does),
            silent: watch::Sender::new(false),
            requests: Mutex::default(),
            open: AtomicUsize::new(0),
            spoken: AtomicUsize::new(0),
            used: Mutex::default(),
            next: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&serving);
                connections.spawn(async move {
                    let _open = Counted::new(&shared.open);
                    serve(stream, &shared).await;
                });
            }
        });
        Server { address, shared, task: task.abort_handle() }
    }

    async fn several<const N: usize>(does: [Does; N]) -> Vec<Server> {
        let mut servers = Vec::new();
        for does in does {
            servers.push(Server::start(does).await);
        }
        servers
    }

    fn now_does(&self, does: Does) {
        *self.shared.does.lock().expect("no panic while it is held") = does;
    }

    fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().expect("no panic while it is held").clone()
    }

    fn asked(&self) -> usize {
        self.requests().len()
    }

    /// Open connections that carried a request of a client.
    fn used(&self) -> BTreeSet<usize> {
        self.shared.used.lock().expect("no panic while it is held").clone()
    }

    /// Open connections on which nothing was said.
    fn quiet(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst).saturating_sub(self.shared.spoken.load(Ordering::SeqCst))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut read = Vec::new();
    let mut spoken = None;
    let number = Number(shared, shared.next.fetch_add(1, Ordering::SeqCst));
    // Closed before it is counted as closed.
    let mut stream = stream;
    let mut first = true;
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            spoken.get_or_insert_with(|| Counted::new(&shared.spoken));
        };
        let head = String::from_utf8(read.drain(..end).collect()).ok()?;
        if head.starts_with("GET /healthz ") {
            shared.silent.subscribe().wait_for(|silent| !silent).await.ok()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.ok()?;
            return None;
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        while read.len() < length.unwrap_or(0) {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        read.drain(..length.unwrap_or(0));
        shared.used.lock().expect("no panic while it is held").insert(number.1);
        shared.requests.lock().expect("no panic while it is held").push(head);
        let does = *shared.does.lock().expect("no panic while it is held");
        let status = match does {
            Does::Close => return None,
            Does::AnswerOnce if !first => return None,
            Does::Say503 => "503 Service Unavailable",
            Does::Answer | Does::AnswerOnce | Does::AnswerAndClose => "200 OK",
        };
        first = false;
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").as_bytes()).await.ok()?;
        if does == Does::AnswerAndClose {
            return None;
        }
    }
}

fn endpoints(servers: &[Server]) -> String {
    let addresses: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.address)).collect();
    format!("endpoints = [{}]", addresses.join(", "))
}

/// A proxy before these, with further sections.
async fn start(blue: &[Server], green: &[Server], more: &str) -> Proxy {
    let mut setup = Setup::at(blue[0].address, green[0].address);
    setup.blue = format!("release = \"1.0\"\n{}", endpoints(blue));
    setup.green = format!("release = \"2.0\"\n{}", endpoints(green));
    setup.more = more.to_owned();
    let proxy = setup.start().await;
    proxy
        .until("all are up", |status| {
            let all = status["blue"]["endpoints"].as_array().expect("a list");
            all.iter().all(|endpoint| endpoint["health"] == "up")
        })
        .await;
    proxy
}

async fn green() -> Vec<Server> {
    Server::several([Does::Answer]).await
}

fn ejected(status: &Value) -> Vec<String> {
    let all = status["blue"]["endpoints"].as_array().expect("a list");
    let ejected = all.iter().filter(|endpoint| endpoint["ejected_for_ms"].as_u64().is_some_and(|left| left > 0));
    ejected.map(|endpoint| endpoint["endpoint"].as_str().expect("text").to_owned()).collect()
}

fn asked(servers: &[Server]) -> usize {
    servers.iter().map(Server::asked).sum()
}

#[tokio::test]
async fn round_robin_gives_each_the_same() {
    let blue = Server::several([Does::Answer; 4]).await;
    let proxy = start(&blue, &green().await, "[upstream.default]\nbalance = \"round-robin\"").await;
    let mut client = proxy.connect().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(blue.iter().map(Server::asked).collect::<Vec<_>>(), [10; 4], "one worker");
    for _ in 0..40 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    for server in &blue {
        assert!((18..=22).contains(&server.asked()), "{} of 80 with two workers", server.asked());
    }
}

#[tokio::test]
async fn the_default_gives_everybody_something() {
    let blue = Server::several([Does::Answer; 4]).await;
    let proxy = start(&blue, &green().await, "").await;
    for _ in 0..200 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert!(blue.iter().all(|server| server.asked() > 10), "{:?}", blue.iter().map(Server::asked).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_gets_nothing_for_a_while_and_then_comes_back() {
    let blue = Server::several([Does::Say503, Does::Answer]).await;
    let policy = |length: &str| {
        format!("[upstream.default]\nbalance = \"round-robin\"\neject = {{ consecutive = 3, for = \"{length}\" }}")
    };
    let proxy = start(&blue, &green().await, &policy("1h")).await;
    let mut client = proxy.connect().await;
    let mut failed = 0;
    while ejected(&proxy.status().await).is_empty() {
        failed += usize::from(client.get("/").await.status == 503);
        assert!(failed <= 3, "it is asked again and again");
    }
    assert_eq!(failed, 3);
    assert_eq!(ejected(&proxy.status().await), [blue[0].address.to_string()]);
    let before = blue[0].asked();
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!(blue[0].asked(), before);
    proxy.until_logged("Endpoint ejected").await;

    let blue = Server::several([Does::Say503, Does::Answer]).await;
    let proxy = start(&blue, &green().await, &policy("100ms")).await;
    until("it is ejected", async || {
        proxy.get("/").await;
        let log = proxy.log();
        log.contains("Endpoint ejected").then_some(())
    })
    .await;
    blue[0].now_does(Does::Answer);
    let before = blue[0].asked();
    until("it is asked again", async || {
        assert_eq!(proxy.get("/").await.status, 200);
        (blue[0].asked() > before).then_some(())
    })
    .await;
    proxy.until("it is back", |status| ejected(status).is_empty()).await;
}

#[tokio::test]
async fn ejection_never_takes_more_than_half_of_a_pool() {
    let policy = "[upstream.default]\neject = { consecutive = 1, for = \"1h\" }";
    let blue = Server::several([Does::Say503; 4]).await;
    let proxy = start(&blue, &green().await, policy).await;
    for _ in 0..100 {
        assert_eq!(proxy.get("/").await.status, 503);
    }
    let out = ejected(&proxy.status().await);
    assert_eq!(out.len(), 2, "{out:?}");
    blue.iter().for_each(|server| server.now_does(Does::Answer));
    assert_eq!(proxy.get("/").await.status, 200);

    let alone = Server::several([Does::Say503]).await;
    let proxy = start(&alone, &green().await, policy).await;
    for _ in 0..20 {
        proxy.get("/").await;
    }
    assert!(ejected(&proxy.status().await).is_empty());
    assert_eq!(alone[0].asked(), 20, "there is nobody else");
}

#[tokio::test]
async fn ejection_can_be_turned_off() {
    let blue = Server::several([Does::Say503, Does::Answer]).await;
    let proxy = start(&blue, &green().await, "[upstream.default]\nbalance = \"round-robin\"\neject = false").await;
    let mut client = proxy.connect().await;
    for _ in 0..40 {
        client.get("/").await;
    }
    assert!(ejected(&proxy.status().await).is_empty());
    assert_eq!(blue[0].asked(), 20);
}

const TURNS: &str = "[upstream.default]\nbalance = \"round-robin\"\neject = false\n";

#[tokio::test]
async fn what_an_endpoint_closes_without_an_answer_goes_to_another_one() {
    let blue = Server::several([Does::Close, Does::Answer]).await;
    let green = green().await;
    let proxy = start(&blue, &green, &format!("{TURNS}[retry]\nbudget = \"100%\"")).await;
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert!(blue[0].asked() > 0);
    assert_eq!(blue[1].asked(), 20);
    assert_eq!(green[0].asked(), 0);
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_on_is_not_repeated() {
    let blue = Server::several([Does::Close, Does::Answer]).await;
    let proxy = start(&blue, &green().await, &format!("{TURNS}[retry]\nbudget = \"100%\"")).await;
    let mut failed = 0;
    for number in 0..20 {
        let mut client = proxy.connect().await;
        // The half of them has no body, which changes nothing.
        let body = if number % 4 < 2 { "hello" } else { "" };
        client
            .send(format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .await;
        let answer = client.answer().await;
        assert!(matches!(answer.status, 200 | 502), "{answer:?}");
        failed += usize::from(answer.status == 502);
    }
    assert!(failed > 0, "one of them closes");
    assert_eq!(blue[0].asked(), failed);
    let mut paths: Vec<String> = blue.iter().flat_map(Server::requests).collect();
    assert_eq!(paths.len(), 20);
    paths.sort();
    paths.dedup_by_key(|head| head.lines().next().map(str::to_owned));
    assert_eq!(paths.len(), 20, "none came twice");
}

#[tokio::test]
async fn a_retry_never_goes_to_the_other_color() {
    let blue = Server::several([Does::Close; 2]).await;
    let green = green().await;
    let proxy = start(&blue, &green, TURNS).await;
    for _ in 0..10 {
        let answer = proxy.get("/").await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.header("proxy-status"), Some("cutover; error=connection_terminated"));
    }
    assert_eq!(green[0].asked(), 0);
    assert!(blue.iter().all(|server| server.asked() > 0));
}

#[tokio::test]
async fn a_budget_bounds_what_is_asked_again() {
    let blue = Server::several([Does::Close; 4]).await;
    let proxy = start(&blue, &green().await, &format!("{TURNS}[retry]\nattempts = 3\nbudget = \"10%\"")).await;
    for _ in 0..200 {
        assert_eq!(proxy.get("/").await.status, 502);
    }
    // A tenth, and the reserve of each of the two workers.
    let again = asked(&blue) - 200;
    assert!((1..=20 + 2 * 10 + 20).contains(&again), "{again} of 600 that were possible");

    // What is not made is not paid for: on one worker all of the reserve is there, and a tenth.
    let blue = Server::several([Does::Close; 4]).await;
    let proxy = start(&blue, &green().await, &format!("{TURNS}[retry]\nattempts = 1\nbudget = \"10%\"")).await;
    let mut client = proxy.connect().await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.status, 502);
    }
    let again = asked(&blue) - 50;
    assert!((10..=16).contains(&again), "{again}");

    let blue = Server::several([Does::Close, Does::Answer]).await;
    let proxy = start(&blue, &green().await, &format!("{TURNS}[retry]\nbudget = \"0%\"")).await;
    for _ in 0..20 {
        proxy.get("/").await;
    }
    assert_eq!(asked(&blue), 20);
    assert!(blue[0].asked() > 0);
}

#[tokio::test]
async fn no_attempts_mean_that_nothing_is_asked_again() {
    let blue = Server::several([Does::Close, Does::Answer]).await;
    let proxy = start(&blue, &green().await, &format!("{TURNS}[retry]\nattempts = 0\nbudget = \"100%\"")).await;
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(proxy.get("/").await.status == 502);
    }
    assert_eq!((asked(&blue), blue[0].asked()), (20, failed));
    assert!(failed > 0);
}

/// A proxy whose first endpoint nobody listens at, and no probe has found that out.
async fn with_one_dead(retry: &str) -> (Vec<Server>, Proxy) {
    let blue = Server::several([Does::Answer; 2]).await;
    let mut setup = Setup::at(blue[0].address, blue[1].address);
    setup.blue = format!("release = \"1.0\"\n{}", endpoints(&blue));
    setup.more = format!("{TURNS}[retry]\n{retry}");
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path()).replace("fall = 1\n", "fall = 100\n").replace("\"100ms\"", "\"1h\"");
    let proxy = Proxy::start_in(dir, &text).await;
    proxy.until("all are up", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    let mut blue = blue;
    let dead = blue.remove(0);
    dead.task.abort();
    until("nobody listens", async || TcpStream::connect(dead.address).await.is_err().then_some(())).await;
    (blue, proxy)
}

#[tokio::test]
async fn what_could_not_be_sent_goes_elsewhere_whatever_it_is_and_costs_no_budget() {
    let (blue, proxy) = with_one_dead("budget = \"0%\"").await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status, 200);
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(asked(&blue), 20);

    let (blue, proxy) = with_one_dead("attempts = 0").await;
    let mut failed = 0;
    for _ in 0..10 {
        failed += usize::from(proxy.get("/").await.status == 502);
    }
    assert!(failed > 0, "but for no attempts");
    assert_eq!(asked(&blue) + failed, 10);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_is_replaced_unnoticed() {
    for retry in ["attempts = 2", "attempts = 0"] {
        // It is closed when it is taken, and known to be.
        let blue = Server::several([Does::AnswerAndClose]).await;
        let proxy = start(&blue, &green().await, &format!("{TURNS}[retry]\n{retry}")).await;
        let mut client = proxy.connect().await;
        for number in 1..=10 {
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
            assert_eq!(client.answer().await.status, 200, "{retry}");
            until("it is closed", async || (blue[0].shared.spoken.load(Ordering::SeqCst) == 0).then_some(())).await;
            assert_eq!(blue[0].asked(), number);
        }

        // It is closed when the request is there already.
        let blue = Server::several([Does::AnswerOnce]).await;
        let proxy = start(&blue, &green().await, &format!("{TURNS}[retry]\n{retry}")).await;
        let mut client = proxy.connect().await;
        for _ in 0..10 {
            assert_eq!(client.get("/").await.status, 200, "{retry}");
        }
    }
}

#[tokio::test]
async fn connections_to_the_target_are_made_when_it_has_answered_and_before_the_switch() {
    let blue = Server::several([Does::Answer; 2]).await;
    let green = Server::several([Does::Answer; 2]).await;
    let proxy = start(&blue, &green, "").await;
    for _ in 0..20 {
        proxy.get("/").await;
    }
    until("none is there that has to be", async || green.iter().all(|server| server.quiet() == 0).then_some(())).await;
    // The gate waits for its answer.
    green.iter().for_each(|server| _ = server.shared.silent.send_replace(true));
    let switching = async { proxy.post("/admin/switch", json!({})).await };
    let answering = async {
        proxy.until("it waits", |status| status["phase"] == "gating").await;
        assert_eq!(asked(&green), 0);
        green.iter().for_each(|server| _ = server.shared.silent.send_replace(false));
    };
    let (answer, ()) = tokio::join!(switching, answering);
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("each worker has one to each endpoint", async || green.iter().all(|s| s.quiet() >= 2).then_some(())).await;
    // And they are what is used.
    let quiet: usize = green.iter().map(Server::quiet).sum();
    assert_eq!(proxy.get("/").await.status, 200);
    until("one of them was", async || (green.iter().map(Server::quiet).sum::<usize>() < quiet).then_some(())).await;
    assert_eq!(asked(&green), 1);
}

#[tokio::test]
async fn the_free_connections_to_an_endpoint_that_is_left_out_are_closed_and_it_gets_new_ones() {
    let mut blue = Server::several([Does::Answer, Does::Answer]).await;
    let policy = "[upstream.default]\nbalance = \"round-robin\"\neject = { consecutive = 3, for = \"1h\" }";
    let proxy = start(&blue, &green().await, policy).await;
    // More than one to each, so that some stay free while another one fails.
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = proxy.connect().await;
        clients.spawn(async move { client.get("/").await.status });
    }
    assert!(clients.join_all().await.iter().all(|status| *status == 200));
    assert!(!blue[0].used().is_empty());
    blue[0].now_does(Does::Say503);
    while ejected(&proxy.status().await).is_empty() {
        proxy.get("/").await;
    }
    let (before, asked) = (blue[0].used(), blue[0].asked());
    until("they are closed", async || blue[0].used().is_empty().then_some(())).await;
    blue[0].now_does(Does::Answer);
    // Where nobody else is left, it is asked all the same.
    drop(blue.pop());
    until("it is asked again", async || {
        proxy.get("/").await;
        (blue[0].asked() > asked).then_some(())
    })
    .await;
    let after = blue[0].used();
    assert!(!after.is_empty() && after.is_disjoint(&before), "{after:?} and {before:?}");
}
