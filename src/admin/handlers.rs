//! One function per endpoint: parse the request, ask the controller, render the answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use crate::admin::api::{
    Forced, FreezeBody, FrozenAnswer, NotifyTestAnswer, NotifyTestBody, Problem, ReloadAnswer, ReloadBody,
    RollbackBody, StatusAnswer, SwitchAnswer, SwitchBody, UnfreezeBody,
};
use crate::admin::auth::Actor;
use crate::admin::convert;
use crate::admin::problem::JsonLine;
use crate::control::handle::{ControllerHandle, News, Patience, Request, Status, Stopping};
use crate::domain::color::Color;
use crate::domain::force::{Force, Guard};
use crate::domain::release::Release;
use crate::domain::rollout::{Command, OrderState, Outcome, Overlap, Refusal, Target, Terms};
use crate::domain::transition::{Generation, Origin, Trigger};
use crate::telemetry::exposition::Format;

const MAX_BODY: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const MAX_REASON: usize = 1000;
/// Largest integer that every JSON reader can hold.
pub(super) const MAX_NUMBER: u64 = (1 << 53) - 1;
const DAY: Duration = Duration::from_secs(24 * 3_600);
const ORDER_PATIENCE: Duration = Duration::from_secs(25);
const ALIVE: Duration = Duration::from_secs(2);

/// Moves all traffic to a color.
#[utoipa::path(post, path = "/admin/switch", request_body(content = SwitchBody, description = "Empty: the other color"), responses(
    (status = 200, description = "Done: every request that arrives from now on goes there", body = SwitchAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`unhealthy`, `check_failed`, `rollback_unsafe`, `frozen`, `quarantined`, `in_progress`, `withdrawn`, `cancelled`, `not_drained`, `target_changed`, `file_busy`", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "`stale_generation`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_color`, `unknown_release`, `invalid_config`", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "`not_durable`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn switch(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<SwitchAnswer>, Problem> {
    let body: SwitchBody = understood(body).await?;
    let to = match (body.to.as_deref(), body.to_release.as_deref()) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("give `to` or `to_release`, not both")),
        (Some(name), None) => Target::Color(color(name)?),
        (None, Some("")) => return Err(Problem::bad_request("`to_release` is the label of a release")),
        (None, Some(release)) => Target::Release(Release::new(release)),
        (None, None) => Target::Other,
    };
    let drained = match body.wait.as_deref() {
        None | Some("none") => false,
        Some("drained") => true,
        Some(other) => return Err(Problem::bad_request(format!("`wait` is \"none\" or \"drained\", not {other:?}"))),
    };
    let command = Command::Switch {
        to,
        if_generation: generation(body.if_generation)?,
        force: force(&body.force)?,
        dry_run: body.dry_run,
        overlap: overlap(body.overlap.as_deref())?,
        terms: terms(body.timeout.as_deref(), body.known_good_after.as_deref())?,
        origin: origin(actor, body.reason)?,
    };
    // Subscribed before the command, so that no news of it is missed.
    let news = handle.news.subscribe();
    let outcome = handle.staged_command(body.if_staged, command, patience, body.detach).await??;
    if outcome.dry_run && outcome.changed {
        try_disk(&handle).await?;
    }
    let status = if drained && !outcome.dry_run {
        when_drained(&handle, news, &outcome).await?
    } else {
        handle.ask(Request::Status).await?
    };
    let mut answer = SwitchAnswer::new(&outcome, Some(&status));
    if drained && answer.draining.is_none() && outcome.changed {
        answer.drained = convert::last_drain(&status);
    }
    Ok(JsonLine(answer))
}

/// A dry run also checks that a decision could be written.
async fn try_disk(handle: &ControllerHandle) -> Result<(), Problem> {
    let why = match tokio::time::timeout(ALIVE, handle.ask(Request::TryDisk)).await {
        Ok(tried) => match tried? {
            Ok(()) => return Ok(()),
            Err(why) => why,
        },
        Err(_) => format!("the disk gave no answer in {}", humantime::format_duration(ALIVE)),
    };
    Err(Problem::refused(&Refusal::NotDurable(why)))
}

/// Moves all traffic back to the known-good release that served before.
#[utoipa::path(post, path = "/admin/rollback", request_body(content = RollbackBody, description = "May be empty"), responses(
    (status = 200, description = "Done: every request that arrives from now on goes there", body = SwitchAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`no_known_good`, `rollback_unsafe`, `unhealthy`, `check_failed`, `quarantined`, `in_progress`, `withdrawn`, `not_drained`, `target_changed`, `cancelled`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_color`", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "`stale_generation`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn rollback(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<SwitchAnswer>, Problem> {
    let body: RollbackBody = understood(body).await?;
    let command = Command::Rollback {
        to: body.to.as_deref().map(color).transpose()?,
        if_generation: generation(body.if_generation)?,
        force: force(&body.force)?,
        dry_run: body.dry_run,
        quarantine: body.quarantine,
        overlap: overlap(body.overlap.as_deref())?,
        origin: origin(actor, body.reason)?,
    };
    let outcome = handle.command(command, patience, false).await??;
    let status = handle.ask(Request::Status).await?;
    Ok(JsonLine(SwitchAnswer::new(&outcome, Some(&status))))
}

/// The status of colors, moves, endpoints and files.
#[utoipa::path(get, path = "/admin/status", responses((status = 200, body = StatusAnswer)))]
pub(super) async fn status(State(handle): State<ControllerHandle>) -> Result<JsonLine<StatusAnswer>, Problem> {
    Ok(JsonLine(StatusAnswer::new(&handle.ask(Request::Status).await?)))
}

/// Freezes moves: only a rollback moves traffic until the freeze ends.
#[utoipa::path(post, path = "/admin/freeze", request_body(content = FreezeBody, description = "With a `reason`"), responses(
    (status = 200, description = "Done", body = FrozenAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`already_frozen`, `in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn freeze(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<FrozenAnswer>, Problem> {
    let body: FreezeBody = understood(body).await?;
    let origin = origin(actor, Some(body.reason))?;
    if origin.reason.is_none() {
        return Err(Problem::bad_request("a freeze needs a `reason`: everybody who is refused is told"));
    }
    let until = body.until.as_deref().map(|until| moment("until", until)).transpose()?;
    if until.is_some_and(|until| until <= SystemTime::now()) {
        return Err(Problem::bad_request("`until` has passed already"));
    }
    frozen(&handle, Command::Freeze { until, replace: body.replace, origin }, patience).await
}

/// Allows moves again.
#[utoipa::path(delete, path = "/admin/freeze", request_body(content = UnfreezeBody, description = "May be empty"), responses(
    (status = 200, description = "Done", body = FrozenAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_progress`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn unfreeze(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Extension(patience): Extension<Patience>,
    body: Body,
) -> Result<JsonLine<FrozenAnswer>, Problem> {
    let body: UnfreezeBody = understood(body).await?;
    frozen(&handle, Command::Unfreeze { origin: origin(actor, body.reason)? }, patience).await
}

async fn frozen(
    handle: &ControllerHandle,
    command: Command,
    patience: Patience,
) -> Result<JsonLine<FrozenAnswer>, Problem> {
    let outcome = handle.command(command, patience, false).await??;
    let decision = handle.ask(Request::Status).await?.view.decision;
    Ok(JsonLine(FrozenAnswer::new(&outcome, &decision)))
}

/// Reads the configuration file again, now.
#[utoipa::path(post, path = "/admin/reload", request_body(content = ReloadBody, description = "May be empty"), responses(
    (status = 200, body = ReloadAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`file_busy`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`invalid_config`; the last good one stays in force", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn reload(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<JsonLine<ReloadAnswer>, Problem> {
    let body: ReloadBody = understood(body).await?;
    let Origin { actor, source, reason, .. } = origin(actor, body.reason)?;
    tracing::info!(actor, source, reason = reason.unwrap_or_default(), "Reload requested");
    match handle.ask(Request::Reload).await? {
        Ok(outcome) => {
            let status = order_settled(&handle).await?;
            let (order, refusal) = convert::order(&status);
            // A refusal that the file has since corrected is outdated.
            let stands = outcome.changed || status.file_disagrees;
            let refusal = refusal.filter(|_| stands);
            let order = if refusal.is_none() && order == "refused" { "done" } else { order };
            Ok(JsonLine(ReloadAnswer { changed: outcome.changed, order: order.to_owned(), refusal }))
        }
        Err(Refusal::InvalidFile(file)) => {
            let detail = file.drawn.clone();
            Err(Problem { detail, ..Problem::from(Refusal::InvalidFile(file)) })
        }
        Err(Refusal::FileBusy(why)) => {
            let detail = format!("{why}; the configuration in force stays; try again");
            Err(Problem { detail, ..Problem::from(Refusal::FileBusy(why)) })
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Sends every kind of notice, with made-up data and marked as a test.
#[utoipa::path(post, path = "/admin/notify/test", request_body(content = NotifyTestBody, description = "Empty: to all sinks"), responses(
    (status = 200, description = "Tried; `delivered` tells whether every notice was delivered", body = NotifyTestAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_sink`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn notify_test(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    body: Body,
) -> Result<JsonLine<NotifyTestAnswer>, Problem> {
    let NotifyTestBody { sink, all } = understood(body).await?;
    tracing::info!(actor = actor.name, source = actor.source, sink, "Test notices requested");
    match handle.ask(|answer| Request::NotifyTest(sink.clone(), all, answer)).await? {
        Some(tried) => Ok(JsonLine(NotifyTestAnswer::new(tried))),
        None => {
            let detail = match sink {
                Some(sink) => format!("no [[notify]] in the configuration in force is named {sink:?}"),
                None => "the configuration in force has no [[notify]]".to_owned(),
            };
            Err(Problem::new(422, "unknown_sink", "There is nobody to tell", detail))
        }
    }
}

/// The configuration in force as TOML, secrets removed.
#[utoipa::path(get, path = "/admin/config", responses((status = 200, body = String, content_type = "application/toml")))]
pub(super) async fn config(State(handle): State<ControllerHandle>) -> Result<Response, Problem> {
    let text = handle.ask(Request::Config).await?;
    Ok(([(header::CONTENT_TYPE, "application/toml; charset=utf-8")], text).into_response())
}

/// All series, as Prometheus text or OpenMetrics by `Accept`.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(handle): State<ControllerHandle>, headers: HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let text = handle.ask(|answer| Request::Metrics(format, answer)).await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

/// 200 while the controller answers; otherwise the process needs a restart.
#[utoipa::path(get, path = "/livez", responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn livez(State(handle): State<ControllerHandle>) -> Result<&'static str, Problem> {
    match tokio::time::timeout(ALIVE, handle.ask(Request::Status)).await {
        Ok(Ok(_)) => Ok("alive\n"),
        Ok(Err(Stopping)) => Err(Stopping.into()),
        Err(_) => Err(Problem::new(503, "not_alive", "The controller does not answer", "no command is carried out")),
    }
}

/// 200 while this process should get traffic; 503 as soon as it begins to stop.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn readyz(State(handle): State<ControllerHandle>) -> Result<&'static str, Problem> {
    if *handle.ready.borrow() { Ok("ready\n") } else { Err(Stopping.into()) }
}

/// This document.
#[utoipa::path(get, path = "/admin/openapi.json", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value, content_type = "application/json")))]
pub(super) async fn openapi(Extension(document): Extension<Arc<serde_json::Value>>) -> Response {
    JsonLine(&*document).into_response()
}

pub(super) async fn not_found(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}; see /admin/openapi.json", uri.path());
    Problem::new(404, "not_found", "Not found", detail)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}; see the Allow header", uri.path());
    Problem::new(405, "method_not_allowed", "Method not allowed", detail)
}

pub(super) async fn read(body: Body) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error))
            if std::error::Error::source(&error).is_some_and(|s| s.is::<http_body_util::LengthLimitError>()) =>
        {
            Err(Problem::new(413, "too_large", "Too large", format!("a body is at most {MAX_BODY} bytes")))
        }
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body can't be read: {error}"))),
        Err(_) => Err(Problem::new(408, "timeout", "Too slow", "the body did not come in time")),
    }
}

/// An empty body is the default.
pub(super) async fn understood<T: DeserializeOwned + Default>(body: Body) -> Result<T, Problem> {
    let bytes = read(body).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    // serde would accept a list for a struct.
    let object = bytes.trim_ascii_start().starts_with(b"{");
    match serde_json::from_slice(&bytes) {
        Ok(body) if object => Ok(body),
        Err(error) if object && error.is_data() => Err(Problem::bad_request(format!("the body is not right: {error}"))),
        Err(error) if !error.is_data() => Err(Problem::bad_request(format!("the body is not JSON: {error}"))),
        Ok(_) | Err(_) => Err(Problem::bad_request("the body is not a JSON object, such as {} or {\"reason\": \"…\"}")),
    }
}

pub(super) fn moment(key: &str, text: &str) -> Result<SystemTime, Problem> {
    humantime::parse_rfc3339(text)
        .map_err(|_| Problem::bad_request(format!("`{key}` is a time such as \"2027-01-31T18:00:00Z\", not {text:?}")))
}

pub(super) fn color(name: &str) -> Result<Color, Problem> {
    name.parse().map_err(|_| {
        Problem::new(
            422,
            "unknown_color",
            "There is no such color",
            format!("a color is \"blue\" or \"green\", not {name:?}"),
        )
    })
}

pub(super) fn generation(number: Option<u64>) -> Result<Option<Generation>, Problem> {
    match number {
        Some(number) if number > MAX_NUMBER => {
            Err(Problem::bad_request(format!("`if_generation` is a number from 0 to {MAX_NUMBER}, not {number}")))
        }
        number => Ok(number.map(Generation)),
    }
}

pub(super) fn force(forced: &Forced) -> Result<Force, Problem> {
    let guard = |name: &String| {
        Guard::named(name).ok_or_else(|| {
            let known: Vec<_> = Guard::NAMES.iter().map(|(known, _)| *known).collect();
            Problem::bad_request(format!("`force` names the guards {}, not {name:?}", known.join(", ")))
        })
    };
    match forced {
        Forced::All(all) => Ok(Force::from(*all)),
        Forced::Guards(names) => names.iter().map(guard).collect(),
    }
}

pub(super) fn terms(gate: Option<&str>, bake: Option<&str>) -> Result<Terms, Problem> {
    let duration = |key: &str, text: &str, least: Duration| {
        let duration = humantime::parse_duration(text).ok();
        duration.filter(|duration| (least..=DAY).contains(duration)).ok_or_else(|| {
            let least = humantime::format_duration(least);
            Problem::bad_request(format!("`{key}` is a duration from {least} to 1day, not {text:?}"))
        })
    };
    Ok(Terms {
        gate: gate.map(|text| duration("timeout", text, Duration::from_millis(1))).transpose()?,
        bake: bake.map(|text| duration("known_good_after", text, Duration::ZERO)).transpose()?,
        past_file: false,
    })
}

pub(super) fn overlap(word: Option<&str>) -> Result<Overlap, Problem> {
    match word {
        None | Some("allow") => Ok(Overlap::Allow),
        Some("none") => Ok(Overlap::None),
        Some(other) => Err(Problem::bad_request(format!("`overlap` is \"allow\" or \"none\", not {other:?}"))),
    }
}

pub(super) fn origin(actor: Actor, reason: Option<String>) -> Result<Origin, Problem> {
    if let Some(reason) = &reason {
        if reason.chars().count() > MAX_REASON {
            return Err(Problem::bad_request(format!("a `reason` has at most {MAX_REASON} characters")));
        }
        // Reasons are printed on terminals.
        if reason.chars().any(char::is_control) {
            return Err(Problem::bad_request("a `reason` is one line without control characters"));
        }
    }
    let reason = reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    Ok(Origin { trigger: Trigger::Api, actor: actor.name, source: actor.source, reason, key: actor.key })
}

/// Waits until the file's order is carried out or refused. Bounded: a disk may hang.
async fn order_settled(handle: &ControllerHandle) -> Result<Status, Problem> {
    let until = tokio::time::Instant::now() + ORDER_PATIENCE;
    loop {
        let status = handle.ask(Request::Status).await?;
        if status.view.order != OrderState::Pending || tokio::time::Instant::now() >= until {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn when_drained(
    handle: &ControllerHandle,
    mut news: broadcast::Receiver<News>,
    outcome: &Outcome,
) -> Result<Status, Problem> {
    loop {
        let status = handle.ask(Request::Status).await?;
        if status.draining.is_none_or(|draining| draining.color == outcome.active) {
            return Ok(status);
        }
        // The status is authoritative, even when news was missed.
        if matches!(news.recv().await, Err(broadcast::error::RecvError::Closed)) {
            return Err(Stopping.into());
        }
    }
}
