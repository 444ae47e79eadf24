//! Manual holds and maintenance.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;

use crate::admin::api::{HoldAnswer, HoldBody, Problem, ReasonBody};
use crate::admin::auth::Actor;
use crate::admin::handlers::{origin, understood};
use crate::admin::problem::JsonLine;
use crate::control::handle::{ControllerHandle, Patience, Request};
use crate::domain::rollout::Command;

const TIMEOUT: Duration = Duration::from_secs(60);
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(24 * 3600);

/// Holds new requests, until `DELETE /admin/pause` or the time is up; in-flight requests finish. Again: for so long
/// from now on. Another operator's pause stays, unless `replace` is true.
#[utoipa::path(post, path = "/admin/pause", request_body(content = HoldBody, description = "May be empty"), responses(
    (status = 200, description = "Done: requests that arrive from now on wait", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`: another pause is in force, or a move holds requests", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn pause(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<HoldAnswer>, Problem> {
    let body: HoldBody = understood(body).await?;
    let timeout = match body.timeout.as_deref() {
        None => TIMEOUT,
        Some(text) => humantime::parse_duration(text)
            .ok()
            .filter(|timeout| (LEAST..=MOST).contains(timeout))
            .ok_or_else(|| Problem::bad_request(format!("`timeout` is a duration from 1s to 1day, not {text:?}")))?,
    };
    let command = Command::Hold { timeout, replace: body.replace, origin: origin(actor, body.reason)? };
    carried_out(&handle, command, patience).await
}

/// Releases held requests to the color that serves. A move that holds them is cancelled.
#[utoipa::path(delete, path = "/admin/pause", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "Done: no request is held", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn unpause(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<HoldAnswer>, Problem> {
    let body: ReasonBody = understood(body).await?;
    carried_out(&handle, Command::Release { origin: origin(actor, body.reason)? }, patience).await
}

/// Answers every request with the maintenance answer, from now on and after a restart.
#[utoipa::path(post, path = "/admin/maintenance", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "Done: no request is served", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn maintenance_on(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<HoldAnswer>, Problem> {
    let body: ReasonBody = understood(body).await?;
    carried_out(&handle, Command::Maintain { on: true, origin: origin(actor, body.reason)? }, patience).await
}

/// Ends maintenance.
#[utoipa::path(delete, path = "/admin/maintenance", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "Done: requests are served", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn maintenance_off(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<HoldAnswer>, Problem> {
    let body: ReasonBody = understood(body).await?;
    carried_out(&handle, Command::Maintain { on: false, origin: origin(actor, body.reason)? }, patience).await
}

async fn carried_out(
    handle: &ControllerHandle,
    command: Command,
    patience: Patience,
) -> Result<JsonLine<HoldAnswer>, Problem> {
    let outcome = handle.command(command, patience, false).await??;
    let status = handle.ask(Request::Status).await?;
    Ok(JsonLine(HoldAnswer::new(&outcome, &status)))
}
