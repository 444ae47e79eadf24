//! Staging: puts a release and its endpoints on the color that does not serve.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};

use crate::admin::api::{Problem, StageAnswer, StageBody, StoreBody};
use crate::admin::auth::Actor;
use crate::admin::handlers::{color, generation, origin, understood};
use crate::admin::problem::JsonLine;
use crate::control::handle::{ControllerHandle, Request, Section, StageOrder, StoreLabel};

/// Puts a release on a color that does not serve: into the configuration file, and in force at once. It moves no
/// traffic.
#[utoipa::path(put, path = "/admin/colors/{color}", params(("color" = String, Path, description = "`blue` or `green`")), request_body(content = StageBody, description = "With `release` and `endpoints`"), responses(
    (status = 200, description = "Done: the endpoints are being checked, and can be previewed", body = StageAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`in_use`, `way_back`, `in_progress`, `file_not_writable`, `file_busy`", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "`stale_generation`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`unknown_color`, `invalid_config`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn stage(
    State(handle): State<ControllerHandle>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Body,
) -> Result<JsonLine<StageAnswer>, Problem> {
    let body: StageBody = understood(body).await?;
    let color = color(&name)?;
    if body.release.trim().is_empty() {
        return Err(Problem::bad_request("the body has no `release`: the label of what is deployed there"));
    }
    if body.endpoints.is_empty() && body.upstreams.is_empty() {
        return Err(Problem::bad_request("the body has no `endpoints`: the addresses of the release"));
    }
    if body.upstreams.contains_key("default") {
        return Err(Problem::bad_request("the endpoints of the upstream `default` are `endpoints`"));
    }
    let stores = |stores: std::collections::BTreeMap<String, StoreBody>| {
        stores.into_iter().map(|(name, store)| (name, label(store)))
    };
    let order = StageOrder {
        color,
        section: Section {
            release: body.release,
            endpoints: body.endpoints,
            upstreams: body.upstreams,
            schema: body.schema.map(|schema| stores(schema).collect()),
        },
        if_generation: generation(body.if_generation)?,
        replace_way_back: body.replace_way_back,
        dry_run: body.dry_run,
        origin: origin(actor, body.reason)?,
    };
    Ok(JsonLine(StageAnswer::new(&handle.ask(|answer| Request::Stage(order, answer)).await??)))
}

fn label(store: StoreBody) -> StoreLabel {
    let StoreBody { needs, migrates_to, barrier, probe } = store;
    StoreLabel { needs, migrates_to, barrier, probe: probe.map(|probe| (probe.url, probe.json)) }
}
