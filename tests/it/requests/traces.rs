//! Traces: contexts that pass, begin or are refused, and spans at a collector that may do anything.

use std::net::SocketAddr;

use serde_json::Value;

use crate::application::{Application, pair};
use crate::certificates::{Authority, replace};
use crate::client::Answer;
use crate::proxy::{Proxy, Setup};
use crate::receiver::{Manner, Receiver};
use crate::{soon, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";

fn context(flags: &str) -> String {
    format!("00-{TRACE}-{CLIENT}-{flags}")
}

async fn site(more: &str) -> (Application, Application, Proxy) {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = more.to_owned();
    let proxy = setup.start().await;
    (blue, green, proxy)
}

fn collected_at(address: SocketAddr, keys: &str) -> String {
    format!("[trace]\nendpoint = \"http://{address}\"\n{keys}\n")
}

async fn ask(proxy: &Proxy, path: &str, fields: &str) -> Answer {
    let mut connection = proxy.connect().await;
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: tests\r\n{fields}\r\n")).await;
    soon("it is answered", connection.answer()).await
}

/// The values of a field in the last request that an application got.
fn got(application: &Application, name: &str) -> Vec<String> {
    let head = application.heads().last().expect("a request").clone();
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

async fn logged(proxy: &Proxy, lines: usize) -> Vec<Value> {
    let path = proxy.dir.path().join("access.log");
    until("the requests are in the access log", async || {
        let text = std::fs::read_to_string(&path).ok()?;
        let all: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (all.len() >= lines).then_some(all)
    })
    .await
}

fn attribute(span: &Value, key: &str) -> Option<String> {
    let all = span["attributes"].as_array().expect("attributes");
    let value = &all.iter().find(|attribute| attribute["key"] == key)?["value"];
    let value = value.as_object().expect("a value").values().next().expect("of one type").clone();
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// All spans that came, taken or not.
fn spans(collector: &Receiver) -> Vec<Value> {
    let mut spans = Vec::new();
    for post in collector.received() {
        assert!(post.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", post.head);
        assert_eq!(post.header("content-type"), Some("application/json"));
        for resource in post.json()["resourceSpans"].as_array().expect("resources") {
            assert_eq!(attribute(&resource["resource"], "service.name").as_deref(), Some("edge"));
            for scope in resource["scopeSpans"].as_array().expect("scopes") {
                spans.extend(scope["spans"].as_array().expect("spans").iter().cloned());
            }
        }
    }
    spans
}

async fn until_spans(collector: &Receiver, count: usize) -> Vec<Value> {
    until("the spans have come", async || Some(spans(collector)).filter(|spans| spans.len() >= count)).await
}

async fn metric(proxy: &Proxy, series: &str) -> u64 {
    let page = proxy.admin("GET", "/metrics", "").await;
    let value = page.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{series} is missing"))
}

#[tokio::test]
async fn a_valid_context_passes_unchanged_where_no_spans_are_exported() {
    let (blue, _green, proxy) = site("").await;
    let sent = format!("traceparent: {}\r\ntracestate: a=1\r\ntracestate: b=2\r\n", context("01"));
    assert_eq!(ask(&proxy, "/", &sent).await.status, 200);
    assert_eq!(got(&blue, "traceparent"), [context("01")]);
    assert_eq!(got(&blue, "tracestate"), ["a=1", "b=2"]);
    assert_eq!(logged(&proxy, 1).await[0]["trace_id"], TRACE);

    assert_eq!(ask(&proxy, "/", "").await.status, 200);
    assert!(got(&blue, "traceparent").is_empty(), "no trace begins that would decide for the application");
    assert_eq!(logged(&proxy, 2).await[1].get("trace_id"), None);
}

#[tokio::test]
async fn a_client_can_not_have_its_context_removed_on_the_way() {
    let (blue, _green, proxy) = site("").await;
    let sent = format!("traceparent: {}\r\nConnection: traceparent\r\n", context("01"));
    ask(&proxy, "/", &sent).await;
    assert_eq!(got(&blue, "traceparent"), [context("01")]);
}

#[tokio::test]
async fn a_malformed_context_is_dropped_with_its_tracestate() {
    let (blue, _green, proxy) = site("").await;
    let wrong = [
        format!("traceparent: {}x\r\ntracestate: a=1\r\n", context("01")),
        format!("traceparent: {}\r\ntracestate: a=1\r\n", context("01").to_uppercase()),
        format!("traceparent: 00-{}-{CLIENT}-01\r\ntracestate: a=1\r\n", "0".repeat(32)),
        format!("traceparent: {0}\r\ntraceparent: {0}\r\ntracestate: a=1\r\n", context("01")),
        "tracestate: a=1\r\n".to_owned(),
        "traceparent: \"; drop\r\n".to_owned(),
    ];
    for fields in &wrong {
        assert_eq!(ask(&proxy, "/", fields).await.status, 200);
        assert!(got(&blue, "traceparent").is_empty() && got(&blue, "tracestate").is_empty(), "{fields}");
    }
    let lines = logged(&proxy, wrong.len()).await;
    assert!(lines.iter().all(|line| line.get("trace_id").is_none()), "{lines:?}");
}

#[tokio::test]
async fn a_trace_begins_where_the_configuration_says_so() {
    for (sample, flags) in [("0%", "-00"), ("100%", "-01")] {
        let (blue, _green, proxy) = site(&format!("[trace]\nbegin = true\nsample = \"{sample}\"\n")).await;
        ask(&proxy, "/", "traceparent: nonsense\r\ntracestate: a=1\r\n").await;
        let begun = got(&blue, "traceparent");
        assert!(begun.len() == 1 && begun[0].len() == 55 && begun[0].ends_with(flags), "{begun:?}");
        assert!(got(&blue, "tracestate").is_empty());
        assert_eq!(logged(&proxy, 1).await[0]["trace_id"], begun[0][3..35]);
        ask(&proxy, "/", &format!("traceparent: {}\r\n", context("00"))).await;
        assert_eq!(got(&blue, "traceparent"), [context("00")]);
    }
}

#[tokio::test]
async fn a_request_is_exported_with_each_of_its_attempts() {
    let collector = Receiver::start().await;
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    // Takes connections, which is all that the check wants, and ends them at the first request.
    let broken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let dead = broken.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = broken.accept().await {
            tokio::spawn(async move { tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await });
        }
    });
    setup.blue = format!("release = \"1.0\"\nendpoints = [\"{dead}\", \"{}\"]", blue.address);
    setup.health = "interval = \"100ms\"".to_owned();
    setup.more = collected_at(collector.address, "service = \"edge\"");
    let proxy = setup.start().await;
    let sent = format!("traceparent: {}\r\ntracestate: a=1\r\n", context("01"));
    let server = until("a request was tried at both", async || {
        assert_eq!(ask(&proxy, "/shop?secret=1", &sent).await.status, 200);
        let known = spans(&collector);
        let both = known.iter().find(|span| attribute(span, "cutover.retries").as_deref() == Some("1"));
        both.cloned()
    })
    .await;
    assert_eq!(
        (&server["traceId"], &server["parentSpanId"], &server["kind"]),
        (&TRACE.into(), &CLIENT.into(), &2.into())
    );
    assert_eq!(server["status"], serde_json::json!({}));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/shop"),
        ("url.scheme", "http"),
        ("server.address", "shop.test"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "tests"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("cutover.color", "blue"),
        ("cutover.release", "1.0"),
        ("cutover.upstream", "default"),
        ("cutover.endpoint", &blue.address.to_string()),
        ("cutover.generation", "1"),
    ] {
        assert_eq!(attribute(&server, key).as_deref(), Some(value), "{key}");
    }
    assert!(!server.to_string().contains("secret"), "queries may hold secrets");
    let of_server: Vec<_> =
        spans(&collector).into_iter().filter(|span| span["parentSpanId"] == server["spanId"]).collect();
    let [failed, answered] = of_server.as_slice() else { panic!("{of_server:?}") };
    assert_eq!((&failed["kind"], &answered["kind"]), (&3.into(), &3.into()));
    assert_eq!(attribute(failed, "cutover.endpoint"), Some(dead.to_string()));
    assert_eq!(attribute(failed, "error.type").as_deref(), Some("connection_terminated"));
    assert_eq!((&failed["status"]["code"], attribute(failed, "http.response.status_code")), (&2.into(), None));
    assert_eq!(attribute(answered, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(attribute(answered, "http.request.resend_count").as_deref(), Some("1"));
    let nanos =
        |span: &Value, key: &str| -> u128 { span[key].as_str().and_then(|at| at.parse().ok()).expect("a time") };
    let (from, to) = ("startTimeUnixNano", "endTimeUnixNano");
    assert!(nanos(&server, from) <= nanos(failed, from) && nanos(failed, to) <= nanos(answered, from));
    assert!(nanos(answered, to) <= nanos(&server, to));
    // The application continues the span of the attempt that reached it.
    let reached: Vec<_> = blue
        .heads()
        .iter()
        .filter_map(|head| head.split_once("traceparent: ")?.1.get(..55).map(str::to_owned))
        .collect();
    assert!(reached.contains(&format!("00-{TRACE}-{}-01", answered["spanId"].as_str().expect("an id"))), "{reached:?}");
    assert_eq!(got(&blue, "tracestate"), ["a=1"]);
}

#[tokio::test]
async fn the_proxys_own_refusals_are_exported_and_probes_of_readiness_are_not() {
    let collector = Receiver::start().await;
    let more = collected_at(collector.address, "service = \"edge\"")
        + "[[route]]\nhost = \"shop.test\"\npath = \"/shop\"\nupstream = \"default\"\n";
    let (_blue, _green, proxy) = site(&more).await;
    assert_eq!(ask(&proxy, "/.cutover/ready", "").await.status, 200);
    assert_eq!(ask(&proxy, "/nowhere", "").await.status, 404);
    assert_eq!(ask(&proxy, "/shop/dies", "").await.status, 200);
    let spans = until_spans(&collector, 3).await;
    let of = |path: &str| {
        spans.iter().filter(|span| attribute(span, "url.path").as_deref() == Some(path)).collect::<Vec<_>>()
    };
    assert!(of("/.cutover/ready").is_empty());
    let [nowhere] = of("/nowhere")[..] else { panic!("{spans:?}") };
    assert_eq!(
        (&nowhere["name"], attribute(nowhere, "error.type").as_deref()),
        (&"GET".into(), Some("destination_not_found"))
    );
    assert_eq!(nowhere.get("parentSpanId"), None);
    let served = of("/shop/dies").into_iter().find(|span| span["kind"] == 2).expect("a span");
    assert_eq!(served["name"], "GET shop.test/shop");
}

#[tokio::test]
async fn the_client_decides_whether_its_trace_is_exported() {
    let collector = Receiver::start().await;
    let (blue, _green, proxy) = site(&collected_at(collector.address, "service = \"edge\"\nsample = \"0%\"")).await;
    ask(&proxy, "/", &format!("traceparent: {}\r\n", context("00"))).await;
    assert_eq!(got(&blue, "traceparent"), [context("00")]);
    ask(&proxy, "/", "").await;
    assert!(got(&blue, "traceparent")[0].ends_with("-00"));
    ask(&proxy, "/", &format!("traceparent: {}\r\n", context("01"))).await;
    let spans = until_spans(&collector, 2).await;
    assert_eq!(spans.len(), 2, "only the sampled one: {spans:?}");
    assert!(spans.iter().all(|span| span["traceId"] == TRACE));
}

#[tokio::test]
async fn a_collector_that_refuses_costs_spans_and_one_line_of_the_log() {
    let collector = Receiver::start().await;
    let (_blue, _green, proxy) = site(&collected_at(collector.address, "service = \"edge\"")).await;
    let rejected = "cutover_trace_spans_dropped_total{reason=\"rejected\"}";
    collector.behaves(Manner::Says(400, ""));
    for posts in 1..=2 {
        assert_eq!(ask(&proxy, "/", "").await.status, 200);
        until("it was refused", async || (metric(&proxy, rejected).await == 2 * posts).then_some(())).await;
    }
    let line = proxy.until_logged("Spans not exported").await;
    assert!(line.contains("the collector answered 400") && line.contains(&collector.address.to_string()), "{line}");
    collector.behaves(Manner::Tells(r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}"#));
    ask(&proxy, "/", "").await;
    until("one was refused", async || (metric(&proxy, rejected).await == 5).then_some(())).await;
    assert_eq!(metric(&proxy, "cutover_trace_spans_exported_total").await, 1);
    assert_eq!(proxy.log().matches("Spans not exported").count(), 1, "{}", proxy.log());
    collector.behaves(Manner::Takes);
    ask(&proxy, "/", "").await;
    proxy.until_logged("Spans exported again").await;
    until("both were taken", async || (metric(&proxy, "cutover_trace_spans_exported_total").await == 3).then_some(()))
        .await;
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_holds_no_request_up() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let (_blue, _green, proxy) = site(&collected_at(dead, "service = \"edge\"")).await;
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "/", "").await.status, 200);
    }
    proxy.until_logged("Spans not exported").await;

    let collector = Receiver::start().await;
    collector.behaves(Manner::Hangs);
    proxy.replace_file(
        &proxy.text().replace(&format!("{dead}\""), &format!("{}\"\ntimeout = \"100ms\"", collector.address)),
    );
    let unreachable = "cutover_trace_spans_dropped_total{reason=\"unreachable\"}";
    until("the batch of the old address is given up", async || (metric(&proxy, unreachable).await > 0).then_some(()))
        .await;
    until("the new one was asked", async || {
        assert_eq!(ask(&proxy, "/", "").await.status, 200);
        (!collector.received().is_empty()).then_some(())
    })
    .await;
    collector.behaves(Manner::Takes);
    proxy.until_logged("Spans exported again").await;
}

#[tokio::test]
async fn spans_reach_a_collector_over_tls_with_an_authority_of_its_own() {
    let authority = Authority::new();
    let pair_of_files = authority.issue(&["127.0.0.1"]);
    let collector = Receiver::with_tls(authority.server(&pair_of_files, &["http/1.1"], false)).await;
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    replace(&dir.path().join("ca.pem"), &authority.pem());
    let mut setup = Setup::new(&blue, &green);
    let keys = format!("service = \"edge\"\nca = \"{}/ca.pem\"", dir.path().display());
    setup.more = collected_at(collector.address, &keys).replace("http://", "https://");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    ask(&proxy, "/", "").await;
    until_spans(&collector, 2).await;
}

#[tokio::test]
async fn the_last_spans_are_exported_before_the_end() {
    let collector = Receiver::start().await;
    let (_blue, _green, mut proxy) = site(&collected_at(collector.address, "service = \"edge\"")).await;
    assert_eq!(ask(&proxy, "/", "").await.status, 200);
    proxy.signal(rustix::process::Signal::TERM);
    soon("it ends", proxy.ended()).await;
    assert_eq!(spans(&collector).len(), 2);
}
