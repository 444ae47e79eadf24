//! A recorded deployment, judged again: by its own rules, by others (`replay`), or as if the stable release had been
//! its own candidate (`canary aa`). The judge is a pure function, so the verdicts are the proxy's.

mod words;

use std::fs::File;
use std::io::BufReader;

use serde::Serialize;

use crate::admin::api::{DeploymentsAnswer, JudgementAnswer};
use crate::cli::Failure;
use crate::cli::args::canary::{Aa, Replay, Which};
use crate::cli::client::Client;
use crate::cli::connection::Connection;
use crate::cli::output;
use crate::domain::analysis::{Policy, Tick, false_alarms};
use crate::domain::deployment::DeploymentId;
use crate::domain::verdict::{Judgement, Verdict};
use crate::ledger::ticks::{Entry, Recorded};

#[derive(Debug, Serialize)]
pub(crate) struct ReplayAnswer {
    /// Absent where a file does not tell.
    pub(crate) deployment: Option<String>,
    pub(crate) release: String,
    pub(crate) stable: String,
    pub(crate) lasted_s: f64,
    pub(crate) ticks: u64,
    pub(crate) requests: u64,
    pub(crate) stable_requests: u64,
    pub(crate) recorded: Judged,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replayed: Option<Judged>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) alpha: f64,
    pub(crate) margin: f64,
    pub(crate) floor: f64,
    pub(crate) ratio: f64,
    /// `fail` if the evidence ever sufficed for a rollback, else the last verdict.
    pub(crate) verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fail: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suspect: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pass: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) judgement: Option<JudgementAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Moment {
    pub(crate) at_s: f64,
    pub(crate) tick: u64,
    /// Requests of the candidate so far.
    pub(crate) requests: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct AaAnswer {
    pub(crate) deployment: Option<String>,
    pub(crate) stable: String,
    pub(crate) runs: u32,
    pub(crate) alarms: u32,
    pub(crate) suspicions: u32,
    pub(crate) passes: u32,
    pub(crate) ticks: u64,
    pub(crate) lasted_s: f64,
    pub(crate) requests: u64,
    /// With a placebo that is a process of its own, with its own bad moments.
    pub(crate) apart: Apart,
    /// Alarms per run.
    pub(crate) rate: f64,
    /// Upper bound with 95 % confidence.
    pub(crate) at_most: f64,
    /// Variance of errors and slow requests between ticks, relative to independent ones.
    pub(crate) clumps: f64,
    pub(crate) alpha: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Apart {
    pub(crate) alarms: u32,
    pub(crate) suspicions: u32,
    pub(crate) rate: f64,
    pub(crate) at_most: f64,
}

pub(crate) async fn replay(connection: &Connection, options: &Replay, json: bool) -> Result<(), Failure> {
    let (name, recorded) = find(connection, &options.which).await?;
    let answer = judged_again(name, &recorded, options);
    output::answer(json, &answer, words::replayed);
    Ok(())
}

pub(crate) async fn aa(connection: &Connection, options: &Aa, json: bool) -> Result<(), Failure> {
    let (deployment, recorded) = find(connection, &options.which).await?;
    let steps: Vec<u64> = recorded.entries.iter().filter_map(step).collect();
    let ticks: Vec<Tick> = recorded.entries.iter().filter_map(tick).cloned().collect();
    let report = false_alarms(&recorded.policy, &steps, &ticks, options.runs, options.seed);
    let answer = AaAnswer {
        deployment,
        lasted_s: lasted(&recorded),
        stable: recorded.stable,
        runs: report.runs,
        alarms: report.alarms,
        suspicions: report.suspicions,
        passes: report.passes,
        ticks: report.ticks,
        requests: report.requests,
        apart: Apart {
            alarms: report.apart_alarms,
            suspicions: report.apart_suspicions,
            rate: report.apart_rate(),
            at_most: report.apart_at_most(),
        },
        rate: report.rate(),
        at_most: report.at_most(),
        clumps: report.clumps,
        alpha: recorded.policy.alpha,
    };
    output::answer(json, &answer, words::against_itself);
    Ok(())
}

async fn find(connection: &Connection, which: &Which) -> Result<(Option<String>, Recorded), Failure> {
    if let Some(path) = &which.file {
        let named = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.starts_with("dep-"));
        let named = which.id.or_else(|| named.and_then(|stem| stem.parse().ok()));
        let unreadable = |error: std::io::Error| Failure::Failed(format!("{} can't be read: {error}", path.display()));
        let file = BufReader::new(File::open(path).map_err(unreadable)?);
        let recorded = Recorded::parse(named.unwrap_or(DeploymentId(0)), file);
        let recorded = recorded.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        return Ok((named.map(|id| id.to_string()), recorded));
    }
    let client = Client::find(connection)?;
    let id = match which.id {
        Some(id) => id,
        None => last(&client).await?,
    };
    let text = client.get_text(&format!("/admin/deployments/{id}/record")).await?;
    let recorded = Recorded::parse(id, text.as_bytes()).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok((Some(id.to_string()), recorded))
}

async fn last(client: &Client) -> Result<DeploymentId, Failure> {
    let known: DeploymentsAnswer = client.get("/admin/deployments").await?;
    let last = known.deployments.iter().find(|deployment| deployment.recorded);
    last.and_then(|last| last.id.parse().ok()).ok_or_else(|| {
        Failure::Failed("no deployment is recorded yet; a canary is recorded once it gets requests".to_owned())
    })
}

fn judged_again(deployment: Option<String>, recorded: &Recorded, options: &Replay) -> ReplayAnswer {
    let ticks = || recorded.entries.iter().filter_map(tick);
    let policy = wanted(&recorded.policy, options);
    ReplayAnswer {
        deployment,
        release: recorded.release.clone(),
        stable: recorded.stable.clone(),
        lasted_s: lasted(recorded),
        ticks: ticks().count() as u64,
        requests: ticks().map(|tick| tick.assigned.candidate).sum(),
        stable_requests: ticks().map(|tick| tick.assigned.stable).sum(),
        recorded: judged(recorded, recorded.policy.clone()),
        replayed: (policy != recorded.policy).then(|| judged(recorded, policy)),
    }
}

fn wanted(policy: &Policy, options: &Replay) -> Policy {
    Policy {
        alpha: options.alpha.unwrap_or(policy.alpha),
        latency_margin: options.margin.unwrap_or(policy.latency_margin),
        error_floor: options.floor.map_or(policy.error_floor, |floor| floor.share()),
        ratio_tolerated: options.ratio.unwrap_or(policy.ratio_tolerated),
        ..policy.clone()
    }
}

fn judged(recorded: &Recorded, policy: Policy) -> Judged {
    let (alpha, margin) = (policy.alpha, policy.latency_margin);
    let (floor, ratio) = (policy.error_floor * 100.0, policy.ratio_tolerated);
    let (mut fail, mut suspect, mut pass): (Option<Moment>, Option<Moment>, Option<Moment>) = (None, None, None);
    let mut failed: Option<Judgement> = None;
    let (_, last) = recorded.judge_by(policy, |tick, judgement| {
        let moment = Moment { at_s: tick.at.as_secs_f64(), tick: tick.number, requests: judgement.exposed };
        match judgement.verdict {
            Verdict::Fail => {
                fail.get_or_insert(moment);
                failed.get_or_insert_with(|| judgement.clone());
            }
            Verdict::Suspect => {
                suspect.get_or_insert(moment);
            }
            Verdict::Pass => {
                pass.get_or_insert(moment);
            }
            Verdict::Insufficient => {}
        }
    });
    let judgement = failed.or(last);
    let verdict = judgement.as_ref().map_or(Verdict::Insufficient, |judgement| judgement.verdict);
    Judged {
        alpha,
        margin,
        floor,
        ratio,
        verdict: verdict.name().to_owned(),
        fail,
        suspect,
        pass,
        judgement: judgement.as_ref().map(JudgementAnswer::from),
    }
}

fn lasted(recorded: &Recorded) -> f64 {
    recorded.last_tick().map_or(0.0, |tick| tick.at.as_secs_f64())
}

fn tick(entry: &Entry) -> Option<&Tick> {
    match entry {
        Entry::Tick(tick) => Some(tick),
        Entry::Step(_) => None,
    }
}

fn step(entry: &Entry) -> Option<u64> {
    match entry {
        Entry::Step(first) => Some(*first),
        Entry::Tick(_) => None,
    }
}

#[cfg(test)]
mod tests;
