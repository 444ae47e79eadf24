//! The fields of a notice about a transition.

use crate::domain::gate::{CheckReport, GateReport};
use crate::domain::release::Release;
use crate::domain::transition::{Kind, Transition};
use crate::notify::event::moment::{Moment, Rates, WayBack};
use crate::notify::event::served::stays;
use crate::notify::event::{FOREIGN, canary};
use crate::notify::words::{clipped, percent};

/// The most failed endpoints or checks that are named.
const NAMED: usize = 5;

pub(super) fn fields(transition: &Transition, moment: &Moment) -> Vec<(&'static str, String)> {
    let decision = &transition.decision;
    let mut fields = canary::fields(transition);
    if let (Some((color, _)), Some(Rates { requests, errors })) = (&transition.from, moment.before) {
        let share = percent(errors, requests);
        fields.push((
            "Just before",
            format!("{requests:.1} requests/s on {color}, {errors:.1} of them with 5xx ({share})"),
        ));
    }
    let up = moment.up.map(|(up, of)| format!(", {up} of {of} endpoints up")).unwrap_or_default();
    fields.push(("Now", format!("{} on {}{up}", decision.release, decision.active)));
    let back = match (&moment.way_back, &decision.previous) {
        (Some(WayBack { to: Ok((color, release)), safe, why }), _) => {
            let why = why.as_ref().map(|why| format!(" ({})", clipped(why, FOREIGN))).unwrap_or_default();
            format!("to {release} on {color}; safe: {safe}{why}")
        }
        (Some(WayBack { to: Err(why), .. }), _) => format!("none: {}", clipped(why, FOREIGN)),
        (None, Some(previous)) if previous.known_good.is_none() => {
            format!("none: {} never was known good", previous.release)
        }
        (None, Some(previous)) => {
            format!("to {} on {}, if it is still deployed there", previous.release, previous.color)
        }
        (None, None) => "none; to go forward again: `cutover switch`".to_owned(),
    };
    // Without a move there is nothing to go back from.
    if transition.kind != Kind::Abort && !stays(transition) {
        fields.push(("Way back", back));
    }
    if let Some(headline) = &moment.headline {
        fields.push(("Status", clipped(&headline.to_string(), FOREIGN)));
    }
    if let Some(bad) = quarantined(transition) {
        fields.push(("Quarantined", format!("{bad} is refused until another release is deployed or it is forced")));
    }
    if transition.forced {
        fields.push(("Gate", "skipped by `force`".to_owned()));
    } else if let Some(gate) = &transition.gate {
        fields.push(("Gate", gate_in_words(gate)));
    }
    // Nobody waited for an automatic transition.
    if !transition.took.is_zero() {
        fields.push(("Took", format!("{:.1} ms", transition.took.as_secs_f64() * 1e3)));
    }
    fields
}

/// The release that was left, if it is quarantined.
pub(super) fn quarantined(transition: &Transition) -> Option<&Release> {
    let (_, left) = transition.from.as_ref().filter(|_| matches!(transition.kind, Kind::Rollback | Kind::Abort))?;
    transition.decision.quarantine.iter().map(|bad| &bad.release).find(|release| *release == left)
}

pub(super) fn gate_in_words(gate: &GateReport) -> String {
    let passed = gate.endpoints.iter().filter(|probed| probed.passed).count();
    let failed = gate.endpoints.iter().filter(|probed| !probed.passed).take(NAMED);
    let failed: String = failed
        .map(|probed| format!("; {}: {}", clipped(&probed.endpoint, FOREIGN), clipped(&probed.detail, FOREIGN)))
        .collect();
    let checks = checks_in_words(&gate.checks);
    format!("{passed} of {} endpoints of {} passed{failed}{checks}", gate.endpoints.len(), gate.color)
}

fn checks_in_words(checks: &[CheckReport]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let passed = checks.iter().filter(|check| check.has_passed()).count();
    let failed = checks.iter().filter(|check| !check.has_passed()).take(NAMED);
    let failed: String = failed.map(|check| format!("; failed: {}", clipped(&check.check, FOREIGN))).collect();
    format!("; {passed} of {} checks passed{failed}", checks.len())
}
