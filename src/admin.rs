//! The admin API: the router in one list, and its listener. It decides nothing.
//!
//! It talks to the controller through [`ControllerHandle`] alone. A client that hangs up cancels a switch that is still
//! pending ([`once`]); no command is cut in half.

pub(crate) mod api;
mod auth;
mod canary;
mod colors;
mod convert;
mod document;
mod events;
mod guesses;
mod handlers;
mod hold;
mod listener;
mod once;
mod page;
mod places;
mod problem;
mod record;
mod socket;
mod tls;
mod upgrade;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tower::{Service, ServiceBuilder};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admin::auth::Peer;
use crate::admin::guesses::Guesses;
use crate::admin::places::{Answering, Places};
use crate::control::handle::ControllerHandle;
use crate::sys::users::Users;

pub(crate) use listener::{AdminHandle, AdminListener, KEY};

/// Time for a request head to be complete, and for the next one to begin.
const IDLE: Duration = Duration::from_secs(15);

const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Interval between checks that the socket's file is still there.
const LOOK_AFTER: Duration = Duration::from_secs(1);

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn paths() -> (Router<ControllerHandle>, OpenApi) {
    let info = utoipa::openapi::InfoBuilder::new()
        .title("Cutover admin API")
        .version(VERSION)
        .description(Some("Moves all traffic between two environments, blue and green, and tells how things stand."))
        .build();
    let bearer = utoipa::openapi::security::HttpBuilder::new()
        .scheme(utoipa::openapi::security::HttpAuthScheme::Bearer)
        .description(Some(
            "Needed when `admin.tokens` is set, unless a client certificate is shown (`admin.tls.client_ca`).",
        ))
        .build();
    let components = utoipa::openapi::ComponentsBuilder::new()
        .security_scheme("token", utoipa::openapi::security::SecurityScheme::Http(bearer))
        .build();
    // Without tokens there is no authentication.
    let security = [
        utoipa::openapi::SecurityRequirement::default(),
        utoipa::openapi::SecurityRequirement::new("token", Vec::<String>::new()),
    ];
    let document =
        utoipa::openapi::OpenApiBuilder::new().info(info).components(Some(components)).security(Some(security)).build();
    OpenApiRouter::with_openapi(document)
        .routes(routes!(handlers::switch))
        .routes(routes!(handlers::rollback))
        .routes(routes!(colors::stage))
        .routes(routes!(once::cancel))
        .routes(routes!(hold::pause, hold::unpause))
        .routes(routes!(hold::maintenance_on, hold::maintenance_off))
        .routes(routes!(canary::start, canary::status))
        .routes(routes!(canary::advance))
        .routes(routes!(canary::pause))
        .routes(routes!(canary::resume))
        .routes(routes!(canary::abort))
        .routes(routes!(canary::deployments))
        .routes(routes!(canary::record))
        .routes(routes!(handlers::status))
        .routes(routes!(handlers::freeze, handlers::unfreeze))
        .routes(routes!(record::history))
        .routes(routes!(record::verify))
        .routes(routes!(record::releases))
        .routes(routes!(record::timeline))
        .routes(routes!(auth::whoami))
        .routes(routes!(handlers::reload))
        .routes(routes!(upgrade::upgrade))
        .routes(routes!(handlers::notify_test))
        .routes(routes!(handlers::config))
        .routes(routes!(events::events))
        .routes(routes!(handlers::metrics))
        .routes(routes!(handlers::livez))
        .routes(routes!(handlers::readyz))
        .routes(routes!(handlers::openapi))
        .split_for_parts()
}

/// The router with its layers, outermost first.
fn router(handle: ControllerHandle) -> Router {
    let (paths, document) = paths();
    let layers = ServiceBuilder::new()
        // An answer of this API is soon out of date.
        .layer(map_response(uncached))
        .layer(Extension(events::Places::new()))
        .layer(Extension(Arc::new(document::whole(&document))))
        .layer(Extension(Arc::new(Guesses::default())))
        .layer(Extension(Arc::new(once::Commands::default())))
        .layer(Extension(Users::default()))
        .layer(from_fn_with_state(handle.clone(), auth::check))
        .layer(from_fn_with_state(handle.clone(), once::layer));
    paths
        // Deprecated names, for one version.
        .route("/admin/hold", post(hold::pause).delete(hold::unpause))
        .route("/admin/canary/hold", post(canary::pause))
        .merge(page::routes())
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::method_not_allowed)
        .layer(layers)
        .with_state(handle)
}

fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn uncached(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[derive(Debug)]
pub(crate) enum ListenerCommand {
    Handle(oneshot::Sender<io::Result<AdminHandle>>),
    /// Another process has taken over: accept no connection, close each one after its answer.
    Leave,
    Stop,
}

/// Serves until it is told to stop; in-flight requests still get their answers.
pub(crate) async fn serve(
    mut listener: AdminListener,
    handle: ControllerHandle,
    mut orders: mpsc::Receiver<ListenerCommand>,
) {
    listener.inherit();
    let router = router(handle.clone());
    let places = Arc::new(Places::default());
    let closing = watch::Sender::new(false);
    let mut complained = false;
    let mut second = tokio::time::interval(LOOK_AFTER);
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = second.tick() => {
                listener.look_after();
                continue;
            }
            order = orders.recv() => match order {
                Some(ListenerCommand::Handle(answer)) => {
                    let _ = answer.send(listener.handle());
                    continue;
                }
                Some(ListenerCommand::Leave) => {
                    listener.disown();
                    drop(listener);
                    closing.send_replace(true);
                    // Bounded: a client may never read its answer.
                    let _ = tokio::time::timeout(LAST_ANSWERS, closing.closed()).await;
                    return;
                }
                Some(ListenerCommand::Stop) | None => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                if std::mem::take(&mut complained) {
                    tracing::info!("Admin connections accepted again");
                }
                // This always returns: an idle connection is closed to make room.
                places.room().await;
                let closing = closing.subscribe();
                let (router, handle) = (router.clone(), handle.clone());
                places.enter(|place, answering| {
                    let serving = async move {
                        connection(stream, peer, answering, router, handle, closing).await;
                        drop(place);
                    };
                    tokio::spawn(serving).abort_handle()
                });
            }
            Err(error) => {
                // Most likely out of descriptors, which passes; it must not become a busy loop.
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(%error, "Admin connections not accepted");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    stream: listener::Stream,
    peer: Peer,
    answering: Answering,
    router: Router,
    handle: ControllerHandle,
    closing: watch::Receiver<bool>,
) {
    let tls = handle.access.borrow().tls.clone();
    match (stream, tls) {
        (listener::Stream::Tcp(stream), Some(tls)) => match tls::accept(stream, &tls).await {
            Ok((stream, subject)) => exchanges(stream, peer.shown(subject), answering, router, closing).await,
            Err(error) => tracing::info!(peer = peer.name(), %error, "Admin connection refused"),
        },
        (stream, _) => exchanges(stream, peer, answering, router, closing).await,
    }
}

async fn exchanges<S>(stream: S, peer: Peer, answering: Answering, router: Router, mut closing: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Not by layers, which would build all routes again for each connection.
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(answering.clone());
        router.clone().call(request)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = async { drop(closing.wait_for(|closing| *closing).await) } => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "An admin connection ended early.");
    }
}
