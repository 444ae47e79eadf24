//! `cutover check`: validates a configuration, and compares it with the running proxy's.

mod schema;

use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::admin::api::StatusAnswer;
use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::output::{self, colored_errors};
use crate::cli::{Failure, on_runtime};
use crate::config::Config;
use crate::config::error::ConfigError;

/// Keys that `Config::check_fixed` refuses to change in a running proxy.
const FIXED: [&str; 5] = ["listen.http", "listen.admin", "listen.workers", "state.dir", "log.format"];

pub(crate) fn run(connection: &Connection, json: bool) -> Result<(), Failure> {
    let path = connection.config_path();
    let config = match Config::load(&path) {
        Ok((config, _)) => config,
        Err(error) => {
            let found = json!({ "valid": false, "errors": errors(&error) });
            let failure = Failure::Ended("invalid_config".to_owned(), error.render(colored_errors()), 2);
            return Err(output::told_with(json, &found, |_| String::new(), failure));
        }
    };
    let expired = config.expired(SystemTime::now());
    let (found, text) = compared(connection, &path, &config, &expired)?;
    let words = |_: &Value| text;
    // The proxy would accept an expired certificate, and its clients would not.
    if expired.is_empty() {
        output::answer(json, &found, words);
        return Ok(());
    }
    Err(output::told_with(json, &found, words, Failure::Ended("certificate_expired".to_owned(), expired.join("\n"), 1)))
}

fn compared(
    connection: &Connection,
    path: &Path,
    config: &Config,
    expired: &[String],
) -> Result<(Value, String), Failure> {
    let client = Client::find(connection)?;
    on_runtime(async {
        // A first check comes before the proxy runs.
        let running = match client.get_text("/admin/config").await {
            Ok(running) => running,
            Err(Failure::Unreachable(_)) => {
                let why = format!("No proxy answers at {}, so there is nothing to compare.", client.address());
                return Ok(valid(path, false, &why, expired));
            }
            // A missing permission makes the file no worse.
            Err(Failure::Refused(problem)) if matches!(problem.status, 401 | 403) => {
                let why = format!("The running proxy does not say what it has in force: {}.", problem.detail);
                return Ok(valid(path, true, &why, expired));
            }
            Err(failure) => return Err(failure),
        };
        let status: StatusAnswer = client.get("/admin/status").await?;
        let changes = config.changes_from(&running).map_err(|error| {
            Failure::Failed(format!("the running proxy's configuration can't be understood: {error}"))
        })?;
        let order = order(config, &status);
        let schema = schema::sentences(config, &status);
        let found = json!({ "valid": true, "running": true, "changes": changes, "order": order, "schema": schema, "expired": expired });
        let mut text = format!("{} is valid.\n", path.display());
        if changes.is_empty() {
            text.push_str("It is what the running proxy has in force.\n");
        } else {
            text.push_str("It would change:\n");
            for change in &changes {
                let fixed = FIXED.iter().any(|key| change.starts_with(&format!("{key}: ")));
                let note = if fixed { " (needs a restart; a reload is refused)" } else { "" };
                text.push_str(&format!("  {change}{note}\n"));
            }
        }
        if let Some(order) = order {
            text.push_str(&format!("{order}\n"));
        }
        for sentence in schema {
            text.push_str(&format!("{sentence}\n"));
        }
        Ok((found, text))
    })
}

fn valid(path: &Path, running: bool, why: &str, expired: &[String]) -> (Value, String) {
    let found = json!({ "valid": true, "running": running, "why": why, "expired": expired });
    (found, format!("{} is valid. {why}\n", path.display()))
}

fn order(config: &Config, status: &StatusAnswer) -> Option<String> {
    let wanted = config.active;
    if wanted.as_str() == status.active {
        let release = &config.colors[wanted].release;
        return (release.as_str() != status.release)
            .then(|| format!("It orders release {release} on {wanted}, which serves: the gate will be asked."));
    }
    let from = &status.active;
    Some(if status.file.active == wanted.as_str() {
        format!("Its `active` says {wanted} while {from} serves; that was overruled, and is no new order.")
    } else {
        format!("Its `active` orders a switch from {from} to {wanted} (release {}).", config.colors[wanted].release)
    })
}

fn errors(error: &ConfigError) -> Vec<serde_json::Value> {
    error
        .diagnostics
        .iter()
        .map(|diagnostic| {
            let (line, column) = error.place(diagnostic);
            json!({ "line": line, "column": column, "message": diagnostic.message, "help": diagnostic.help })
        })
        .collect()
}
