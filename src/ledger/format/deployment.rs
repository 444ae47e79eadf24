//! A deployment and its verdict in a ledger line.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{micros, optional, parse_time, time};
use crate::domain::deployment::{Deployment, DeploymentId, HeldBack, Mode, OnInsufficient, Plan, Stage};
use crate::domain::release::Release;
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Finding, Judgement, Needs, Sample, Verdict, Veto};

#[derive(Serialize, Deserialize)]
pub(super) struct Deployed {
    id: u64,
    candidate: String,
    release: String,
    stable: String,
    /// `None`: it bakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    /// In hundredths of a percent, like all weights here.
    weight: u16,
    /// In hexadecimal: many JSON readers lose digits of a 64-bit number.
    salt: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    sticky: String,
    plan: Planned,
    mode: String,
    since: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    watched_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<CanaryHold>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    told: bool,
    #[serde(default, skip_serializing_if = "is_none")]
    lost: u32,
}

#[derive(Serialize, Deserialize)]
struct Planned {
    steps: Vec<u16>,
    dwell_us: u64,
    max_step_us: u64,
    on_insufficient: String,
    holdback: u16,
    bake_us: u64,
}

#[derive(Serialize, Deserialize)]
struct CanaryHold {
    by: String,
    reason: String,
    since: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Judged {
    verdict: String,
    evidence: u64,
    limit: u64,
    #[serde(default)]
    hold: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    withdraws: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    veto: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Found>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs: Option<Needed>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    baseline_unhealthy: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    without_control: bool,
    exposed: u64,
    harmed: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    misses_files: bool,
}

#[derive(Serialize, Deserialize)]
struct Found {
    class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    candidate: Sampled,
    stable: Sampled,
    evidence: u64,
}

#[derive(Serialize, Deserialize)]
struct Sampled {
    requests: u64,
    bad: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Needed {
    requests: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_us: Option<u64>,
}

impl Deployed {
    pub(super) fn from(deployment: &Deployment) -> Deployed {
        let plan = &deployment.plan;
        Deployed {
            id: deployment.id.0,
            candidate: deployment.candidate.to_string(),
            release: deployment.release.to_string(),
            stable: deployment.stable.to_string(),
            step: match deployment.stage {
                Stage::Step(step) => Some(step),
                Stage::Bake => None,
            },
            weight: deployment.weight.basis_points(),
            salt: format!("{:016x}", deployment.salt),
            sticky: deployment.sticky.clone(),
            plan: Planned {
                steps: plan.steps.iter().map(|step| step.basis_points()).collect(),
                dwell_us: micros(plan.dwell),
                max_step_us: micros(plan.max_step),
                on_insufficient: plan.on_insufficient.name().to_owned(),
                holdback: plan.holdback.basis_points(),
                bake_us: micros(plan.bake),
            },
            mode: deployment.mode.name().to_owned(),
            since: time(deployment.since),
            watched_us: micros(deployment.watched),
            held: deployment.held.as_ref().map(|held| CanaryHold {
                by: held.by.clone(),
                reason: held.reason.clone(),
                since: time(held.since),
            }),
            told: deployment.told,
            lost: deployment.lost,
        }
    }

    pub(super) fn into_deployment(self) -> Option<Deployment> {
        let plan = Plan {
            steps: self.plan.steps.into_iter().map(Weight::new).collect::<Option<_>>()?,
            dwell: Duration::from_micros(self.plan.dwell_us),
            max_step: Duration::from_micros(self.plan.max_step_us),
            on_insufficient: OnInsufficient::named(&self.plan.on_insufficient)?,
            holdback: Weight::new(self.plan.holdback)?,
            bake: Duration::from_micros(self.plan.bake_us),
        };
        let held = optional(self.held, |held| {
            Some(HeldBack { by: held.by, reason: held.reason, since: parse_time(&held.since)? })
        })?;
        Some(Deployment {
            id: DeploymentId(self.id),
            candidate: self.candidate.parse().ok()?,
            release: Release::new(&self.release),
            stable: Release::new(&self.stable),
            stage: self.step.map_or(Stage::Bake, Stage::Step),
            weight: Weight::new(self.weight)?,
            salt: u64::from_str_radix(&self.salt, 16).ok()?,
            sticky: self.sticky,
            plan,
            mode: Mode::named(&self.mode)?,
            since: parse_time(&self.since)?,
            watched: Duration::from_micros(self.watched_us),
            held,
            told: self.told,
            lost: self.lost,
        })
    }
}

impl Judged {
    pub(super) fn from(judgement: &Judgement) -> Judged {
        let found = |finding: &Finding| Found {
            class: finding.class.name().to_owned(),
            route: finding.route.clone(),
            event: finding.event.clone(),
            candidate: Sampled::from(finding.candidate),
            stable: Sampled::from(finding.stable),
            evidence: finding.evidence,
        };
        Judged {
            verdict: judgement.verdict.name().to_owned(),
            evidence: judgement.evidence,
            limit: judgement.limit,
            hold: judgement.hold,
            withdraws: judgement.withdraws,
            veto: judgement.veto.map(|veto| veto.name().to_owned()),
            findings: judgement.findings.iter().map(found).collect(),
            needs: judgement.needs.map(|needs| Needed { requests: needs.requests, time_us: needs.time.map(micros) }),
            baseline_unhealthy: judgement.baseline_unhealthy,
            without_control: judgement.without_control,
            exposed: judgement.exposed,
            harmed: judgement.harmed,
            misses_files: judgement.misses_files,
        }
    }

    pub(super) fn into_judgement(self) -> Option<Judgement> {
        let finding = |found: Found| {
            Some(Finding {
                class: Class::named(&found.class)?,
                route: found.route,
                event: found.event,
                candidate: found.candidate.into_sample(),
                stable: found.stable.into_sample(),
                evidence: found.evidence,
            })
        };
        Some(Judgement {
            verdict: Verdict::named(&self.verdict)?,
            evidence: self.evidence,
            limit: self.limit,
            hold: self.hold,
            withdraws: self.withdraws,
            veto: self.veto.as_deref().and_then(Veto::named),
            findings: self.findings.into_iter().map(finding).collect::<Option<_>>()?,
            needs: self
                .needs
                .map(|needs| Needs { requests: needs.requests, time: needs.time_us.map(Duration::from_micros) }),
            baseline_unhealthy: self.baseline_unhealthy,
            without_control: self.without_control,
            exposed: self.exposed,
            harmed: self.harmed,
            misses_files: self.misses_files,
        })
    }
}

impl Sampled {
    fn from(sample: Sample) -> Sampled {
        Sampled { requests: sample.requests(), bad: sample.bad(), latency_us: sample.latency().map(micros) }
    }

    fn into_sample(self) -> Sample {
        Sample::new(self.requests, self.bad, self.latency_us.map(Duration::from_micros))
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_none(number: &u32) -> bool {
    *number == 0
}
