//! On a terminal: the log of the proxy is text, and times are local with their zone.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::application::pair;
use crate::proxy::{Proxy, Setup};
use crate::soon;
use crate::suites::clients::tool;

/// Runs a program on a terminal of its own, and copies what it shows.
const PTY: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

fn on_terminal(args: &[&str]) -> Command {
    let mut command = Command::new(tool("CUTOVER_TEST_PYTHON"));
    command.args(["-c", PTY, env!("CARGO_BIN_EXE_cutover")]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color").env("TZ", "CET-1");
    command
}

#[tokio::test]
async fn the_proxy_logs_text_on_a_terminal_and_json_elsewhere() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cutover.toml");
    std::fs::write(&file, Setup::new(&blue, &green).text(dir.path())).expect("a write");
    let mut child = on_terminal(&["run", "--config", file.to_str().expect("text")]).spawn().expect("it starts");
    let mut shown = child.stdout.take().expect("it is piped");
    let mut text = String::new();
    soon("it serves", async {
        let mut bytes = [0; 4096];
        while !text.contains("Serving") {
            let n = shown.read(&mut bytes).await.expect("it is open");
            assert!(n > 0, "it ended: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    })
    .await;
    assert!(!text.contains("{\"") && text.contains("INFO"), "{text}");
    // Ctrl-C.
    child.stdin.take().expect("it is piped").write_all(b"\x03").await.expect("it is taken");
    soon("it ends", child.wait()).await.expect("it was started");

    let proxy = Proxy::start(&blue, &green).await;
    proxy.until_logged("Serving").await;
    assert!(proxy.log().lines().all(|line| line.starts_with('{')), "{}", proxy.log());
}

#[tokio::test]
async fn a_status_shows_local_times_on_a_terminal_and_utc_elsewhere() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let file = proxy.file().display().to_string();
    let output = soon("it ends", on_terminal(&["status", "--config", &file]).output()).await.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(" CET ("), "{text}");
    let plain = String::from_utf8_lossy(&proxy.cli(&["status"]).await.stdout).into_owned();
    assert!(plain.contains(" UTC ("), "{plain}");
}
