//! Notices about a canary or a bake: words, verdict and numbers.

use serde_json::{Value, json};

use crate::domain::deployment::{Deployment, Stage};
use crate::domain::notice::{NoticeEvent, Severity};
use crate::domain::split::Weight;
use crate::domain::transition::{Kind, Transition};
use crate::domain::verdict::{Finding, Judgement, Sample, Verdict};
use crate::notify::event::{NOTHING, Words};
use crate::notify::words::{clipped, count, percent, span, thousands};

use super::FOREIGN;

/// The most findings in the data.
const LISTED: usize = 8;

/// The largest odds that are written out.
const LEGIBLE: u64 = 1_000_000_000;

pub(super) fn words(transition: &Transition, by: &str) -> Words {
    let decision = &transition.decision;
    let stable = format!("{} ({})", decision.release, decision.active);
    let reason = clipped(transition.origin.reason.as_deref().unwrap_or("no reason was given"), FOREIGN);
    let verdict = transition.judgement.as_ref().map(|judgement| clipped(&judgement.to_string(), FOREIGN));
    let verdict = verdict.unwrap_or_else(|| "nothing was judged yet".to_owned());
    let left = transition.from.as_ref().map(|(color, release)| format!("{release} ({color})"));
    let left = left.unwrap_or_default();
    let Some(deployment) = &decision.deployment else {
        return match transition.kind {
            Kind::BothUnhealthy => (
                (NoticeEvent::BothUnhealthy, Severity::Page),
                "both releases are unhealthy".to_owned(),
                format!(
                    "The automatic rollback to {stable} did not help: {reason}. No further automatic move follows. Before it: {verdict}."
                ),
                "Look for what both releases share: a database, a network, traffic itself. A switch by command is possible. The evidence: `cutover history -n 5`."
                    .to_owned(),
            ),
            Kind::Recovered => (
                (NoticeEvent::Recovered, Severity::Info),
                "recovered".to_owned(),
                format!("The automatic rollback to {stable} helped: {reason}. Before it: {verdict}."),
                NOTHING.to_owned(),
            ),
            _ => (
                (NoticeEvent::Aborted, Severity::Warn),
                "the canary was aborted".to_owned(),
                format!("The canary of {left} was aborted {by}; {stable} has all of the traffic."),
                "`cutover canary start` begins another one.".to_owned(),
            ),
        };
    };
    let Deployment { release, candidate, weight, plan, .. } = deployment;
    let new = format!("{release} ({candidate})");
    let share = share(deployment);
    match transition.kind {
        Kind::Canary => (
            (NoticeEvent::CanaryStarted, if transition.forced { Severity::Warn } else { Severity::Info }),
            format!("canary of {release} at {weight}"),
            format!("{new} gets {weight} of the requests, {by}; {stable} has the rest."),
            format!("Its further steps: {}. To take it back at once: `cutover canary abort`.", steps(deployment)),
        ),
        Kind::Advance if deployment.is_canary() => (
            (NoticeEvent::Step, Severity::Info),
            format!("canary of {release} at {weight}"),
            format!("{new} gets {weight} of the requests, {by}."),
            NOTHING.to_owned(),
        ),
        Kind::Advance => (
            (NoticeEvent::Step, Severity::Info),
            format!("{release} has all of the traffic"),
            format!("{new} gets what was held back for {}, {by}.", deployment.stable),
            NOTHING.to_owned(),
        ),
        Kind::CanaryHold => (
            (NoticeEvent::Held, Severity::Warn),
            format!("{release} is held at {weight}"),
            format!("{new} stays at {share}, {by}. A rollback stays armed. The verdict: {verdict}."),
            "`cutover canary resume` continues the canary, `advance` takes the next step, `abort` takes it back."
                .to_owned(),
        ),
        Kind::CanaryResume => (
            (NoticeEvent::Resumed, Severity::Info),
            format!("the canary of {release} continues"),
            format!("The canary of {new} continues from {share}, {by}."),
            NOTHING.to_owned(),
        ),
        Kind::Suspect => (
            (NoticeEvent::Suspect, Severity::Warn),
            format!("evidence against {release}"),
            format!("There is evidence against {new} at {share}, short of a rollback: {verdict}."),
            "The canary is paused. Check the named routes. To end it: `cutover canary abort`.".to_owned(),
        ),
        Kind::WouldRollBack => (
            (NoticeEvent::WouldRollBack, Severity::Warn),
            format!("{release} would have been rolled back"),
            format!("{new} at {share} would have been rolled back, but is only observed: {reason}."),
            "To roll back: `cutover rollback`. This notice comes once per deployment.".to_owned(),
        ),
        Kind::BaselineUnhealthy => {
            let old = format!("{} ({})", deployment.stable, deployment.stable_color());
            // One in fifty: a lower threshold than for the stable release, since the candidate has fewer requests.
            let both = transition.judgement.as_ref().is_some_and(|judgement| {
                judgement.harmed > 0 && judgement.harmed.saturating_mul(50) >= judgement.exposed
            });
            let sentence = match both {
                true => format!(
                    "{old} fails itself, and so does {new}: both colors are affected, so it is not {release} alone. {verdict}. Nothing advances."
                ),
                false => format!("{old} fails itself, which {new} is compared with: {verdict}. Nothing advances."),
            };
            let headline =
                if both { "both colors fail".to_owned() } else { format!("{} is unhealthy itself", deployment.stable) };
            (
                (NoticeEvent::BaselineUnhealthy, Severity::Warn),
                headline,
                sentence,
                format!(
                    "Where {release} fails as well, look for what both share; where it does not, `cutover switch {candidate}` gives it \
                     the traffic. It is {}.",
                    plan_note(deployment, *weight)
                ),
            )
        }
        _ => (
            (NoticeEvent::RollbackBlocked, Severity::Page),
            format!("{release} can't be rolled back"),
            format!("{new} at {share} should be rolled back, but can't be: {reason}. No traffic moved."),
            format!(
                "Remove the obstacle, and the rollback follows automatically; or go forward: `cutover canary status`. Its plan: {}.",
                if plan.steps.is_empty() { "a plain switch".to_owned() } else { steps(deployment) }
            ),
        ),
    }
}

fn plan_note(deployment: &Deployment, weight: Weight) -> String {
    let held = if deployment.held.is_some() { ", held" } else { "" };
    format!("at {weight}{held}, and is still rolled back if it is worse than that")
}

fn share(deployment: &Deployment) -> String {
    match deployment.stage {
        Stage::Step(_) => format!("{} of the requests", deployment.weight),
        Stage::Bake if deployment.splits() => format!("{} of the requests, baking", deployment.weight),
        Stage::Bake => "all of the requests, baking".to_owned(),
    }
}

fn steps(deployment: &Deployment) -> String {
    let steps: Vec<_> = deployment.plan.steps.iter().map(ToString::to_string).collect();
    format!("{}, then all", steps.join(", "))
}

/// Exposure and findings.
pub(super) fn fields(transition: &Transition) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let Some(judgement) = &transition.judgement else { return fields };
    let (requests, errors) = (count(judgement.exposed, "request"), thousands(judgement.harmed));
    let share = percent(judgement.harmed as f64, judgement.exposed as f64);
    fields.push(("Exposure", format!("{requests} to the new release, {errors} of them ended in an error ({share})")));
    let found = judgement.findings.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if !found.is_empty() {
        fields.push(("Findings", clipped(&found, FOREIGN)));
    }
    let odds = |odds: u64| if odds > LEGIBLE { "over 1,000,000,000".to_owned() } else { thousands(odds.max(1)) };
    fields.push((
        "Evidence",
        if judgement.verdict == Verdict::Suspect && judgement.only_holds() {
            format!("{}:1, enough to stop it; a rollback needs evidence of another kind", odds(judgement.hold))
        } else {
            format!("{}:1, a rollback needs {}:1", odds(judgement.evidence), thousands(judgement.limit))
        },
    ));
    let goes_on = judgement.verdict != Verdict::Fail && transition.decision.deployment.is_some();
    if let Some(needs) = judgement.needs.filter(|_| goes_on) {
        let time = needs.time.map(|time| format!(", about {}", span(time))).unwrap_or_default();
        fields.push(("Next step needs", format!("{} more{time}", count(needs.requests, "request"))));
    }
    fields
}

pub(super) fn data(transition: &Transition) -> [(String, Value); 2] {
    let deployment = transition.decision.deployment.as_ref().map(|deployment| {
        json!({
            "id": deployment.id.to_string(),
            "color": deployment.candidate.as_str(),
            "release": deployment.release.as_str(),
            "stable": deployment.stable.as_str(),
            "stage": if deployment.is_canary() { "canary" } else { "bake" },
            "weight_percent": f64::from(deployment.weight.basis_points()) / 100.0,
            "mode": deployment.mode.name(),
            "held": deployment.held.as_ref().map(|held| json!({ "by": held.by, "reason": clipped(&held.reason, FOREIGN) })),
        })
    });
    let verdict = transition.judgement.as_ref().map(judged);
    [("deployment".to_owned(), deployment.into()), ("verdict".to_owned(), verdict.into())]
}

fn judged(judgement: &Judgement) -> Value {
    json!({
        "verdict": judgement.verdict.name(),
        "evidence": judgement.evidence,
        "limit": judgement.limit,
        "baseline_unhealthy": judgement.baseline_unhealthy,
        "without_control": judgement.without_control,
        "exposed": judgement.exposed,
        "harmed": judgement.harmed,
        "findings": judgement.findings.iter().take(LISTED).map(found).collect::<Vec<_>>(),
    })
}

fn found(finding: &Finding) -> Value {
    let sample = |sample: &Sample| {
        let latency = sample.latency().map(|latency| latency.as_secs_f64() * 1e3);
        json!({ "requests": sample.requests(), "bad": sample.bad(), "latency_ms": latency })
    };
    json!({
        "class": finding.class.name(),
        "route": finding.route.as_deref().map(|route| clipped(route, 100)),
        "event": finding.event,
        "candidate": sample(&finding.candidate),
        "stable": sample(&finding.stable),
        "evidence": finding.evidence,
    })
}
