//! `cutover wait`: comes back when something is so, for scripts that edit the file or start an application.

use std::time::{Duration, Instant};

use crate::admin::api::{Problem, StatusAnswer};
use crate::cli::Failure;
use crate::cli::args::Wait;
use crate::cli::client::Client;
use crate::cli::commands::line;
use crate::cli::output::print;
use crate::cli::render;

/// How often to look.
const GLANCE: Duration = Duration::from_millis(50);
/// How old a refusal may be for one that was there before the edit that is being waited for: longer than the slow poll of
/// the file takes where no events come.
const OLD_NEWS: Duration = Duration::from_secs(4);

pub(crate) async fn run(client: &Client, options: &Wait, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let mut refused_before = None;
    loop {
        let looked = look(client).await;
        let why = match looked {
            Ok(status) => match missing(&status, options) {
                None => {
                    print(&if json { line(&status) } else { render::status(&status) });
                    return Ok(());
                }
                Some(why) => {
                    let refusal = refusal(&status, options);
                    let known = refused_before.get_or_insert_with(|| refusal.clone().map(|refusal| refusal.detail));
                    if let Some(refusal) = refusal
                        && (known.as_ref() != Some(&refusal.detail) || began.elapsed() > OLD_NEWS)
                    {
                        return Err(Failure::Refused(Box::new(refusal)));
                    }
                    why
                }
            },
            // It may be about to start.
            Err(failure @ (Failure::Unreachable(_) | Failure::TimedOut(_))) if began.elapsed() < options.timeout => {
                failure.text()
            }
            Err(failure) => return Err(failure),
        };
        if began.elapsed() >= options.timeout {
            let limit = humantime::format_duration(options.timeout);
            return Err(Failure::TimedOut(format!("not so after {limit}: {why}")));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

async fn look(client: &Client) -> Result<StatusAnswer, Failure> {
    // Stopping is not ready, though the status still answers.
    client.get_text("/readyz").await?;
    client.get("/admin/status").await
}

/// The first thing that is not so yet.
fn missing(status: &StatusAnswer, options: &Wait) -> Option<String> {
    let nothing_asked = options.active.is_none() && options.healthy.is_none() && !options.drained;
    if let Some(color) = options.active
        && status.active != color.as_str()
    {
        return Some(format!("{} serves", status.active));
    }
    if let Some(color) = options.healthy {
        let of_color = if color.as_str() == "blue" { &status.blue } else { &status.green };
        if let Some(endpoint) = of_color.endpoints.iter().find(|endpoint| endpoint.health != "up") {
            return Some(format!("{} of {color} is {}: {}", endpoint.endpoint, endpoint.health, endpoint.detail));
        }
    }
    if (options.drained || nothing_asked)
        && let Some(draining) = &status.draining
    {
        return Some(format!("draining {}", render::left(draining)));
    }
    if nothing_asked && status.phase != "steady" {
        return Some(format!("a move is {}", status.phase));
    }
    None
}

/// The file's order for the color that is waited for was refused.
fn refusal(status: &StatusAnswer, options: &Wait) -> Option<Problem> {
    options.active.filter(|color| status.active != color.as_str())?;
    status.file.refusal.clone()
}
