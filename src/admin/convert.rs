//! Controller state as answers of the admin API.

use std::time::{Duration, SystemTime};

use crate::admin::api::{
    AnswersAs, AskedAnswer, CanaryStatus, CertificateAnswer, ColorAnswer, DrainedAnswer, EndedAnswer, EndpointAnswer,
    FileAnswer, FileProblemAnswer, FreezeAnswer, HeadlineAnswer, HealthEvent, HeldEvent, HoldAnswer, HoldStatus,
    MaintenanceBy, MovingAnswer, NameAnswer, NotifyTestAnswer, OnItsWay, PauseAnswer, PreviewAnswer, Problem,
    QuarantinedAnswer, ReloadedEvent, RunAnswer, SafeToStop, SinkAnswer, SplitAnswer, Starting, StatusAnswer,
    TransitionAnswer, TriedAnswer, VerifyAnswer,
};
use crate::admin::api::{NumbersAnswer, PointAnswer};
use crate::control::handle::{
    ColorStatus, EndpointStatus, NameStatus, News, Numbers, Point, SinkStatus, Status, Tried, Verified,
};
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::domain::history::Run;
use crate::domain::rollout::{Hold, OrderState, Outcome, Phase};
use crate::domain::split::Weight;
use crate::domain::transition::{Drained, InFlight, Kind, Origin, Transition};
use crate::telemetry::meter;

mod canary;
mod checks;
mod closed;
mod colors;
mod headline;
mod moves;
mod refusal;
mod schema;

use checks::checks;
use refusal::gate;

pub(super) use canary::deployments;
pub(super) use moves::last_drain;
use moves::{draining, rollback};

/// RFC 3339 in UTC, with milliseconds.
#[must_use]
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl HoldAnswer {
    pub(super) fn new(outcome: &Outcome, status: &Status) -> HoldAnswer {
        HoldAnswer {
            changed: outcome.changed,
            active: status.view.decision.active.to_string(),
            generation: status.view.decision.generation.0,
            durable: outcome.durable,
            maintenance: status.view.decision.maintenance,
            hold: hold(status),
            replaced: outcome.replaced_pause.as_ref().map(PauseAnswer::new),
        }
    }
}

impl PauseAnswer {
    fn new(pause: &Hold) -> PauseAnswer {
        let Origin { actor, reason, .. } = pause.origin.clone();
        PauseAnswer { actor, reason, since: time(pause.since.wall) }
    }
}

fn hold(status: &Status) -> Option<HoldStatus> {
    let hold = status.view.hold.as_ref()?;
    let left = hold.until.saturating_duration_since(std::time::Instant::now());
    Some(HoldStatus {
        for_move: hold.for_move,
        since: time(hold.since.wall),
        ends_in_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        requests: status.waiting.requests as u64,
        bytes: status.waiting.bytes as u64,
        actor: hold.origin.actor.clone(),
        reason: hold.origin.reason.clone(),
    })
}

impl StatusAnswer {
    pub(super) fn new(status: &Status) -> StatusAnswer {
        let view = &status.view;
        let (phase, moving_to) = phase(&view.phase);
        let (order, refusal) = order(status);
        StatusAnswer {
            headline: HeadlineAnswer::new(&status.headline),
            active: view.decision.active.to_string(),
            release: view.decision.release.to_string(),
            generation: view.decision.generation.0,
            since: time(view.decision.since),
            durable: view.durable,
            phase: phase.to_owned(),
            moving_to: moving_to.map(|color| color.to_string()),
            moving: view.moving.as_ref().map(MovingAnswer::new),
            split: SplitAnswer::new(&view.decision),
            canary: CanaryStatus::new(status),
            both_unhealthy: view.both_unhealthy,
            known_good: view.decision.known_good.map(time),
            known_good_in_s: status.known_good_in.map(|left| left.as_secs_f64()),
            freeze: view.decision.freeze.as_ref().map(FreezeAnswer::new),
            quarantine: view
                .decision
                .quarantine
                .iter()
                .map(|bad| QuarantinedAnswer {
                    release: bad.release.to_string(),
                    since: time(bad.since),
                    by: bad.by.clone(),
                    reason: bad.reason.clone(),
                })
                .collect(),
            hold: hold(status),
            by_force: view.decision.by_force,
            maintenance: view.decision.maintenance,
            maintenance_by: status.maintained.as_ref().map(|(since, origin)| MaintenanceBy {
                since: time(*since),
                by: origin.actor.clone(),
                reason: origin.reason.clone(),
            }),
            blue: ColorAnswer::new(&status.colors[Color::Blue]),
            green: ColorAnswer::new(&status.colors[Color::Green]),
            draining: draining(status),
            last_drain: last_drain(status),
            rollback: rollback(status),
            checks: checks::status(view),
            linger: status.linger.as_ref().map(checks::linger),
            stores: schema::stores(view),
            file: FileAnswer {
                path: status.config_path.clone(),
                active: view.file.active.to_string(),
                orders: status.file_orders,
                disagrees: status.file_disagrees,
                order: order.to_owned(),
                refusal,
                write_back_error: view.write_back_error.clone(),
                error: status.config_error.clone(),
            },
            http_address: status.http_address.clone(),
            https_address: status.https_address.clone(),
            preview: status.preview.as_ref().map(|preview| PreviewAnswer {
                color: preview.color.to_string(),
                header: preview.header.clone(),
                host: preview.host.clone(),
                address: preview.address.clone(),
            }),
            certificates: status
                .certificates
                .iter()
                .map(|certificate| CertificateAnswer {
                    name: certificate.name.clone(),
                    path: certificate.path.display().to_string(),
                    not_after: time(certificate.not_after),
                })
                .collect(),
            certificate_errors: status.certificate_errors.clone(),
            names: status.names.iter().map(NameAnswer::new).collect(),
            access_log_dropped: status.access_log_dropped,
            problems: status
                .problems
                .iter()
                .map(|problem| FileProblemAnswer {
                    setting: problem.setting.clone(),
                    path: problem.path.clone(),
                    reason: problem.reason.clone(),
                })
                .collect(),
            notify: status.sinks.iter().map(|(name, sink)| SinkAnswer::new(name, sink)).collect(),
            pid: std::process::id(),
            version: status.version.to_owned(),
            uptime_s: status.uptime.as_secs_f64(),
        }
    }
}

/// Outcome of the file's last order, and the reason of a refusal.
pub(super) fn order(status: &Status) -> (&'static str, Option<Problem>) {
    match &status.view.order {
        OrderState::Done => ("done", None),
        OrderState::Pending => ("pending", None),
        OrderState::Refused(refusal) => ("refused", Some(Problem::refused(refusal))),
    }
}

fn phase(phase: &Phase) -> (&'static str, Option<Color>) {
    match *phase {
        Phase::Steady => ("steady", None),
        Phase::Canary { .. } => ("canary", None),
        Phase::Baking { .. } => ("baking", None),
        Phase::Gating { to } => ("gating", Some(to)),
        Phase::Holding { to } => ("holding", Some(to)),
        Phase::Committing { to } => ("committing", Some(to)),
    }
}

impl ColorAnswer {
    fn new(color: &ColorStatus) -> ColorAnswer {
        let meter::InFlight { requests, streams, tunnels } = color.in_flight;
        ColorAnswer {
            release: color.release.as_str().to_owned(),
            endpoints: color.endpoints.iter().map(EndpointAnswer::new).collect(),
            safe_to_stop: SafeToStop::new(color),
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
            leaving: endpoint.leaving,
            health: health(endpoint.health).to_owned(),
            detail: endpoint.detail.clone(),
            starting: endpoint.starting.map(|(passed, of)| Starting { passed, of }),
            since: time(endpoint.since),
            ejected_for_ms: endpoint.ejected_for.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            answers_as: endpoint
                .answers_as
                .as_ref()
                .map(|(release, since)| AnswersAs { release: release.clone(), since: time(*since) }),
        }
    }
}

impl NameAnswer {
    fn new(name: &NameStatus) -> NameAnswer {
        let (error, since) = name.failure.clone().unzip();
        NameAnswer { name: name.name.clone(), addresses: name.addresses.clone(), error, since: since.map(time) }
    }
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "down",
    }
}

impl SinkAnswer {
    fn new(name: &str, sink: &SinkStatus) -> SinkAnswer {
        let state = match (&sink.gone_since, sink.failing) {
            (Some(_), _) => "disabled",
            (None, true) => "failing",
            (None, false) => "well",
        };
        SinkAnswer {
            sink: name.to_owned(),
            state: state.to_owned(),
            pending: sink.pending,
            failures: sink.failures,
            dropped: sink.dropped,
            last_success: sink.last_success.map(time),
            last_error: sink.last_error.as_ref().map(|(_, why)| why.clone()),
            last_error_at: sink.last_error.as_ref().map(|(at, _)| time(*at)),
        }
    }
}

impl NotifyTestAnswer {
    pub(super) fn new(tried: Vec<Tried>) -> NotifyTestAnswer {
        let notices: Vec<_> = tried
            .into_iter()
            .map(|tried| TriedAnswer {
                sink: tried.sink,
                event: tried.event.to_string(),
                delivered: tried.delivered,
                detail: tried.detail,
                took_us: micros(tried.took),
            })
            .collect();
        NotifyTestAnswer { delivered: notices.iter().all(|notice| notice.delivered), notices }
    }
}

impl TransitionAnswer {
    pub(super) fn new(sequence: u64, transition: &Transition) -> TransitionAnswer {
        TransitionAnswer {
            sequence,
            kind: transition.kind.name().to_owned(),
            at: time(transition.at),
            from: transition.from.as_ref().map(|(color, _)| color.to_string()),
            from_release: transition.from.as_ref().map(|(_, release)| release.to_string()),
            to: transition.decision.active.to_string(),
            release: transition.decision.release.to_string(),
            generation: transition.decision.generation.0,
            trigger: transition.origin.trigger.name().to_owned(),
            actor: transition.origin.actor.clone(),
            source: transition.origin.source.clone(),
            reason: transition.origin.reason.clone(),
            forced: transition.forced,
            overrode: transition.overrode.iter().map(ToString::to_string).collect(),
            overridden: transition.kind == Kind::Switch && transition.decision.lineage.overridden.is_some(),
            refusal: transition.refusal.as_ref().map(|(code, sentence)| format!("{code}: {sentence}")),
            asked: transition.asked.as_ref().map(|asked| AskedAnswer {
                kind: asked.kind.name().to_owned(),
                to: asked.to.as_ref().map(|(color, _)| color.to_string()),
                release: asked.to.as_ref().map(|(_, release)| release.to_string()),
            }),
            gate: transition.gate.as_ref().map(gate).unwrap_or_default(),
            checks: transition.gate.as_ref().map(|gate| checks(&gate.checks)).unwrap_or_default(),
            canary: transition.decision.deployment.as_ref().map(OnItsWay::new),
            judgement: transition.judgement.as_ref().map(|judgement| Box::new(judgement.into())),
            drained: transition.drained.as_ref().map(drained),
            took_us: micros(transition.took),
            held_us: transition.held.map(micros),
            maintenance: (transition.kind == Kind::Maintenance).then_some(transition.decision.maintenance),
        }
    }
}

impl RunAnswer {
    pub(super) fn new(run: &Run) -> RunAnswer {
        RunAnswer {
            release: run.release.to_string(),
            color: run.color.to_string(),
            from: time(run.from),
            until: run.until.map(time),
            trigger: run.by.trigger.name().to_owned(),
            actor: run.by.actor.clone(),
            reason: run.by.reason.clone(),
            known_good: run.known_good.map(time),
        }
    }
}

impl From<Verified> for VerifyAnswer {
    fn from(found: Verified) -> VerifyAnswer {
        let Verified { lines, first, last, head, breaks } = found;
        VerifyAnswer { ok: breaks.is_empty(), lines, first, last, head, breaks }
    }
}

fn drained(drained: &Drained) -> DrainedAnswer {
    let InFlight { requests, streams, tunnels } = drained.ended;
    DrainedAnswer {
        color: drained.color.to_string(),
        took_us: micros(drained.took),
        ended: drained.ended.total(),
        by_kind: EndedAnswer { requests, streams, tunnels },
        cut_off: drained.cut_off(),
        timed_out: drained.timed_out,
    }
}

pub(super) fn event(news: &News) -> (&'static str, serde_json::Value) {
    match news {
        News::Transition(sequence, transition) => {
            ("transition", serde_json::to_value(TransitionAnswer::new(*sequence, transition)).unwrap_or_default())
        }
        News::Drained(end) => ("drained", serde_json::to_value(drained(end)).unwrap_or_default()),
        News::Held(held) => ("hold", serde_json::to_value(HeldEvent { held: *held }).unwrap_or_default()),
        News::Health { color, upstream, endpoint, health: now, detail } => {
            let (color, upstream, endpoint) = (color.to_string(), upstream.clone(), endpoint.clone());
            let data =
                HealthEvent { color, upstream, endpoint, health: health(*now).to_owned(), detail: detail.clone() };
            ("health", serde_json::to_value(data).unwrap_or_default())
        }
        News::Numbers(second) => ("numbers", serde_json::to_value(point(second)).unwrap_or_default()),
        News::Reloaded(error) => {
            ("reloaded", serde_json::to_value(ReloadedEvent { error: error.clone() }).unwrap_or_default())
        }
    }
}

pub(super) fn point(point: &Point) -> PointAnswer {
    let numbers = |color| {
        let Numbers { requests, errors, p50, p99 } = point.colors[color];
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        let milliseconds =
            |duration: Option<Duration>| duration.map(|duration| (duration.as_secs_f64() * 1e5).round() / 100.0);
        NumbersAnswer {
            requests: tenths(requests),
            errors: tenths(errors),
            p50_ms: milliseconds(p50),
            p99_ms: milliseconds(p99),
        }
    };
    PointAnswer { at: time(point.at), blue: numbers(Color::Blue), green: numbers(Color::Green) }
}

fn percent(weight: Weight) -> f64 {
    f64::from(weight.basis_points()) / 100.0
}
