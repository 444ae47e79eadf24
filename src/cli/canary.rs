//! `cutover canary …`: one command per step, and the live view.

mod watch;

use std::time::Duration;

use crate::admin::api::{AbortBody, AdvanceBody, CanaryAnswer, CanaryBody, CanaryMoved, Percent, PlanBody, ReasonBody};
use crate::cli::args::canary::{Canary, Start};
use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::render::canary as render;
use crate::cli::waiting::{self, Interrupts, Patience};
use crate::cli::{Failure, asking, output, replay};
use crate::domain::split::Weight;

const ANSWER: Duration = Duration::from_secs(30);

pub(crate) async fn run(connection: &Connection, command: Canary, json: bool) -> Result<(), Failure> {
    if let Canary::Aa(options) = &command {
        // Replaying a file needs no proxy.
        return replay::aa(connection, options, json).await;
    }
    let client = Client::find(connection)?;
    match command {
        Canary::Start(options) => return start(&client, options, json).await,
        Canary::Status => {
            let answer: CanaryAnswer = client.get("/admin/canary").await?;
            output::answer(json, &answer, render::canary);
        }
        Canary::Advance(options) => {
            let patience = Patience::from(options.waits);
            let body = AdvanceBody {
                full: options.full,
                if_generation: options.expected.if_generation,
                timeout: patience.gate(),
                detach: options.waits.detach,
                reason: options.reason,
            };
            let mut interrupts = Interrupts::listen();
            let path = "/admin/canary/advance";
            let answer: CanaryMoved = waiting::ask(&client, path, &body, patience, &mut interrupts).await?;
            show(&answer, "Advanced", json);
        }
        Canary::Pause { reason } => {
            show(&client.post("/admin/canary/pause", &ReasonBody { reason }, ANSWER).await?, "Paused", json);
        }
        Canary::Resume { reason } => {
            show(&client.post("/admin/canary/resume", &ReasonBody { reason }, ANSWER).await?, "Resumed", json);
        }
        Canary::Abort { quarantine, reason } => {
            let body = AbortBody { quarantine, reason };
            show(&client.post("/admin/canary/abort", &body, ANSWER).await?, "Aborted", json);
        }
        Canary::Watch { until } => return watch::run(&client, None, until, json).await,
        Canary::Aa(_) => {}
    }
    Ok(())
}

async fn start(client: &Client, options: Start, json: bool) -> Result<(), Failure> {
    let patience = Patience::from(options.waits);
    let duration = |duration: Duration| humantime::format_duration(duration).to_string();
    let plan = PlanBody {
        steps: options.steps.map(|steps| steps.into_iter().map(percent).collect()),
        dwell: options.dwell.map(duration),
        max_step: options.max_step.map(duration),
        on_insufficient: options.on_insufficient,
        holdback: options.holdback.map(percent),
    };
    let body = CanaryBody {
        if_staged: None,
        weight: options.weight.map(percent),
        plan: Some(plan).filter(|plan| *plan != PlanBody::default()),
        mode: options.mode,
        if_generation: options.expected.if_generation,
        force: options.force.forced(),
        timeout: patience.gate(),
        known_good_after: options.known_good_after.map(duration),
        detach: options.waits.detach,
        reason: if json { options.reason } else { asking::reason(options.reason, options.force.yes) },
    };
    if !options.force.forced().is_none() {
        asking::confirmed("--force overrides the guards in front of a canary.", options.force.yes)?;
    }
    let mut interrupts = Interrupts::listen();
    let answer: CanaryMoved = waiting::ask(client, "/admin/canary", &body, patience, &mut interrupts).await?;
    show(&answer, "Started", json);
    match (options.wait, answer.canary) {
        (Some(until), Some(begun)) => watch::run(client, Some(begun), until, json).await,
        _ => Ok(()),
    }
}

fn percent(weight: Weight) -> Percent {
    Percent::Text(weight.to_string())
}

fn show(answer: &CanaryMoved, verb: &str, json: bool) {
    output::answer(json, answer, |answer| render::moved(answer, verb));
}
