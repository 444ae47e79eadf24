//! The OpenAPI document, held against what really answers.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::admin::{over_tcp, pair};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::suites::clients::tool;

async fn document(proxy: &Proxy) -> Value {
    let answer = proxy.admin("GET", "/admin/openapi.json", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// Path and method of each operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            all.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    all
}

#[tokio::test]
async fn every_endpoint_of_the_contract_is_in_the_document() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let document = document(&proxy).await;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut found: Vec<_> =
        operations(&document).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "DELETE /admin/freeze",
            "DELETE /admin/maintenance",
            "DELETE /admin/pause",
            "GET /admin/canary",
            "GET /admin/config",
            "GET /admin/deployments",
            "GET /admin/deployments/{id}/record",
            "GET /admin/events",
            "GET /admin/history",
            "GET /admin/history/verify",
            "GET /admin/openapi.json",
            "GET /admin/releases",
            "GET /admin/status",
            "GET /admin/timeline",
            "GET /admin/whoami",
            "GET /livez",
            "GET /metrics",
            "GET /readyz",
            "POST /admin/canary",
            "POST /admin/canary/abort",
            "POST /admin/canary/advance",
            "POST /admin/canary/pause",
            "POST /admin/canary/resume",
            "POST /admin/cancel",
            "POST /admin/freeze",
            "POST /admin/maintenance",
            "POST /admin/notify/test",
            "POST /admin/pause",
            "POST /admin/reload",
            "POST /admin/rollback",
            "POST /admin/switch",
            "POST /admin/upgrade",
            "PUT /admin/colors/{color}",
        ]
    );
    for schema in [
        "SwitchBody",
        "SwitchAnswer",
        "RollbackBody",
        "StatusAnswer",
        "HistoryAnswer",
        "ReloadAnswer",
        "ObstacleAnswer",
    ] {
        assert!(document["components"]["schemas"][schema]["properties"].is_object(), "{schema}");
    }
    // With what a refusal by the data stores says besides; nothing of that is in every problem.
    for part in ["Problem", "UnsafeAnswer"] {
        let parts = document["components"]["schemas"][part]["allOf"].as_array().expect("two parts");
        let own = parts.iter().find(|part| part["properties"].is_object()).expect("its own fields");
        assert_eq!(own["required"].as_array().map_or(0, Vec::len), if part == "Problem" { 4 } else { 0 }, "{own}");
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (path, method, operation) in operations(&document) {
        assert!(operation["summary"].is_string(), "{method} {path} says what it does");
        assert!(operation["responses"]["200"].is_object(), "{method} {path}");
    }
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let document = document(&proxy).await;
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("a local reference");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    references += 1;
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert!(references > 10, "{references}");
}

#[tokio::test]
async fn everything_in_the_document_answers() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for (path, method, operation) in operations(&document(&proxy).await) {
        let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
        connection.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")).await;
        let answer = connection.head().await.expect("a head");
        let documented = operation["responses"].get(answer.status.to_string());
        assert!(documented.is_some(), "{method} {path} answers {}, which it does not document", answer.status);
        let kinds: Vec<_> = documented
            .and_then(|response| response["content"].as_object())
            .map(|content| content.keys().cloned().collect())
            .unwrap_or_default();
        let kind = answer.header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
        assert!(kinds.iter().any(|documented| documented == kind), "{method} {path} is {kind}, not {kinds:?}");
    }
}

#[tokio::test]
async fn the_status_has_what_the_document_says() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let document = document(&proxy).await;
    let status = proxy.status().await;
    let schema = &document["components"]["schemas"]["StatusAnswer"];
    for key in status.as_object().expect("an object").keys() {
        assert!(schema["properties"].get(key).is_some(), "{key} is not documented");
    }
    for key in schema["required"].as_array().expect("a list") {
        assert!(status.get(key.as_str().expect("a name")).is_some(), "{key} is missing");
    }
}

/// `tests/run` installs it.
#[tokio::test]
async fn a_property_tester_finds_no_contradiction_between_the_document_and_the_answers() {
    let (blue, green) = pair().await;
    let proxy = over_tcp(&Setup::new(&blue, &green)).await;
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/admin/schemathesis.toml");
    let mut tester = Command::new(tool("CUTOVER_TEST_SCHEMATHESIS"));
    tester.args(["--config-file", config, "run", "--generation-deterministic", "--no-color"]);
    tester.arg(format!("http://{}/admin/openapi.json", proxy.admin));
    // What it remembers belongs into no source tree.
    let output = tester.current_dir(proxy.dir.path()).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("schemathesis: {error}; run tests/run, which installs it"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("POST /admin/switch") || text.contains("No issues found"), "{text}");
}

/// `tests/run` installs them.
#[tokio::test]
async fn two_linters_and_a_generator_of_clients_take_the_document() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("openapi.json");
    std::fs::write(&file, document(&proxy).await.to_string()).expect("a write");
    let path = file.to_str().expect("text");
    let client = dir.path().join("client");
    let generate = ["generate", "--path", path, "--meta", "none", "--output-path"];
    let generate = [&generate[..], &[client.to_str().expect("text")]].concat();
    for (variable, args) in [
        ("CUTOVER_TEST_OPENAPI_VALIDATOR", &[path][..]),
        ("CUTOVER_TEST_REDOCLY", &["lint", path, "--extends=spec"]),
        ("CUTOVER_TEST_OPENAPI_CLIENT", &generate),
    ] {
        let tool = tool(variable);
        let beside = tool.parent().expect("a directory").display().to_string();
        let path = format!("{beside}:{}", std::env::var("PATH").unwrap_or_default());
        let mut asked = Command::new(&tool);
        asked
            .args(args)
            .env("PATH", path)
            .env("REDOCLY_TELEMETRY", "off")
            .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
        let output = asked.current_dir(dir.path()).stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output =
            output.unwrap_or_else(|error| panic!("{}: {error}; run tests/run, which installs it", tool.display()));
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{variable}: {text}");
    }
    assert!(client.join("models/status_answer.py").exists(), "the generator wrote a type for the status");
}

#[tokio::test]
async fn what_is_sent_to_listeners_is_described() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let document = document(&proxy).await;
    let events = &document["paths"]["/admin/events"]["get"];
    assert!(events["responses"]["400"].is_object(), "{events}");
    let schema = &events["responses"]["200"]["content"]["text/event-stream"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/Event");
    let kinds = document["components"]["schemas"]["Event"]["oneOf"].as_array().expect("kinds");
    let names: Vec<_> = kinds.iter().filter_map(|kind| kind["properties"]["event"]["const"].as_str()).collect();
    assert_eq!(names, ["transition", "drained", "hold", "health", "reloaded", "numbers", "status", "lagged"]);
}
