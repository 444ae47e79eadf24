//! The analysis tick: counters become a tick for the judge, the tick is recorded, and the judgement becomes an event.
//!
//! The record is the evidence (`ledger::ticks`): a restart in the middle of a deployment reads it and continues.

mod cpu;
mod watched;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::{AnalysisConfig, Config, EventConfig};
use crate::control::{Controller, Input};
use crate::domain::analysis::{Before, EventRule, Policy, Report};
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{Deployment, DeploymentId, Mode};
use crate::domain::rollout::Event;
use crate::domain::verdict::{Class, Sample as Aftermath, Veto};
use crate::evidence::routes::{Counts, Sample, Sampler};
use crate::ledger::ticks::{self, Recorded, TickLog, TicksError, text};
use crate::proxy::publisher::Publisher;

pub(super) use cpu::{Cpu, Reading};
use watched::{Baselines, Surroundings, Watched};

/// Consecutive failed connections that count like a failed check.
const CONNECTIONS_FAILED: u64 = 20;

const USERS_KEPT: Duration = Duration::from_secs(5);
const MANY: u64 = 100;

#[derive(Debug)]
pub(super) struct Analysis {
    sampler: Sampler,
    totals: PerColor<Counts>,
    baselines: Baselines,
    log: TickLog,
    state: PathBuf,
    watched: Option<Watched>,
    pub(super) cpu: Cpu,
    found_at_start: Option<DeploymentId>,
    /// Counters of the serving color at the last automatic rollback.
    before_aftermath: Option<(DeploymentId, Color, Counts)>,
    users_kept: Option<(Instant, Vec<u8>)>,
    /// Failed connections since the process started, and since the last good request.
    connections_failed: PerColor<u64>,
    failed_in_a_row: PerColor<u64>,
}

impl Analysis {
    pub(super) fn start(
        config: &Config,
        publisher: &Publisher,
        found_at_start: Option<DeploymentId>,
    ) -> std::io::Result<Analysis> {
        Ok(Analysis {
            sampler: Sampler::new(publisher.routes().clone()),
            totals: PerColor::default(),
            baselines: Baselines::default(),
            log: TickLog::start(&config.state.dir)?,
            state: config.state.dir.clone(),
            watched: None,
            cpu: Cpu::default(),
            found_at_start,
            before_aftermath: None,
            users_kept: None,
            connections_failed: PerColor::default(),
            failed_in_a_row: PerColor::default(),
        })
    }

    pub(super) fn is_out_of_reach(&self, color: Color) -> bool {
        self.failed_in_a_row[color] >= CONNECTIONS_FAILED
    }

    pub(super) fn note_reached(&mut self, color: Color) {
        self.failed_in_a_row[color] = 0;
    }

    pub(super) fn report(&self) -> Option<Report> {
        let watched = self.watched.as_ref()?;
        let mut report = watched.judge.report();
        report.misses_files =
            watched.misses_files() && (report.hold >= report.suspect_limit || report.veto == Some(Veto::ClientErrors));
        let requests = report.routes.first().map_or(0, |all| all.assigned.stable + all.assigned.candidate);
        let users = self.sampler.routes().users();
        report.few_networks = users.as_ref().and_then(|users| users.few_networks()).filter(|_| requests >= MANY);
        Some(report)
    }

    pub(super) fn record(&self, id: DeploymentId) -> impl FnOnce() -> Result<Vec<u8>, TicksError> + Send + 'static {
        let state = self.state.clone();
        move || text(&state, id)
    }
}

fn policy(config: &AnalysisConfig, deployment: &Deployment, endpoints: u64, before: Before) -> Policy {
    let planned =
        deployment.plan.bake + deployment.plan.max_step * u32::try_from(deployment.plan.steps.len()).unwrap_or(1);
    let ticks = planned.as_millis() / config.tick.as_millis().max(1);
    Policy {
        alpha: config.false_rollback_per_deploy.get(),
        suspect_at: f64::from(config.suspect_at),
        ratio_tolerated: config.ratio_tolerated.get(),
        error_floor: config.error_floor.share(),
        latency_margin: config.latency_margin.get(),
        latency_min_delta: config.latency_min_delta,
        warmup_requests: u64::from(config.warmup.requests) * endpoints,
        warmup_time: config.warmup.time,
        pass_error_below: config.pass_error_below.share(),
        pass_beta: config.pass_beta.get(),
        baseline_unhealthy: config.baseline_unhealthy.share(),
        cpu_rolls_back: config.cpu.as_ref().is_some_and(|cpu| cpu.decide),
        max_routes: config.max_routes,
        horizon: u64::try_from(ticks).ok().filter(|ticks| *ticks > 0),
        lost: deployment.lost,
        events: config.events.iter().map(rule).collect(),
        before: Some(before),
        ..Policy::default()
    }
}

fn rule(event: &EventConfig) -> EventRule {
    EventRule {
        name: event.name.clone(),
        bad: event.bad,
        tolerated: event.tolerate.share(),
        share: event.share.share(),
        per_request: event.per_request,
    }
}

impl Controller {
    /// Records the evidence up to now; resolves when it is written.
    pub(super) fn flush_evidence(&mut self) -> tokio::sync::oneshot::Receiver<()> {
        self.end_tick_early();
        self.analysis.users_kept = None;
        self.record_users();
        self.analysis.log.flush()
    }

    /// Ends a tick early before another weight is published: a tick has one weight.
    pub(super) fn end_tick_early(&mut self) {
        let sample = self.end_tick();
        let Analysis { watched: Some(watched), sampler, baselines, log, .. } = &mut self.analysis else { return };
        let around = Surroundings { baselines, routes: sampler.routes(), log, now: Instant::now() };
        if let Some(stage) = watched.stage() {
            // The next tick's judgement includes it.
            let _ = watched.tick(&sample, stage, None, &around);
        }
    }

    fn end_tick(&mut self) -> Sample {
        let shares = self.publisher.shares();
        let weight = self.analysis.watched.as_ref().map(|watched| shares[watched.candidate()]);
        let fresh = || self.rollout.decision().deployment.as_ref().map(|deployment| shares[deployment.candidate]);
        let sample = self.analysis.sampler.sample(weight.or_else(fresh).unwrap_or_default());
        self.analysis.totals = PerColor::from_fn(|color| {
            let mut total = Counts::default();
            sample.routes.iter().for_each(|route| total.add(&route.totals[color]));
            total
        });
        sample
    }

    pub(super) fn analyze_tick(&mut self) {
        let sample = self.end_tick();
        self.analysis.baselines.turn(Instant::now(), self.analysis.sampler.routes());
        self.count_failed_connections(&sample);
        self.judge(&sample);
        self.record_users();
        self.report_aftermath();
        self.measure_cpu();
    }

    /// Records the users whose events were counted, so that a restart does not count them again.
    fn record_users(&mut self) {
        let Analysis { watched: Some(watched), sampler, log, users_kept, .. } = &mut self.analysis else { return };
        let users = sampler.routes().users();
        let Some(users) = users.as_ref() else { return };
        if users_kept.as_ref().is_some_and(|(at, _)| at.elapsed() < USERS_KEPT) {
            return;
        }
        let counted = users.saved();
        if users_kept.as_ref().is_none_or(|(_, kept)| *kept != counted) {
            log.users(watched.id(), counted.clone());
        }
        *users_kept = Some((Instant::now(), counted));
    }

    fn judge(&mut self, sample: &Sample) {
        let deployment = self.rollout.decision().deployment.clone().filter(|deployment| deployment.mode != Mode::Off);
        let routes = self.analysis.sampler.routes();
        let Some(deployment) = deployment else {
            if self.analysis.watched.take().is_some() {
                routes.forget_thresholds();
                routes.judge_latency(false);
            }
            return;
        };
        if self.analysis.watched.as_ref().is_none_or(|watched| watched.id() != deployment.id) {
            self.begin_to_watch(&deployment, sample.tick);
        }
        let used = self.analysis.cpu.take_window(&deployment);
        let Analysis { watched: Some(watched), sampler, baselines, log, .. } = &mut self.analysis else { return };
        let around = Surroundings { baselines, routes: sampler.routes(), log, now: Instant::now() };
        if let Some(judgement) = watched.tick(sample, deployment.stage, used, &around) {
            self.handle(Event::Judged(deployment.id, Box::new(judgement)));
        }
    }

    fn begin_to_watch(&mut self, deployment: &Deployment, tick: u64) {
        let keyed = self.publisher.routes().users().is_some();
        let recorded = match Recorded::load(&self.analysis.state, deployment.id) {
            Ok(recorded) if recorded.policy.lost == deployment.lost => Some(recorded),
            Ok(_) | Err(TicksError::Unknown(_)) => None,
            Err(error) => {
                tracing::warn!(deployment = %deployment.id, %error, "Record of the analysis unusable");
                None
            }
        };
        let mut deployment = deployment.clone();
        if recorded.is_none() && self.began_before(&deployment) {
            tracing::warn!(deployment = %deployment.id, "Evidence from before the restart lost; it starts anew");
            self.handle(Event::EvidenceLost(deployment.id));
            let now = self.rollout.decision().deployment.clone();
            let Some(same) = now.filter(|now| now.id == deployment.id) else { return };
            deployment = same;
        }
        let endpoints =
            self.publisher.pools()[deployment.candidate].iter().map(|pool| pool.endpoints.len()).sum::<usize>();
        let stable = &self.analysis.totals[deployment.stable_color()];
        let before = Before { requests: stable.completed, errors: stable.bad[Class::Error as usize] };
        let policy = policy(&self.config.analysis, &deployment, endpoints as u64, before);
        let Analysis { sampler, log, watched, state, .. } = &mut self.analysis;
        sampler.routes().forget_thresholds();
        sampler.routes().judge_latency(false);
        if let Some(users) = sampler.routes().users().as_ref().filter(|_| recorded.is_some()) {
            let saved = ticks::users(state, deployment.id);
            if !saved.is_empty() && !users.restore(&saved) {
                tracing::warn!(deployment = %deployment.id, "Record of counted users unusable; their events may count twice");
            }
        }
        *watched = Some(match recorded {
            Some(recorded) => Watched::resume(&deployment, keyed, tick, &recorded, Instant::now()),
            None => {
                let (release, stable) = (deployment.release.to_string(), deployment.stable.to_string());
                let head = Recorded { id: deployment.id, release, stable, policy, entries: Vec::new() };
                log.begin(head.clone());
                Watched::begin(&deployment, keyed, tick, head.policy, Instant::now())
            }
        });
    }

    fn began_before(&self, deployment: &Deployment) -> bool {
        self.analysis.found_at_start == Some(deployment.id)
    }

    /// Consecutive failed connections count like a failed check, one moment earlier.
    fn count_failed_connections(&mut self, sample: &Sample) {
        let error = Class::Error as usize;
        let meters = self.publisher.meters().read();
        for color in Color::ALL {
            let done = sample.routes.iter().flat_map(|route| &route.batches).map(|batch| &batch.done[color]);
            let good = done.map(|counts| counts.completed.saturating_sub(counts.bad[error])).sum::<u64>() > 0;
            let of_color = meters.iter().filter(|(of, ..)| *of == color);
            let failed: u64 = of_color.map(|(.., reading)| reading.connect_errors).sum();
            let before = std::mem::replace(&mut self.analysis.connections_failed[color], failed);
            let run = &mut self.analysis.failed_in_a_row[color];
            *run = if good { 0 } else { *run + failed.saturating_sub(before) };
        }
        self.report_fitness();
    }

    fn report_aftermath(&mut self) {
        let view = self.rollout.view();
        let Some((id, _)) = view.verifying else {
            self.analysis.before_aftermath = None;
            return;
        };
        let color = view.decision.active;
        let totals = self.analysis.totals[color];
        let (_, _, before) = *self.analysis.before_aftermath.get_or_insert((id, color, totals));
        let class = self.verified_class();
        let since = totals.since(&before);
        let bad = since.bad.get(class as usize).copied().unwrap_or_default();
        self.handle(Event::Aftermath(id, Aftermath::new(since.completed, bad, None)));
    }

    /// The class of the heaviest finding behind the last automatic rollback.
    fn verified_class(&self) -> Class {
        let judged = self.records.history().newest_first().find_map(|(_, transition)| transition.judgement.as_ref());
        judged.and_then(|judgement| judgement.findings.first()).map_or(Class::Error, |finding| finding.class)
    }

    fn measure_cpu(&mut self) {
        let Some(config) = self.config.analysis.cpu.clone() else { return };
        if self.rollout.decision().deployment.is_none() || !self.analysis.cpu.take_turn(Instant::now(), config.interval)
        {
            return;
        }
        let assigned = PerColor::from_fn(|color| self.analysis.totals[color].assigned);
        let asking = cpu::ask(self.publisher.pools(), &config.path, &self.config.health);
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let _ = inputs.send(Input::Cpu(assigned, asking.await));
        });
    }
}
