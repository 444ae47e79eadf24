//! Commands about the past: history, releases, and whether the ledger is intact.

use std::path::Path;
use std::time::SystemTime;

use crate::admin::api::{HistoryAnswer, ReleasesAnswer, VerifyAnswer};
use crate::cli::args::History;
use crate::cli::client::Client;
use crate::cli::{Failure, output, render};

pub(crate) async fn history(client: &Client, options: &History, json: bool) -> Result<(), Failure> {
    let mut path = format!("/admin/history?limit={}", options.limit);
    let before = options.before.map(|before| before.to_string());
    let since = options.since.map(|since: SystemTime| humantime::format_rfc3339_millis(since).to_string());
    let filtered = options.before.is_some()
        || options.kind.is_some()
        || options.actor.is_some()
        || options.release.is_some()
        || options.since.is_some();
    let asked = [
        ("before", &before),
        ("kind", &options.kind),
        ("actor", &options.actor),
        ("release", &options.release),
        ("since", &since),
    ];
    for (key, value) in asked {
        if let Some(value) = value {
            path.push_str(&format!("&{key}={}", escaped(value)));
        }
    }
    let answer: HistoryAnswer = client.get(&path).await?;
    output::answer(json, &answer, |answer| render::history(answer, filtered));
    Ok(())
}

/// Percent-encodes a query value (RFC 3986, 2.3).
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~,:".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub(crate) async fn releases(client: &Client, json: bool) -> Result<(), Failure> {
    let answer: ReleasesAnswer = client.get("/admin/releases").await?;
    output::answer(json, &answer, render::releases);
    Ok(())
}

pub(crate) async fn verify(client: &Client, json: bool) -> Result<(), Failure> {
    told(&client.get("/admin/history/verify").await?, json)
}

pub(crate) fn verify_file(file: &Path, json: bool) -> Result<(), Failure> {
    let found = crate::ledger::verify(file).map_err(|error| Failure::Failed(error.to_string()))?;
    told(&found.into(), json)
}

fn told(found: &VerifyAnswer, json: bool) -> Result<(), Failure> {
    if found.ok {
        output::answer(json, found, render::verified);
        return Ok(());
    }
    let text = "the ledger is not as it was written".to_owned();
    Err(output::told_with(json, found, render::verified, Failure::Ended("damaged".to_owned(), text, 1)))
}
