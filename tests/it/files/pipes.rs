//! Files of the configuration that hang or are pipes: nothing that is opened or written stops the proxy.

use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::application::pair;
use crate::certificates::Authority;
use crate::proxy::{Proxy, Setup};
use crate::until;

fn pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from(0o600)).expect("a pipe");
}

/// Status, switch and rollback answer, and `TERM` ends the process.
async fn is_alive_and_ends(proxy: &mut Proxy) {
    proxy.switch("green").await;
    assert_eq!(proxy.color().await, "green");
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    assert_eq!((proxy.status().await["active"].clone(), proxy.color().await), (json!("blue"), "blue".to_owned()));
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn hup_with_an_access_log_that_became_a_pipe_without_a_reader_stops_nothing() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    pipe(&proxy.dir.path().join("access.log"));
    proxy.signal(Signal::HUP);
    proxy.until_logged("no process reads this pipe").await;
    assert_eq!(proxy.get("/").await.status, 200);
    let status = proxy.until("lines are dropped", |status| status["access_log_dropped"] != 0).await;
    assert_eq!(status["problems"][0]["setting"], "log.access", "{status}");
    is_alive_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn a_start_with_an_access_log_that_is_a_pipe_without_a_reader_serves() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    pipe(&dir.path().join("access.log"));
    let text = Setup::new(&blue, &green).text(dir.path());
    let mut proxy = Proxy::start_in(dir, &text).await;
    is_alive_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn a_reload_to_an_access_log_that_is_a_pipe_stops_nothing() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let path = proxy.dir.path().join("pipe.log");
    pipe(&path);
    proxy.replace_file(&proxy.text().replace("access.log", "pipe.log"));
    proxy.until_logged("no process reads this pipe").await;
    is_alive_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn a_pipe_whose_reader_does_not_read_costs_lines_and_holds_nothing_up() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    pipe(&path);
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens");
    let text = Setup::new(&blue, &green).text(dir.path());
    let mut proxy = Proxy::start_in(dir, &text).await;
    let mut connection = proxy.connect().await;
    for _ in 0..600 {
        assert_eq!(connection.get("/").await.status, 200);
    }
    proxy.until("lines are dropped", |status| status["access_log_dropped"] != 0).await;
    drop(connection);
    is_alive_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn files_of_secrets_that_become_pipes_refuse_the_reload_and_stop_nothing() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("page.html");
    let (secret, url) = (dir.path().join("secret"), dir.path().join("url"));
    for path in [&page, &secret] {
        std::fs::write(path, "a").expect("writes");
    }
    std::fs::write(&url, "http://127.0.0.1:9/x").expect("writes");
    let mut setup = Setup::new(&blue, &green);
    setup.more = format!(
        "[maintenance]\npage = \"{}\"\n[preview]\nsecret_file = \"{}\"\n[[notify]]\nname = \"ops\"\nkind = \"slack\"\nurl_file = \"{}\"\n",
        page.display(),
        secret.display(),
        url.display(),
    );
    let text = setup.text(dir.path());
    let mut proxy = Proxy::start_in(dir, &text).await;
    for path in [&page, &secret, &url] {
        pipe(path);
    }
    let reload = proxy.post("/admin/reload", json!({})).await;
    assert_eq!(reload.status, 422, "{}", reload.text());
    assert!(reload.text().contains("is not a regular file"), "{}", reload.text());
    for (path, text) in [(&page, "a"), (&secret, "a"), (&url, "http://127.0.0.1:9/x")] {
        std::fs::remove_file(path).expect("removes");
        std::fs::write(path, text).expect("writes");
    }
    until("it is valid again", async || (proxy.post("/admin/reload", json!({})).await.status == 200).then_some(()))
        .await;
    is_alive_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn certificates_and_tokens_that_are_pipes_stop_nothing() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().display().to_string();
    let authority = Authority::new();
    authority.issue(&["site.test"]).write(dir.path(), "site");
    for name in ["other.pem", "other.key", "staple", "look"] {
        pipe(&dir.path().join(name));
    }
    let mut setup = Setup::new(&blue, &green);
    setup.listen.push_str("\nhttps = \"127.0.0.1:0\"\n");
    setup.more = format!(
        "[tls]\ncertificates = [{{ cert = \"{at}/site.pem\", key = \"{at}/site.key\", ocsp = \"{at}/staple\" }}, \
         {{ cert = \"{at}/other.pem\", key = \"{at}/other.key\" }}]\n[preview]\nsecret_file = \"{at}/look\"\n"
    );
    let text = setup.text(dir.path());
    let mut proxy = Proxy::start_in(dir, &text).await;
    let status = proxy.status().await;
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(4), "{status}");
    let https = status["https_address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
    assert_eq!(authority.http1(https, "site.test").await.get("/").await.text(), "blue");
    // The one that was good becomes a pipe while it is in use.
    pipe(&proxy.dir.path().join("site.pem"));
    proxy.until("it is told", |status| status["certificate_errors"].to_string().contains("site.pem")).await;
    proxy.signal(Signal::HUP);
    proxy.until_logged("Configuration file invalid").await;
    assert_eq!(authority.http1(https, "site.test").await.get("/").await.text(), "blue");
    is_alive_and_ends(&mut proxy).await;
}

#[tokio::test]
async fn usr1_opens_the_access_log_again() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let path = proxy.dir.path().join("access.log");
    std::fs::rename(&path, proxy.dir.path().join("access.log.1")).expect("renames");
    proxy.signal(Signal::USR1);
    until("the log is there again", async || path.exists().then_some(())).await;
    proxy.get("/after").await;
    until("the line is in the new file", async || {
        std::fs::read_to_string(&path).ok().filter(|log| log.contains("/after")).map(drop)
    })
    .await;
}

#[tokio::test]
async fn quit_drains_like_term() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let mut connection = proxy.connect().await;
    connection.send("GET /gated HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    until("it is under way", async || blue.heads().iter().any(|head| head.contains("/gated")).then_some(())).await;
    proxy.signal(Signal::QUIT);
    proxy.until_logged("Shutting down").await;
    blue.open_gate();
    assert_eq!(connection.answer().await.status, 200);
    assert!(proxy.ended().await.success());
}
