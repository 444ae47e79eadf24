//! What is under way at a switch: it ends where it began, it is counted, and what takes too long is ended.

use serde_json::json;

use super::ask;
use crate::application::pair;
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::until;

async fn upgraded(proxy: &Proxy) -> Connection {
    let mut client = proxy.connect().await;
    client.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 101);
    client
}

async fn shout(client: &mut Connection, word: &str) {
    client.send(word).await;
    assert_eq!(client.exactly(word.len()).await.expect("an answer"), word.to_ascii_uppercase().into_bytes());
}

#[tokio::test]
async fn requests_under_way_finish_on_the_color_they_began_on_and_are_counted_by_kind() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut late = ask(&proxy, "/late").await;
    let mut gated = ask(&proxy, "/gated").await;
    assert_eq!(gated.head().await.expect("a head").status, 200);
    let mut tunnel = upgraded(&proxy).await;
    shout(&mut tunnel, "before").await;
    proxy.until("all are under way", |status| status["blue"]["requests"] == 1 && status["blue"]["streams"] == 1).await;

    let answer = proxy.switch("green").await;
    let draining = &answer["draining"];
    assert_eq!(draining["color"], "blue");
    assert_eq!((&draining["requests"], &draining["streams"], &draining["tunnels"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(proxy.color().await, "green");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("cutover_draining{color=\"blue\",kind=\"tunnel\"} 1"), "{}", metrics.text());

    shout(&mut tunnel, "after").await;
    blue.open_gate();
    assert_eq!(late.answer().await.text(), "blue");
    assert_eq!(gated.exactly(6).await.expect("the rest"), b"[done]");
    proxy.until("only the tunnel is left", |s| s["draining"]["requests"] == 0 && s["draining"]["streams"] == 0).await;
    drop(tunnel);
    proxy.until("it is drained", |status| status["draining"].is_null()).await;
    proxy.until_logged("Drained").await;
    // The client's own connections go on, to the new color.
    assert_eq!(late.get("/").await.text(), "green");
    until("blue can stop at once", async || (blue.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_is_left_at_the_timeout_is_ended_and_counted() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"300ms\"".to_owned();
    let proxy = setup.start().await;
    let mut late = ask(&proxy, "/late").await;
    let mut gated = ask(&proxy, "/gated").await;
    gated.head().await;
    let mut tunnel = upgraded(&proxy).await;
    proxy.until("all are under way", |s| s["blue"]["requests"] == 1 && s["blue"]["streams"] == 1).await;
    proxy.switch("green").await;
    let answer = late.answer().await;
    assert_eq!(answer.status, 504);
    assert!(answer.header("proxy-status").is_some_and(|status| status.starts_with("cutover; error=")));
    assert_eq!(gated.rest().await, b"[", "cut short");
    assert!(tunnel.ended().await);
    proxy.until("it is drained", |status| status["draining"].is_null()).await;
    let line = proxy.until_logged("requests left at drain.timeout were cut off").await;
    assert!(line.contains("\"cut_off\":3"), "{line}");
    let history = proxy.cli(&["history"]).await;
    let said = String::from_utf8_lossy(&history.stdout);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("1 request and 1 stream and 1 tunnel cut off"), "{said}");
}

#[tokio::test]
async fn tunnels_are_closed_at_the_switch_where_that_is_wanted() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"20s\"\nstreams = \"close\"".to_owned();
    let proxy = setup.start().await;
    let mut tunnel = upgraded(&proxy).await;
    let mut gated = ask(&proxy, "/gated").await;
    gated.head().await;
    proxy.switch("green").await;
    assert!(tunnel.ended().await);
    blue.open_gate();
    assert_eq!(gated.exactly(6).await.expect("the rest"), b"[done]", "answers are not tunnels");
}

#[tokio::test]
async fn a_switch_back_during_a_drain_keeps_what_began_before_it() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"1s\"".to_owned();
    let proxy = setup.start().await;
    let mut tunnel = upgraded(&proxy).await;
    shout(&mut tunnel, "one").await;
    proxy.switch("green").await;
    let answer = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    proxy.until("nothing is drained", |status| status["draining"].is_null()).await;
    // Longer than the first drain would have taken.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    shout(&mut tunnel, "two").await;
}

#[tokio::test]
async fn a_switch_can_wait_for_the_drain() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut late = ask(&proxy, "/late").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    let waiting = async { proxy.post("/admin/switch", json!({ "wait": "drained" })).await };
    let opening = async {
        proxy.until("it is drained of all but one", |status| status["draining"]["requests"] == 1).await;
        blue.open_gate();
    };
    let (answer, ()) = tokio::join!(waiting, opening);
    assert_eq!((answer.status, answer.json().get("draining").cloned()), (200, None), "{}", answer.text());
    assert_eq!(late.answer().await.text(), "blue");
}
