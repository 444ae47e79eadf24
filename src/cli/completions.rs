//! Shell completions: scripts that ask this program, and values from a running proxy.

use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;

use crate::admin::api::{DeploymentsAnswer, StatusAnswer};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::output::print;

pub(crate) const VARIABLE: &str = "COMPLETE";
const PATIENCE: Duration = Duration::from_millis(800);

/// The script runs the `cutover` on the path, so an upgrade needs no new script.
pub(crate) fn script(shell: &str) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let completer = shells.completer(shell).ok_or_else(|| Failure::Usage(format!("there is no shell {shell:?}")))?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "cutover", "cutover", "cutover", &mut script)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    print(&String::from_utf8_lossy(&script));
    Ok(())
}

pub(crate) fn colors() -> Vec<CompletionCandidate> {
    let status = asked::<StatusAnswer>("/admin/status");
    let help = |name: &str| {
        let status = status.as_ref()?;
        let of_color = if name == "blue" { &status.blue } else { &status.green };
        let serves = if status.active == name { ", serves" } else { "" };
        Some(format!("{}{serves}", of_color.release).into())
    };
    ["blue", "green"].into_iter().map(|name| CompletionCandidate::new(name).help(help(name))).collect()
}

pub(crate) fn generations() -> Vec<CompletionCandidate> {
    let status = asked::<StatusAnswer>("/admin/status");
    let candidate = |status: StatusAnswer| {
        let help = format!("in force: {} {}", status.active, status.release);
        CompletionCandidate::new(status.generation.to_string()).help(Some(help.into()))
    };
    status.map(candidate).into_iter().collect()
}

/// Recorded deployments, newest first.
pub(crate) fn deployments() -> Vec<CompletionCandidate> {
    let known = asked::<DeploymentsAnswer>("/admin/deployments");
    let all = known.map(|known| known.deployments).unwrap_or_default();
    all.into_iter().map(|deployment| CompletionCandidate::new(deployment.id)).collect()
}

/// Silent without an answer: a completion can't show errors.
fn asked<T: serde::de::DeserializeOwned>(path: &str) -> Option<T> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let config = var("CUTOVER_CONFIG").map(Into::into);
    let file = |name| std::env::var_os(name).map(std::path::PathBuf::from);
    let (ca, cert, key) = (file("CUTOVER_CA"), file("CUTOVER_CERT"), file("CUTOVER_KEY"));
    let instance = var("CUTOVER_INSTANCE");
    let connection = Connection { config, instance, admin: var("CUTOVER_ADMIN"), token_file: None, ca, cert, key };
    let client = Client::find(&connection).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, client.get(path)).await.ok()?.ok() })
}
