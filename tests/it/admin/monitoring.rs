//! What monitoring gets: series that Prometheus takes, alerts that fire when they should, and a dashboard of series that exist.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::admin::over_tcp;
use crate::application::{Application, pair};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus/cutover.rules.yml");
const RULES_TEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus/cutover.test.yml");
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/grafana/cutover.json");

async fn setup() -> (Application, Application, Setup) {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[[notify]]\nkind = \"slack\"\nname = \"chat\"\nurl_env = \"NOBODY\"\n".to_owned();
    (blue, green, setup)
}

async fn promtool(args: &[&str], input: &str) {
    let mut tool = Command::new("promtool");
    tool.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = tool.spawn().expect("tests/run installs promtool");
    let mut pipe = running.stdin.take().expect("it is piped");
    tokio::io::AsyncWriteExt::write_all(&mut pipe, input.as_bytes()).await.expect("it reads");
    drop(pipe);
    let ended = soon("promtool ends", running.wait_with_output()).await.expect("it ran");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "promtool {args:?}: {said}");
}

/// The names of series in a text that has expressions.
fn named(text: &str) -> BTreeSet<String> {
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !word(character)).filter(|name| name.starts_with("cutover_"));
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_series_pass_the_lint_of_prometheus() {
    let (_blue, _green, setup) = setup().await;
    let proxy: Proxy = setup.start().await;
    proxy.get("/").await;
    let scrape = proxy.admin("GET", "/metrics", "").await;
    promtool(&["check", "metrics"], scrape.text()).await;
}

#[tokio::test]
async fn alerts_fire_when_they_should() {
    promtool(&["check", "rules", RULES], "").await;
    promtool(&["test", "rules", RULES_TEST], "").await;
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_series_that_exist() {
    let (_blue, _green, setup) = setup().await;
    let proxy: Proxy = setup.start().await;
    let scrape = proxy.admin("GET", "/metrics", "").await;
    let known = named(scrape.text());
    let dashboard = std::fs::read_to_string(DASHBOARD).expect("a file");
    let parsed: Value = serde_json::from_str(&dashboard).expect("JSON");
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    // Certificates, and labels that disagree, are not there without TLS and `release_header`.
    let elsewhere = ["cutover_tls_certificate_not_after_seconds", "cutover_endpoint_wrong_release"];
    for text in [std::fs::read_to_string(RULES).expect("a file"), dashboard] {
        let missing: Vec<_> = named(&text)
            .into_iter()
            .filter(|name| !known.contains(name) && !elsewhere.contains(&name.as_str()))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[tokio::test]
async fn a_real_prometheus_scrapes_it() {
    let (_blue, _green, setup) = setup().await;
    let proxy = over_tcp(&setup).await;
    let dir = tempfile::tempdir().expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").await.and_then(|free| free.local_addr()).expect("a port").port();
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nrule_files: ['{RULES}']\nscrape_configs:\n  - job_name: cutover\n    static_configs: [{{ targets: ['{}'] }}]\n",
        proxy.admin
    );
    std::fs::write(dir.path().join("prometheus.yml"), config).expect("a file");
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()));
    prometheus.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    prometheus.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let _running = prometheus.spawn().expect("tests/run installs prometheus");
    let value = until("Prometheus knows the live color", async || {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let mut connection = Connection::over(tokio::net::TcpStream::connect(address).await.ok()?);
        // It says 503 until it has read its own files.
        let answer = connection.get("/api/v1/query?query=cutover_active").await;
        let answer = if answer.status == 200 { answer.json() } else { return None };
        let found = answer["data"]["result"].as_array()?.iter().find(|one| one["metric"]["color"] == "blue")?.clone();
        Some(found["value"][1].clone())
    })
    .await;
    assert_eq!(value, "1");
}
