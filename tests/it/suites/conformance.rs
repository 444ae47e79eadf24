//! Suites that others wrote: `httpwg` for HTTP/2 (RFC 9113), and `kosoku`, which has Autobahn's cases, for WebSockets (RFC 6455).
//! `tests/run` installs them.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::application::pair;
use crate::proxy::Proxy;
use crate::suites::clients::{application, between, tool};

#[tokio::test]
async fn http2_is_spoken_as_a_suite_wants_it() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut suite = Command::new(tool("CUTOVER_TEST_HTTPWG"));
    suite.args(["--address", &proxy.http.to_string(), "--frame-timeout", "2000"]).stdin(Stdio::null());
    let output = suite.kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("httpwg: {error}; run tests/run, which installs it"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let failed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("Test failed: RFC 9113 :: "))
        .map(|(_, name)| name.trim())
        .collect();
    assert_eq!(failed, [""; 0], "{text}");
    let passed = text.lines().find_map(|line| line.split_once("Passed ")).expect("a summary").1;
    assert!(passed.contains("107/107"), "the suite has other cases than it had: {passed}");
    assert_eq!(proxy.get("/").await.text(), "blue", "it is unharmed");
}

/// The cases that take no large messages: those are slow, and say nothing about a proxy that reads no message.
const CASES: &[&str] =
    &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.1.2", "9.2.1", "9.2.2", "10.*", "12.1.1", "13.1.1"];

/// What each case made of this server: of the messages, and of its end.
async fn cases(server: std::net::SocketAddr) -> BTreeMap<String, (String, String)> {
    let reports = tempfile::tempdir().expect("a directory");
    let mut suite = Command::new(tool("CUTOVER_TEST_KOSOKU"));
    suite.args(["--mode", "fuzzingclient", "--parallelism", "8", "--outdir"]).arg(reports.path());
    for case in CASES {
        suite.args(["--include", case]);
    }
    let output = suite.arg(server.to_string()).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("kosoku: {error}; run tests/run, which installs it"));
    let index = std::fs::read(reports.path().join("index.json"));
    let index = index.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let (_, cases) = index.as_object().and_then(|agents| agents.iter().next()).expect("an agent");
    // What is right within the rules, though not as the suite likes it most, depends on how the writes fall.
    let said = |case: &Value, what| case[what].as_str().expect("a word").replace("NON-STRICT", "OK");
    let cases = cases.as_object().expect("cases").iter();
    cases.map(|(name, case)| (name.clone(), (said(case, "behavior"), said(case, "behaviorClose")))).collect()
}

#[tokio::test]
async fn websockets_through_the_proxy_are_what_they_are_without_it() {
    let (_blue, blue) = application("websocket_echo.py", "blue").await;
    let served = between(blue, blue, "").await;
    let (without, with) = (cases(blue).await, cases(served.proxy.http).await);
    assert!(without.len() > 250, "{}", without.len());
    assert_eq!(with, without);
}
