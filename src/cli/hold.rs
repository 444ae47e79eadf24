//! `cutover hold`, `release` and `maintenance`.

use crate::admin::api::{HoldAnswer, HoldBody, ReasonBody};
use crate::cli::Failure;
use crate::cli::args::{Hold, Turn};
use crate::cli::client::{Client, LOOK};
use crate::cli::commands::line;
use crate::cli::output::print;
use crate::cli::render;

pub(crate) async fn hold(client: &Client, options: Hold, json: bool) -> Result<(), Failure> {
    let timeout = Some(humantime::format_duration(options.timeout).to_string().replace(' ', ""));
    let body = HoldBody { timeout, reason: options.reason };
    show(&client.post("/admin/hold", &body, LOOK).await?, json);
    Ok(())
}

pub(crate) async fn release(client: &Client, reason: Option<String>, json: bool) -> Result<(), Failure> {
    show(&client.delete("/admin/hold", &ReasonBody { reason }, LOOK).await?, json);
    Ok(())
}

pub(crate) async fn maintenance(
    client: &Client,
    turn: Turn,
    reason: Option<String>,
    json: bool,
) -> Result<(), Failure> {
    let (path, body) = ("/admin/maintenance", ReasonBody { reason });
    let answer = match turn {
        Turn::On => client.post(path, &body, LOOK).await?,
        Turn::Off => client.delete(path, &body, LOOK).await?,
    };
    show(&answer, json);
    Ok(())
}

fn show(answer: &HoldAnswer, json: bool) {
    print(&if json { line(answer) } else { render::door(answer) });
}
