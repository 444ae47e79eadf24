//! `cutover upgrade`.

use std::time::Duration;

use crate::admin::api::{UpgradeAnswer, UpgradeBody};
use crate::cli::args::Upgrade;
use crate::cli::client::Client;
use crate::cli::{Failure, output};

/// Time for moves and the last answer, beyond the new process's.
const BEYOND: Duration = Duration::from_secs(20);

pub(crate) async fn run(client: &Client, options: Upgrade, json: bool) -> Result<(), Failure> {
    let Upgrade { timeout, reason } = options;
    let body = UpgradeBody { timeout: Some(humantime::format_duration(timeout).to_string()), reason };
    let answer: UpgradeAnswer = client.post("/admin/upgrade", &body, timeout + BEYOND).await?;
    output::answer(json, &answer, words);
    Ok(())
}

fn words(answer: &UpgradeAnswer) -> String {
    let UpgradeAnswer { pid, version, previous_pid, previous_version, generation, took_ms } = answer;
    format!(
        "Upgraded: process {pid} ({version}) serves generation {generation}, after {took_ms} ms.\n\
         Process {previous_pid} ({previous_version}) finishes its connections.\n"
    )
}
