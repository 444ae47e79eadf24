//! The histograms of `/metrics`: bounds that are configured, and exemplars with trace ids in OpenMetrics.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::application::pair;
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup};
use crate::suites::clients::tool;
use crate::{soon, until};

const SAMPLED: &str = "0af7651916cd43dd8448eb211c80319c";
const UNSAMPLED: &str = "1af7651916cd43dd8448eb211c80319c";
const DURATION: &str = "cutover_http_request_duration_seconds";

async fn open_metrics(proxy: &Proxy) -> Answer {
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
    let accept = "Accept: application/openmetrics-text; version=1.0.0";
    connection.send(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n\r\n")).await;
    connection.answer().await
}

/// As the client library of Prometheus for Python reads it.
async fn parsed(format: &str, page: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/open_metrics.py");
    let mut python = Command::new(tool("CUTOVER_TEST_PYTHON"));
    python.arg(script).arg(format).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = python.spawn().expect("tests/run installs it");
    let mut input = running.stdin.take().expect("it is piped");
    input.write_all(page.as_bytes()).await.expect("it reads");
    drop(input);
    let ended = soon("the parser ends", running.wait_with_output()).await.expect("it ran");
    assert!(ended.status.success(), "{}\n{page}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

async fn ask(proxy: &Proxy, trace: &str, flags: &str) {
    let mut connection = proxy.connect().await;
    let context = format!("traceparent: 00-{trace}-b7ad6b7169203331-{flags}");
    connection.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{context}\r\n\r\n")).await;
    assert_eq!(connection.answer().await.status, 200);
}

/// The bounds of a family's buckets.
fn bounds(page: &str, family: &str) -> BTreeSet<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix("_bucket{"));
    lines.filter_map(|line| Some(line.split_once("le=\"")?.1.split_once('"')?.0.to_owned())).collect()
}

#[tokio::test]
async fn a_strict_parser_reads_both_formats_and_an_exemplar_for_each_bucket_at_most() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for _ in 0..3 {
        ask(&proxy, SAMPLED, "01").await;
        ask(&proxy, UNSAMPLED, "00").await;
    }
    proxy.get("/").await;
    let page = until("the trace is in the metrics", async || {
        let page = open_metrics(&proxy).await;
        page.text().contains(SAMPLED).then(|| page.text().to_owned())
    })
    .await;
    let open = parsed("openmetrics", &page).await;
    let exemplars = open["exemplars"].as_array().expect("a list");
    assert!(!exemplars.is_empty());
    let buckets: BTreeSet<_> = exemplars.iter().map(|exemplar| exemplar["labels"].to_string()).collect();
    assert_eq!(buckets.len(), exemplars.len(), "{exemplars:?}");
    for exemplar in exemplars {
        assert_eq!((&exemplar["name"], &exemplar["trace_id"]), (&format!("{DURATION}_bucket").into(), &SAMPLED.into()));
        assert_eq!(exemplar["labels"]["color"], "blue");
        let bound = exemplar["labels"]["le"].as_str().and_then(|bound| bound.parse::<f64>().ok()).expect("a bound");
        let value = exemplar["value"].as_f64().expect("a number");
        assert!(value > 0.0 && value <= bound, "{exemplar}");
        assert!(exemplar["at"].as_f64().is_some_and(|at| at > 1.7e9), "{exemplar}");
    }
    let classic = proxy.admin("GET", "/metrics", "").await;
    assert!(!classic.text().contains("trace_id"), "the format has no place for it");
    let classic = parsed("prometheus", classic.text()).await;
    assert_eq!(classic["samples"], open["samples"]);
}

#[tokio::test]
async fn histograms_have_the_configured_bounds_until_a_restart() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[metrics]\nbuckets = [\"250us\", \"1s\", \"30s\"]\n".to_owned();
    let proxy = setup.start().await;
    proxy.get("/").await;
    let page = until("the request is counted", async || {
        let page = proxy.admin("GET", "/metrics", "").await;
        let counted = format!("{DURATION}_count{{color=\"blue\",upstream=\"default\"}} 1");
        page.text().contains(&counted).then(|| page.text().to_owned())
    })
    .await;
    for family in [DURATION, "cutover_upstream_response_seconds"] {
        assert_eq!(bounds(&page, family), ["+Inf", "0.00025", "1", "30"].map(str::to_owned).into(), "{family}");
    }
    let open = open_metrics(&proxy).await;
    assert_eq!(bounds(open.text(), DURATION), ["+Inf", "0.00025", "1.0", "30.0"].map(str::to_owned).into());
    assert!(page.contains(&format!("{DURATION}_bucket{{color=\"blue\",upstream=\"default\",le=\"30\"}} 1")));

    proxy.replace_file(&proxy.text().replace("\"250us\", ", ""));
    let answer = proxy.admin("POST", "/admin/reload", "").await;
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("`metrics.buckets` can't change while the proxy runs"), "{}", answer.text());
    assert_eq!(bounds(proxy.admin("GET", "/metrics", "").await.text(), DURATION).len(), 4);
}
