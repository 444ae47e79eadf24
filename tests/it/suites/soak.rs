//! Everything at once for a while: load of all kinds, switches, reloads, endpoints that die and come back, slow clients.
//!
//! A few seconds in an ordinary run; `CUTOVER_SOAK_SECONDS=600 cargo test --test it soak` is the long one, which also says
//! what it saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::application::{Application, pair};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::server::versions::{get, http2_to};
use crate::until;

#[derive(Default)]
struct Counts {
    gets: AtomicU64,
    posts: AtomicU64,
    lost_posts: AtomicU64,
    streams: AtomicU64,
    tunnels: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_everything_at_once_fails_nobody_and_leaves_nothing() {
    let seconds = std::env::var("CUTOVER_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(4);
    let (blue, green) = pair().await;
    let mut frail = Application::start("blue").await;
    let address = frail.address;
    let mut setup = Setup::new(&blue, &green);
    setup.blue = format!("release = \"1.0\"\nendpoints = [\"{}\", \"{address}\"]", blue.address);
    setup.drain = "timeout = \"60s\"".to_owned();
    let proxy = Arc::new(setup.start().await);
    let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));

    // What it costs when it has seen everything once.
    let before = (descriptors(&proxy), resident(&proxy));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        load.spawn(gets(Arc::clone(&proxy), Arc::clone(&stop), Arc::clone(&counts)));
        load.spawn(streams(Arc::clone(&proxy), Arc::clone(&stop), Arc::clone(&counts)));
    }
    load.spawn(posts(Arc::clone(&proxy), Arc::clone(&stop), Arc::clone(&counts)));
    load.spawn(tunnels(Arc::clone(&proxy), Arc::clone(&stop), Arc::clone(&counts)));
    load.spawn(dawdlers(Arc::clone(&proxy), Arc::clone(&stop)));

    let began = Instant::now();
    let (mut switches, mut middle) = (0, None);
    while began.elapsed() < Duration::from_secs(seconds) {
        let color = if switches % 2 == 0 { "green" } else { "blue" };
        proxy.switch(color).await;
        switches += 1;
        if switches % 3 == 0 {
            let edited = format!("{}# edit {switches}\n", proxy.text());
            proxy.replace_file(&edited);
        }
        if switches % 4 == 2 {
            frail.stop().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            frail = Application::at("blue", address).await;
        }
        if began.elapsed() > Duration::from_secs(seconds / 2) && middle.is_none() {
            middle = Some(resident(&proxy));
        }
        let pause = if seconds < 60 { 200 } else { 1000 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.expect("no client saw anything that it must not see");
    }
    let counts = [&counts.gets, &counts.posts, &counts.lost_posts, &counts.streams, &counts.tunnels];
    let [gets, posts, lost, streams, tunnels] = counts.map(|count| count.load(Ordering::Relaxed));
    assert!(gets > 0 && posts > 0 && streams > 0 && tunnels > 0);
    proxy
        .until("nothing is under way", |status| {
            ["blue", "green"]
                .iter()
                .all(|color| ["requests", "streams", "tunnels"].iter().all(|kind| status[*color][*kind] == 0))
        })
        .await;
    // Idle connections to endpoints stay for a while.
    until("descriptors are given back", async || (descriptors(&proxy) < before.0 + 60).then_some(())).await;
    let (after, middle) = (resident(&proxy), middle.unwrap_or(before.1));
    assert!(after < middle + (16 << 20), "{} MiB in the middle, {} MiB in the end", middle >> 20, after >> 20);
    if seconds >= 60 {
        println!(
            "{seconds} s, {switches} switches: {gets} GETs, {posts} POSTs ({lost} lost with their endpoint), {streams} HTTP/2 \
             requests, {tunnels} tunnels; descriptors {} to {}, resident {} to {} to {} KiB",
            before.0,
            descriptors(&proxy),
            before.1 >> 10,
            middle >> 10,
            after >> 10
        );
    }
}

async fn gets(proxy: Arc<Proxy>, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = proxy.connect().await;
        for _ in 0..50 {
            let answer = client.get("/").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            count(&counts.gets);
        }
        // An endpoint may die in the middle of a long answer, and then it must not look whole.
        let answer = client.get("/bytes?200000").await;
        assert!(answer.status == 200 && (!answer.complete || answer.body.len() == 200_000));
    }
}

async fn posts(proxy: Arc<Proxy>, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    let body = "b".repeat(20_000);
    while !stop.load(Ordering::Relaxed) {
        let mut client = proxy.connect().await;
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let answer = client.answer().await;
        match (answer.status, answer.complete) {
            (200, true) => assert!(answer.text() == body),
            // It may have done its work, so it is not sent again.
            (502, _) | (200, false) => count(&counts.lost_posts),
            other => panic!("{other:?}: {}", answer.text()),
        }
        count(&counts.posts);
    }
}

async fn streams(proxy: Arc<Proxy>, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = http2_to(proxy.http).await;
        for _ in 0..50 {
            assert_eq!(get(&mut client, "/").await.0, 200);
            count(&counts.streams);
        }
    }
}

async fn tunnels(proxy: Arc<Proxy>, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = proxy.connect().await;
        client.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
        if client.head().await.is_none_or(|head| head.status != 101) {
            continue;
        }
        for _ in 0..10 {
            // The endpoint may die, and the tunnel with it.
            if client.try_send("word").await.is_err() || client.exactly(4).await.is_none_or(|word| word != b"WORD") {
                break;
            }
        }
        count(&counts.tunnels);
    }
}

/// Clients that say half of something and leave, or stay.
async fn dawdlers(proxy: Arc<Proxy>, stop: Arc<AtomicBool>) {
    let mut waiting: Vec<Connection> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut client = proxy.connect().await;
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf").await;
        waiting.push(client);
        if waiting.len() > 20 {
            waiting.clear();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn descriptors(proxy: &Proxy) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).expect("it runs").count()
}

fn resident(proxy: &Proxy) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}
