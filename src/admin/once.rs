//! Carries out each command once, and only while a client waits for it.
//!
//! Each mutating command runs in its own task: if its client hangs up, it is cancelled while pending, and never cut in
//! half. A repeated `Idempotency-Key` gets the same answer for a day. `POST /admin/cancel` cancels by `X-Request-Id`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::admin::api::{CancelAnswer, CancelBody, Problem};
use crate::admin::auth::Actor;
use crate::admin::handlers::{read, understood};
use crate::admin::problem::JsonLine;
use crate::control::handle::{Answered, ControllerHandle, GaveUp, Known, Patience, Stopping};
use crate::domain::transition::{Kind, Transition};

/// Time for the disk to record the key, and again for the answer. A disk that hangs must not stop a rollback.
const DISK_PATIENCE: Duration = Duration::from_millis(250);
const MAX_KEPT: usize = 256 << 10;
const MAX_NAME: usize = 255;

#[derive(Debug, Default)]
pub(super) struct Commands {
    by_id: Mutex<HashMap<String, watch::Sender<Option<GaveUp>>>>,
    /// By actor and key: `true` when it is over.
    by_key: Mutex<HashMap<(String, String), Running>>,
}

#[derive(Debug)]
struct Running {
    digest: String,
    over: watch::Sender<bool>,
    patience: watch::Sender<Option<GaveUp>>,
    clients: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A waiting client. When the last one of a command is dropped, the command is told.
struct Waits {
    commands: Arc<Commands>,
    key: Option<(String, String)>,
    patience: watch::Sender<Option<GaveUp>>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            let mut running = lock(&self.commands.by_key);
            if let Some(running) = running.get_mut(key) {
                running.clients -= 1;
                if running.clients > 0 {
                    return;
                }
            }
        }
        self.patience.send_if_modified(|gave_up| {
            let first = gave_up.is_none();
            gave_up.get_or_insert(GaveUp::HungUp);
            first
        });
    }
}

struct Named(Arc<Commands>, String);

impl Drop for Named {
    fn drop(&mut self) {
        lock(&self.0.by_id).remove(&self.1);
    }
}

/// Cancels a command that another request waits for.
#[utoipa::path(post, path = "/admin/cancel", request_body(content = CancelBody, description = "With a `request_id`"), responses(
    (status = 200, description = "The command was asked to stop; its own answer has the outcome", body = CancelAnswer),
    (status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn cancel(
    Extension(commands): Extension<Arc<Commands>>,
    body: Body,
) -> Result<JsonLine<CancelAnswer>, Problem> {
    let CancelBody { request_id } = understood(body).await?;
    if request_id.is_empty() {
        return Err(Problem::bad_request("`request_id` is the X-Request-Id of the command to cancel"));
    }
    let command = lock(&commands.by_id).get(&request_id).cloned();
    Ok(JsonLine(CancelAnswer { found: command.is_some_and(|command| command.send(Some(GaveUp::Cancelled)).is_ok()) }))
}

pub(super) async fn layer(
    State(handle): State<ControllerHandle>,
    Extension(commands): Extension<Arc<Commands>>,
    request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    match carried_out(handle, commands, request, next).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_response(),
    }
}

async fn carried_out(
    handle: ControllerHandle,
    commands: Arc<Commands>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = name(request.headers(), "idempotency-key")?;
    let id = name(request.headers(), "x-request-id")?;
    let (mut head, body) = request.into_parts();
    let body = read(body).await?;
    let (sender, patience) = Patience::new();
    head.extensions.insert(patience.clone());
    if let Some(actor) = head.extensions.get_mut::<Actor>() {
        actor.key.clone_from(&key);
    }
    let named = id.map(|id| Named::new(&commands, id, &sender)).transpose()?;
    let Some(key) = key else {
        let _waits = Waits { commands, key: None, patience: sender };
        let running = tokio::spawn(async move {
            let _named = named;
            next.run(Request::from_parts(head, Body::from(body))).await
        });
        return answer(running).await;
    };
    let actor = head.extensions.get::<Actor>().map(|actor| actor.name.clone()).unwrap_or_default();
    let digest = digest(&head.method, head.uri.path_and_query().map_or("", |path| path.as_str()), &body);
    let key = (actor, key);
    loop {
        let over = match lock(&commands.by_key).get_mut(&key) {
            Some(running) if running.digest != digest => return Err(reused(&key.1)),
            Some(running) => {
                running.clients += 1;
                Some((running.over.subscribe(), running.patience.clone()))
            }
            None => None,
        };
        if let Some((mut over, patience)) = over {
            let _waits = Waits { commands: Arc::clone(&commands), key: Some(key.clone()), patience };
            let _ = over.wait_for(|over| *over).await;
            // The other client may have hung up, so the command may have to run now.
            drop(over);
        }
        match handle.answers.known(&key.0, &key.1, &digest) {
            Known::Otherwise => return Err(reused(&key.1)),
            Known::Answered(answered) => return Ok(again(answered)),
            Known::Interrupted(generation) if lock(&commands.by_key).get(&key).is_none() => {
                let of_key = |answer| crate::control::handle::Request::OfKey(key.0.clone(), key.1.clone(), answer);
                match handle.ask(of_key).await?.filter(|line| tells_the_outcome(line)) {
                    Some(line) => drop(head.extensions.insert(patience.clone().carried_out(line))),
                    None => untouched_since(&handle, generation).await?,
                }
            }
            Known::Interrupted(_) | Known::Nothing => {}
        }
        let mut running = lock(&commands.by_key);
        if running.contains_key(&key) {
            continue;
        }
        let (over, patience) = (watch::Sender::new(false), sender.clone());
        running.insert(key.clone(), Running { digest: digest.clone(), over, patience, clients: 1 });
        break;
    }
    let _waits = Waits { commands: Arc::clone(&commands), key: Some(key.clone()), patience: sender };
    let running = tokio::spawn(async move {
        let (_named, over) = (named, Over { commands, key: key.clone() });
        let generation = match handle.ask(crate::control::handle::Request::Status).await {
            Ok(status) => status.view.decision.generation.0,
            Err(stopping) => return Problem::from(stopping).into_response(),
        };
        on_disk(|done| handle.answers.begin((&key.0, &key.1), &digest, generation, done)).await;
        let answer = next.run(Request::from_parts(head, Body::from(body))).await;
        let (answer, kept) = kept(answer).await;
        on_disk(|done| handle.answers.end((&key.0, &key.1), kept, done)).await;
        drop(over);
        answer
    });
    answer(running).await
}

/// The command of a key is over when this is dropped.
struct Over {
    commands: Arc<Commands>,
    key: (String, String),
}

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.commands.by_key).remove(&self.key) {
            running.over.send_replace(true);
        }
    }
}

impl Named {
    fn new(commands: &Arc<Commands>, id: String, patience: &watch::Sender<Option<GaveUp>>) -> Result<Named, Problem> {
        let mut by_id = lock(&commands.by_id);
        if by_id.contains_key(&id) {
            let detail = format!("a request with the X-Request-Id {id:?} is being carried out; send another one");
            return Err(Problem::new(409, "request_id_in_use", "The request id is in use", detail));
        }
        by_id.insert(id.clone(), patience.clone());
        drop(by_id);
        Ok(Named(Arc::clone(commands), id))
    }
}

async fn answer(running: JoinHandle<Response>) -> Result<Response, Problem> {
    running.await.map_err(|_| Stopping.into())
}

/// Waits for the write, at most [`DISK_PATIENCE`].
async fn on_disk(write: impl FnOnce(Box<dyn FnOnce() + Send>)) {
    let (done, written) = oneshot::channel();
    write(Box::new(move || {
        let _ = done.send(());
    }));
    let _ = tokio::time::timeout(DISK_PATIENCE, written).await;
}

/// A pause ends with its process and a cancelled command may be retried: such a line answers no repeat.
fn tells_the_outcome(line: &Transition) -> bool {
    let called_off = line.refusal.as_ref().is_some_and(|(code, _)| !is_kept(code));
    !called_off && !matches!(line.kind, Kind::Hold | Kind::HoldEnd | Kind::Staged)
}

/// A previous process began the command and ended: any decision made since may have been this command's.
async fn untouched_since(handle: &ControllerHandle, generation: u64) -> Result<(), Problem> {
    let decision = handle.ask(crate::control::handle::Request::Status).await?.view.decision;
    if decision.generation.0 == generation {
        return Ok(());
    }
    let detail = format!(
        "the proxy ended while it carried this command out, and may have carried it out; {} ({}) serves now, generation {}; \
         see `cutover history`, and use another Idempotency-Key for what is still to be done",
        decision.active, decision.release, decision.generation,
    );
    Err(Problem::new(409, "outcome_unknown", "The outcome is not known", detail))
}

/// The answer, and the part of it that a repeat gets.
async fn kept(answer: Response) -> (Response, Option<Answered>) {
    let (head, body) = answer.into_parts();
    let Ok(body) = to_bytes(body, MAX_KEPT).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR.into_response(), None);
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    let kept = Answered {
        status: head.status.as_u16(),
        media_type: head.headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default().to_owned(),
        body: text,
    };
    let keeps = is_final(&kept);
    (Response::from_parts(head, Body::from(body)), keeps.then_some(kept))
}

/// Cancelled commands, and ones that could not be tried, may be retried with the same key.
fn is_final(answer: &Answered) -> bool {
    let code = || serde_json::from_str::<serde_json::Value>(&answer.body).ok()?["code"].as_str().map(str::to_owned);
    match answer.status {
        200..=299 => true,
        400 | 401 | 403 | 404 | 405 | 408 | 413 => false,
        400..=499 => code().is_none_or(|code| is_kept(&code)),
        _ => false,
    }
}

fn is_kept(code: &str) -> bool {
    code != "cancelled"
}

fn again(answered: Answered) -> Response {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [(header::CONTENT_TYPE.as_str(), answered.media_type), ("idempotent-replayed", "true".to_owned())];
    (status, headers, answered.body).into_response()
}

/// Visible characters, at most [`MAX_NAME`].
fn name(headers: &HeaderMap, field: &str) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(field).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| {
        (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    });
    match text {
        Some(text) if values.next().is_none() => Ok(Some(text.to_owned())),
        _ => Err(Problem::bad_request(format!("`{field}` is one value of 1 to {MAX_NAME} visible ASCII characters"))),
    }
}

fn reused(key: &str) -> Problem {
    let detail =
        format!("the Idempotency-Key {key:?} was used for another command within a day; use a key for each command");
    Problem::new(422, "idempotency_key_reused", "The key was used for another command", detail)
}

/// Identity of a command: method, path and body, however the body is laid out.
fn digest(method: &Method, path: &str, body: &Bytes) -> String {
    let body = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => value.to_string(),
        Err(_) if body.trim_ascii().is_empty() => "{}".to_owned(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    crate::admin::digest(&format!("{method} {path}\n{body}"))
}
