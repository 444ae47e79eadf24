//! Answers that name another release than the label are told and shown at once, and no longer when they name it again.

use serde_json::{Value, json};

use super::process::Speaks;
use super::{HTTP1, HTTP2, Site};
use crate::proxy::Proxy;
use crate::receiver::{Received, Receiver};
use crate::until;

/// Blue answers at the first place, green at the second one; nobody is probed after the start unless `interval` says so.
async fn start(site: &mut Site, interval: &str, receiver: &Receiver) -> Proxy {
    site.setup.health = format!("path = \"/healthz\"\ninterval = \"{interval}\"\nrelease_header = \"x-release\"");
    let dir = tempfile::tempdir().expect("a directory");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a file");
    let url = receiver.url_file(dir.path(), "sink");
    let sink = format!(
        "[[notify]]\nname = \"sink\"\nkind = \"webhook\"\nurl_file = \"{url}\"\nsecret_files = [\"{}\"]\nevents = [\"target.*\"]\n",
        secret.display()
    );
    site.setup.more += &sink;
    let proxy = site.start().await;
    // Its files are used as long as it runs.
    std::mem::forget(dir);
    proxy
}

fn answers_as(status: &Value, color: &str) -> Value {
    status[color]["endpoints"][0]["answers_as"]["release"].clone()
}

fn gauge(page: &str, color: &str) -> Option<String> {
    let series = format!("cutover_endpoint_wrong_release{{color=\"{color}\"");
    page.lines().find(|line| line.starts_with(&series)).and_then(|line| Some(line.rsplit_once(' ')?.1.to_owned()))
}

async fn metrics(proxy: &Proxy) -> String {
    proxy.admin("GET", "/metrics", "").await.text().to_owned()
}

async fn told_by_answers(speaks: Speaks) {
    let receiver = Receiver::start().await;
    let mut site = Site::new(speaks, false);
    let (blue, _green) = (site.process(0, "0:0"), site.process(1, "0:1"));
    let proxy = start(&mut site, "1h", &receiver).await;
    let mut client = proxy.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "0:0");
    }
    assert_eq!(answers_as(&proxy.status().await, "blue"), Value::Null);
    let page = metrics(&proxy).await;
    assert_eq!((gauge(&page, "blue").as_deref(), gauge(&page, "green")), (Some("0"), None), "{page}");

    blue.says("0:9");
    let status = until("it is shown", async || {
        assert_eq!(client.get("/").await.status, 200, "it is told, and served");
        Some(proxy.status().await).filter(|status| answers_as(status, "blue") == "0:9")
    })
    .await;
    assert!(status["blue"]["endpoints"][0]["answers_as"]["since"].is_string(), "{status}");
    assert!(status.to_string().contains("answers as release 0:9, its label says 0:0"), "in the headline: {status}");
    assert_eq!(gauge(&metrics(&proxy).await, "blue").as_deref(), Some("1"));
    proxy.until_logged("Endpoint answers as another release").await;
    let notice = receiver.until("it is told", |r| r.event() == "target.wrong_release").await;
    let data = &notice.json()["data"];
    assert_eq!((&data["release"], &data["says"], &data["color"]), (&json!("0:0"), &json!("0:9"), &json!("blue")));
    let shown = proxy.cli(&["status"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("answers as release 0:9 for"), "{shown}");

    for _ in 0..300 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let lines = proxy.log().matches("Endpoint answers as another release").count();
    let notices =
        receiver.received().iter().map(Received::event).filter(|event| event == "target.wrong_release").count();
    assert_eq!((lines, notices), (1, 1), "once");

    blue.says("0:0");
    until("it is over", async || {
        assert_eq!(client.get("/").await.text(), "0:0");
        Some(()).filter(|()| proxy.log().contains("Endpoint answers as its label again"))
    })
    .await;
    assert_eq!(answers_as(&proxy.status().await, "blue"), Value::Null);
    assert_eq!(gauge(&metrics(&proxy).await, "blue").as_deref(), Some("0"));
    receiver.until("that is told", |r| r.event() == "target.right_release").await;
}

#[tokio::test]
async fn answers_of_another_release_are_told_and_shown_at_once() {
    told_by_answers(HTTP1).await;
    told_by_answers(HTTP2).await;
}

#[tokio::test]
async fn probes_of_the_color_that_serves_say_which_release_it_is() {
    let receiver = Receiver::start().await;
    let mut site = Site::new(HTTP1, false);
    let (blue, green) = (site.process(0, "0:0"), site.process(1, "0:1"));
    let proxy = start(&mut site, "100ms", &receiver).await;
    // One that does not serve may be on its way to its label.
    green.says("0:8");
    blue.says("0:9");
    let status = proxy.until("it is shown without a request", |status| answers_as(status, "blue") == "0:9").await;
    assert_eq!(answers_as(&status, "green"), Value::Null);
    // A label that says the truth ends it, and so does a switch.
    proxy.replace_file(&site.text(proxy.dir.path(), "0:9", "0:1"));
    proxy.until("the label is true", |status| answers_as(status, "blue") == Value::Null).await;
    blue.says("0:7");
    proxy.until("it is not", |status| answers_as(status, "blue") == "0:7").await;
    green.says("0:1");
    proxy.switch("green").await;
    proxy.until("it does not serve", |status| answers_as(status, "blue") == Value::Null).await;
}
