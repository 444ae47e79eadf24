//! The wire types of the admin API, shared with the command line. They only grow.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::handle::{ColorStatus, EndpointStatus, News, Status};
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::domain::rollout::{OrderState, Outcome, Phase, Refusal};
use crate::domain::transition::{Kind, Transition, Trigger};
use crate::telemetry::meter;

/// `POST /admin/switch`. An empty body means the other color.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchBody {
    /// `blue` or `green`; absent: the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// Without the gate.
    #[serde(default)]
    pub force: bool,
    /// Ask the gate once, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// `none`, or `drained`: answer when the old color is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /admin/rollback`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// Without the gate.
    #[serde(default)]
    pub force: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /admin/reload`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadBody {
    /// Why; kept in the process log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a switch or a rollback.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SwitchAnswer {
    /// False: it was so already, and nothing was touched.
    pub changed: bool,
    /// True: it was only asked what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The color that serves (with `dry_run`: that would serve).
    pub active: String,
    /// The color that served before.
    pub previous: String,
    /// The release that serves.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// When it was decided, RFC 3339.
    pub at: String,
    /// From the command to its effect, in microseconds.
    pub took_us: u64,
    /// The decision is on disk.
    pub durable: bool,
    /// What is left on the color that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
}

/// What is left of a retired color.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Draining {
    /// Which color.
    pub color: String,
    /// Requests that are not answered yet.
    pub requests: u64,
    /// Answers whose body is under way.
    pub streams: u64,
    /// Upgraded connections.
    pub tunnels: u64,
    /// When the rest is ended, in milliseconds.
    #[serde(default)]
    pub ends_in_ms: u64,
}

/// `GET /admin/status`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusAnswer {
    /// The color that serves.
    pub active: String,
    /// The release that serves.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// Since when this color serves, RFC 3339.
    pub since: String,
    /// The decision in force is on disk.
    pub durable: bool,
    /// `steady`, `gating` or `committing`.
    pub phase: String,
    /// Where a move that is under way is going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
    /// Blue.
    pub blue: ColorAnswer,
    /// Green.
    pub green: ColorAnswer,
    /// A drain under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// Whether there is a way back.
    pub rollback: RollbackAnswer,
    /// The configuration file.
    pub file: FileAnswer,
    /// Where traffic is served.
    pub http_address: String,
    /// Lines that the access log dropped.
    pub access_log_dropped: u64,
    /// The program's version.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: f64,
}

/// One color in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ColorAnswer {
    /// What is deployed there, by the configuration.
    pub release: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointAnswer>,
    /// Requests that are not answered yet.
    pub requests: u64,
    /// Answers whose body is under way.
    pub streams: u64,
    /// Upgraded connections.
    pub tunnels: u64,
    /// Requests finished since the start.
    pub requests_total: u64,
    /// Requests a second, over ten seconds.
    pub requests_per_second: f64,
    /// Of these, answered with 5xx, a second.
    pub errors_per_second: f64,
}

/// One endpoint in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointAnswer {
    /// Its upstream.
    pub upstream: String,
    /// As the configuration writes it.
    pub endpoint: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// The last probe in a few words.
    pub detail: String,
    /// Since when it is so, RFC 3339.
    pub since: String,
}

/// Whether there is a way back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RollbackAnswer {
    /// There is one.
    pub possible: bool,
    /// The color it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The release it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Why not, or what speaks against it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The configuration file in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileAnswer {
    /// Its path.
    pub path: String,
    /// The color it names.
    pub active: String,
    /// It names another color than the live one.
    pub disagrees: bool,
    /// What became of its last order: `done`, `pending` or `refused`.
    pub order: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Problem>,
    /// Why it could not be put right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_back_error: Option<String>,
    /// What is wrong with it, in full; the last good one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `GET /admin/history`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryAnswer {
    /// Newest first.
    pub transitions: Vec<TransitionAnswer>,
    /// For the next page: `?before=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
}

/// One transition.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TransitionAnswer {
    /// Its number in the ledger; 0: not written yet.
    pub sequence: u64,
    /// `start`, `switch`, `rollback`, `release` or `seen`.
    pub kind: String,
    /// When, RFC 3339.
    pub at: String,
    /// The color that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The release that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_release: Option<String>,
    /// The color that serves after it.
    pub to: String,
    /// The release that serves after it.
    pub release: String,
    /// The generation after it.
    pub generation: u64,
    /// `api`, `file` or `start`.
    pub trigger: String,
    /// Who.
    pub actor: String,
    /// From where.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The gate was told to stand aside.
    pub forced: bool,
    /// Why nothing moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// From the command to the decision, in microseconds.
    pub took_us: u64,
}

/// `POST /admin/reload`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReloadAnswer {
    /// False: the file is as it was.
    pub changed: bool,
}

/// An error, RFC 9457.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The status code.
    pub status: u16,
    /// Stable, for programs.
    pub code: String,
    /// For a headline.
    pub title: String,
    /// One sentence for people.
    pub detail: String,
    /// With `unhealthy`: what each endpoint answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<GateAnswer>,
    /// With `stale_generation`: the generation in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// With `invalid_config`: each problem of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ConfigProblem>,
}

/// What an endpoint answered to the gate.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GateAnswer {
    /// Its upstream.
    pub upstream: String,
    /// As the configuration writes it.
    pub endpoint: String,
    /// It passed.
    pub passed: bool,
    /// The answer in a few words.
    pub detail: String,
    /// When, RFC 3339.
    pub at: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// One problem of the configuration file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfigProblem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The reason.
    pub message: String,
    /// The repair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// A time as RFC 3339 in UTC, with milliseconds.
#[must_use]
pub fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl SwitchAnswer {
    pub(super) fn new(outcome: &Outcome, status: Option<&Status>) -> SwitchAnswer {
        SwitchAnswer {
            changed: outcome.changed,
            dry_run: outcome.dry_run,
            active: outcome.active.to_string(),
            previous: outcome.previous.to_string(),
            release: outcome.release.to_string(),
            generation: outcome.generation.0,
            at: time(outcome.at),
            took_us: micros(outcome.took),
            durable: outcome.durable,
            draining: status.and_then(draining),
        }
    }
}

fn draining(status: &Status) -> Option<Draining> {
    status.draining.map(|draining| Draining {
        color: draining.color.to_string(),
        requests: draining.left.requests,
        streams: draining.left.streams,
        tunnels: draining.left.tunnels,
        ends_in_ms: u64::try_from(draining.ends_in.as_millis()).unwrap_or(u64::MAX),
    })
}

impl StatusAnswer {
    pub(super) fn new(status: &Status) -> StatusAnswer {
        let view = &status.view;
        let (phase, moving_to) = match view.phase {
            Phase::Steady => ("steady", None),
            Phase::Gating { to } => ("gating", Some(to)),
            Phase::Committing { to } => ("committing", Some(to)),
        };
        let (order, refusal) = match &view.order {
            OrderState::Done => ("done", None),
            OrderState::Pending => ("pending", None),
            OrderState::Refused(refusal) => ("refused", Some(Problem::refused(refusal))),
        };
        StatusAnswer {
            active: view.decision.active.to_string(),
            release: view.decision.release.to_string(),
            generation: view.decision.generation.0,
            since: time(view.decision.since),
            durable: view.durable,
            phase: phase.to_owned(),
            moving_to: moving_to.map(|color| color.to_string()),
            blue: ColorAnswer::new(&status.colors[Color::Blue]),
            green: ColorAnswer::new(&status.colors[Color::Green]),
            draining: draining(status),
            rollback: rollback(status),
            file: FileAnswer {
                path: status.config_path.clone(),
                active: view.file.active.to_string(),
                disagrees: status.file_disagrees,
                order: order.to_owned(),
                refusal,
                write_back_error: view.write_back_error.clone(),
                error: status.config_error.clone(),
            },
            http_address: status.http_address.clone(),
            access_log_dropped: status.access_log_dropped,
            version: status.version.to_owned(),
            uptime_s: status.uptime.as_secs_f64(),
        }
    }
}

fn rollback(status: &Status) -> RollbackAnswer {
    match &status.view.rollback {
        Ok(previous) => {
            let all = &status.colors[previous.color].endpoints;
            let down: Vec<_> = all.iter().filter(|endpoint| endpoint.health == Health::Down).collect();
            let why = down.first().map(|first| {
                let (n, of) = (down.len(), all.len());
                let verb = if n == 1 { "is" } else { "are" };
                format!(
                    "{n} of {of} endpoints of {} {verb} down ({}: {})",
                    previous.color, first.endpoint, first.detail
                )
            });
            RollbackAnswer {
                possible: true,
                to: Some(previous.color.to_string()),
                release: Some(previous.release.to_string()),
                why,
            }
        }
        Err(refusal) => RollbackAnswer { possible: false, to: None, release: None, why: Some(refusal.to_string()) },
    }
}

impl ColorAnswer {
    fn new(color: &ColorStatus) -> ColorAnswer {
        let meter::InFlight { requests, streams, tunnels } = color.in_flight;
        ColorAnswer {
            release: color.release.to_string(),
            endpoints: color.endpoints.iter().map(EndpointAnswer::new).collect(),
            requests,
            streams,
            tunnels,
            requests_total: color.requests,
            requests_per_second: color.requests_per_second,
            errors_per_second: color.errors_per_second,
        }
    }
}

impl EndpointAnswer {
    fn new(endpoint: &EndpointStatus) -> EndpointAnswer {
        EndpointAnswer {
            upstream: endpoint.upstream.clone(),
            endpoint: endpoint.endpoint.clone(),
            health: health(endpoint.health).to_owned(),
            detail: endpoint.detail.clone(),
            since: time(endpoint.since),
        }
    }
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "down",
    }
}

impl TransitionAnswer {
    pub(super) fn new(sequence: u64, transition: &Transition) -> TransitionAnswer {
        TransitionAnswer {
            sequence,
            kind: match transition.kind {
                Kind::Start => "start",
                Kind::Switch => "switch",
                Kind::Rollback => "rollback",
                Kind::Release => "release",
                Kind::Seen => "seen",
                Kind::Noted => "noted",
            }
            .to_owned(),
            at: time(transition.at),
            from: transition.from.as_ref().map(|(color, _)| color.to_string()),
            from_release: transition.from.as_ref().map(|(_, release)| release.to_string()),
            to: transition.decision.active.to_string(),
            release: transition.decision.release.to_string(),
            generation: transition.decision.generation.0,
            trigger: match transition.origin.trigger {
                Trigger::Api => "api",
                Trigger::File => "file",
                Trigger::Start => "start",
            }
            .to_owned(),
            actor: transition.origin.actor.clone(),
            source: transition.origin.source.clone(),
            reason: transition.origin.reason.clone(),
            forced: transition.forced,
            refusal: transition.refusal.as_ref().map(|(code, sentence)| format!("{code}: {sentence}")),
            took_us: micros(transition.took),
        }
    }
}

impl Problem {
    pub(super) fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: code.to_owned(),
            title: title.to_owned(),
            detail: detail.into(),
            endpoints: Vec::new(),
            generation: None,
            errors: Vec::new(),
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Problem {
        let (status, title) = match refusal {
            Refusal::Unhealthy(_) => (409, "The target is not healthy"),
            Refusal::InProgress { .. } => (409, "Another move is under way"),
            Refusal::Withdrawn => (409, "Called off"),
            Refusal::NoKnownGood { .. } => (409, "There is nothing to roll back to"),
            Refusal::StaleGeneration { .. } => (412, "The state has changed"),
            Refusal::NotDurable(_) => (503, "The decision could not be written down"),
        };
        let mut problem = Problem::new(status, refusal.code(), title, refusal.to_string());
        match refusal {
            Refusal::Unhealthy(report) => {
                problem.endpoints = report
                    .endpoints
                    .iter()
                    .map(|probed| GateAnswer {
                        upstream: probed.upstream.clone(),
                        endpoint: probed.endpoint.clone(),
                        passed: probed.passed,
                        detail: probed.detail.clone(),
                        at: time(probed.at),
                        took_us: micros(probed.took),
                    })
                    .collect();
            }
            Refusal::StaleGeneration { current, .. } => problem.generation = Some(current.0),
            Refusal::InProgress { .. } | Refusal::Withdrawn | Refusal::NoKnownGood { .. } | Refusal::NotDurable(_) => {}
        }
        problem
    }
}

/// An event's name and its data.
pub(super) fn event(news: &News) -> (&'static str, serde_json::Value) {
    use serde_json::json;
    match news {
        News::Transition(sequence, transition) => {
            ("transition", serde_json::to_value(TransitionAnswer::new(*sequence, transition)).unwrap_or_default())
        }
        News::Drained { color, took, ended } => {
            ("drained", json!({ "color": color.as_str(), "took_us": micros(*took), "ended": ended }))
        }
        News::Health { color, upstream, endpoint, health: now, detail } => (
            "health",
            json!({ "color": color.as_str(), "upstream": upstream, "endpoint": endpoint, "health": health(*now), "detail": detail }),
        ),
        News::Reloaded(error) => ("reloaded", json!({ "error": error })),
    }
}
