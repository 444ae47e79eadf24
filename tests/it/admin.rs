//! The admin API over real sockets: who may ask, what is answered to what can't be, and where it listens.

mod canary;
mod documents;
mod events;
mod exemplars;
mod metrics;
mod monitoring;
mod once;
mod page;
mod reference;
mod tls;

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::application::pair;
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup, command, refused_start};
use crate::{soon, until};

/// A running proxy whose admin address may be anything and may ask for tokens: what it is, its log says.
pub(crate) struct Guarded {
    pub(crate) dir: TempDir,
    pub(crate) admin: String,
    log: Arc<Mutex<String>>,
    _child: Child,
}

impl Guarded {
    pub(crate) async fn start(dir: TempDir, text: &str) -> Guarded {
        std::fs::write(dir.path().join("cutover.toml"), text).expect("a file");
        let mut command = command(&["run", "--config"]);
        // Everything that it could ever say, so that what it must not say can be looked for.
        command.arg(dir.path().join("cutover.toml")).env("CUTOVER_LOG", "trace");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary was built");
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let sink = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = sink.lock().expect("no panic while it is held");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let admin = until("it serves", async || {
            let log = log.lock().expect("no panic while it is held");
            let line = log.lines().find(|line| line.contains("\"Serving\""))?;
            let line: Value = serde_json::from_str(line).expect("JSON");
            Some(line["admin"].as_str().expect("an address").to_owned())
        })
        .await;
        Guarded { dir, admin, log, _child: child }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic while it is held").clone()
    }

    pub(crate) async fn connect(&self) -> Connection {
        match self.admin.strip_prefix("unix:") {
            Some(path) => Connection::unix(Path::new(path)).await.expect("the socket"),
            None => Connection::tcp(self.admin.parse().expect("an address")).await,
        }
    }

    /// With the proxy's own host, unless the fields name another.
    pub(crate) async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        if fields.iter().all(|(name, _)| *name != "Host") {
            head.push_str("Host: localhost\r\n");
        }
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut connection = self.connect().await;
        connection.send(format!("{head}\r\n{body}")).await;
        connection.answer().await
    }

    pub(crate) async fn with_token(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        self.ask(method, path, &[("Authorization", &format!("Bearer {token}"))], body).await
    }
}

pub(crate) const OPERATOR: &str = "operator-secret-7d1f";
pub(crate) const VIEWER: &str = "viewer-secret-93ab";

/// Nobody else reads what is in this directory.
pub(crate) fn keep_private(dir: &Path) {
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).expect("a mode");
}

/// The usual setup with two tokens.
fn guarded(setup: &Setup) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    keep_private(dir.path());
    std::fs::write(dir.path().join("operator"), format!("{OPERATOR}\n")).expect("a file");
    std::fs::write(dir.path().join("viewer"), VIEWER).expect("a file");
    let text = format!("{}\n[admin]\n{}", setup.text(dir.path()), tokens(dir.path()));
    (dir, text)
}

fn tokens(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "tokens = [\n  {{ name = \"deploy\", role = \"operator\", file = \"{dir}/operator\" }},\n  \
         {{ name = \"screen\", role = \"viewer\", file = \"{dir}/viewer\" }},\n]\n"
    )
}

pub(crate) async fn with_tokens(setup: &Setup) -> Guarded {
    let (dir, text) = guarded(setup);
    Guarded::start(dir, &text).await
}

/// On loopback TCP, without tokens.
pub(crate) async fn over_tcp(setup: &Setup) -> Guarded {
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path());
    let unix = format!("unix:{}/admin.sock", dir.path().display());
    Guarded::start(dir, &text.replace(&unix, "127.0.0.1:0")).await
}

/// A problem as the contract has it; its code.
fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    for key in ["title", "detail"] {
        assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    problem["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_token_decides_what_may_be_done_and_its_name_is_in_the_history() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let answer = proxy.ask("GET", "/admin/status", &[], "").await;
    assert_eq!(problem(&answer, 401), "unauthorized");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"cutover\""));

    for path in ["/admin/status", "/admin/history", "/admin/config", "/metrics", "/admin/openapi.json"] {
        assert_eq!(proxy.with_token(VIEWER, "GET", path, "").await.status, 200, "{path}");
    }
    for path in ["/admin/switch", "/admin/rollback", "/admin/reload"] {
        let answer = proxy.with_token(VIEWER, "POST", path, "").await;
        assert_eq!(problem(&answer, 403), "forbidden", "{path}");
        assert_eq!(proxy.ask("POST", path, &[], "").await.status, 401, "{path}");
    }
    let status = proxy.with_token(VIEWER, "GET", "/admin/status", "").await.json();
    assert_eq!(status["active"], "blue", "nobody with the right to has moved it");

    assert_eq!(proxy.with_token(OPERATOR, "POST", "/admin/switch", "").await.status, 200);
    let history = proxy.with_token(VIEWER, "GET", "/admin/history", "").await.json();
    assert_eq!(
        (&history["transitions"][0]["actor"], &history["transitions"][0]["source"]),
        (&json!("deploy"), &json!("unix"))
    );
}

#[tokio::test]
async fn wrong_empty_and_huge_tokens_are_refused_and_probes_need_none() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let huge = "x".repeat(200_000);
    let almost = &OPERATOR[1..];
    for token in ["", " ", "wrong", almost, &huge] {
        let answer = proxy.with_token(token, "POST", "/admin/switch", "").await;
        assert_eq!(problem(&answer, 401), "unauthorized", "{} bytes", token.len());
    }
    for scheme in ["Basic", "Token", ""] {
        let answer = proxy.ask("GET", "/admin/status", &[("Authorization", &format!("{scheme} {OPERATOR}"))], "").await;
        assert_eq!(answer.status, 401, "{scheme:?}");
    }
    let answer = proxy.ask("GET", "/admin/status", &[("Authorization", &format!("bearer {OPERATOR}"))], "").await;
    assert_eq!(answer.status, 200, "the name of the scheme has no case");
    for path in ["/livez", "/readyz"] {
        assert_eq!(proxy.ask("GET", path, &[], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn guesses_of_tokens_are_logged_and_lock_nobody_out() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let guesses = (0..40).map(|n| {
        let proxy = &proxy;
        async move { proxy.with_token(&format!("guess-{n}"), "GET", "/admin/status", "").await.status }
    });
    let guessing = futures_util::future::join_all(guesses);
    let asking = async {
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(proxy.with_token(OPERATOR, "GET", "/admin/status", "").await.status);
        }
        statuses
    };
    let (guessed, asked) = tokio::join!(guessing, asking);
    assert!(guessed.iter().all(|status| *status == 401), "{guessed:?}");
    assert_eq!(asked, [200; 5]);
    let log = proxy.log();
    let lines = log.lines().filter(|line| line.contains("Wrong token for the admin API")).count();
    assert!((1..=10).contains(&lines), "{lines} lines");
    assert!(!log.contains("guess-"), "a guess may be nearly right");
}

#[tokio::test]
async fn secrets_appear_nowhere() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let mut said = String::new();
    for (token, method, path, body) in [
        (OPERATOR, "POST", "/admin/switch", "{\"reason\":\"r\"}"),
        (OPERATOR, "POST", "/admin/switch", "not JSON"),
        (VIEWER, "POST", "/admin/switch", ""),
        (OPERATOR, "GET", "/nothing", ""),
        (OPERATOR, "GET", "/admin/status", ""),
        (OPERATOR, "GET", "/admin/config", ""),
        (OPERATOR, "GET", "/admin/history", ""),
        (OPERATOR, "GET", "/admin/openapi.json", ""),
        (OPERATOR, "GET", "/metrics", ""),
    ] {
        let answer = proxy.with_token(token, method, path, body).await;
        said.push_str(answer.text());
        said.push_str(&format!("{:?}", answer.headers));
    }
    // An error that draws the lines around the tokens.
    let file = proxy.dir.path().join("cutover.toml");
    let text = std::fs::read_to_string(&file).expect("the file");
    let wrong = text.replace("role = \"viewer\"", "role = \"viewer\", token = \"inline-secret\"");
    std::fs::write(&file, wrong).expect("a write");
    let answer = proxy.with_token(OPERATOR, "POST", "/admin/reload", "").await;
    assert_eq!(problem(&answer, 422), "invalid_config");
    said.push_str(answer.text());
    said.push_str(proxy.with_token(OPERATOR, "GET", "/admin/status", "").await.text());
    said.push_str(&proxy.log());
    said.push_str(&std::fs::read_to_string(proxy.dir.path().join("state/ledger.jsonl")).expect("the ledger"));
    for secret in [OPERATOR, VIEWER, "inline-secret"] {
        assert!(!said.contains(secret), "{secret} was said");
    }
    let config = proxy.with_token(VIEWER, "GET", "/admin/config", "").await;
    assert!(config.text().contains("deploy") && config.text().contains("operator"), "{}", config.text());
}

#[tokio::test]
async fn tokens_that_a_reload_brings_and_takes_count_at_once() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let dir = proxy.dir.path();
    std::fs::write(dir.join("next"), "next-secret").expect("a file");
    let file = dir.join("cutover.toml");
    let text = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, text.replace(&format!("{}/operator", dir.display()), &format!("{}/next", dir.display())))
        .expect("a write");
    // Whoever was first, the watch or this: afterwards it is in force.
    let reloaded = proxy.with_token(OPERATOR, "POST", "/admin/reload", "").await.status;
    assert!([200, 401].contains(&reloaded), "{reloaded}");
    assert_eq!(proxy.with_token(OPERATOR, "POST", "/admin/switch", "").await.status, 401);
    assert_eq!(proxy.with_token("next-secret", "POST", "/admin/switch", "").await.status, 200);
    assert_eq!(proxy.with_token(VIEWER, "GET", "/admin/status", "").await.status, 200);
}

#[tokio::test]
async fn an_address_that_others_reach_needs_tokens_and_tls() {
    let (blue, green) = pair().await;
    let setup = Setup::new(&blue, &green);
    let dir = tempfile::tempdir().expect("a directory");
    let unix = format!("unix:{}/admin.sock", dir.path().display());
    let open = setup.text(dir.path()).replace(&unix, "0.0.0.0:0");
    std::fs::write(dir.path().join("cutover.toml"), &open).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(2), "{said}");
    for part in ["0.0.0.0:0", "no token is asked for", "loopback", "`tokens` under [admin]", "cutover.toml:"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let (dir, text) = guarded(&setup);
    let unix = format!("unix:{}/admin.sock", dir.path().display());
    let reached = text.replace(&unix, "0.0.0.0:0");
    std::fs::write(dir.path().join("cutover.toml"), &reached).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(2), "{said}");
    for part in ["tokens would travel without TLS", "[admin.tls]", "`plain = true` under [admin]", "cutover.toml:"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let proxy = Guarded::start(dir, &reached.replace("[admin]\n", "[admin]\nplain = true\n")).await;
    let port = proxy.admin.parse::<SocketAddr>().expect("an address").port();
    let mut connection = Connection::tcp(SocketAddr::from(([127, 0, 0, 1], port))).await;
    // With tokens any name may lead here.
    connection
        .send(format!("GET /admin/status HTTP/1.1\r\nHost: proxy.internal\r\nAuthorization: Bearer {VIEWER}\r\n\r\n"))
        .await;
    assert_eq!(connection.answer().await.status, 200);
}

fn socket(proxy: &Proxy) -> PathBuf {
    proxy.dir.path().join("admin.sock")
}

#[tokio::test]
async fn the_unix_socket_is_its_owners_alone_and_comes_and_goes_with_the_process() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let found = std::fs::symlink_metadata(socket(&proxy)).expect("it is there");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);

    // What a process that was killed leaves behind is replaced.
    proxy.kill_and_restart().await;
    let next = std::fs::symlink_metadata(socket(&proxy)).expect("it is there");
    assert_ne!(next.ino(), found.ino());
    assert_eq!(next.permissions().mode() & 0o777, 0o600);

    // Who listens for ever holds nothing up.
    let mut listener = Connection::unix(&socket(&proxy)).await.expect("the socket");
    listener.send("GET /admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(listener.head().await.expect("a head").status, 200);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert!(!socket(&proxy).exists(), "it went with the process");
    let left: Vec<_> = std::fs::read_dir(proxy.dir.path())
        .expect("a directory")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(".c"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_second_process_at_the_same_socket_is_refused_and_the_first_goes_on() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let dir = tempfile::tempdir().expect("a directory");
    let own = format!("unix:{}/admin.sock", dir.path().display());
    let text = Setup::new(&blue, &green).text(dir.path());
    let theirs = format!("unix:{}", socket(&proxy).display());
    std::fs::write(dir.path().join("cutover.toml"), text.replace(&own, &theirs)).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another process answers at") && said.contains("admin.sock"), "{said}");
    assert_eq!(proxy.status().await["active"], "blue");

    // Nor is a file in the way thrown away.
    let file = dir.path().join("precious");
    std::fs::write(&file, "mine").expect("a file");
    let text = text.replace(&own, &format!("unix:{}", file.display()));
    std::fs::write(dir.path().join("cutover.toml"), text).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is not a socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "mine");
}

#[tokio::test]
async fn a_page_of_another_origin_gets_nothing() {
    let (blue, green) = pair().await;
    let proxy = over_tcp(&Setup::new(&blue, &green)).await;
    let host = proxy.admin.clone();
    let same = format!("http://{host}");
    let other_port = format!("http://{}:1", host.split(':').next().expect("a host"));
    for fields in [
        vec![("Host", host.as_str()), ("Origin", "https://evil.example")],
        vec![("Host", &host), ("Origin", "null")],
        vec![("Host", &host), ("Origin", &other_port)],
        vec![("Host", &host), ("Sec-Fetch-Site", "cross-site")],
        vec![("Host", &host), ("Sec-Fetch-Site", "same-site")],
        vec![("Host", &host), ("Origin", &same), ("Sec-Fetch-Site", "cross-site")],
        // DNS rebinding: the page is of "its own" origin, and its name leads here.
        vec![("Host", "evil.example"), ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "same-origin")],
        vec![("Host", "evil.example")],
    ] {
        for (method, path) in [("POST", "/admin/switch"), ("GET", "/admin/status"), ("GET", "/metrics")] {
            let answer = proxy.ask(method, path, &fields, "").await;
            assert_eq!(problem(&answer, 403), "cross_origin", "{fields:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    let own = [("Host", host.as_str()), ("Origin", &same), ("Sec-Fetch-Site", "same-origin")];
    let answer = proxy.ask("POST", "/admin/switch", &own, "").await;
    assert_eq!((answer.status, &answer.json()["changed"]), (200, &json!(true)));
    let history = proxy.ask("GET", "/admin/history", &[("Sec-Fetch-Site", "none")], "").await.json();
    assert_eq!(history["transitions"][0]["generation"], 2, "one switch was made: {history}");
    assert_eq!(history["transitions"][0]["actor"], "local");
    let source = history["transitions"][0]["source"].as_str().expect("a source");
    assert!(source.starts_with("127.0.0.1:"), "{source}");
}

#[tokio::test]
async fn a_preflight_is_not_granted() {
    let (blue, green) = pair().await;
    let proxy = over_tcp(&Setup::new(&blue, &green)).await;
    let fields = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")];
    let answer = proxy.ask("OPTIONS", "/admin/switch", &fields, "").await;
    assert_eq!(problem(&answer, 403), "cross_origin");
    assert!(answer.headers.iter().all(|(name, _)| !name.to_ascii_lowercase().starts_with("access-control")));
}

#[tokio::test]
async fn what_can_not_be_done_is_a_problem_with_a_stable_code() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/admin", 404, "not_found"),
        ("GET", "/admin/status/", 404, "not_found"),
        ("POST", "/admin/switches", 404, "not_found"),
        ("GET", "/admin/history?limit=0", 400, "bad_request"),
        ("GET", "/admin/history?limit=1001", 400, "bad_request"),
        ("GET", "/admin/history?limit=x", 400, "bad_request"),
        ("GET", "/admin/history?before=-1", 400, "bad_request"),
        ("GET", "/admin/history?page=2", 400, "bad_request"),
    ] {
        let answer = proxy.admin(method, path, "").await;
        assert_eq!(problem(&answer, status), code, "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    for (method, path, allow) in [
        ("GET", "/admin/switch", "POST"),
        ("PUT", "/admin/switch", "POST"),
        ("DELETE", "/admin/rollback", "POST"),
        ("GET", "/admin/reload", "POST"),
        ("POST", "/admin/status", "GET,HEAD"),
        ("POST", "/metrics", "GET,HEAD"),
        ("POST", "/livez", "GET,HEAD"),
    ] {
        let answer = proxy.admin(method, path, "").await;
        assert_eq!(problem(&answer, 405), "method_not_allowed", "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
    assert_eq!(proxy.status().await["generation"], 1, "nothing of it moved anything");
}

#[tokio::test]
async fn a_body_that_is_not_understood_changes_nothing() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let long = json!({ "reason": "r".repeat(1001) }).to_string();
    for (body, status, code, said) in [
        ("{\"to\":\"red\"}", 422, "unknown_color", "red"),
        ("{\"to\":\"Blue\"}", 422, "unknown_color", "Blue"),
        ("{\"to\":\"\"}", 422, "unknown_color", "\"\""),
        ("{\"colour\":\"green\"}", 400, "bad_request", "colour"),
        ("{\"to\":7}", 400, "bad_request", "7"),
        ("{\"force\":\"yes\"}", 400, "bad_request", "a list of guards"),
        ("{\"if_generation\":-1}", 400, "bad_request", "-1"),
        ("{\"if_generation\":\"1\"}", 400, "bad_request", "u64"),
        ("{\"wait\":\"x\"}", 400, "bad_request", "drained"),
        ("to=green", 400, "bad_request", "JSON"),
        ("{\"to\":\"green\"", 400, "bad_request", "JSON"),
        ("{} {}", 400, "bad_request", "JSON"),
        ("[]", 400, "bad_request", "object"),
        ("\"green\"", 400, "bad_request", "object"),
        ("null", 400, "bad_request", "object"),
        ("{\"reason\":\"two\\nlines\"}", 400, "bad_request", "control characters"),
        ("{\"reason\":\"\\u001b[31mred\"}", 400, "bad_request", "control characters"),
        (&long, 400, "bad_request", "1000"),
    ] {
        let answer = proxy.admin("POST", "/admin/switch", body).await;
        assert_eq!(problem(&answer, status), code, "{body}");
        let detail = answer.json()["detail"].as_str().expect("a sentence").to_owned();
        assert!(detail.contains(said), "{said:?} is not in {detail:?} for {body}");
    }
    for path in ["/admin/rollback", "/admin/reload"] {
        assert_eq!(problem(&proxy.admin("POST", path, "{\"nope\":1}").await, 400), "bad_request", "{path}");
        assert_eq!(problem(&proxy.admin("POST", path, "]").await, 400), "bad_request", "{path}");
    }
    let large = format!("{{\"reason\":\"{}\"}}", "r".repeat(64 << 10));
    assert_eq!(problem(&proxy.admin("POST", "/admin/switch", &large).await, 413), "too_large");
    assert_eq!(proxy.status().await["generation"], 1);

    // What is only unusual is taken.
    let reason = "é".repeat(1000);
    for body in ["", "  \n", "{}", &json!({ "reason": reason }).to_string(), "{\"reason\":\"  \",\"wait\":\"none\"}"] {
        assert_eq!(proxy.admin("POST", "/admin/switch", body).await.status, 200, "{body}");
    }
    let history = proxy.admin("GET", "/admin/history", "").await.json();
    assert_eq!(history["transitions"][0].get("reason"), None, "blanks are no reason");
    assert_eq!(history["transitions"][1]["reason"], reason);
}

#[tokio::test]
async fn a_head_answers_like_a_get_without_its_body() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut connection = Connection::unix(&socket(&proxy)).await.expect("the socket");
    connection.send("HEAD /admin/config HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(connection.answer_to_head().await.status, 200);
    assert_eq!(connection.get("/livez").await.text(), "alive\n");
}

#[tokio::test]
async fn a_switch_can_be_answered_when_the_old_color_is_drained() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.expect("a head");
    let switched = async { proxy.post("/admin/switch", json!({ "wait": "drained" })).await };
    let opened = async {
        let status = proxy.until("it drains", |status| status["draining"]["streams"] == 1).await;
        assert_eq!((&status["active"], &status["draining"]["color"]), (&json!("green"), &json!("blue")), "{status}");
        blue.open_gate();
    };
    let (answer, ()) = tokio::join!(switched, opened);
    assert_eq!((answer.status, answer.json().get("draining")), (200, None), "{}", answer.text());
}

#[tokio::test]
async fn a_reload_answers_with_everything_that_is_wrong_and_its_place() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let reload = async || proxy.admin("POST", "/admin/reload", "").await;
    assert_eq!(reload().await.json(), json!({ "changed": false, "order": "done" }));
    let answer = proxy.post("/admin/reload", json!({ "reason": "new certificates" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line = proxy.until_logged("Reload requested").await;
    assert!(line.contains("\"actor\":\"") && !line.contains("\"actor\":\"\""), "{line}");
    proxy.until_logged("new certificates").await;
    let good = proxy.text();
    let bad = good.replace("release = \"2.0\"", "release = 2.0").replace("lame_duck", "lame_dog");
    proxy.replace_file(&bad);
    let answer = reload().await;
    assert_eq!(problem(&answer, 422), "invalid_config");
    let errors = answer.json()["errors"].clone();
    let errors = errors.as_array().expect("a list");
    assert_eq!(errors.len(), 2, "{errors:?}");
    for (error, text) in errors.iter().zip(["lame_dog", "2.0"]) {
        let line = bad.lines().position(|line| line.contains(text)).expect("it is there") + 1;
        assert_eq!(error["line"], line, "{error}");
        let column = if text == "2.0" { 11 } else { 1 };
        assert_eq!(error["column"], column, "{error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    }
    let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains("lame_dog") && detail.contains("cutover.toml:"), "{detail}");
    let status = proxy.until("the status says so", |status| status["file"]["error"].is_string()).await;
    assert_eq!(status["file"]["error"], detail);
    assert_eq!(reload().await.status, 422, "it is still not valid");

    proxy.replace_file(&good.replace("listen]\n", "listen]\nmax_connections = 77\n"));
    assert!([json!(true), json!(false)].contains(&reload().await.json()["changed"]));
    assert!(proxy.admin("GET", "/admin/config", "").await.text().contains("max_connections = 77"));
    assert_eq!(proxy.status().await["file"].get("error"), None);
}

#[tokio::test]
async fn the_configuration_in_force_is_toml_with_every_key() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let answer = proxy.admin("GET", "/admin/config", "").await;
    assert_eq!(answer.header("content-type"), Some("application/toml; charset=utf-8"));
    let config: toml::Table = answer.text().parse().expect("TOML");
    assert_eq!(config["active"].as_str(), Some("blue"));
    assert_eq!(config["green"]["release"].as_str(), Some("2.0"));
    assert_eq!(config["listen"]["idle_timeout"].as_str(), Some("1m 15s"), "also what the file leaves out");
}

#[tokio::test]
async fn the_history_is_read_page_by_page() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for color in ["green", "blue", "green", "blue"] {
        proxy.switch(color).await;
    }
    let all = crate::until("the last drain is told", async || {
        let all = proxy.admin("GET", "/admin/history", "").await.json();
        let all = all["transitions"].as_array().expect("a list").clone();
        all[0]["drained"].is_object().then_some(all)
    });
    let all = all.await;
    let generations: Vec<_> =
        all.iter().map(|transition| transition["generation"].as_u64().expect("a number")).collect();
    assert_eq!(generations[..4], [5, 4, 3, 2]);
    let mut paged = Vec::new();
    let mut before = String::new();
    loop {
        let page = proxy.admin("GET", &format!("/admin/history?limit=2{before}"), "").await.json();
        let transitions = page["transitions"].as_array().expect("a list").clone();
        assert!((1..=2).contains(&transitions.len()), "no page is empty");
        paged.extend(transitions);
        match page.get("next_before") {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    let numbers: Vec<_> = all.iter().map(|transition| transition["sequence"].as_u64().expect("a number")).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {numbers:?}");
    for transition in &all[..4] {
        assert!(transition["took_us"].is_u64() && transition["from_release"].is_string(), "{transition}");
    }
}

#[tokio::test]
async fn a_proxy_that_stops_is_alive_but_not_ready() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("lame_duck = \"0s\"", "lame_duck = \"1h\"");
    let mut proxy = Proxy::start_in(dir, &text).await;
    for (path, said) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let answer = proxy.admin("GET", path, "").await;
        assert_eq!((answer.status, answer.text()), (200, said));
    }
    proxy.signal(Signal::TERM);
    let answer = until("it is not ready", async || {
        Some(proxy.admin("GET", "/readyz", "").await).filter(|answer| answer.status != 200)
    })
    .await;
    assert_eq!(problem(&answer, 503), "stopping");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(proxy.admin("GET", "/livez", "").await.status, 200);
    assert_eq!(proxy.status().await["active"], "blue", "it still serves");
    proxy.signal(Signal::TERM);
    soon("it ends at once", proxy.ended()).await;
}
