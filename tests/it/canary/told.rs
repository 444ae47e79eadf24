//! Events that a real application tells (`Cutover-Event`), and requests that are no evidence.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::load::Load;
use crate::proxy::{Proxy, Setup};
use crate::until;

const EVENTS: &str = "[[analysis.event]]\nname = \"order\"\nbad = \"fewer\"\nshare = \"50%\"\n";

/// An application whose answers are all alike but for what they tell: of `every` request to it one has these fields.
struct Seller {
    address: SocketAddr,
    every: Arc<AtomicU64>,
}

impl Seller {
    async fn open(color: &'static str, every: u64, fields: &'static str) -> Seller {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (every, count) = (Arc::new(AtomicU64::new(every)), Arc::new(AtomicU64::new(0)));
        let shared = Arc::clone(&every);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, (color, fields), Arc::clone(&shared), Arc::clone(&count)));
            }
        });
        Seller { address, every }
    }
}

async fn serve(
    mut stream: TcpStream,
    (color, fields): (&'static str, &'static str),
    every: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    loop {
        while !read.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
        let is_check = head.starts_with("get /healthz");
        let fails = head.contains("user-agent: mozilla/5.0 (scanner; +http://scanner.example)");
        let (every, number) = (every.load(Ordering::Relaxed), count.fetch_add(u64::from(!is_check), Ordering::Relaxed));
        let told = if every > 0 && number.is_multiple_of(every) && !is_check { fields } else { "" };
        let status = if fails { "500 No" } else { "200 OK" };
        let body = format!("{color} sold\n");
        read.clear();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{told}\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The value of a series; none: it is not there.
async fn series(proxy: &Proxy, name: &str) -> Option<f64> {
    let page = proxy.admin("GET", "/metrics", "").await;
    page.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[tokio::test]
async fn what_the_application_tells_is_counted_and_no_client_sees_it() {
    let blue = Seller::open("blue", 1, "Cutover-Event: order;n=2\r\ncutover-event: order, else\r\nX-Kept: a\r\n").await;
    let green = Seller::open("green", 1, "Cutover-Event: no list\r\n").await;
    let setup = Setup { more: EVENTS.to_owned(), ..Setup::at(blue.address, green.address) };
    let proxy = setup.start().await;
    let orders = "cutover_events_total{color=\"blue\",event=\"order\"}";
    assert_eq!(series(&proxy, orders).await, Some(0.0), "it is there from the start");
    let answer = proxy.get("/").await;
    assert_eq!((answer.header("x-kept"), answer.header("cutover-event")), (Some("a"), None));
    assert_eq!(series(&proxy, orders).await, Some(3.0));
    assert_eq!(series(&proxy, "cutover_events_ignored_total{reason=\"unknown\"}").await, Some(1.0));
    proxy.switch("green").await;
    let answer = proxy.get("/").await;
    assert_eq!(answer.header("cutover-event"), None);
    assert_eq!(series(&proxy, "cutover_events_ignored_total{reason=\"malformed\"}").await, Some(1.0));
    proxy.until_logged("event ignored").await;
    // From the next request on it is another list.
    proxy.replace_file(&proxy.text().replace("\"order\"", "\"no\""));
    until("the new name is known", async || series(&proxy, "cutover_events_total{color=\"green\",event=\"no\"}").await)
        .await;
    assert_eq!(series(&proxy, orders).await, None);
}

#[tokio::test]
async fn a_release_that_loses_its_orders_is_rolled_back_though_all_its_answers_are_good() {
    let blue = Seller::open("blue", 2, "Cutover-Event: order\r\n").await;
    let green = Seller::open("green", 2, "Cutover-Event: order\r\n").await;
    let config = "[canary]\nsteps = [\"50%\"]\ndwell = \"60s\"\n\
                  [analysis]\ntick = \"100ms\"\nwarmup = { requests = 0, time = \"0s\" }\n";
    let setup = Setup { more: format!("{config}{EVENTS}"), ..Setup::at(blue.address, green.address) };
    let proxy = setup.start().await;
    let load = Load::start(proxy.http, 200, &["/", "/cart"], 0);
    green.every.store(0, Ordering::Relaxed);
    let answer = proxy.post("/admin/canary", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = until("orders are compared", async || {
        let canary = proxy.admin("GET", "/admin/canary", "").await.json()["canary"].clone();
        (canary["events"][0]["stable"]["told"].as_u64() > Some(0)).then_some(canary)
    })
    .await;
    assert_eq!(
        (&shown["events"][0]["event"], &shown["events"][0]["bad"], &shown["events"][0]["tolerate"]),
        (&json!("order"), &json!("fewer"), &json!(10.0))
    );
    let rollback = until("it is rolled back", async || {
        let history = proxy.admin("GET", "/admin/history?limit=100", "").await.json();
        let transitions = history["transitions"].as_array().cloned().unwrap_or_default();
        transitions.into_iter().find(|transition| transition["kind"] == "rollback")
    })
    .await;
    let finding = &rollback["judgement"]["findings"][0];
    assert_eq!((&finding["class"], &finding["event"]), (&json!("fewer_events"), &json!("order")), "{rollback}");
    assert!(
        finding["words"].as_str().is_some_and(|words| words.starts_with("order is 100 % rarer: 0 % against")),
        "{finding}"
    );
    assert_eq!((load.seen().lost, load.seen().green.failed), (0, 0), "{:?}", load.seen());
    let id = shown["id"].as_str().expect("it has a name");
    let again = proxy.cli(&["replay", id, "--json"]).await;
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(again["recorded"]["judgement"]["findings"][0]["event"], "order", "{again}");
}

#[tokio::test]
async fn requests_that_are_ignored_are_served_and_are_no_evidence() {
    let blue = Seller::open("blue", 0, "").await;
    let green = Seller::open("green", 0, "").await;
    let config = "[canary]\nsteps = [\"50%\"]\ndwell = \"60s\"\n\
                  [analysis]\ntick = \"100ms\"\nignore = { paths = [\"/up\"], agents = [\"Scanner\"] }\n";
    let setup = Setup { more: config.to_owned(), ..Setup::at(blue.address, green.address) };
    let proxy = setup.start().await;
    assert_eq!(proxy.post("/admin/canary", json!({})).await.status, 200);
    let mut connection = proxy.connect().await;
    for (path, agent) in
        [("/", "Mozilla/5.0 (scanner; +http://scanner.example)"), ("/up", "x"), ("/up/a", "x")].repeat(20)
    {
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: shop\r\nUser-Agent: {agent}\r\n\r\n")).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, if path == "/" { 500 } else { 200 });
    }
    // The one that is evidence is counted after all of them.
    connection.send("GET /upper HTTP/1.1\r\nHost: shop\r\nUser-Agent: x\r\n\r\n").await;
    assert_eq!(connection.answer().await.status, 200);
    let all = until("it is counted", async || {
        let routes = proxy.admin("GET", "/admin/canary", "").await.json()["canary"]["routes"].clone();
        (routes[0]["stable"]["assigned"].as_u64()? + routes[0]["candidate"]["assigned"].as_u64()? > 0)
            .then_some(routes[0].clone())
    })
    .await;
    let sum = |of: &str| all["stable"][of].as_u64().unwrap_or(0) + all["candidate"][of].as_u64().unwrap_or(0);
    assert_eq!((sum("assigned"), sum("errors")), (1, 0), "{all}");
    let codes = ["blue", "green"]
        .map(|color| format!("cutover_http_requests_total{{color=\"{color}\",upstream=\"default\",code=\"5xx\"}}"));
    let failed = [series(&proxy, &codes[0]).await, series(&proxy, &codes[1]).await];
    assert_eq!(failed.iter().flatten().sum::<f64>(), 20.0, "they are counted as ever");
}
