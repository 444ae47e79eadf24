//! The record: the history of every attempt, releases, and whether the ledger is intact.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::api::{
    HistoryAnswer, Problem, ReleasesAnswer, RunAnswer, TimelineAnswer, TransitionAnswer, VerifyAnswer,
};
use crate::admin::convert;
use crate::admin::handlers::{MAX_NUMBER, moment};
use crate::admin::problem::JsonLine;
use crate::control::handle::{ControllerHandle, Request};
use crate::domain::history::Filter;
use crate::domain::release::Release;
use crate::domain::transition::Kind;

/// Transitions per page: default and maximum.
const PAGE: usize = 50;
const MAX_PAGE: usize = 1000;

/// The page of the history, and its subject.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// How many transitions, 1 to 1000; 50 if absent.
    limit: Option<usize>,
    /// Only those before this number.
    before: Option<u64>,
    /// Only of these kinds, parted by commas.
    kind: Option<String>,
    /// Only by this actor.
    actor: Option<String>,
    /// Only to, from, or asking for this release.
    release: Option<String>,
    /// Not before this time, RFC 3339.
    since: Option<String>,
}

/// Transitions and refusals, newest first.
#[utoipa::path(get, path = "/admin/history", params(HistoryQuery), responses(
    (status = 200, body = HistoryAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn history(
    State(handle): State<ControllerHandle>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<JsonLine<HistoryAnswer>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` is a number from 1 to {MAX_PAGE}, not {limit}")));
    }
    let kinds = query.kind.as_deref().unwrap_or_default();
    let filter = Filter {
        kinds: kinds.split(',').filter(|name| !name.is_empty()).map(kind).collect::<Result<_, _>>()?,
        actor: query.actor,
        release: query.release.as_deref().map(Release::new),
        since: query.since.as_deref().map(|since| moment("since", since)).transpose()?,
    };
    let before = query.before;
    if let Some(before) = before.filter(|before| *before > MAX_NUMBER) {
        return Err(Problem::bad_request(format!("`before` is a number from 0 to {MAX_NUMBER}, not {before}")));
    }
    // One more tells whether another page follows.
    let page = handle.ask(|answer| Request::History { limit: limit + 1, before, filter, answer }).await?;
    let transitions: Vec<_> =
        page.iter().take(limit).map(|(sequence, transition)| TransitionAnswer::new(*sequence, transition)).collect();
    let next_before = (page.len() > limit).then(|| transitions.last().map(|last| last.sequence)).flatten();
    Ok(JsonLine(HistoryAnswer { transitions, next_before }))
}

fn kind(name: &str) -> Result<Kind, Problem> {
    Kind::named(name).filter(|kind| kind.shown()).ok_or_else(|| {
        let shown = Kind::NAMES.iter().filter(|(kind, _)| kind.shown()).map(|(_, name)| *name);
        let names = shown.collect::<Vec<_>>().join(", ");
        Problem::bad_request(format!("`kind` is one of {names}; not {name:?}"))
    })
}

/// Releases with their color, their time, the actor, and since when they are known good; newest first.
#[utoipa::path(get, path = "/admin/releases", responses((status = 200, body = ReleasesAnswer)))]
pub(super) async fn releases(State(handle): State<ControllerHandle>) -> Result<JsonLine<ReleasesAnswer>, Problem> {
    let runs = handle.ask(Request::Releases).await?;
    Ok(JsonLine(ReleasesAnswer { releases: runs.iter().map(RunAnswer::new).collect() }))
}

/// Verifies the whole ledger: every line must be unchanged, and must follow the one before it.
#[utoipa::path(get, path = "/admin/history/verify", responses(
    (status = 200, body = VerifyAnswer),
    (status = 503, description = "`unreadable`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn verify(State(handle): State<ControllerHandle>) -> Result<JsonLine<VerifyAnswer>, Problem> {
    match handle.ask(Request::Verify).await? {
        Ok(verified) => Ok(JsonLine(verified.into())),
        Err(reason) => Err(Problem::new(503, "unreadable", "The ledger can't be read", reason)),
    }
}

/// The last quarter of an hour, second by second.
#[utoipa::path(get, path = "/admin/timeline", responses((status = 200, body = TimelineAnswer)))]
pub(super) async fn timeline(State(handle): State<ControllerHandle>) -> Result<JsonLine<TimelineAnswer>, Problem> {
    let points = handle.ask(Request::Timeline).await?;
    Ok(JsonLine(TimelineAnswer { points: points.iter().map(convert::point).collect() }))
}
