//! With `--json` standard output has exactly one document, whatever came of a command, and a failure has a code in it.

use serde_json::json;

use super::{document, pair};
use crate::proxy::Proxy;

#[tokio::test]
async fn every_command_prints_one_document_and_a_failure_has_a_stable_code() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let address = green.address.to_string();
    let missing = proxy.dir.path().join("missing").display().to_string();
    let deploy = ["deploy", "--release", "2.0", "--endpoint", &address];
    let on_blue = [&deploy[..], &["--color", "blue"]].concat();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["status"], 0, ""),
        (&["status", "--check"], 0, ""),
        (&["check"], 0, ""),
        (&["check", "--config", &missing], 2, "invalid_config"),
        (&["status", "--config", &missing], 2, "usage"),
        (&["status", "--admin", "127.0.0.1:1"], 4, "unreachable"),
        (&["switch", "green", "--admin", "127.0.0.1:1"], 4, "unreachable"),
        (&["switch"], 2, "usage"),
        (&["switch", "--to-release", "9"], 2, "unknown_release"),
        (&["rollback"], 3, "no_known_good"),
        (&["canary", "status"], 0, ""),
        (&["canary", "abort"], 0, ""),
        (&["canary", "advance"], 3, "no_canary"),
        (&["canary", "pause"], 3, "no_canary"),
        (&["canary", "watch"], 1, "no_canary"),
        (&["canary", "aa", "--file", &missing], 1, "failed"),
        (&["replay"], 1, "failed"),
        (&["replay", "--file", &missing], 1, "failed"),
        (&["wait"], 0, ""),
        (&["wait", "--drained"], 0, ""),
        (&["wait", "--active", "green", "--timeout", "50ms"], 5, "timed_out"),
        (&["switch", "green", "--dry-run"], 0, ""),
        (&["switch", "green", "--wait", "drained"], 0, ""),
        (&["switch", "green"], 0, ""),
        (&["switch", "blue", "--if-generation", "999"], 3, "stale_generation"),
        (&["rollback"], 0, ""),
        (&deploy, 0, ""),
        (&on_blue, 3, "way_back"),
        (&["history"], 0, ""),
        (&["history", "releases"], 0, ""),
        (&["history", "verify"], 0, ""),
        (&["history", "verify", &missing], 1, "failed"),
        (&["freeze"], 2, "usage"),
        (&["freeze", "--reason", "a"], 0, ""),
        (&["freeze", "--reason", "b"], 3, "already_frozen"),
        (&["unfreeze"], 0, ""),
        (&["pause", "--reason", "a"], 0, ""),
        (&["pause", "--reason", "b"], 3, "in_progress"),
        (&["unpause"], 0, ""),
        (&["maintenance", "on"], 0, ""),
        (&["status", "--check"], 1, "not_well"),
        (&["maintenance", "off"], 0, ""),
        (&["reload"], 0, ""),
        (&["notify", "test"], 2, "unknown_sink"),
    ];
    for &(args, exit, code) in cases {
        let output = proxy.cli(&[args, &["--json"]].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {said}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        let found = document(&output);
        assert!(found.is_object(), "{args:?}: {text}");
        if exit != 0 {
            assert_eq!(found["code"], json!(code), "{args:?}: {text}");
            assert!(code == "not_well" || found["detail"].is_string(), "{args:?}: {text}");
        }
    }
    proxy.write_file(&proxy.text().replace("rise = 1", "rise = 0"));
    proxy.until("it is not valid", |status| status["file"]["error"].is_string()).await;
    for args in [&["check"][..], &["reload"], &["switch", "blue"]] {
        let output = proxy.cli(&[args, &["--json"]].concat()).await;
        assert_eq!(document(&output)["code"], "invalid_config", "{args:?}");
    }
}
