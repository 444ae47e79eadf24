//! Facts for the headline of the status.

use std::time::{Instant, SystemTime};

use crate::control::Controller;
use crate::control::handle::{ColorStatus, Status};
use crate::domain::color::{Color, PerColor};
use crate::domain::headline::{
    BadFile, Certificate, ColorFacts, EndpointFacts, Facts, Finding, Maintained, OnHold, OnItsWay, Pending, Stop, Way,
    WrongRelease, findings,
};
use crate::domain::health::Health;
use crate::domain::rollout::{OrderState, Stopped, Waits};
use crate::domain::schema::Safety;

impl Controller {
    /// The worst finding first.
    pub(super) fn headline(&self, status: &Status) -> Vec<Finding> {
        let view = &status.view;
        let decision = &view.decision;
        let config = status.config_path.clone();
        findings(&Facts {
            now: SystemTime::now(),
            state_dir: self.config.state.dir.display().to_string(),
            active: decision.active,
            release: decision.release.clone(),
            colors: PerColor::from_fn(|color| of_color(&status.colors[color])),
            quorum_percent: self.config.gate.quorum_percent,
            by_force: decision.by_force,
            both_unhealthy: view.both_unhealthy,
            durable: view.durable,
            ledger: self.records.trouble().cloned(),
            file_error: self.file.error().map(|error| first_line(&error.to_string())),
            order_refused: match &view.order {
                OrderState::Refused(refusal) => {
                    // After a write-back the file names the serving color; the order was for the other one.
                    let back = view.file.active == decision.active;
                    let to = if back { decision.active.other() } else { view.file.active };
                    Some((to, refusal.code(), first_line(&refusal.to_string())))
                }
                OrderState::Done | OrderState::Pending => None,
            },
            file_disagrees: (status.file_disagrees && self.config.state.file_orders).then_some(view.file.active),
            write_back_error: view.write_back_error.clone(),
            wrong_releases: Color::ALL.into_iter().flat_map(|color| wrong(color, &status.colors[color])).collect(),
            certificates: status
                .certificates
                .iter()
                .map(|certificate| Certificate {
                    name: certificate.name.clone(),
                    path: certificate.path.display().to_string(),
                    not_after: certificate.not_after,
                })
                .collect(),
            bad_files: status
                .problems
                .iter()
                .map(|problem| BadFile {
                    setting: problem.setting.clone(),
                    path: problem.path.clone(),
                    reason: problem.reason.clone(),
                })
                .collect(),
            names: status
                .names
                .iter()
                .filter_map(|name| Some((name.name.clone(), name.failure.as_ref()?.0.clone())))
                .collect(),
            sinks: status
                .sinks
                .iter()
                .filter(|(_, sink)| sink.failing || sink.gone_since.is_some())
                .map(|(name, sink)| {
                    let why = sink.last_error.as_ref().map_or("no reason known", |(_, why)| why);
                    (name.clone(), first_line(why))
                })
                .collect(),
            freeze: decision.freeze.clone(),
            held: view.hold.as_ref().map(|hold| OnHold {
                for_move: hold.for_move,
                by: hold.origin.actor.clone(),
                reason: hold.origin.reason.clone(),
                requests: status.waiting.requests,
                ends_in: hold.until.saturating_duration_since(Instant::now()),
            }),
            maintenance: decision.maintenance,
            maintained: status.maintained.as_ref().map(|(since, origin)| Maintained {
                since: *since,
                by: origin.actor.clone(),
                reason: origin.reason.clone(),
            }),
            moving: view.moving.as_ref().map(|moving| Pending {
                kind: moving.kind,
                to: moving.to,
                waits_for: moving.waits.to_string(),
                // A wait for the disk has no other obstacle.
                first: moving
                    .waits_for
                    .clone()
                    .filter(|first| *first != moving.waits.to_string() && moving.waits != Waits::Disk),
                ends_in: moving.until.map(|until| until.saturating_duration_since(Instant::now())),
                by: moving.origin.actor.clone(),
                reason: moving.origin.reason.clone(),
            }),
            on_its_way: on_its_way(status),
            quarantine: decision.quarantine.clone(),
            rollback: Way { has_target: view.rollback.is_ok(), is_unsafe: matches!(view.safety, Safety::No(_)) },
            switch_unsafe: self.rollout.is_unsafe_to_switch(),
            config,
        })
    }
}

fn of_color(color: &ColorStatus) -> ColorFacts {
    let endpoints = color.endpoints.iter().filter(|endpoint| !endpoint.leaving).map(|endpoint| EndpointFacts {
        upstream: endpoint.upstream.clone(),
        endpoint: endpoint.endpoint.clone(),
        up: match endpoint.health {
            Health::Up => Some(true),
            Health::Down => Some(false),
            Health::Unknown => None,
        },
        ejected: endpoint.ejected_for.is_some(),
        detail: match endpoint.starting {
            Some((passed, of)) => format!("{passed} of {of} checks passed"),
            None => endpoint.detail.clone(),
        },
    });
    ColorFacts {
        release: color.release.clone(),
        endpoints: endpoints.collect(),
        requests: color.requests_per_second,
        errors: color.errors_per_second,
    }
}

fn wrong(color: Color, status: &ColorStatus) -> impl Iterator<Item = WrongRelease> {
    status.endpoints.iter().filter_map(move |endpoint| {
        let (says, _) = endpoint.answers_as.as_ref()?;
        Some(WrongRelease { color, endpoint: endpoint.endpoint.clone(), says: says.clone() })
    })
}

fn on_its_way(status: &Status) -> Option<OnItsWay> {
    let deployment = status.view.decision.deployment.as_ref()?;
    let stopped = status.view.progress.as_ref().and_then(|progress| progress.stopped);
    Some(OnItsWay {
        color: deployment.candidate,
        release: deployment.release.clone(),
        weight: deployment.weight.to_string(),
        canary: deployment.is_canary(),
        stopped: match (&deployment.held, stopped) {
            (Some(held), _) => Some(Stop::Held { by: held.by.clone(), reason: held.reason.clone() }),
            (None, Some(Stopped::Suspect)) => Some(Stop::Suspect),
            (None, Some(Stopped::BaselineUnhealthy)) => Some(Stop::BaselineUnhealthy),
            (None, _) => None,
        },
    })
}

/// The headline is one sentence.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}
