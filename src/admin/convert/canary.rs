//! Canaries as answers of the admin API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::admin::api::{
    CanaryAnswer, CanaryMoved, CanaryStatus, ClassAnswer, DeploymentAnswer, EventAnswer, EvidenceAnswer, FindingAnswer,
    HeldAnswer, JudgementAnswer, LatencyAnswer, MovingAnswer, NextAnswer, OddsAnswer, OnItsWay, PlanAnswer,
    RouteAnswer, SampleAnswer, SideAnswer, SplitAnswer, ToldAnswer,
};
use crate::admin::convert::closed::not_served;
use crate::admin::convert::{micros, percent, phase, time};
use crate::control::handle::Status;
use crate::domain::analysis::{Counts, EventReport, Policy, Quantiles, Report, RouteReport};
use crate::domain::color::Color;
use crate::domain::deployment::{Deployment, DeploymentId, Mode, Plan, Stage};
use crate::domain::rollout::{Outcome, Progress, Stopped};
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, Kind, Transition};
use crate::domain::verdict::{Finding, Judgement, Needs, Sample};

fn millis(duration: Duration) -> f64 {
    micros(duration) as f64 / 1e3
}

/// 0 once the moment has passed.
fn ahead(at: Instant) -> f64 {
    at.saturating_duration_since(Instant::now()).as_secs_f64()
}

impl SplitAnswer {
    pub(super) fn new(decision: &Decision) -> SplitAnswer {
        let share = |color| match decision.split() {
            Some(split) => percent(split.of(color)),
            None => percent(if color == decision.active { Weight::ALL } else { Weight::NONE }),
        };
        SplitAnswer { blue: share(crate::domain::color::Color::Blue), green: share(crate::domain::color::Color::Green) }
    }
}

impl CanaryMoved {
    pub(in crate::admin) fn new(outcome: &Outcome, status: &Status) -> CanaryMoved {
        CanaryMoved {
            file_problem: outcome.file_problem.clone(),
            overrode: outcome.overrode.iter().map(ToString::to_string).collect(),
            warnings: not_served(status),
            quarantined: outcome.quarantined.as_ref().map(ToString::to_string),
            cancelled: outcome.cancelled.as_ref().map(MovingAnswer::new),
            changed: outcome.changed,
            durable: outcome.durable,
            active: outcome.active.to_string(),
            release: outcome.release.to_string(),
            generation: outcome.generation.0,
            at: time(outcome.at),
            took_us: micros(outcome.took),
            split: SplitAnswer::new(&status.view.decision),
            canary: CanaryStatus::new(status),
        }
    }
}

impl CanaryAnswer {
    pub(in crate::admin) fn new(status: &Status) -> CanaryAnswer {
        let view = &status.view;
        let mut canary = CanaryStatus::new(status);
        if let (Some(canary), Some(report)) = (&mut canary, &status.analysis) {
            canary.routes = report.routes.iter().map(RouteAnswer::new).collect();
            canary.events = report.events.iter().map(EventAnswer::new).collect();
        }
        CanaryAnswer {
            phase: phase(&view.phase).0.to_owned(),
            active: view.decision.active.to_string(),
            release: view.decision.release.to_string(),
            generation: view.decision.generation.0,
            split: SplitAnswer::new(&view.decision),
            canary,
            cooldown_until: view.decision.cooldown.filter(|until| *until > SystemTime::now()).map(time),
            verifying_s: view.verifying.map(|(_, until)| ahead(until)),
            both_unhealthy: view.both_unhealthy,
        }
    }
}

impl CanaryStatus {
    /// Without its routes.
    pub(super) fn new(status: &Status) -> Option<CanaryStatus> {
        let view = &status.view;
        let deployment = view.decision.deployment.as_ref()?;
        let (stage, step) = match deployment.stage {
            Stage::Step(step) => ("step", Some(step + 1)),
            Stage::Bake => ("bake", None),
        };
        Some(CanaryStatus {
            id: deployment.id.to_string(),
            color: deployment.candidate.to_string(),
            release: deployment.release.to_string(),
            stable: deployment.stable.to_string(),
            stage: stage.to_owned(),
            step,
            weight: percent(deployment.weight),
            plan: PlanAnswer::new(&deployment.plan),
            mode: deployment.mode.name().to_owned(),
            since: time(deployment.since),
            for_s: SystemTime::now().duration_since(deployment.since).unwrap_or_default().as_secs_f64(),
            held: deployment.held.as_ref().map(|held| HeldAnswer {
                by: held.by.clone(),
                reason: held.reason.clone(),
                since: time(held.since),
            }),
            next: view.progress.as_ref().map(|progress| NextAnswer::new(progress, expected(status, deployment))),
            evidence: match (&status.analysis, &view.judgement) {
                (Some(report), _) => Some(EvidenceAnswer::of_report(report)),
                (None, Some(judgement)) => Some(EvidenceAnswer::of_judgement(judgement)),
                (None, None) => None,
            },
            judgement: view.judgement.as_ref().map(JudgementAnswer::from),
            routes: Vec::new(),
            events: Vec::new(),
        })
    }
}

/// Expected need of a step at the present request rate, while there is no evidence.
fn expected(status: &Status, deployment: &Deployment) -> Option<Needs> {
    if status.view.judgement.is_some() || !deployment.is_canary() || deployment.mode == Mode::Off {
        return None;
    }
    let requests = Policy::default().requests_to_pass();
    let rate = Color::ALL.map(|color| status.colors[color].requests_per_second).iter().sum::<f64>();
    let seconds = time_for(requests, rate * percent(deployment.weight) / 100.0)?;
    Some(Needs { requests, time: Some(seconds) })
}

/// `None`: hardly any requests arrive.
fn time_for(requests: u64, rate: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(requests as f64 / rate).ok()
}

impl PlanAnswer {
    fn new(plan: &Plan) -> PlanAnswer {
        PlanAnswer {
            steps: plan.steps.iter().copied().map(percent).collect(),
            dwell_s: plan.dwell.as_secs_f64(),
            max_step_s: plan.max_step.as_secs_f64(),
            on_insufficient: plan.on_insufficient.name().to_owned(),
            holdback: percent(plan.holdback),
            bake_s: plan.bake.as_secs_f64(),
        }
    }
}

impl NextAnswer {
    /// `expected`: the step's expected need, used until there is evidence.
    fn new(progress: &Progress, expected: Option<Needs>) -> NextAnswer {
        let needs = progress.needs.or(expected);
        let stopped = progress.stopped.map(|stopped| match stopped {
            Stopped::Held => "held",
            Stopped::Frozen => "frozen",
            Stopped::CoolingDown => "cooling_down",
            Stopped::Suspect => "suspect",
            Stopped::BaselineUnhealthy => "baseline_unhealthy",
            Stopped::ByHand => "by_hand",
        });
        NextAnswer {
            weight: percent(progress.next),
            in_s: ahead(progress.earliest),
            at_most_s: progress.latest.map(ahead),
            needs_requests: needs.map(|needs| needs.requests),
            needs_s: needs.and_then(|needs| needs.time).map(|time| time.as_secs_f64()),
            stopped: stopped.map(str::to_owned),
        }
    }
}

impl EvidenceAnswer {
    fn of_report(report: &Report) -> EvidenceAnswer {
        let odds = |odds, limit| OddsAnswer { odds, limit };
        EvidenceAnswer {
            worse: odds(report.worse, report.worse_limit),
            no_worse: Some(odds(report.pass, report.pass_limit)),
            hold: Some(odds(report.hold, report.suspect_limit)),
            cpu: Some(odds(report.cpu, report.suspect_limit)),
            baseline_unhealthy: report.baseline_unhealthy,
            without_control: report.without_control,
            stable_worse: report.stable_worse,
            split_off: report.split_off,
            few_networks: report.few_networks,
            misses_files: report.misses_files,
            veto: report.veto.map(|veto| veto.name().to_owned()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "odds are shown with a few digits")]
    fn of_judgement(judgement: &Judgement) -> EvidenceAnswer {
        EvidenceAnswer {
            worse: OddsAnswer { odds: judgement.evidence as f64, limit: judgement.limit as f64 },
            no_worse: None,
            hold: None,
            cpu: None,
            baseline_unhealthy: judgement.baseline_unhealthy,
            without_control: judgement.without_control,
            stable_worse: false,
            split_off: false,
            few_networks: None,
            misses_files: judgement.misses_files,
            veto: judgement.veto.map(|veto| veto.name().to_owned()),
        }
    }
}

impl From<&Judgement> for JudgementAnswer {
    fn from(judgement: &Judgement) -> JudgementAnswer {
        JudgementAnswer {
            verdict: judgement.verdict.name().to_owned(),
            evidence: judgement.evidence,
            limit: judgement.limit,
            words: judgement.to_string(),
            findings: judgement.findings.iter().map(FindingAnswer::from).collect(),
            baseline_unhealthy: judgement.baseline_unhealthy,
            without_control: judgement.without_control,
            exposed: judgement.exposed,
            harmed: judgement.harmed,
        }
    }
}

impl From<&Finding> for FindingAnswer {
    fn from(finding: &Finding) -> FindingAnswer {
        let sample = |sample: &Sample| SampleAnswer {
            requests: sample.requests(),
            bad: sample.bad(),
            latency_ms: sample.latency().map(millis),
        };
        FindingAnswer {
            class: finding.class.name().to_owned(),
            route: finding.route.clone(),
            event: finding.event.clone(),
            words: finding.to_string(),
            candidate: sample(&finding.candidate),
            stable: sample(&finding.stable),
            evidence: finding.evidence,
        }
    }
}

impl EventAnswer {
    fn new(report: &EventReport) -> EventAnswer {
        let EventReport { rule, requests, told, odds } = report;
        EventAnswer {
            event: rule.name.clone(),
            bad: rule.bad.name().to_owned(),
            tolerate: (rule.tolerated * 1e4).round() / 1e2,
            stable: ToldAnswer { requests: requests.stable, told: told.stable },
            candidate: ToldAnswer { requests: requests.candidate, told: told.candidate },
            odds: *odds,
        }
    }
}

impl RouteAnswer {
    fn new(row: &RouteReport) -> RouteAnswer {
        let evidence = row.evidence.iter();
        RouteAnswer {
            route: row.route.clone(),
            stable: SideAnswer::new(row.assigned.stable, &row.counts.stable, row.quantiles.stable),
            candidate: SideAnswer::new(row.assigned.candidate, &row.counts.candidate, row.quantiles.candidate),
            too_few: [(row.too_few_for_errors, "errors"), (row.too_few_for_latency, "latency")]
                .into_iter()
                .filter(|(too_few, _)| *too_few && row.route.is_some())
                .map(|(_, what)| what.to_owned())
                .collect(),
            evidence: evidence.map(|of| ClassAnswer { class: of.class.name().to_owned(), odds: of.odds }).collect(),
        }
    }
}

impl SideAnswer {
    fn new(assigned: u64, counts: &Counts, quantiles: Option<Quantiles>) -> SideAnswer {
        let latency = quantiles.map(|Quantiles(micros)| {
            let [p50_ms, p90_ms, p99_ms] = micros.map(|micros| millis(Duration::from_micros(micros)));
            LatencyAnswer { p50_ms, p90_ms, p99_ms }
        });
        SideAnswer {
            assigned,
            completed: counts.completed,
            errors: counts.failed,
            client_errors: counts.client_errors,
            aborts: counts.aborts,
            latency,
        }
    }
}

impl OnItsWay {
    pub(super) fn new(deployment: &Deployment) -> OnItsWay {
        OnItsWay {
            id: deployment.id.to_string(),
            color: deployment.candidate.to_string(),
            release: deployment.release.to_string(),
            weight: percent(deployment.weight),
        }
    }
}

pub(in crate::admin) fn deployments(
    newest_first: &[(u64, Arc<Transition>)],
    recorded: &BTreeSet<DeploymentId>,
) -> Vec<DeploymentAnswer> {
    let mut found: Vec<DeploymentAnswer> = Vec::new();
    let mut current: Option<DeploymentId> = None;
    for (_, transition) in newest_first.iter().rev() {
        let now = transition.decision.deployment.as_ref();
        if let Some(last) = found.last_mut().filter(|_| current.is_some() && current != now.map(|now| now.id)) {
            last.until = Some(time(transition.at));
            last.outcome = over(transition, last).to_owned();
        }
        current = now.map(|now| now.id);
        let Some(now) = now else { continue };
        let id = now.id.to_string();
        if found.last().is_none_or(|last| last.id != id) {
            found.push(DeploymentAnswer {
                id,
                color: now.candidate.to_string(),
                release: now.release.to_string(),
                stable: now.stable.to_string(),
                from: time(transition.at),
                until: None,
                outcome: String::new(),
                recorded: recorded.contains(&now.id),
            });
        }
        if let Some(last) = found.last_mut() {
            last.outcome = if now.is_canary() { "canary" } else { "baking" }.to_owned();
        }
    }
    found.reverse();
    found
}

fn over(transition: &Transition, deployment: &DeploymentAnswer) -> &'static str {
    let decision = &transition.decision;
    let serves = decision.active.as_str() == deployment.color && decision.release.as_str() == deployment.release;
    match transition.kind {
        Kind::Rollback => "rolled_back",
        Kind::Abort => "aborted",
        _ if serves => "known_good",
        _ => "replaced",
    }
}
