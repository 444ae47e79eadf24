//! The preview: whoever may, gets to the color that does not serve, by every way and in every version; nobody else does,
//! and no endpoint ever learns how it was asked for.

use std::net::{Ipv4Addr, SocketAddr};

use http::Request;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};

use crate::application::{Application, pair};
use crate::certificates::{Authority, replace};
use crate::client::{Answer, Connection};
use crate::http2::Client;
use crate::proxy::{Proxy, Setup};
use crate::until;

const SECRET: &str = "open-sesame";
/// In `preview.allow`.
const FRIEND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// A trusted proxy.
const TRUSTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// Two applications, blue serving, and a preview in all three ways.
struct Site {
    blue: Application,
    green: Application,
    proxy: Proxy,
    port: SocketAddr,
}

impl Site {
    async fn start() -> Site {
        Site::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Setup)) -> Site {
        let (blue, green) = pair().await;
        let mut setup = Setup::new(&blue, &green);
        setup.listen = format!("preview = \"127.0.0.1:0\"\ntrusted_proxies = [\"{TRUSTED}\"]\n");
        setup.more = format!(
            "[preview]\nsecret_file = \"DIR/secret\"\nallow = [\"{FRIEND}\", \"203.0.113.0/24\"]\n\
             host = \"preview.test\"\nname_color = true\n"
        );
        change(&mut setup);
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("secret"), format!("{SECRET}\n")).expect("a file");
        let text = setup.text(dir.path()).replace("DIR", &dir.path().display().to_string());
        let proxy = Proxy::start_in(dir, &text).await;
        let status = proxy.status().await;
        let port = status["preview"]["address"].as_str().and_then(|at| at.parse().ok()).expect("an address");
        Site { blue, green, proxy, port }
    }

    /// The color of the answer in HTTP/1.1, which has to be that in HTTP/2.
    async fn color(&self, from: Ipv4Addr, to: SocketAddr, host: &str, fields: &[(&str, &str)]) -> String {
        let (one, two) = (http1(from, to, "/", host, fields).await, http2(from, to, "/", host, fields).await);
        assert_eq!((one.status, two.status), (200, 200), "{fields:?}");
        assert_eq!(one.text(), two.text(), "{fields:?} in both versions");
        one.text().to_owned()
    }

    /// The same, on the port that everybody uses.
    async fn asked(&self, from: Ipv4Addr, value: &str) -> String {
        self.color(from, self.proxy.http, "site.test", &[("x-cutover-color", value)]).await
    }

    fn heads(&self) -> String {
        [self.blue.heads(), self.green.heads()].concat().concat().to_ascii_lowercase()
    }

    async fn series(&self, series: &str) -> u64 {
        let page = self.proxy.admin("GET", "/metrics", "").await;
        let value = page.text().lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{series} is missing in {}", page.text()))
    }

    /// Lines of the access log with this, once there are so many.
    async fn logged(&self, what: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} lines with {what}"), async || {
            let log = std::fs::read_to_string(self.proxy.dir.path().join("access.log")).unwrap_or_default();
            let lines: Vec<Value> = log
                .lines()
                .filter(|line| line.contains(what))
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }
}

async fn stream(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("an address");
    socket.connect(to).await.expect("the proxy accepts")
}

fn head(path: &str, host: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

async fn http1(from: Ipv4Addr, to: SocketAddr, path: &str, host: &str, fields: &[(&str, &str)]) -> Answer {
    let mut client = Connection::over(stream(from, to).await);
    client.send(head(path, host, fields)).await;
    client.answer().await
}

fn request(path: &str, host: &str, fields: &[(&str, &str)]) -> Request<()> {
    // Of the connection only in HTTP/1.1; names are in lower case in HTTP/2.
    let fields = fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection"));
    let request = Request::get(format!("http://{host}{path}"));
    let request = fields.fold(request, |request, (name, value)| request.header(name.to_ascii_lowercase(), *value));
    request.body(()).expect("a request")
}

async fn http2(from: Ipv4Addr, to: SocketAddr, path: &str, host: &str, fields: &[(&str, &str)]) -> Answer {
    Client::over(stream(from, to).await).await.ask(request(path, host, fields)).await
}

fn with_secret(color: &str) -> String {
    format!("{color}; secret={SECRET}")
}

#[tokio::test]
async fn the_header_counts_from_friends_and_with_the_secret() {
    let site = Site::start().await;
    for value in ["green", "inactive", "GREEN"] {
        assert_eq!(site.asked(FRIEND, value).await, "green", "{value}");
        assert_eq!(site.asked(STRANGER, &with_secret(value)).await, "green", "{value}");
    }
    // What serves is served to everybody.
    assert_eq!(site.asked(FRIEND, "blue").await, "blue");
    let answer = http1(FRIEND, site.proxy.http, "/cached", "site.test", &[("x-cutover-color", "blue")]).await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60, s-maxage=600"), "an ordinary request");
    assert_eq!(answer.header("x-cutover-color"), Some("red"), "the application's own");
    // On one connection, from request to request.
    let mut client = Connection::over(stream(FRIEND, site.proxy.http).await);
    for (fields, expected) in [(&[("x-cutover-color", "green")][..], "green"), (&[], "blue")].repeat(2) {
        client.send(head("/", "site.test", fields)).await;
        assert_eq!(client.answer().await.text(), expected);
    }
    assert!(!site.heads().contains("x-cutover-color") && !site.heads().contains(SECRET));
}

#[tokio::test]
async fn a_host_name_counts_from_friends() {
    let site = Site::start().await;
    for host in ["preview.test", "Preview.Test", "preview.test:8080"] {
        assert_eq!(site.color(FRIEND, site.proxy.http, host, &[]).await, "green", "{host}");
        assert_eq!(site.color(STRANGER, site.proxy.http, host, &[]).await, "blue", "{host}");
    }
    let secret = with_secret("");
    assert_eq!(site.color(STRANGER, site.proxy.http, "preview.test", &[("x-cutover-color", &secret)]).await, "green");
    assert_eq!(site.color(FRIEND, site.proxy.http, "preview.test", &[("x-cutover-color", "blue")]).await, "blue");
    // The target names the host.
    let mut client = Connection::over(stream(FRIEND, site.proxy.http).await);
    client.send("GET http://preview.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "green");
    assert!(site.green.last_head().to_ascii_lowercase().contains("host: preview.test\r\n"));
}

#[tokio::test]
async fn the_port_counts_from_this_machine_and_from_friends_that_a_proxy_speaks_for() {
    let site = Site::start().await;
    for from in [STRANGER, FRIEND] {
        assert_eq!(site.color(from, site.port, "site.test", &[]).await, "green", "all of them are on this machine");
    }
    assert!(
        site.green.last_head().to_ascii_lowercase().contains(&format!("x-forwarded-port: {}\r\n", site.port.port()))
    );
    let forwarded = |client: &'static str| [("x-forwarded-for", client)];
    assert_eq!(site.color(TRUSTED, site.port, "site.test", &forwarded("192.0.2.1")).await, "blue", "a stranger");
    assert_eq!(site.color(TRUSTED, site.port, "site.test", &forwarded("203.0.113.5")).await, "green");
    assert_eq!(site.color(FRIEND, site.port, "site.test", &[("x-cutover-color", "blue")]).await, "blue");
    // The balancer is told of the proxy itself there, too.
    assert_eq!(http1(STRANGER, site.port, "/.cutover/ready", "site.test", &[]).await.text(), "ready\n");
    let status = site.proxy.status().await;
    let expected = json!({
        "color": "green", "header": "x-cutover-color", "host": "preview.test", "address": site.port.to_string()
    });
    assert_eq!(status["preview"], expected);
    let text = String::from_utf8(site.proxy.cli(&["status", "-v"]).await.stdout).expect("text");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line =
        format!("preview green with the header x-cutover-color, or to the host preview.test, or on {}", site.port);
    assert!(text.contains(&line), "{text}");
}

#[tokio::test]
async fn strangers_are_served_as_if_there_were_no_preview() {
    let site = Site::start().await;
    let rows = [
        "green",
        "inactive",
        "green; secret=",
        "green; secret=wrong",
        "green; secret=open-sesam",
        "green; secret=open-sesame1",
        "green; token=open-sesame",
        "secret=open-sesame",
        "",
        "purple",
    ];
    for value in rows {
        assert_eq!(site.asked(STRANGER, value).await, "blue", "{value}");
        let fields = [("x-cutover-color", value), ("x-forwarded-for", "203.0.113.5"), ("x-real-ip", "203.0.113.5")];
        assert_eq!(site.color(STRANGER, site.proxy.http, "preview.test", &fields).await, "blue", "{value}");
    }
    // A friend's word counts for less than a wrong secret: somebody may be trying.
    assert_eq!(site.asked(FRIEND, "green; secret=wrong").await, "blue");
    // Whom a trusted proxy speaks for is the one who asks.
    let asked = |client: &'static str| [("x-cutover-color", "green"), ("x-forwarded-for", client)];
    assert_eq!(site.color(TRUSTED, site.proxy.http, "site.test", &asked("203.0.113.5")).await, "green");
    assert_eq!(site.color(TRUSTED, site.proxy.http, "site.test", &asked("203.0.113.5, 192.0.2.1")).await, "blue");

    let plain = http1(STRANGER, site.proxy.http, "/cached", "site.test", &[]).await;
    let guess =
        http1(STRANGER, site.proxy.http, "/cached", "site.test", &[("x-cutover-color", "green; secret=x")]).await;
    let shown = |answer: &Answer| {
        let of_this_request = ["x-request-id", "date"];
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| !of_this_request.contains(&name.to_ascii_lowercase().as_str()));
        headers
    };
    assert_eq!((shown(&plain), &plain.body), (shown(&guess), &guess.body), "a guess learns nothing");
    let heads = site.heads();
    assert!(!heads.contains("x-cutover-color") && !heads.contains("secret"), "{heads}");
}

#[tokio::test]
async fn odd_forms_of_the_header_say_nothing_and_reach_no_endpoint() {
    let site = Site::start().await;
    let right = with_secret("green");
    let rows: [(&[(&str, &str)], &str); 7] = [
        (&[("X-CUTOVER-COLOR", "green")], "green"),
        (&[("x-cutover-color", "green"), ("X-Cutover-Color", "green")], "blue"),
        (&[("x-cutover-color", &right), ("x-cutover-color", "")], "blue"),
        (&[("x-cutover-color", "")], "blue"),
        (&[("x-cutover-color", "purple")], "blue"),
        (&[("Connection", "x-cutover-color"), ("x-cutover-color", "green")], "green"),
        (&[("Connection", "close, X-Cutover-Color"), ("x-cutover-color", "")], "blue"),
    ];
    for (fields, expected) in rows {
        assert_eq!(site.color(FRIEND, site.proxy.http, "site.test", fields).await, expected, "{fields:?}");
    }
    assert!(!site.heads().contains("x-cutover-color"), "{}", site.heads());
}

#[tokio::test]
async fn the_field_does_not_reach_an_endpoint_in_trailers() {
    let site = Site::start().await;
    let mut client = Connection::tcp(site.proxy.http).await;
    let head = "POST /echo HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}2\r\nok\r\n0\r\nX-Cutover-Color: green; secret=abc\r\n\r\n")).await;
    let answer = client.answer().await;
    assert_eq!((answer.text(), answer.complete), ("ok", true));
    assert!(answer.trailers.is_empty(), "the endpoint got {:?}", answer.trailers);
}

#[tokio::test]
async fn without_a_preview_the_trailers_go_to_the_endpoint_without_the_field() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let fields = "X-Cutover-Color: green\r\nX-Sum: 7\r\nx-cutover-color: blue\r\n";
    let mut client = Connection::tcp(proxy.http).await;
    let head = "POST /echo HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}2\r\nok\r\n0\r\n{fields}\r\n")).await;
    let answer = client.answer().await;
    assert_eq!((answer.text(), answer.complete), ("ok", true));
    let got: Vec<_> = answer.trailers.iter().map(|trailer| format!("{trailer:?}").to_lowercase()).collect();
    assert!(got.len() == 1 && got[0].contains("x-sum"), "the endpoint got {got:?}");
}

#[tokio::test]
async fn it_is_the_same_over_tls() {
    let authority = Authority::new();
    let site_certificate = authority.issue(&["site.test", "preview.test"]);
    let keep = tempfile::tempdir().expect("a directory");
    site_certificate.write(keep.path(), "site");
    replace(&keep.path().join("ca.pem"), &authority.pem());
    let path = keep.path().display().to_string();
    let site = Site::start_with(|setup| {
        setup.listen.push_str("https = \"127.0.0.1:0\"\nhttps_redirect = 443\n");
        setup.more.push_str(&format!(
            "[tls]\ncertificates = [{{ cert = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n"
        ));
    })
    .await;
    let https: SocketAddr = site.proxy.status().await["https_address"].as_str().expect("text").parse().expect("one");
    let right = with_secret("inactive");
    for (value, expected) in [(right.as_str(), "green"), ("inactive", "blue")] {
        let fields = [("x-cutover-color", value)];
        let mut one = Connection::over(authority.connect(https, "site.test", &["http/1.1"], None).await.expect("tls"));
        one.send(head("/", "site.test", &fields)).await;
        assert_eq!(one.answer().await.text(), expected);
        let two = authority.connect(https, "site.test", &["h2"], None).await.expect("tls");
        let answer = Client::over(two).await.ask(request("/", "site.test", &fields)).await;
        assert_eq!(answer.text(), expected);
        assert_eq!(answer.header("x-cutover-color"), (expected == "green").then_some("green"));
    }
    // Plain clients are sent to TLS, and testers on their own port are not.
    assert_eq!(http1(STRANGER, site.proxy.http, "/", "site.test", &[]).await.status, 308);
    assert_eq!(http1(STRANGER, site.port, "/", "site.test", &[]).await.text(), "green");
}

#[tokio::test]
async fn no_shared_cache_may_keep_an_answer_and_it_says_where_it_is_from() {
    let site = Site::start().await;
    let fields = [("x-cutover-color", "green")];
    let answers = [
        http1(FRIEND, site.proxy.http, "/cached", "site.test", &fields).await,
        http2(FRIEND, site.proxy.http, "/cached", "site.test", &fields).await,
        http1(FRIEND, site.port, "/cached", "site.test", &[]).await,
        http2(FRIEND, site.proxy.http, "/cached", "preview.test", &[]).await,
    ];
    for answer in answers {
        let values = |name: &str| -> Vec<String> {
            let found = answer.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(values("cache-control"), ["private, max-age=60"]);
        assert_eq!(values("vary"), ["Accept", "x-cutover-color"]);
        assert_eq!(values("x-cutover-color"), ["green"]);
        assert_eq!(values("cdn-cache-control").len() + values("surrogate-control").len(), 0);
    }
    let ordinary = http1(FRIEND, site.proxy.http, "/cached", "site.test", &[]).await;
    assert_eq!(ordinary.header("cache-control"), Some("public, max-age=60, s-maxage=600"));
    assert_eq!(ordinary.header("cdn-cache-control"), Some("max-age=600"));

    // What the proxy itself answers, too.
    let broken = http1(FRIEND, site.proxy.http, "/vanishes", "site.test", &fields).await;
    assert_eq!((broken.status, broken.header("cache-control")), (502, Some("private")));
    assert_eq!(broken.header("x-cutover-color"), Some("green"));

    let quiet = Site::start_with(|setup| setup.more = setup.more.replace("name_color = true", "")).await;
    let answer = http1(FRIEND, quiet.proxy.http, "/", "site.test", &fields).await;
    assert_eq!((answer.text(), answer.header("cache-control")), ("green", Some("private")));
    assert_eq!(answer.header("x-cutover-color"), None, "nobody wants to know");
}

#[tokio::test]
async fn the_preview_follows_the_color_that_does_not_serve_from_the_next_request_on() {
    let site = Site::start().await;
    let mut client = Connection::over(stream(FRIEND, site.proxy.http).await);
    let mut other = Client::over(stream(FRIEND, site.port).await).await;
    let inactive = head("/", "site.test", &[("x-cutover-color", "inactive")]);
    let green = head("/", "site.test", &[("x-cutover-color", "green")]);
    for (serving, previewed) in [("blue", "green"), ("green", "blue"), ("blue", "green")] {
        if serving != site.proxy.color().await {
            site.proxy.switch(serving).await;
        }
        client.send(&inactive).await;
        assert_eq!(client.answer().await.text(), previewed);
        client.send(&green).await;
        assert_eq!(client.answer().await.text(), "green");
        assert_eq!(other.get("/").await.text(), previewed);
        assert_eq!(site.proxy.status().await["preview"]["color"], previewed);
    }
}

#[tokio::test]
async fn previews_are_counted_apart_and_marked_in_the_log() {
    let site = Site::start().await;
    let ordinary = ["blue", "green"]
        .map(|color| format!("cutover_http_requests_total{{color=\"{color}\",upstream=\"default\",code=\"2xx\"}}"));
    let preview =
        |color: &str, code: &str| format!("cutover_preview_requests_total{{color=\"{color}\",code=\"{code}\"}}");
    for color in ["blue", "green"] {
        assert_eq!(site.series(&preview(color, "2xx")).await, 0, "from the start");
    }
    let fields = [("x-cutover-color", "green")];
    for _ in 0..5 {
        http1(FRIEND, site.proxy.http, "/", "site.test", &fields).await;
    }
    http1(FRIEND, site.proxy.http, "/vanishes", "site.test", &fields).await;
    http1(FRIEND, site.proxy.http, "/", "site.test", &[("x-cutover-color", "blue")]).await;
    http1(STRANGER, site.proxy.http, "/", "site.test", &fields).await;
    until("all are counted", async || (site.series(&ordinary[0]).await == 2).then_some(())).await;
    until("all are counted", async || (site.series(&preview("green", "2xx")).await == 5).then_some(())).await;
    until("all are counted", async || (site.series(&preview("green", "5xx")).await == 1).then_some(())).await;
    assert_eq!(site.series(&preview("blue", "2xx")).await, 0);
    assert_eq!(site.series(&ordinary[1]).await, 0);
    let page = site.proxy.admin("GET", "/metrics", "").await;
    let of_green =
        page.text().lines().filter(|line| line.starts_with("cutover_http") && line.contains("color=\"green\""));
    let counted: Vec<&str> = of_green.filter(|line| !line.ends_with(" 0")).collect();
    assert_eq!(counted, Vec::<&str>::new(), "nothing of it is anywhere else");
    let retries = "cutover_retries_total{color=\"green\",upstream=\"default\"}";
    assert_eq!(site.series(retries).await, 0);
    let status = site.proxy.status().await;
    assert_eq!((&status["green"]["requests_total"], &status["blue"]["requests_total"]), (&json!(0), &json!(2)));

    let lines = site.logged("\"preview\":true", 6).await;
    assert_eq!(lines.len(), 6);
    for line in &lines {
        assert_eq!(
            (&line["color"], &line["release"], &line["generation"]),
            (&json!("green"), &json!("2.0"), &json!(1))
        );
    }
    assert!(site.logged("\"color\":\"blue\"", 2).await.iter().all(|line| line.get("preview").is_none()));
}

#[tokio::test]
async fn a_drain_waits_for_a_preview_that_began_on_the_color_and_for_none_that_begins_later() {
    let site = Site::start().await;
    let gated = |port: SocketAddr| async move {
        let mut client = Connection::over(stream(STRANGER, port).await);
        client.send(head("/gated", "site.test", &[])).await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        assert_eq!(client.exactly(1).await.expect("a byte"), b"[");
        client
    };
    let mut early = gated(site.port).await;
    assert_eq!(site.green.heads().len(), 1);
    site.proxy.until("it is under way", |status| status["green"]["streams"] == 1).await;
    site.proxy.switch("green").await;
    site.proxy.until("blue is drained", |status| status["draining"].is_null()).await;
    let answer = site.proxy.switch("blue").await;
    assert_eq!((&answer["draining"]["color"], &answer["draining"]["streams"]), (&json!("green"), &json!(1)));
    // Green is drained and can be looked at at the same time.
    let mut late = gated(site.port).await;
    assert_eq!(site.green.heads().len(), 2);
    assert!(site.proxy.status().await["draining"].is_object());
    site.green.open_gate();
    assert_eq!(early.exactly(5).await.expect("the rest"), b"done]");
    site.proxy.until("green is drained", |status| status["draining"].is_null()).await;
    assert_eq!(late.exactly(5).await.expect("the rest"), b"done]");
}

#[tokio::test]
async fn a_preview_that_goes_on_holds_up_the_drains_of_its_own_color_only() {
    let site = Site::start_with(|setup| setup.drain = "timeout = \"20s\"".to_owned()).await;
    site.proxy.switch("green").await;
    site.proxy.until("blue is drained", |status| status["draining"].is_null()).await;
    // Blue has served, is drained, and is looked at for as long as anybody likes.
    let mut client = Connection::over(stream(STRANGER, site.port).await);
    client.send(head("/gated", "site.test", &[])).await;
    assert_eq!(client.head().await.expect("a head").header("x-color"), Some("blue"));
    site.proxy.admin("POST", "/admin/reload", "{}").await;
    for color in ["blue", "green"] {
        let retired = if color == "blue" { "green" } else { "blue" };
        site.proxy.switch(color).await;
        if retired == "green" {
            site.proxy.until("green is drained", |status| status["draining"].is_null()).await;
        }
    }
    // It began before blue served again, so blue is not drained while it lasts.
    assert_eq!(site.proxy.status().await["draining"]["color"], "blue");
    site.blue.open_gate();
    assert_eq!(client.exactly(6).await.expect("the rest"), b"[done]");
    site.proxy.until("blue is drained", |status| status["draining"].is_null()).await;
}

#[tokio::test]
async fn what_is_left_of_a_preview_at_the_timeout_is_ended() {
    let site = Site::start_with(|setup| setup.drain = "timeout = \"300ms\"".to_owned()).await;
    let mut client = Connection::over(stream(STRANGER, site.port).await);
    client.send(head("/late", "site.test", &[])).await;
    site.proxy.until("it is under way", |status| status["green"]["requests"] == 1).await;
    site.proxy.switch("green").await;
    site.proxy.switch("blue").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("x-cutover-color")), (504, Some("green")));
    site.proxy.until("green is drained", |status| status["draining"].is_null()).await;
}

#[tokio::test]
async fn a_tunnel_is_previewed_too_and_lives_through_switches() {
    let site = Site::start().await;
    let fields = [("x-cutover-color", "green"), ("Connection", "upgrade"), ("Upgrade", "shout")];
    let mut client = Connection::over(stream(FRIEND, site.proxy.http).await);
    client.send(head("/upgrade", "site.test", &fields)).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("x-cutover-color")), (101, Some("green")));
    site.proxy.until("it is a tunnel", |status| status["green"]["tunnels"] == 1).await;
    for (color, word) in [("green", "one"), ("blue", "two")] {
        site.proxy.switch(color).await;
        client.send(word).await;
        assert_eq!(client.exactly(3).await.expect("an echo"), word.to_ascii_uppercase().into_bytes());
    }
    assert_eq!(site.proxy.status().await["draining"]["tunnels"], 1);
    drop(client);
    site.proxy.until("green is drained", |status| status["draining"].is_null()).await;
}

#[tokio::test]
async fn a_websocket_over_http2_is_previewed() {
    let site = Site::start().await;
    let mut client = Client::over(stream(FRIEND, site.proxy.http).await).await;
    until("extended CONNECT is announced", async || client.sender.is_extended_connect_protocol_enabled().then_some(()))
        .await;
    let mut connect = Request::builder()
        .method("CONNECT")
        .uri("http://site.test/upgrade")
        .header("x-cutover-color", "inactive")
        .body(())
        .expect("a request");
    connect.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, _send) = client.begin(connect, false).await.expect("it is taken");
    // This application shouts instead of speaking WebSocket, and it is green.
    assert_eq!(answer.await.expect("an answer").headers()["x-cutover-color"], "green");
    site.proxy.until("it is a tunnel", |status| status["green"]["tunnels"] == 1).await;
    assert!(!site.heads().contains("x-cutover-color"));
}

#[tokio::test]
async fn a_preview_without_a_healthy_endpoint_says_what_it_is_and_never_goes_to_the_color_that_serves() {
    let site = Site::start().await;
    site.green.set_healthy(false);
    site.proxy.until("green is down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    let fields = [("x-cutover-color", "green")];
    for answer in [
        http1(FRIEND, site.proxy.http, "/", "site.test", &fields).await,
        http2(FRIEND, site.proxy.http, "/", "site.test", &fields).await,
    ] {
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("This is the preview"), "{}", answer.text());
        assert_eq!(answer.header("proxy-status"), Some("cutover; error=destination_unavailable; details=\"preview\""));
        assert_eq!(
            (answer.header("cache-control"), answer.header("x-cutover-color")),
            (Some("private"), Some("green"))
        );
    }
    assert_eq!(site.proxy.color().await, "blue");
    assert!(site.green.heads().is_empty());
}

#[tokio::test]
async fn a_new_secret_is_in_force_after_a_reload_and_no_secret_is_ever_shown() {
    let site = Site::start().await;
    let secret = site.proxy.dir.path().join("secret");
    assert_eq!(site.asked(STRANGER, &with_secret("green")).await, "green");
    replace(&secret, "another-one");
    let answer = site.proxy.admin("POST", "/admin/reload", "{}").await;
    assert_eq!(answer.json()["changed"], true, "{}", answer.text());
    assert_eq!(site.asked(STRANGER, &with_secret("green")).await, "blue");
    assert_eq!(site.asked(STRANGER, "green; secret=another-one").await, "green");

    // One that can't be read leaves the last one in force.
    std::fs::remove_file(&secret).expect("removed");
    let refused = site.proxy.admin("POST", "/admin/reload", "{}").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(site.asked(STRANGER, "green; secret=another-one").await, "green");
    site.proxy.until("it is told", |status| status["file"]["error"].is_string()).await;
    replace(&secret, SECRET);
    site.proxy.until("it is found again", |status| status["file"]["error"].is_null()).await;
    until("the old one is the new one", async || {
        (site.asked(STRANGER, &with_secret("green")).await == "green").then_some(())
    })
    .await;

    let shown = [
        site.proxy.status().await.to_string(),
        site.proxy.admin("GET", "/admin/config", "").await.text().to_owned(),
        refused.text().to_owned(),
        site.proxy.log(),
        std::fs::read_to_string(site.proxy.dir.path().join("access.log")).expect("a log"),
        site.proxy.ledger(),
    ];
    for shown in shown {
        assert!(!shown.contains(SECRET) && !shown.contains("another-one"), "{shown}");
    }
}

#[tokio::test]
async fn the_preview_comes_and_goes_with_the_file() {
    let site = Site::start().await;
    let with = site.proxy.text();
    let (before, section) = with.split_once("[preview]").expect("it is last");
    site.proxy.replace_file(before);
    site.proxy.until("only the port is left", |status| status["preview"]["host"].is_null()).await;
    // With the section went who may; the port is this machine's.
    assert_eq!(site.asked(FRIEND, "green").await, "blue");
    assert_eq!(site.color(STRANGER, site.port, "site.test", &[]).await, "green");
    site.proxy.replace_file(&format!("{before}[preview]{section}"));
    site.proxy.until("all is as before", |status| status["preview"]["host"] == "preview.test").await;
    assert_eq!(site.asked(FRIEND, "green").await, "green");
}

#[tokio::test]
async fn without_a_preview_the_header_is_still_never_passed_on() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for name in ["x-cutover-color", "X-Cutover-Color"] {
        let fields = [(name, "green"), ("x-other", "kept"), (name, "blue")];
        assert_eq!(http1(STRANGER, proxy.http, "/", "site.test", &fields).await.text(), "blue");
        let head = blue.last_head().to_ascii_lowercase();
        assert!(!head.contains("x-cutover-color") && head.contains("x-other: kept"), "{head}");
    }
    assert_eq!(proxy.status().await.get("preview"), None);
}
