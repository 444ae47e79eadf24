//! Health probes: every endpoint of both colors, always, and once more at a gate.

mod evidence;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::config::{EndpointAddress, HealthConfig};
use crate::control::probe::evidence::{Doubt, SocketFile};
use crate::domain::color::Color;
use crate::domain::health::{Health, Hysteresis};
use crate::domain::release::Release;
use crate::proxy::clock;
use crate::proxy::pool::{Endpoint, Pool, Rules, Target};
use crate::proxy::upstream::connections;
use crate::proxy::upstream::exhaustion;
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::{BodyError, HeadError, Piece, Wire};
use crate::wire::http1::parse::Refused;
use crate::wire::http2::client::Stream;
use crate::wire::socket::Socket;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub passed: bool,
    pub detail: String,
    /// From `health.release_header`.
    pub release: Option<String>,
    pub took: Duration,
    /// Time of its connection. Later connections lead to the process that answered, or to a successor.
    pub connected: Option<Instant>,
    /// Nothing listens.
    pub deserted: bool,
    /// It timed out, which does not tell which process is there.
    pub late: bool,
    /// The proxy lacked a descriptor, port or memory: no result.
    pub exhausted: bool,
}

impl Found {
    /// Fails if the endpoint does not confirm this release, and is asked to.
    #[must_use]
    pub(crate) fn of_release(mut self, label: &Release, header: Option<&str>) -> Found {
        let Some(header) = header.filter(|_| self.passed) else { return self };
        let found = match &self.release {
            Some(release) if release == label.as_str() => return self,
            Some(release) => format!("says that it is release {release:?}, and the file calls it {:?}", label.as_str()),
            None => format!("does not say which release it is: its answer has no field {header:?}"),
        };
        (self.passed, self.detail) = (false, found);
        self
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub detail: String,
    pub since: SystemTime,
    pub release: Option<String>,
    hysteresis: Hysteresis,
}

impl Observation {
    /// Consecutive passes of an endpoint that is not up, and the number that brings it up.
    #[must_use]
    pub(crate) fn starting(&self, rise: u32) -> Option<(u32, u32)> {
        Some((self.hysteresis.passed(), rise)).filter(|(passed, _)| *passed > 0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct HealthChange {
    pub color: Color,
    pub upstream: Arc<str>,
    pub endpoint: String,
    pub health: Health,
    pub detail: String,
}

#[derive(Debug)]
pub(crate) struct Probers {
    tasks: HashMap<u64, (AbortHandle, Arc<Mutex<Observation>>)>,
    health: watch::Sender<HealthConfig>,
    changes: mpsc::UnboundedSender<HealthChange>,
}

impl Probers {
    pub(crate) fn new(health: HealthConfig, changes: mpsc::UnboundedSender<HealthChange>) -> Probers {
        Probers { tasks: HashMap::new(), health: watch::Sender::new(health), changes }
    }

    /// Probes every endpoint anew at once.
    pub(crate) fn configure(&self, health: &HealthConfig) {
        self.health.send_if_modified(|current| {
            let changed = current != health;
            if changed {
                current.clone_from(health);
            }
            changed
        });
    }

    /// Probes exactly these endpoints from now on. A known one keeps its task and its health.
    pub(crate) fn reconcile<'a>(&mut self, pools: impl Iterator<Item = &'a Arc<Pool>>) {
        let mut gone = std::mem::take(&mut self.tasks);
        for pool in pools {
            for endpoint in &pool.endpoints {
                let task = gone.remove(&endpoint.id).unwrap_or_else(|| self.spawn(pool, endpoint));
                self.tasks.insert(endpoint.id, task);
            }
        }
        for (task, _) in gone.into_values() {
            task.abort();
        }
    }

    pub(crate) fn observation(&self, endpoint: u64) -> Option<Observation> {
        let (_, observation) = self.tasks.get(&endpoint)?;
        Some(observation.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// An endpoint that passed the gate is up, because it is about to serve.
    pub(crate) fn passed_gate(&self, endpoint: &Endpoint) {
        if let Some((_, observation)) = self.tasks.get(&endpoint.id) {
            let mut observation = observation.lock().unwrap_or_else(PoisonError::into_inner);
            if observation.hysteresis.observe(true, 1, 1).is_some() {
                observation.since = SystemTime::now();
            }
            endpoint.set_health(observation.hysteresis.health(), clock::millis(Instant::now()));
        }
    }

    fn spawn(&self, pool: &Arc<Pool>, endpoint: &Arc<Endpoint>) -> (AbortHandle, Arc<Mutex<Observation>>) {
        let observation = Arc::new(Mutex::new(Observation {
            detail: "not probed yet".to_owned(),
            since: SystemTime::now(),
            release: None,
            hysteresis: if endpoint.joins { Hysteresis::joining() } else { Hysteresis::default() },
        }));
        let (color, upstream) = (pool.color, Arc::clone(&pool.upstream));
        let task = watch_over(
            Arc::clone(endpoint),
            pool.rules().clone(),
            Arc::clone(&observation),
            self.health.subscribe(),
            self.changes.clone(),
            move |endpoint, health, detail| HealthChange {
                color,
                upstream: Arc::clone(&upstream),
                endpoint,
                health,
                detail,
            },
        );
        (tokio::spawn(task).abort_handle(), observation)
    }
}

async fn watch_over(
    endpoint: Arc<Endpoint>,
    rules: Rules,
    observation: Arc<Mutex<Observation>>,
    mut health: watch::Receiver<HealthConfig>,
    changes: mpsc::UnboundedSender<HealthChange>,
    change: impl Fn(String, Health, String) -> HealthChange,
) {
    let (mut doubt, mut socket) = (Doubt::default(), SocketFile::default());
    loop {
        let policy = health.borrow_and_update().clone();
        if let Target::Unresolved(name) = &endpoint.target {
            match tokio::time::timeout(policy.timeout, name.first()).await {
                Ok(Ok(_)) => return,
                Ok(Err(_)) => {}
                // No result.
                Err(_elapsed) => {
                    let mut known = observation.lock().unwrap_or_else(PoisonError::into_inner);
                    NOT_YET.clone_into(&mut known.detail);
                    continue;
                }
            }
        }
        let found = probe(&endpoint, &rules, &policy).await;
        if !found.passed
            && let Some(name) = &endpoint.resolution
        {
            name.suspect();
        }
        if let Target::Unix = endpoint.target {
            socket.look(&endpoint).await;
        }
        doubt.learn(&endpoint, &found);
        let changed = {
            let mut known = observation.lock().unwrap_or_else(PoisonError::into_inner);
            known.detail.clone_from(&found.detail);
            known.release = found.release;
            let changed = match found.exhausted {
                true => None,
                false => known.hysteresis.observe(found.passed, policy.rise, policy.fall),
            };
            if changed.is_some() {
                known.since = SystemTime::now();
            }
            endpoint.set_health(known.hysteresis.health(), clock::millis(Instant::now()));
            doubt.down(known.hysteresis.health() == Health::Down);
            changed
        };
        if let Some(now) = changed {
            let _ = changes.send(change(endpoint.name.to_string(), now, found.detail));
        }
        // Jitter, so that a large pool is not probed at one moment.
        let pause = policy.interval.mul_f64(0.95 + fastrand::f64() * 0.1);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = health.changed() => if changed.is_err() { return },
        }
    }
}

pub(crate) async fn probe(endpoint: &Endpoint, rules: &Rules, policy: &HealthConfig) -> Found {
    let began = Instant::now();
    let mut connected = None;
    let found = clock::within(policy.timeout, ask(endpoint, rules, policy, &mut connected)).await;
    let (took, late) = (began.elapsed(), found.is_none());
    let (passed, detail, release) = match found {
        Some(Ok(answer)) => answer,
        Some(Err(reason)) => (false, reason, None),
        None => (false, format!("no answer within {}", humantime::format_duration(policy.timeout)), None),
    };
    let (exhausted, deserted) = (detail == EXHAUSTED, detail == REFUSED || detail == NO_SOCKET);
    Found { passed, detail, release, took, connected, deserted, late, exhausted }
}

async fn ask(
    endpoint: &Endpoint,
    rules: &Rules,
    policy: &HealthConfig,
    connected: &mut Option<Instant>,
) -> Result<(bool, String, Option<String>), String> {
    if let Target::Unresolved(name) = &endpoint.target {
        let known = name.known();
        match known.failure {
            Some(failure) if known.addresses.is_empty() => {
                return Err(format!("the name does not resolve: {}", failure.reason));
            }
            None if known.addresses.is_empty() => return Err(NOT_YET.to_owned()),
            _ => {}
        }
    }
    let mut connect = async || {
        let socket = connect(endpoint, rules).await?;
        *connected = Some(Instant::now());
        Ok::<_, String>(socket)
    };
    let socket = connect().await?;
    let Some(path) = &policy.path else { return Ok((true, "connected".to_owned(), None)) };
    let mut request = request(endpoint, policy.host.as_deref(), path);
    let answer = if rules.http2 {
        match over_http2(&request, socket, rules).await? {
            Some(answer) => answer,
            // A request left unprocessed by GOAWAY is repeated on a new connection.
            None => over_http2(&request, connect().await?, rules).await?.ok_or(CLOSED)?,
        }
    } else {
        request.push_known(Name::Connection, b"close");
        let mut wire = Wire::new(socket);
        wire.begin_request(&request, Framing::None);
        answer(|cx, head| {
            // An endpoint that closes early may have responded nevertheless.
            let _ = ready!(wire.poll_flush(cx));
            wire.poll_answer(cx, head, rules.limits())
        })
        .await?
    };
    let passed = (policy.expect.0..=policy.expect.1).contains(&answer.status);
    let detail = match answer.named(b"location").and_then(|location| std::str::from_utf8(location).ok()) {
        Some(location) if answer.status / 100 == 3 => {
            format!("{} to {}", answer.status, location.chars().take(200).collect::<String>())
        }
        _ => answer.status.to_string(),
    };
    let release = policy.release_header.as_ref().and_then(|name| answer.named(name.as_bytes()));
    let release = release.map(|release| String::from_utf8_lossy(release).chars().take(200).collect());
    Ok((passed, detail, release))
}

/// The host is the endpoint's own address unless configured.
pub(super) fn request(endpoint: &Endpoint, host: Option<&str>, path: &str) -> Head {
    let host = match (host, &endpoint.address) {
        (Some(host), _) => host.to_owned(),
        (None, EndpointAddress::Unix(_)) => "localhost".to_owned(),
        (None, EndpointAddress::Ip(_) | EndpointAddress::Name { .. }) => endpoint.address.to_string(),
        // Without the labels of service and protocol.
        (None, EndpointAddress::Service { name }) => name.splitn(3, '.').last().unwrap_or(name).to_owned(),
    };
    let mut request = Head::default();
    request.set_request_line(b"GET", path.as_bytes());
    request.push_known(Name::Host, host.as_bytes());
    request.push(b"user-agent", b"cutover-probe");
    request
}

/// The body of a 200, up to `limit`, requested like a probe.
pub(super) async fn fetch(
    endpoint: &Endpoint,
    rules: &Rules,
    policy: &HealthConfig,
    path: &str,
    limit: usize,
) -> Result<Vec<u8>, String> {
    let socket = connect(endpoint, rules).await?;
    let mut request = request(endpoint, policy.host.as_deref(), path);
    if rules.http2 {
        let connected = connections::http2(socket, rules).await;
        let (mut stream, connection) = connected.map_err(|_| "the endpoint does not speak HTTP/2".to_owned())?;
        let mut body = pin!(async {
            if !poll_fn(|cx| stream.poll_ready(cx, false)).await {
                return Err(CLOSED.to_owned());
            }
            stream.begin_request(&request, Framing::None).map_err(|_| UNWRITABLE)?;
            framing(&answer(|cx, head| stream.poll_answer(cx, head)).await?)?;
            body(&mut stream, Stream::poll_body, Stream::consume, limit).await
        });
        return tokio::select! {
            biased;
            body = &mut body => body,
            _ = connection => body.await,
        };
    }
    request.push_known(Name::Connection, b"close");
    let mut wire = Wire::new(socket);
    wire.begin_request(&request, Framing::None);
    let answer = answer(|cx, head| {
        let _ = ready!(wire.poll_flush(cx));
        wire.poll_answer(cx, head, rules.limits())
    });
    let framing = framing(&answer.await?)?;
    wire.expect_body(framing);
    body(&mut wire, Wire::poll_body, Wire::consume, limit).await
}

fn framing(answer: &Head) -> Result<Framing, String> {
    if answer.status != 200 {
        return Err(format!("answered {}", answer.status));
    }
    Framing::of_answer(answer, false).map_err(|_| "the answer is not HTTP".to_owned())
}

pub(super) async fn body<S>(
    side: &mut S,
    poll: impl for<'a> Fn(&'a mut S, &mut Context<'_>) -> Poll<Result<Piece<'a>, BodyError>>,
    consume: impl Fn(&mut S, usize),
    limit: usize,
) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    poll_fn(|cx| {
        while body.len() < limit {
            let n = match ready!(poll(side, cx)) {
                Ok(Piece::Data(data)) => {
                    body.extend_from_slice(data);
                    data.len()
                }
                Ok(Piece::End) => break,
                Err(error) => return Poll::Ready(Err(error.to_string())),
            };
            consume(side, n);
        }
        Poll::Ready(Ok(()))
    })
    .await?;
    body.truncate(limit);
    Ok(body)
}

const REFUSED: &str = "connection refused";
const NO_SOCKET: &str = "no such socket";
pub(super) const CLOSED: &str = "closed without an answer";
const EXHAUSTED: &str = "the proxy is out of descriptors, ports or memory";
pub(super) const UNWRITABLE: &str = "the path or the host can't be written in HTTP/2";
const NOT_YET: &str = "the name is not resolved yet";

pub(super) async fn connect(endpoint: &Endpoint, rules: &Rules) -> Result<Socket, String> {
    connections::connect(endpoint, rules).await.map_err(|error| in_words(endpoint, &error))
}

/// `None`: the endpoint was closing the connection (GOAWAY), and did nothing with the request.
async fn over_http2(request: &Head, socket: Socket, rules: &Rules) -> Result<Option<Head>, String> {
    let connected = connections::http2(socket, rules).await;
    let (mut stream, connection) = connected.map_err(|_| "the endpoint does not speak HTTP/2".to_owned())?;
    let answer = {
        let mut asked = pin!(async {
            if !poll_fn(|cx| stream.poll_ready(cx, false)).await {
                return Err(CLOSED.to_owned());
            }
            stream.begin_request(request, Framing::None).map_err(|_| UNWRITABLE)?;
            answer(|cx, head| stream.poll_answer(cx, head)).await
        });
        tokio::select! {
            biased;
            answer = &mut asked => answer,
            // Its last response can still be read.
            _ = connection => asked.await,
        }
    };
    match answer {
        Err(_) if !stream.has_written() => Ok(None),
        answer => answer.map(Some),
    }
}

/// The response's head to a request without a body; `poll` reads it.
pub(super) async fn answer(
    mut poll: impl FnMut(&mut Context<'_>, &mut Head) -> Poll<Result<bool, HeadError>>,
) -> Result<Head, String> {
    let mut answer = Head::default();
    poll_fn(|cx| {
        loop {
            let said = match ready!(poll(cx, &mut answer)) {
                Ok(true) if answer.status < 200 => continue,
                Ok(true) => Ok(()),
                Ok(false) | Err(HeadError::Io(_)) => Err(CLOSED.to_owned()),
                Err(HeadError::Refused(Refused::TooLarge)) => {
                    Err("the head of the answer is larger than max_response_header_bytes".to_owned())
                }
                Err(HeadError::Refused(Refused::TooManyFields)) => {
                    Err("the answer has more fields than max_response_headers".to_owned())
                }
                Err(HeadError::Refused(_) | HeadError::Incomplete) => Err("the answer is not HTTP".to_owned()),
            };
            return Poll::Ready(said);
        }
    })
    .await?;
    Ok(answer)
}

fn in_words(endpoint: &Endpoint, error: &std::io::Error) -> String {
    if let Some(resource) = exhaustion::of(error) {
        exhaustion::report(&endpoint.name, resource, error);
        return EXHAUSTED.to_owned();
    }
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => REFUSED.to_owned(),
        std::io::ErrorKind::NotFound if error.raw_os_error().is_some() => NO_SOCKET.to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
