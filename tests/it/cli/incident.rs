//! The page for incidents: every command on it is one that the program understands, and every refusal of a rollback has its row.

use std::path::Path;

use crate::application::pair;
use crate::proxy::{Setup, command};
use crate::soon;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/incident.md");
    std::fs::read_to_string(path).expect("the page is there")
}

/// Words of a command line, with quotes around some of them.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().expect("never empty").push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[tokio::test]
async fn every_command_of_the_page_is_understood() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cutover.toml");
    std::fs::write(&file, Setup::new(&blue, &green).text(dir.path())).expect("a write");
    let page = page();
    let commands: Vec<_> = page.split('`').filter_map(|span| span.strip_prefix("cutover ")).collect();
    assert!(commands.len() > 40, "{commands:?}");
    for line in commands {
        let args = words(line);
        let mut asked = command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        asked.env("CUTOVER_CONFIG", &file);
        // Nobody waits for a proxy that is not there.
        if args[0] == "wait" {
            asked.args(["--timeout", "1ms"]);
        }
        let output = soon("it ends", asked.output()).await.expect("it runs");
        let code = output.status.code();
        assert!(
            matches!(code, Some(0 | 4 | 5)),
            "cutover {line}: {code:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn every_reason_why_a_rollback_is_refused_has_a_row() {
    let page = page();
    for code in ["unhealthy", "no_known_good", "rollback_unsafe", "in_progress", "not_drained", "stale_generation"] {
        assert!(page.contains(&format!("\n| `{code}`")), "{code}");
    }
    for row in ["admin API can't be reached", "live color is dead", "rollback is refused", "disk is full"] {
        assert!(page.contains(row), "{row}");
    }
}
