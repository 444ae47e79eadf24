//! A start with a file that can't be used: the rest is served, the file is named, and counts as soon as it is mended.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::admin::{Guarded, OPERATOR, VIEWER, keep_private};
use crate::application::{Application, pair};
use crate::certificates::{Authority, Pair, replace};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup, refused_start};
use crate::receiver::Receiver;
use crate::until;

fn https_of(status: &Value) -> SocketAddr {
    status["https_address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

/// The problem that the status tells of a file.
fn problem<'a>(status: &'a Value, file: &str) -> Option<&'a Value> {
    let problems = status["problems"].as_array()?;
    problems.iter().find(|problem| problem["path"].as_str().is_some_and(|path| path.ends_with(file)))
}

/// Status, command line, log, metric and `check` name the file.
async fn is_told(proxy: &Proxy, file: &str, setting: &str) {
    let status = proxy.status().await;
    assert_eq!(problem(&status, file).expect("it is told")["setting"], setting, "{status}");
    let line = proxy.until_logged("Unusable file").await;
    assert!(line.contains(file), "{line}");
    let shown = proxy.cli(&["status"]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains(file), "{shown:?}");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(!metrics.text().contains("\ncutover_unusable_files 0\n"), "{}", metrics.text());
    let check = proxy.cli(&["check"]).await;
    assert_eq!(check.status.code(), Some(2), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stderr).contains(file), "{check:?}");
}

async fn until_mended(proxy: &Proxy) {
    proxy.until("nothing is wrong any more", |status| status["problems"].is_null()).await;
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_unusable_files 0\n"), "{}", metrics.text());
    assert_eq!(proxy.cli(&["check"]).await.status.code(), Some(0));
}

/// With `NAME.pem` and `NAME.key` of each name in the directory, as far as they are there.
fn tls(setup: &mut Setup, dir: &Path, names: &[&str], more: &str) {
    let dir = dir.display();
    let files = names.iter().map(|name| format!("{{ cert = \"{dir}/{name}.pem\", key = \"{dir}/{name}.key\" }}"));
    let files: Vec<String> = files.collect();
    setup.listen.push_str("\nhttps = \"127.0.0.1:0\"\n");
    setup.more.push_str(&format!(
        "[tls]\ncertificates = [{}]\n{}\n",
        files.join(", "),
        more.replace("DIR", &dir.to_string())
    ));
}

struct Site {
    authority: Authority,
    site: Pair,
    other: Pair,
    dir: tempfile::TempDir,
    setup: Setup,
    _applications: (Application, Application),
}

impl Site {
    async fn new() -> Site {
        let (blue, green) = pair().await;
        let authority = Authority::new();
        let (site, other) = (authority.issue(&["site.test"]), authority.issue(&["other.test"]));
        let dir = tempfile::tempdir().expect("a directory");
        let setup = Setup::new(&blue, &green);
        Site { authority, site, other, dir, setup, _applications: (blue, green) }
    }

    /// What a client gets that asks for a name and trusts it.
    async fn answers(authority: &Authority, https: SocketAddr, name: &str) -> Option<String> {
        let stream = authority.connect(https, name, &["http/1.1"], None).await.ok()?;
        let mut client = Connection::over(stream);
        client.try_send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")).await.ok()?;
        Some(client.try_answer(false).await?.text().to_owned())
    }
}

#[tokio::test]
async fn with_one_bad_certificate_http_and_the_other_names_are_served() {
    let Site { authority, site, other, dir, mut setup, _applications } = Site::new().await;
    tls(&mut setup, dir.path(), &["site", "other"], "");
    other.write(dir.path(), "other");
    replace(&dir.path().join("site.pem"), &site.cert);
    replace(&dir.path().join("site.key"), "rubbish");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    let https = https_of(&proxy.status().await);
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(Site::answers(&authority, https, "other.test").await.as_deref(), Some("blue"));
    assert_eq!(Site::answers(&authority, https, "site.test").await, None);
    is_told(&proxy, "site.key", "tls").await;

    // An edit is taken while the file is as it was, and brings no other bad file.
    proxy.replace_file(&proxy.text().replace("timeout = \"20s\"", "timeout = \"21s\""));
    proxy.until_logged("21s").await;
    proxy.switch("green").await;
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    fs::remove_file(proxy.dir.path().join("other.key")).expect("removes");
    assert_eq!(proxy.post("/admin/reload", json!({})).await.status, 422);
    assert_eq!(Site::answers(&authority, https, "other.test").await.as_deref(), Some("green"));
    other.write(proxy.dir.path(), "other");

    site.write(proxy.dir.path(), "site");
    until("it is served", async || Site::answers(&authority, https, "site.test").await).await;
    until_mended(&proxy).await;
}

#[tokio::test]
async fn without_any_certificate_http_is_served_and_no_handshake_succeeds() {
    let Site { authority, site, dir, mut setup, _applications, .. } = Site::new().await;
    tls(&mut setup, dir.path(), &["site"], "");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    let https = https_of(&proxy.status().await);
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(Site::answers(&authority, https, "site.test").await, None);
    is_told(&proxy, "site.pem", "tls").await;
    site.write(proxy.dir.path(), "site");
    until("it is served", async || Site::answers(&authority, https, "site.test").await).await;
    until_mended(&proxy).await;
}

#[tokio::test]
async fn without_any_certificate_and_with_https_redirect_there_is_no_start() {
    let Site { dir, mut setup, _applications, .. } = Site::new().await;
    setup.listen.push_str("https_redirect = true\n");
    tls(&mut setup, dir.path(), &["site"], "");
    fs::write(dir.path().join("cutover.toml"), setup.text(dir.path())).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("https_redirect"), "{said}");
}

#[tokio::test]
async fn while_clients_can_not_be_checked_there_is_no_handshake() {
    let Site { authority, site, dir, mut setup, _applications, .. } = Site::new().await;
    site.write(dir.path(), "site");
    tls(&mut setup, dir.path(), &["site"], "client_ca = \"DIR/clients.pem\"\nclient_auth = \"request\"");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    let https = https_of(&proxy.status().await);
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(Site::answers(&authority, https, "site.test").await, None);
    is_told(&proxy, "clients.pem", "tls").await;
    replace(&proxy.dir.path().join("clients.pem"), &authority.pem());
    until("it is served", async || Site::answers(&authority, https, "site.test").await).await;
    until_mended(&proxy).await;
}

#[tokio::test]
async fn an_upstream_whose_authority_can_not_be_read_is_down_with_the_reason() {
    let Site { authority, dir, mut setup, _applications, .. } = Site::new().await;
    let config = authority.server(&authority.issue(&["127.0.0.1"]), &[], false);
    let at = _applications.0.also_over_tls(config).await;
    setup.blue = format!("release = \"1.0\"\nendpoints = [\"{at}\"]");
    setup.more = format!("[upstream.default.tls]\nca = \"{}/ca.pem\"\n", dir.path().display());
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    let status = proxy.until("it is down", |status| status["blue"]["endpoints"][0]["health"] == "down").await;
    assert!(status["blue"]["endpoints"][0]["detail"].to_string().contains("ca.pem"), "{status}");
    is_told(&proxy, "ca.pem", "upstream.default.tls").await;
    replace(&proxy.dir.path().join("ca.pem"), &authority.pem());
    proxy.until("it is up", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    until_mended(&proxy).await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_notice_whose_address_can_not_be_read_comes_when_it_can() {
    let (blue, green) = pair().await;
    let receiver = Receiver::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut setup = Setup::new(&blue, &green);
    setup.more = format!(
        "[[notify]]\nname = \"ops\"\nkind = \"slack\"\nurl_file = \"{}/ops.url\"\nretry = [\"100ms\"]\n",
        dir.path().display()
    );
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    is_told(&proxy, "ops.url", "notify.url_file").await;
    proxy.switch("green").await;
    receiver.url_file(proxy.dir.path(), "ops.url");
    receiver.until("the switch is told", |received| received.body.contains("green")).await;
    until_mended(&proxy).await;
}

#[tokio::test]
async fn pages_and_preview_secrets_that_can_not_be_read_count_when_they_can() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut setup = Setup::new(&blue, &green);
    let at = dir.path().display();
    setup.more = format!("[maintenance]\npage = \"{at}/page.html\"\n[preview]\nsecret_file = \"{at}/look\"\n");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    is_told(&proxy, "page.html", "maintenance.page").await;
    assert!(problem(&proxy.status().await, "look").is_some());
    let preview = async |secret: &str| {
        let mut client = proxy.connect().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Cutover-Color: inactive; secret={secret}\r\n\r\n")).await;
        client.answer().await.text().to_owned()
    };
    for guess in ["", "s3cret"] {
        assert_eq!(preview(guess).await, "blue", "nobody has the secret");
    }
    assert_eq!(proxy.post("/admin/maintenance", json!({})).await.status, 200);
    assert_eq!(proxy.get("/").await.status, 503);
    fs::write(proxy.dir.path().join("page.html"), "<h1>soon</h1>").expect("writes");
    fs::write(proxy.dir.path().join("look"), "s3cret").expect("writes");
    until_mended(&proxy).await;
    assert_eq!(proxy.get("/").await.text(), "<h1>soon</h1>");
    assert_eq!(proxy.admin("DELETE", "/admin/maintenance", "").await.status, 200);
    assert_eq!(preview("s3cret").await, "green");
}

/// The usual setup with two tokens, whose files are not there.
fn with_tokens(setup: &Setup) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    keep_private(dir.path());
    let at = dir.path().display();
    let tokens = format!(
        "[admin]\ntokens = [{{ name = \"deploy\", role = \"operator\", file = \"{at}/operator\" }}, \
         {{ name = \"screen\", role = \"viewer\", file = \"{at}/viewer\" }}]\n"
    );
    let text = setup.text(dir.path()) + &tokens;
    (dir, text)
}

fn http_of(proxy: &Guarded) -> SocketAddr {
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("\"Serving\"")).expect("it serves");
    let line: Value = serde_json::from_str(line).expect("JSON");
    line["http"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

#[tokio::test]
async fn with_one_bad_token_the_others_count() {
    let (blue, green) = pair().await;
    let (dir, text) = with_tokens(&Setup::new(&blue, &green));
    fs::write(dir.path().join("operator"), OPERATOR).expect("writes");
    let proxy = Guarded::start(dir, &text).await;
    let status = proxy.with_token(OPERATOR, "GET", "/admin/status", "").await.json();
    assert_eq!(problem(&status, "viewer").expect("it is told")["setting"], "admin.tokens", "{status}");
    assert_eq!(proxy.with_token(VIEWER, "GET", "/admin/status", "").await.status, 401);
    for nothing in ["", " "] {
        assert_eq!(proxy.with_token(nothing, "GET", "/admin/status", "").await.status, 401);
    }
    assert_eq!(proxy.with_token(OPERATOR, "POST", "/admin/switch", "").await.status, 200);
    fs::write(proxy.dir.path().join("viewer"), VIEWER).expect("writes");
    until("it counts", async || {
        (proxy.with_token(VIEWER, "GET", "/admin/status", "").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_any_token_traffic_is_served_and_nobody_may_do_anything() {
    let (blue, green) = pair().await;
    let (dir, text) = with_tokens(&Setup::new(&blue, &green));
    let proxy = Guarded::start(dir, &text).await;
    assert_eq!(Connection::tcp(http_of(&proxy)).await.get("/").await.text(), "blue");
    for (method, path) in [("GET", "/admin/status"), ("POST", "/admin/switch"), ("GET", "/metrics")] {
        assert_eq!(proxy.ask(method, path, &[], "").await.status, 401, "{path}");
        assert_eq!(proxy.with_token("", method, path, "").await.status, 401, "{path}");
    }
    fs::write(proxy.dir.path().join("operator"), OPERATOR).expect("writes");
    until("it counts", async || {
        (proxy.with_token(OPERATOR, "GET", "/admin/status", "").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_any_token_there_is_no_start_at_an_address_that_others_reach() {
    let (blue, green) = pair().await;
    let (dir, text) = with_tokens(&Setup::new(&blue, &green));
    let unix = format!("unix:{}/admin.sock", dir.path().display());
    fs::write(dir.path().join("cutover.toml"), text.replace(&unix, "0.0.0.0:0")).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no token of `admin.tokens` can be read"), "{said}");
}

#[tokio::test]
async fn files_that_changed_under_the_same_configuration_are_taken_by_a_reload() {
    let (blue, green) = pair().await;
    let (dir, text) = with_tokens(&Setup::new(&blue, &green));
    let at = dir.path().display().to_string();
    for (name, text) in [("operator", OPERATOR), ("viewer", VIEWER), ("page.html", "one"), ("look", "s3cret")] {
        fs::write(dir.path().join(name), text).expect("writes");
    }
    let text = format!("{text}\n[maintenance]\npage = \"{at}/page.html\"\n[preview]\nsecret_file = \"{at}/look\"\n");
    let proxy = Guarded::start(dir, &text).await;
    for (name, text) in [("viewer", "an0ther"), ("page.html", "two"), ("look", "0ther")] {
        fs::write(proxy.dir.path().join(name), text).expect("writes");
    }
    let reload = proxy.with_token(OPERATOR, "POST", "/admin/reload", "").await;
    assert_eq!((reload.status, reload.json()), (200, json!({ "changed": true, "order": "done" })), "{}", reload.text());
    assert_eq!(proxy.with_token(VIEWER, "GET", "/admin/status", "").await.status, 401);
    assert_eq!(proxy.with_token("an0ther", "GET", "/admin/status", "").await.status, 200);
    let http = http_of(&proxy);
    let mut client = Connection::tcp(http).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Cutover-Color: inactive; secret=0ther\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "green");
    assert_eq!(proxy.with_token(OPERATOR, "POST", "/admin/maintenance", "").await.status, 200);
    assert_eq!(Connection::tcp(http).await.get("/").await.text(), "two");
}

/// What the responder says of one certificate, until then.
fn staple(until: &str) -> Vec<u8> {
    fn tlv(tag: u8, content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        let mut out = vec![tag, u8::try_from(content.len()).expect("small")];
        if content.len() >= 128 {
            out.insert(1, 0x81);
        }
        out.extend(content);
        out
    }
    let time = |text: &str| tlv(0x18, &[text.as_bytes()]);
    let end = tlv(0xa0, &[&time(until)]);
    let single = tlv(0x30, &[&tlv(0x30, &[&tlv(0x02, &[&[7]])]), &[0x80, 0x00], &time("20260101000000Z"), &end]);
    let responder = tlv(0xa2, &[&tlv(0x04, &[&[9; 20]])]);
    let data = tlv(0x30, &[&responder, &time("20260101000000Z"), &tlv(0x30, &[&single])]);
    let basic = tlv(0x30, &[&data, &tlv(0x30, &[&tlv(0x06, &[&[42, 3]])]), &tlv(0x03, &[&[0, 1]])]);
    let kind = tlv(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]]);
    let bytes = tlv(0xa0, &[&tlv(0x30, &[&kind, &tlv(0x04, &[&basic])])]);
    tlv(0x30, &[&[0x0a, 0x01, 0x00], &bytes])
}

#[tokio::test]
async fn a_staple_that_has_expired_is_not_sent_and_is_told() {
    let Site { authority, site, dir, mut setup, _applications, .. } = Site::new().await;
    site.write(dir.path(), "site");
    let at = dir.path().display();
    setup.listen.push_str("\nhttps = \"127.0.0.1:0\"\n");
    setup.more = format!(
        "[tls]\ncertificates = [{{ cert = \"{at}/site.pem\", key = \"{at}/site.key\", ocsp = \"{at}/site.ocsp\" }}]\n"
    );
    fs::write(dir.path().join("site.ocsp"), staple("20990101000000Z")).expect("writes");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    let https = https_of(&proxy.status().await);
    let stapled = async || authority.stapled(https, "site.test").await;
    assert_eq!(stapled().await, staple("20990101000000Z"));
    assert!(proxy.status().await["problems"].is_null());

    fs::write(proxy.dir.path().join("site.ocsp"), staple("20200101000000Z")).expect("writes");
    until("none is sent", async || stapled().await.is_empty().then_some(())).await;
    let checked = proxy.cli(&["check"]).await;
    assert_eq!(checked.status.code(), Some(1), "it would be taken, and clients get no staple: {checked:?}");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("site.ocsp"), "{checked:?}");
    let status = proxy.until("it is told", |status| problem(status, "site.ocsp").is_some()).await;
    assert!(status["problems"][0]["reason"].to_string().contains("expired at 2020-01-01"), "{status}");
    proxy.until_logged("expired at 2020-01-01").await;
    assert_eq!(Site::answers(&authority, https, "site.test").await.as_deref(), Some("blue"));

    fs::write(proxy.dir.path().join("site.ocsp"), staple("20980101000000Z")).expect("writes");
    until("the new one is sent", async || (stapled().await == staple("20980101000000Z")).then_some(())).await;
    proxy.until("nothing is wrong any more", |status| status["problems"].is_null()).await;
    assert_eq!(proxy.cli(&["check"]).await.status.code(), Some(0));
}
