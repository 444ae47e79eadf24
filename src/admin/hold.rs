//! Holding requests by hand, and maintenance.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;

use crate::admin::api::{HoldAnswer, HoldBody, Problem, ReasonBody};
use crate::admin::auth::Actor;
use crate::admin::handlers::{origin, understood};
use crate::admin::problem::Line;
use crate::control::handle::{ControllerHandle, Request};
use crate::domain::rollout::Command;

/// Without a `timeout`.
const TIMEOUT: Duration = Duration::from_secs(60);
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(24 * 3600);

/// Holds new requests, until they are released or the time is up; those under way finish. Again: for so long from now on.
#[utoipa::path(post, path = "/admin/hold", request_body(content = HoldBody, description = "May be empty"), responses(
    (status = 200, description = "It is so: requests that arrive from now on wait", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn hold(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Line<HoldAnswer>, Problem> {
    let body: HoldBody = understood(body).await?;
    let timeout = match body.timeout.as_deref() {
        None => TIMEOUT,
        Some(text) => humantime::parse_duration(text)
            .ok()
            .filter(|timeout| (LEAST..=MOST).contains(timeout))
            .ok_or_else(|| Problem::bad_request(format!("`timeout` is a duration from 1s to 1day, not {text:?}")))?,
    };
    carried_out(&handle, Command::Hold { timeout, origin: origin(actor, body.reason)? }).await
}

/// Lets held requests go on, to the color that serves. A move that holds them is called off.
#[utoipa::path(delete, path = "/admin/hold", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "It is so: nothing is held any more", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn release(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Line<HoldAnswer>, Problem> {
    let body: ReasonBody = understood(body).await?;
    carried_out(&handle, Command::Release { origin: origin(actor, body.reason)? }).await
}

/// Answers every request with the maintenance answer, from now on and after a restart.
#[utoipa::path(post, path = "/admin/maintenance", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "It is so: no request is served", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn maintenance_on(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Line<HoldAnswer>, Problem> {
    let body: ReasonBody = understood(body).await?;
    carried_out(&handle, Command::Maintain { on: true, origin: origin(actor, body.reason)? }).await
}

/// Serves again.
#[utoipa::path(delete, path = "/admin/maintenance", request_body(content = ReasonBody, description = "May be empty"), responses(
    (status = 200, description = "It is so: requests are served", body = HoldAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn maintenance_off(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<Line<HoldAnswer>, Problem> {
    let body: ReasonBody = understood(body).await?;
    carried_out(&handle, Command::Maintain { on: false, origin: origin(actor, body.reason)? }).await
}

async fn carried_out(handle: &ControllerHandle, command: Command) -> Result<Line<HoldAnswer>, Problem> {
    let outcome = handle.ask(|answer| Request::Command(command, answer)).await??;
    let status = handle.ask(Request::Status).await?;
    Ok(Line(HoldAnswer::new(&outcome, &status)))
}
