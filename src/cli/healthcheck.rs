//! `cutover healthcheck`: one question to the running proxy, for containers and load balancers. Each failure exits with
//! 1, since Docker knows only 0 and 1.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use toml::de::{DeTable, DeValue};

use crate::cli::Failure;
use crate::cli::args::Healthcheck;
use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::output;

/// The default of `readiness.path`.
const READINESS: &str = "/.cutover/ready";

pub(crate) async fn run(connection: &Connection, options: &Healthcheck, json: bool) -> Result<(), Failure> {
    let asked = ask(connection, options.traffic, options.timeout).await;
    let (place, status) = asked.map_err(|failure| {
        // One line: a container engine keeps it as the log of the check.
        let text = failure.text();
        let text = text.lines().next().unwrap_or_default().to_owned();
        Failure::Ended(failure.name().to_owned(), text, 1)
    })?;
    match status {
        200 => {
            let answer = json!({ "ready": true, "at": place });
            output::answer(json, &answer, |_| format!("ready: {place}\n"));
            Ok(())
        }
        503 => Err(Failure::Ended("not_ready".to_owned(), format!("not ready: {place} answers 503"), 1)),
        other => {
            let text = format!("{place} answers {other}, so it is not the readiness of Cutover");
            Err(Failure::Ended("not_ready".to_owned(), text, 1))
        }
    }
}

async fn ask(connection: &Connection, traffic: bool, timeout: Duration) -> Result<(String, u16), Failure> {
    if traffic {
        let (address, path) = listener(&connection.config_path())?;
        let status = Client::at(&address)?.status_of(&path, timeout).await?;
        return Ok((format!("{address}{path}"), status));
    }
    let client = Client::find(connection)?;
    let status = client.status_of("/readyz", timeout).await?;
    Ok((client.address(), status))
}

/// `listen.http` and `readiness.path` of a file, valid or not.
fn listener(file: &Path) -> Result<(String, String), Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("{} can't be read: {error}", file.display())))?;
    let (table, _errors) = DeTable::parse_recoverable(&text);
    let string = |section: &str, key: &str| match table.get_ref().get(section)?.get_ref() {
        DeValue::Table(section) => section.get(key)?.get_ref().as_str().map(str::to_owned),
        _ => None,
    };
    let http = string("listen", "http").and_then(|http| http.parse::<SocketAddr>().ok());
    let http = http.ok_or_else(|| Failure::Usage(format!("{} has no readable `listen.http`", file.display())))?;
    match string("readiness", "path") {
        Some(path) if path.is_empty() => {
            let text = format!("`readiness.path` is \"\" in {}: ask without --traffic", file.display());
            Err(Failure::Usage(text))
        }
        path => Ok((http.to_string(), path.unwrap_or_else(|| READINESS.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_is_found_in_a_file_with_errors() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("cutover.toml");
        let found = |text: &str| {
            std::fs::write(&file, text).expect("a write");
            listener(&file).map_err(|failure| failure.text())
        };
        let http = "[listen]\nhttp = \"0.0.0.0:8080\"\n";
        assert_eq!(found(http).expect("both"), ("0.0.0.0:8080".to_owned(), READINESS.to_owned()));
        let moved = found(&format!("{http}[readiness]\npath = \"/ready\"\nnonsense =\n")).expect("both");
        assert_eq!(moved.1, "/ready");
        let off = found(&format!("{http}[readiness]\npath = \"\"\n")).expect_err("off");
        assert!(off.contains("without --traffic"), "{off}");
        assert!(found("active = \"blue\"").expect_err("nothing").contains("listen.http"));
    }
}
