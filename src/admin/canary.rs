//! Canaries: one command per step, their status, and the record of finished ones.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::admin::api::{
    AbortBody, AdvanceBody, CanaryAnswer, CanaryBody, CanaryMoved, DeploymentsAnswer, Percent, PlanBody, Problem,
    ReasonBody,
};
use crate::admin::auth::Actor;
use crate::admin::convert;
use crate::admin::handlers::{force, generation, origin, terms, understood};
use crate::admin::problem::JsonLine;
use crate::control::handle::{ControllerHandle, Patience, RecordError, Request};
use crate::domain::deployment::{Mode, OnInsufficient, Wishes};
use crate::domain::history::Filter;
use crate::domain::rollout::Command;
use crate::domain::split::Weight;

/// Bounds of a step's duration.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(24 * 3600);
/// Transitions searched for deployments.
const LOOKED_THROUGH: usize = 1000;

/// Gives the color that does not serve a share of the requests, which grows as long as it is shown to be no worse.
#[utoipa::path(post, path = "/admin/canary", request_body(content = CanaryBody, description = "Empty: as configured"), responses(
    (status = 200, description = "Done: the release gets its first share of the requests that arrive from now on", body = CanaryMoved),
    (status = 400, description = "`bad_request`, `bad_plan`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`unhealthy`, `rollback_unsafe`, `frozen`, `quarantined`, `cooling_down`, `in_progress`, `withdrawn`, `cancelled`, `target_changed`, `file_busy`", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "`stale_generation`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`invalid_config`", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "`not_durable`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn start(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<CanaryMoved>, Problem> {
    let body: CanaryBody = understood(body).await?;
    let wishes = wishes(&body)?;
    let generation = generation(body.if_generation)?;
    let command = Command::CanaryStart {
        wishes,
        if_generation: generation,
        force: force(&body.force)?,
        terms: terms(body.timeout.as_deref(), body.known_good_after.as_deref())?,
        origin: origin(actor, body.reason)?,
    };
    let outcome = handle.staged_command(body.if_staged, command, patience, body.detach).await??;
    let status = handle.ask(Request::Status).await?;
    Ok(JsonLine(CanaryMoved::new(&outcome, &status)))
}

/// Takes the next step whatever the evidence says; after the last one the release takes all traffic.
#[utoipa::path(post, path = "/admin/canary/advance", request_body(content = AdvanceBody, description = "May be empty"), responses(
    (status = 200, description = "Done: the release gets its larger share of the requests that arrive from now on", body = CanaryMoved),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`no_canary`, `baking`, `unhealthy`, `rollback_unsafe`, `frozen`, `quarantined`, `in_progress`, `withdrawn`, `cancelled`, `target_changed`, `file_busy`", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "`stale_generation`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`invalid_config`", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "`not_durable`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn advance(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<CanaryMoved>, Problem> {
    let body: AdvanceBody = understood(body).await?;
    let generation = generation(body.if_generation)?;
    let command = Command::CanaryAdvance {
        full: body.full,
        if_generation: generation,
        terms: terms(body.timeout.as_deref(), None)?,
        origin: origin(actor, body.reason)?,
    };
    told(&handle, command, patience, body.detach).await
}

/// Keeps the share as it is. An automatic rollback is still possible.
#[utoipa::path(post, path = "/admin/canary/pause", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "Done: the share of the release does not grow by itself", body = CanaryMoved),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`no_canary`, `in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn pause(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<CanaryMoved>, Problem> {
    let body: ReasonBody = understood(body).await?;
    told(&handle, Command::CanaryHold { origin: origin(actor, body.reason)? }, patience, false).await
}

/// Ends the pause of a canary; its step begins anew.
#[utoipa::path(post, path = "/admin/canary/resume", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "Done: the share of the release grows by its plan", body = CanaryMoved),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`no_canary`, `in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn resume(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<CanaryMoved>, Problem> {
    let body: ReasonBody = understood(body).await?;
    told(&handle, Command::CanaryResume { origin: origin(actor, body.reason)? }, patience, false).await
}

/// Sends the release no more traffic, now. During its bake: the same as a rollback. With no release on its way nothing
/// changes.
#[utoipa::path(post, path = "/admin/canary/abort", request_body(content = AbortBody, description = "May be empty"), responses(
    (status = 200, description = "Done: no request that arrives from now on goes to the release", body = CanaryMoved),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`no_known_good`, `rollback_unsafe`, `unhealthy`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn abort(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<CanaryMoved>, Problem> {
    let body: AbortBody = understood(body).await?;
    let command = Command::CanaryAbort { quarantine: body.quarantine, origin: origin(actor, body.reason)? };
    told(&handle, command, patience, false).await
}

/// The canary or the baking release: plan, share, evidence by route, and the next step.
#[utoipa::path(get, path = "/admin/canary", responses((status = 200, body = CanaryAnswer)))]
pub(super) async fn status(State(handle): State<ControllerHandle>) -> Result<JsonLine<CanaryAnswer>, Problem> {
    Ok(JsonLine(CanaryAnswer::new(&handle.ask(Request::Status).await?)))
}

/// The deployments of the history, newest first, and whether each has a record.
#[utoipa::path(get, path = "/admin/deployments", responses((status = 200, body = DeploymentsAnswer)))]
pub(super) async fn deployments(
    State(handle): State<ControllerHandle>,
) -> Result<JsonLine<DeploymentsAnswer>, Problem> {
    let recorded = handle.deployments().await?.into_iter().collect();
    let page = handle
        .ask(|answer| Request::History { limit: LOOKED_THROUGH, before: None, filter: Filter::default(), answer })
        .await?;
    Ok(JsonLine(DeploymentsAnswer { deployments: convert::deployments(&page, &recorded) }))
}

/// The record of a deployment's judge: a line for its policy, and one for each tick.
#[utoipa::path(get, path = "/admin/deployments/{id}/record", params(("id" = String, Path, description = "Such as `dep-42`")), responses(
    (status = 200, body = String, content_type = "application/jsonl"),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_recorded`", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "`unreadable`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn record(
    State(handle): State<ControllerHandle>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id.parse().map_err(|error| Problem::bad_request(format!("{error}")))?;
    match handle.deployment_record(id).await? {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "application/jsonl")], text).into_response()),
        Err(error @ RecordError::Unknown(_)) => {
            Err(Problem::new(404, "not_recorded", "There is no record", error.to_string()))
        }
        Err(error) => Err(Problem::new(503, "unreadable", "The record can't be read", error.to_string())),
    }
}

async fn told(
    handle: &ControllerHandle,
    command: Command,
    patience: Patience,
    detach: bool,
) -> Result<JsonLine<CanaryMoved>, Problem> {
    let outcome = handle.command(command, patience, detach).await??;
    let status = handle.ask(Request::Status).await?;
    Ok(JsonLine(CanaryMoved::new(&outcome, &status)))
}

fn wishes(body: &CanaryBody) -> Result<Wishes, Problem> {
    let none = PlanBody::default();
    let plan = body.plan.as_ref().unwrap_or(&none);
    let steps = plan.steps.as_deref().map(|steps| steps.iter().map(|step| share("plan.steps", step)).collect());
    Ok(Wishes {
        weight: body.weight.as_ref().map(|weight| share("weight", weight)).transpose()?,
        steps: steps.transpose()?,
        dwell: plan.dwell.as_deref().map(|text| duration("plan.dwell", text)).transpose()?,
        max_step: plan.max_step.as_deref().map(|text| duration("plan.max_step", text)).transpose()?,
        on_insufficient: plan
            .on_insufficient
            .as_deref()
            .map(|name| named("plan.on_insufficient", name, &OnInsufficient::NAMES))
            .transpose()?,
        bake: terms(None, body.known_good_after.as_deref())?.bake,
        holdback: plan.holdback.as_ref().map(|share_of| share("plan.holdback", share_of)).transpose()?,
        mode: body.mode.as_deref().map(|name| named("mode", name, &Mode::NAMES)).transpose()?,
    })
}

fn share(key: &str, percent: &Percent) -> Result<Weight, Problem> {
    let (weight, said) = match percent {
        Percent::Number(number) => (Weight::percent(*number), number.to_string()),
        Percent::Text(text) => (text.parse().ok(), format!("{text:?}")),
    };
    weight.ok_or_else(|| {
        let range = "from 0% to 100%, to hundredths of a percent";
        Problem::bad_request(format!("`{key}` is a share {range}, such as \"5%\" or 5, not {said}"))
    })
}

fn duration(key: &str, text: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| (LEAST..=MOST).contains(duration))
        .ok_or_else(|| Problem::bad_request(format!("`{key}` is a duration from 1s to 1day, not {text:?}")))
}

fn named<T: Copy>(key: &str, name: &str, names: &[(&str, T)]) -> Result<T, Problem> {
    names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = names.iter().map(|(known, _)| format!("{known:?}")).collect();
        Problem::bad_request(format!("`{key}` is one of {}; not {name:?}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests;
