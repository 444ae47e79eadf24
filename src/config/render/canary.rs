//! `[canary]`, `[analysis]` and `[bake]` as TOML again.

use toml::Value;

use super::{duration, integer, networks, table};
use crate::config::{AnalysisConfig, BakeConfig, CanaryConfig, Decimal, EventConfig};
use crate::domain::deployment::OnUnsafe;
use crate::domain::split::Weight;

pub(super) fn canary(canary: &CanaryConfig) -> Value {
    table([
        ("mode", canary.mode.name().into()),
        ("steps", canary.steps.iter().copied().map(share).collect::<Vec<_>>().into()),
        ("dwell", duration(canary.dwell)),
        ("max_step", duration(canary.max_step)),
        ("on_insufficient", canary.on_insufficient.name().into()),
        ("on_client_errors", canary.on_client_errors.name().into()),
        ("holdback", share(canary.holdback)),
        ("sticky", canary.sticky.to_string().into()),
        ("evidence_per_network", integer(canary.evidence_per_network.into())),
        ("cookie_name", canary.cookie.name.clone().into()),
        ("cookie_max_age", duration(canary.cookie.max_age)),
        ("routes", canary.routes.iter().cloned().map(Value::from).collect::<Vec<_>>().into()),
        ("shield", canary.shield.into()),
        ("shield_budget", share(canary.shield_budget)),
    ])
}

pub(super) fn analysis(analysis: &AnalysisConfig) -> Value {
    let warmup = analysis.warmup;
    let on_unsafe = match analysis.on_unsafe {
        OnUnsafe::Hold => "hold",
        OnUnsafe::Force => "force",
    };
    let mut section = vec![
        ("false_rollback_per_deploy", decimal(analysis.false_rollback_per_deploy)),
        ("suspect_at", integer(analysis.suspect_at.into())),
        ("tick", duration(analysis.tick)),
        ("ratio_tolerated", decimal(analysis.ratio_tolerated)),
        ("error_floor", share(analysis.error_floor)),
        ("latency_margin", decimal(analysis.latency_margin)),
        ("latency_min_delta", duration(analysis.latency_min_delta)),
        ("pass_error_below", share(analysis.pass_error_below)),
        ("pass_beta", decimal(analysis.pass_beta)),
        ("max_routes", integer(analysis.max_routes as u64)),
        ("warmup", table([("requests", integer(warmup.requests.into())), ("time", duration(warmup.time))])),
        ("baseline_unhealthy", share(analysis.baseline_unhealthy)),
        ("cooldown", duration(analysis.cooldown)),
        ("on_unsafe", on_unsafe.into()),
    ];
    section.extend(analysis.cpu.as_ref().map(|cpu| {
        let cpu =
            [("path", cpu.path.clone().into()), ("interval", duration(cpu.interval)), ("decide", cpu.decide.into())];
        ("cpu", table(cpu))
    }));
    if !analysis.events.is_empty() {
        let event = |event: &EventConfig| {
            table([
                ("name", event.name.clone().into()),
                ("bad", event.bad.name().into()),
                ("tolerate", share(event.tolerate)),
                ("share", share(event.share)),
                ("per_request", integer(event.per_request.into())),
            ])
        };
        section.push(("event", analysis.events.iter().map(event).collect::<Vec<_>>().into()));
    }
    let ignore = &analysis.ignore;
    if !ignore.is_empty() {
        let texts = |texts: &[String]| texts.iter().cloned().map(Value::from).collect::<Vec<_>>().into();
        let ignored = [
            ("paths", texts(&ignore.paths)),
            ("agents", texts(&ignore.agents)),
            ("addresses", networks(&ignore.addresses)),
        ];
        section.push(("ignore", table(ignored)));
    }
    table(section)
}

pub(super) fn bake(bake: &BakeConfig) -> Value {
    table([
        ("duration", duration(bake.duration)),
        ("holdback", share(bake.holdback)),
        ("mode", bake.mode.name().into()),
    ])
}

fn share(weight: Weight) -> Value {
    format!("{}%", f64::from(weight.basis_points()) / 100.0).into()
}

fn decimal(number: Decimal) -> Value {
    number.get().into()
}
