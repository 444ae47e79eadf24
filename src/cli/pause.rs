//! `cutover pause`, `unpause` and `maintenance`.

use crate::admin::api::{HoldAnswer, HoldBody, ReasonBody};
use crate::cli::args::{Pause, Turn};
use crate::cli::client::{Client, LOOK};
use crate::cli::{Failure, asking, output, render};

pub(crate) async fn pause(client: &Client, options: Pause, json: bool) -> Result<(), Failure> {
    let timeout = humantime::format_duration(options.timeout).to_string();
    let what = format!("Every new request will wait for up to {timeout}, or until `cutover unpause`.");
    asking::confirmed(&what, options.yes)?;
    let reason = asking::reason(options.reason, options.yes);
    let body = HoldBody { timeout: Some(timeout.replace(' ', "")), replace: options.replace, reason };
    show(&client.post("/admin/pause", &body, LOOK).await?, json);
    Ok(())
}

pub(crate) async fn unpause(client: &Client, reason: Option<String>, json: bool) -> Result<(), Failure> {
    show(&client.delete("/admin/pause", &ReasonBody { reason }, LOOK).await?, json);
    Ok(())
}

pub(crate) async fn maintenance(
    client: &Client,
    turn: Turn,
    reason: Option<String>,
    yes: bool,
    json: bool,
) -> Result<(), Failure> {
    let path = "/admin/maintenance";
    let answer = match turn {
        Turn::On => {
            let what =
                "Every request will get the maintenance answer, also after a restart, until `cutover maintenance off`.";
            asking::confirmed(what, yes)?;
            let reason = asking::reason(reason, yes);
            client.post(path, &ReasonBody { reason }, LOOK).await?
        }
        Turn::Off => client.delete(path, &ReasonBody { reason }, LOOK).await?,
    };
    show(&answer, json);
    Ok(())
}

fn show(answer: &HoldAnswer, json: bool) {
    output::answer(json, answer, render::door);
}
