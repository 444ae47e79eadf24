//! The processes before an upgrade still have requests: no answer says that their color may be stopped.

use serde_json::{Value, json};

use super::Successors;
use crate::application::pair;
use crate::client::Connection;
use crate::http2::{ACK, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, RST_STREAM, Raw, block, frame};
use crate::proxy::{Proxy, Setup};
use crate::soon;
use crate::switch::ask;

fn needs(status: &Value) -> Vec<&str> {
    let needed = status["blue"]["safe_to_stop"]["needed_by"].as_array().expect("a list");
    needed.iter().filter_map(|need| need["need"].as_str()).collect()
}

/// Without a bake, which is another reason to keep a color.
fn setup(blue: &crate::application::Application, green: &crate::application::Application) -> Setup {
    let mut setup = Setup::new(blue, green);
    setup.more = "[bake]\nduration = \"0s\"\n".to_owned();
    setup
}

async fn is_in_use(proxy: &Proxy, by: &[&str]) {
    let is_reported = |status: &Value| needs(status) == by && status["draining"]["requests"] == 1;
    let status = proxy.until("blue is needed", is_reported).await;
    assert_eq!(status["blue"]["safe_to_stop"]["safe"], false, "{status}");
    assert_eq!(status["draining"]["color"], "blue", "{status}");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("cutover_draining{color=\"blue\",kind=\"request\"} 1"), "{}", metrics.text());
    for condition in [["--safe-to-stop", "blue"].as_slice(), &["--drained"]] {
        let waited = proxy.cli(&[&["wait", "--timeout", "300ms"], condition].concat()).await;
        assert_eq!(waited.status.code(), Some(5), "{condition:?}: {waited:?}");
    }
    let section = json!({ "release": "3.0", "endpoints": ["127.0.0.1:1"] });
    let staged = proxy.admin("PUT", "/admin/colors/blue", &section.to_string()).await;
    assert_eq!((staged.status, &staged.json()["code"]), (409, &json!("in_use")), "{}", staged.text());
}

async fn is_free(proxy: &Proxy, mut slow: Connection) {
    assert_eq!(slow.answer().await.text(), "blue");
    let waited = proxy.cli(&["wait", "--safe-to-stop", "blue", "--timeout", "20s"]).await;
    assert_eq!(waited.status.code(), Some(0), "{waited:?}");
    let status = proxy.status().await;
    assert!(status["blue"]["safe_to_stop"]["safe"] == true && status["draining"].is_null(), "{status}");
}

#[tokio::test]
async fn a_switch_after_an_upgrade_waits_for_the_requests_of_the_process_before() {
    let (blue, green) = pair().await;
    let proxy = setup(&blue, &green).start().await;
    let slow = ask(&proxy, "/late").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    let mut successors = Successors::default();
    successors.upgrade(&proxy).await;
    let answer = proxy.switch("green").await;
    assert_eq!(
        (&answer["draining"]["color"], &answer["draining"]["requests"]),
        (&json!("blue"), &json!(1)),
        "{answer}"
    );
    is_in_use(&proxy, &["drain", "predecessor"]).await;
    blue.open_gate();
    is_free(&proxy, slow).await;
}

#[tokio::test]
async fn a_color_that_drained_before_the_upgrades_is_needed_until_its_last_request_ends() {
    let (blue, green) = pair().await;
    let proxy = setup(&blue, &green).start().await;
    let slow = ask(&proxy, "/late").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    proxy.switch("green").await;
    let mut successors = Successors::default();
    // The second new process has to hear of the first one's predecessor.
    for _ in 0..2 {
        successors.upgrade(&proxy).await;
        is_in_use(&proxy, &["predecessor"]).await;
    }
    blue.open_gate();
    is_free(&proxy, slow).await;
}

#[tokio::test]
async fn a_move_after_two_upgrades_closes_the_connections_of_both_processes_before() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut successors = Successors::default();
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut connection = proxy.connect().await;
        assert_eq!(connection.get("/").await.text(), "blue");
        kept.push(connection);
        successors.upgrade(&proxy).await;
    }
    proxy.switch("green").await;
    for connection in &mut kept {
        assert!(connection.ended().await);
    }
    assert_eq!(proxy.color().await, "green");
}

/// RFC 9113, 6.8: the first GOAWAY stops the client, and only the second one names the last stream.
#[tokio::test]
async fn an_http2_request_that_crosses_the_goaway_of_an_upgrade_is_answered() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Raw::connect(proxy.http).await;
    let mut late = GET;
    late[3].1 = "/late";
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&late))).await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    let mut successors = Successors::default();
    successors.upgrade(&proxy).await;
    let mut ended = Vec::new();
    let mut goaways = Vec::new();
    soon("the connection ends", async {
        while let Ok((kind, flags, stream, payload)) = client.frame().await {
            match kind {
                GOAWAY => {
                    goaways.push(payload);
                    match goaways.len() {
                        1 => client.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(&GET))).await,
                        _ => blue.open_gate(),
                    }
                }
                PING if flags & ACK == 0 => client.send(frame(PING, ACK, 0, &payload)).await,
                RST_STREAM => panic!("stream {stream} is refused: {payload:?}"),
                _ if stream != 0 && flags & END_STREAM != 0 => ended.push(stream),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(goaways, [[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], [0, 0, 0, 3, 0, 0, 0, 0]]);
    ended.sort_unstable();
    assert_eq!(ended, [1, 3]);
}
