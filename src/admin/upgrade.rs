//! Hands over to another process of the program without a gap.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;

use crate::admin::api::{Problem, UpgradeAnswer, UpgradeBody};
use crate::admin::auth::Actor;
use crate::admin::handlers::{origin, understood};
use crate::admin::problem::JsonLine;
use crate::control::handle::{ControllerHandle, NotUpgraded, UpgradeOrder};

const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(600);

/// Starts the program anew from its path, and hands it listeners, ledger and state. The answer comes when the new
/// process serves, or has failed to, and then nothing has changed.
#[utoipa::path(post, path = "/admin/upgrade", request_body(content = UpgradeBody, description = "May be empty"), responses(
    (status = 200, description = "The new process serves; this one drains", body = UpgradeAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`: a move, a pause or another upgrade has to end first", body = Problem, content_type = "application/problem+json"),
    (status = 500, description = "`upgrade_failed`: the running process keeps serving", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn upgrade(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<JsonLine<UpgradeAnswer>, Problem> {
    let UpgradeBody { timeout, reason } = understood(body).await?;
    let timeout = timeout.map(|text| {
        let timeout = humantime::parse_duration(&text).ok().filter(|timeout| (LEAST..=MOST).contains(timeout));
        timeout.ok_or_else(|| Problem::bad_request(format!("`timeout` is a duration from 100ms to 10m, not {text:?}")))
    });
    let (timeout, origin) = (timeout.transpose()?, origin(actor, reason)?);
    let upgraded =
        handle.upgrade(|answer| UpgradeOrder { timeout, actor: origin.actor, reason: origin.reason, answer }).await?;
    match upgraded {
        Ok(upgraded) => Ok(JsonLine(UpgradeAnswer {
            pid: upgraded.pid,
            version: upgraded.version,
            previous_pid: std::process::id(),
            previous_version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: upgraded.generation.0,
            took_ms: u64::try_from(upgraded.took.as_millis()).unwrap_or(u64::MAX),
        })),
        Err(NotUpgraded::Busy(why)) => {
            Err(Problem::new(409, "in_progress", "The upgrade has to wait", format!("Not upgraded: {why}")))
        }
        Err(NotUpgraded::Failed(_, why)) => {
            let detail =
                format!("{}; process {} serves on, and nothing has changed", why.trim_end(), std::process::id());
            Err(Problem::new(500, "upgrade_failed", "The new process does not serve", detail))
        }
    }
}
