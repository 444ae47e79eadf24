//! Authentication: tokens with roles, the peer of a unix socket, and no pages of other origins.
//!
//! Without tokens every client is an operator, so the address must be loopback or a unix socket. A browser can reach
//! loopback on behalf of any page, so two checks hold in both cases: `Origin` (RFC 6454) and `Sec-Fetch-Site` (Fetch
//! Metadata). Without tokens, `Host` is checked against DNS rebinding.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::admin::api::{Problem, WhoAnswer};
use crate::admin::guesses::Guesses;
use crate::admin::page;
use crate::admin::places::Answering;
use crate::admin::problem::JsonLine;
use crate::config::Role;
use crate::control::handle::{Access, ControllerHandle};
use crate::sys::users::Users;

#[derive(Clone, Debug)]
pub(super) struct Peer {
    uid: Option<u32>,
    address: Option<SocketAddr>,
    subject: Option<String>,
}

impl Peer {
    pub(super) fn tcp(address: SocketAddr) -> Peer {
        Peer { uid: None, address: Some(address), subject: None }
    }

    pub(super) fn unix(uid: u32) -> Peer {
        Peer { uid: Some(uid), address: None, subject: None }
    }

    pub(super) fn shown(self, subject: Option<String>) -> Peer {
        Peer { subject, ..self }
    }

    pub(super) fn name(&self) -> String {
        match (self.address, self.uid) {
            (Some(address), _) => address.to_string(),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "unknown".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Actor {
    /// The subject of the client certificate, the token's name, the user's on a unix socket (`alice`, `alice (sudo)`,
    /// `uid 1000`), or `local`.
    pub(super) name: String,
    /// The peer's address, or `unix`.
    pub(super) source: String,
    pub(super) role: Role,
    pub(super) key: Option<String>,
}

/// Identity and permissions of a client.
#[utoipa::path(get, path = "/admin/whoami", responses((status = 200, body = WhoAnswer)))]
pub(super) async fn whoami(Extension(actor): Extension<Actor>) -> JsonLine<WhoAnswer> {
    let role = match actor.role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
    };
    JsonLine(WhoAnswer { actor: actor.name, role: role.to_owned() })
}

/// Header in which the command line names the user who called `sudo`.
const SUDO_USER: &str = "cutover-sudo-user";

/// Paths without authentication: probes carry no tokens.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

pub(super) async fn check(State(handle): State<ControllerHandle>, mut request: Request, next: Next) -> Response {
    let access = handle.access.borrow().clone();
    let extensions = request.extensions();
    let peer = extensions.get::<Peer>().cloned().unwrap_or(Peer { uid: None, address: None, subject: None });
    let answering = extensions.get::<Answering>().cloned().unwrap_or_default();
    let guesses = extensions.get::<Arc<Guesses>>().cloned().unwrap_or_default();
    match actor(&peer, &access, request.method(), request.uri().path(), request.headers()) {
        Ok(mut actor) => {
            if let Some(uid) = peer.uid.filter(|_| access.is_open())
                && let Some(users) = request.extensions().get::<Users>().cloned()
            {
                actor.name = user(&users, uid, request.headers()).await;
            }
            request.extensions_mut().insert(actor);
            let answer = next.run(answering.begin(request)).await;
            answering.end(answer)
        }
        Err(problem) => {
            if problem.status == 401 && bearer(request.headers()).is_some() {
                let delay = guesses.note(&peer.name(), request.uri().path());
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
            }
            problem.into_response()
        }
    }
}

/// Name of a unix socket's peer; with `sudo`, that of the user who became root.
async fn user(users: &Users, uid: u32, headers: &HeaderMap) -> String {
    // Root can claim any name anyway; nobody else is believed.
    let sudo = headers.get(SUDO_USER).filter(|_| uid == 0).and_then(|user| user.to_str().ok());
    let well_formed = |user: &&str| {
        let part = |character: char| character.is_ascii_alphanumeric() || "._-@\\$".contains(character);
        (1..=64).contains(&user.len()) && user.chars().all(part)
    };
    if let Some(user) = sudo.filter(well_formed) {
        return format!("{user} (sudo)");
    }
    users.name(uid).await.unwrap_or_else(|| format!("uid {uid}"))
}

fn actor(peer: &Peer, access: &Access, method: &Method, path: &str, headers: &HeaderMap) -> Result<Actor, Problem> {
    let is_page = page::has(path);
    if !is_page {
        same_origin(headers)?;
    }
    let source = peer.address.map_or_else(|| "unix".to_owned(), |address| address.to_string());
    if access.is_open() {
        if peer.address.is_some() {
            local_host(headers)?;
        }
        let name = peer.uid.map_or_else(|| "local".to_owned(), |uid| format!("uid {uid}"));
        return Ok(Actor { name, source, role: Role::Operator, key: None });
    }
    if is_page || OPEN.contains(&path) {
        return Ok(Actor { name: String::new(), source, role: Role::Viewer, key: None });
    }
    let needed = if *method == Method::GET || *method == Method::HEAD { Role::Viewer } else { Role::Operator };
    let token = match (bearer(headers), &peer.subject) {
        (Some(token), _) => token,
        // Signed by the authority of `admin.tls.client_ca`.
        (None, Some(subject)) => {
            return Ok(Actor { name: subject.clone(), source, role: Role::Operator, key: None });
        }
        (None, None) if access.tokens.is_empty() => {
            return Err(unauthorized("this needs a client certificate (cutover: --cert and --key)"));
        }
        (None, None) => {
            let certificate = if access.certificates { ", or show a client certificate (--cert, --key)" } else { "" };
            let token = "this needs a token: send `Authorization: Bearer …` (cutover: CUTOVER_TOKEN or --token-file)";
            return Err(unauthorized(&format!("{token}{certificate}")));
        }
    };
    // Every token is compared, in constant time, so that timing tells nothing about a near guess.
    let mut found = None;
    for known in access.tokens.iter() {
        if known.secret.as_ref().is_some_and(|secret| secret.0.as_bytes().ct_eq(token).into()) {
            found = Some(known);
        }
    }
    let known = found.ok_or_else(|| unauthorized("the token is not one of admin.tokens"))?;
    if known.role < needed {
        let detail = format!("the token \"{}\" may only read; this needs a token with the role operator", known.name);
        return Err(Problem::new(403, "forbidden", "Not allowed", detail));
    }
    // The certificate names the actor, the token gives the role.
    let name = peer.subject.as_ref().unwrap_or(&known.name).clone();
    Ok(Actor { name, source, role: known.role, key: None })
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(401, "unauthorized", "Authentication required", detail)
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn cross_origin(detail: impl Into<String>) -> Problem {
    Problem::new(403, "cross_origin", "Refused to a page of another origin", detail)
}

fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).map(|host| host.as_bytes()).unwrap_or_default();
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.as_bytes();
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        if !authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host)) {
            let origin = String::from_utf8_lossy(origin).into_owned();
            return Err(cross_origin(format!("the request comes from a page of {origin:?}, which is not this one")));
        }
    }
    for site in headers.get_all("sec-fetch-site") {
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return Err(cross_origin("the browser says that the request comes from another site (Sec-Fetch-Site)"));
        }
    }
    Ok(())
}

/// Refuses host names that only foreign DNS can have pointed here.
fn local_host(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    let local =
        name.is_empty() || name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok();
    if local {
        return Ok(());
    }
    let detail =
        format!("without admin.tokens the host must be an IP address or localhost, not {name:?} (DNS rebinding)");
    Err(cross_origin(detail))
}

#[cfg(test)]
mod tests;
