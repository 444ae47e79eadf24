//! Effects into deeds, in the order given. What fails comes back as an event.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use crate::control::handle::News;
use crate::control::probe::probe;
use crate::control::{Controller, Draining, Input, Waiting, canary, schema};
use crate::domain::color::Color;
use crate::domain::gate::{self, GateReport, Probed};
use crate::domain::rollout::{CommandId, CommitId, Effect, Event, Outcome, Phase, Refusal, RoundId};
use crate::domain::schema::Reading;
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, Drained, Kind, Left, Origin, Transition, Trigger};

/// How long an answer waits for `active` to be written into the file, so that a script that edits the file after it
/// edits the newest content.
const WRITE_BACK_PATIENCE: Duration = Duration::from_secs(1);

impl Controller {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        let write_backs = effects.iter().filter(|effect| matches!(effect, Effect::WriteBack(_))).count();
        // Counted first: a reply waits for an edit that comes behind it.
        self.write_backs.send_modify(|under_way| *under_way += write_backs);
        self.linger.notice(&effects);
        for effect in effects {
            match effect {
                Effect::Probe { round, color, schema, resolve } => {
                    self.look_up_then_probe(round, color, schema, resolve)
                }
                Effect::Check { round, color, back, endpoints } => self.check(round, color, back, &endpoints),
                Effect::Commit(commit, transition) => self.commit(commit, transition),
                Effect::Publish(decision) => self.publish(&decision),
                Effect::Drain(color, deadline) => self.drain(color, deadline),
                Effect::Hold(until) => self.hold(until),
                Effect::Empty(drain, end) => self.empty(drain, end),
                Effect::Release => self.release(),
                Effect::WriteBack(color) => self.watch.write_back(color),
                Effect::Reply(id, result) => self.reply(id, result),
            }
        }
    }

    /// A round of probes, as soon as the names of the color have been asked for; within `health.timeout`.
    fn look_up_then_probe(&self, round: RoundId, color: Color, schema: bool, resolve: bool) {
        let pools = self.config.colors[color].pools.values();
        let names: Vec<_> = pools.flatten().filter(|address| address.is_name()).collect();
        if names.is_empty() {
            return self.probe_round(round, color, schema);
        }
        let asked = self.names.asked(&names, resolve);
        let (inputs, timeout) = (self.inputs.clone(), self.config.health.timeout);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(timeout, asked).await;
            // Behind what the answers changed.
            let _ = inputs.send(Input::LookedUp(round, color, schema));
        });
    }

    /// Every endpoint of a color at the same time, each within `health.timeout`; and the data stores beside them.
    /// Connections of a color that does not serve are no older than their endpoint's probe, and made when the round has
    /// passed.
    pub(super) fn probe_round(&self, round: RoundId, color: Color, schema: bool) {
        let health = self.config.health.clone();
        let label = self.config.colors[color].release.clone();
        let (serves, policy, warmer) = (
            self.publisher.serves(color),
            self.config.gate.clone(),
            self.publisher.warmer(color, self.rollout.coming_share()),
        );
        let mut probes = JoinSet::new();
        for pool in &self.publisher.pools()[color] {
            for endpoint in pool.endpoints.iter().filter(|endpoint| !endpoint.is_leaving()) {
                let (health, endpoint, pool) = (health.clone(), Arc::clone(endpoint), Arc::clone(pool));
                let label = label.clone();
                probes.spawn(async move {
                    let found = probe(&endpoint, pool.rules(), &health).await;
                    if !serves && let Some(connected) = found.connected {
                        endpoint.renew(connected);
                    }
                    let found = found.of_release(&label, health.release_header.as_deref());
                    let probed = Probed {
                        upstream: pool.upstream.to_string(),
                        endpoint: endpoint.name.to_string(),
                        passed: found.passed,
                        detail: found.detail,
                        at: SystemTime::now(),
                        took: found.took,
                    };
                    (endpoint.id, probed)
                });
            }
        }
        let inputs = self.inputs.clone();
        let readings = schema::read(if schema { self.schema_probes() } else { Vec::new() }, self.names.resolver());
        tokio::spawn(async move {
            let probed = async {
                let results = probes.join_all().await;
                let endpoints = results.iter().map(|(_, probed)| probed.clone()).collect();
                if gate::passes(&policy, &GateReport { color, rounds: 1, endpoints, checks: Vec::new() }) {
                    let passed = results.iter().filter(|(_, probed)| probed.passed);
                    warmer.warm(&passed.map(|(id, _)| *id).collect()).await;
                }
                results
            };
            let (results, readings) = tokio::join!(probed, readings);
            let _ = inputs.send(Input::Probed(round, color, readings, results));
        });
    }

    /// A round of probes has ended.
    pub(super) fn probed(&mut self, round: RoundId, color: Color, readings: Vec<Reading>, results: Vec<(u64, Probed)>) {
        if !readings.is_empty() {
            self.handle(Event::SchemaRead(readings));
        }
        for pool in &self.publisher.pools()[color] {
            for endpoint in &pool.endpoints {
                if results.iter().any(|(id, probed)| *id == endpoint.id && probed.passed) {
                    self.probers.passed_gate(endpoint);
                }
            }
        }
        self.let_leave();
        if results.iter().all(|(_, probed)| probed.passed) {
            self.analysis.note_reached(color);
        }
        // What was known of it before is out of date, and must not take back what this lets through.
        self.tell_fitness();
        self.handle(Event::Probed(round, results.into_iter().map(|(_, probed)| probed).collect()));
    }

    fn commit(&mut self, commit: CommitId, transition: Transition) {
        let transition = Arc::new(transition);
        if transition.kind == Kind::Maintenance {
            self.maintained = Some((transition.at, transition.origin.clone()));
        }
        self.commits.insert(commit, Arc::clone(&transition));
        let inputs = self.inputs.clone();
        self.ledger.commit(Transition::clone(&transition), move |result| {
            let _ = inputs.send(Input::Committed(commit, result));
        });
        let generation = transition.decision.generation;
        let in_force = self.rollout.view().decision.generation == generation;
        if in_force && goes_back(&transition) && generation > self.announced {
            // It is in force already; nobody has to wait for the disk to hear of it, and nobody hears of it twice
            // because the disk did not take it at once.
            self.announced = generation;
            self.announce(0, &transition);
            self.tell_transition(0, &transition);
        }
    }

    /// A transition is on disk.
    pub(super) fn recorded(&mut self, sequence: u64, transition: Arc<Transition>) {
        if goes_back(&transition) && transition.decision.generation <= self.announced {
            self.notices.recorded(sequence, &transition);
        } else {
            if transition.kind.shown() {
                self.announce(sequence, &transition);
            }
            self.tell_transition(sequence, &transition);
        }
        self.history.push(sequence, transition);
    }

    fn announce(&mut self, sequence: u64, transition: &Arc<Transition>) {
        let decision = &transition.decision;
        let (active, release, generation) = (decision.active, &decision.release, decision.generation.0);
        let (actor, reason) = (&transition.origin.actor, transition.origin.reason.as_deref().unwrap_or(""));
        let took_ms = millis(transition.took);
        match (transition.kind, &transition.refusal) {
            (Kind::Start, _) => tracing::info!(%active, %release, generation, "First start: the file's color serves."),
            (Kind::Switch, _) => {
                tracing::info!(%active, %release, generation, actor, reason, took_ms, forced = transition.forced, "Switched.");
            }
            (Kind::Rollback, _) => {
                tracing::warn!(%active, %release, generation, actor, reason, took_ms, forced = transition.forced, "Rolled back.");
            }
            (Kind::Release, _) => {
                tracing::info!(%active, %release, generation, actor, "The live color has a new release.")
            }
            (Kind::Freeze, _) => {
                tracing::warn!(%active, actor, reason, "Frozen: nothing but a rollback moves traffic.")
            }
            (Kind::Unfreeze, _) => tracing::info!(%active, actor, reason, "Not frozen any more."),
            (Kind::KnownGood, _) => tracing::info!(%active, %release, "The release that serves is known good."),
            // Told when it happened.
            (Kind::Refused, _) => {}
            (Kind::Seen, Some((code, refusal))) => {
                tracing::warn!(%active, code, refusal, actor, "The order in the file was refused.");
            }
            (Kind::Barrier, _) => {
                tracing::warn!(%active, %release, actor, reason, "A barrier was passed: the way back is not safe any more.");
            }
            (Kind::Hold, _) => tracing::warn!(%active, actor, reason, "Requests are held by hand."),
            (Kind::HoldEnd, _) => tracing::info!(%active, actor, reason, took_ms, "The hold by hand is over."),
            (Kind::Maintenance, _) => {
                let on = decision.maintenance;
                tracing::warn!(on, %active, generation, actor, reason, "Maintenance was turned on or off.");
            }
            (
                Kind::Canary
                | Kind::Advance
                | Kind::Abort
                | Kind::CanaryHold
                | Kind::CanaryResume
                | Kind::Suspect
                | Kind::WouldRollBack
                | Kind::RollbackBlocked
                | Kind::BaselineUnhealthy
                | Kind::BothUnhealthy
                | Kind::Recovered,
                _,
            ) => canary::announce(transition),
            // Never announced.
            (Kind::Noted | Kind::Drained, _) => {}
            // Told when it happened.
            (Kind::Staged, _) => {}
            (Kind::Seen, None) => tracing::info!(%active, actor, "The order in the file was carried out already."),
        }
        if goes_back(transition) {
            self.tallies.rolled_back(transition.origin.trigger.name());
        }
        if transition.origin.trigger == Trigger::File {
            self.tallies.switched(
                "file",
                match (transition.kind, &transition.refusal) {
                    (Kind::Seen, Some(_)) => "refused",
                    (Kind::Seen, None) => "unchanged",
                    _ => "done",
                },
            );
        }
        let _ = self.news.send(News::Transition(sequence, Arc::clone(transition)));
    }

    /// Closes the free connections to a color that does not serve and is not about to: an application that is idle can
    /// stop at once, and the next gate makes connections of its own.
    pub(super) fn close_unused(&self, color: Color) {
        if self.publisher.serves(color) || !self.publisher.keeps(color) {
            return;
        }
        let next = match self.rollout.view().phase {
            Phase::Gating { to } | Phase::Holding { to } | Phase::Committing { to } => Some(to),
            Phase::Steady | Phase::Canary { .. } | Phase::Baking { .. } => None,
        };
        if next != Some(color) {
            self.publisher.close_idle(color);
        }
    }

    pub(super) fn publish(&mut self, decision: &Decision) {
        self.cut_tick();
        let before = self.publisher.shares();
        self.tell_lingering(decision);
        self.retired = self.publisher.publish(&self.config, decision).or_else(|| self.retired.take());
        // Names may have changed since the last publish.
        self.probers.reconcile(self.publisher.pools().iter().flat_map(|(_, pools)| pools));
        for color in Color::ALL.into_iter().filter(|color| self.publisher.serves(*color)) {
            self.staging.withdraw(color);
        }
        // A color that serves again is not drained any more.
        if self.draining.as_ref().is_some_and(|draining| self.publisher.serves(draining.color))
            && let Some(draining) = self.draining.take()
        {
            draining.task.abort();
            draining.drain.keep_tunnels();
        }
        for color in Color::ALL {
            if before[color] == Weight::NONE && self.publisher.serves(color) {
                self.notices.takes_over(color, &self.publisher.meters().read());
            }
        }
    }

    fn drain(&mut self, color: Color, deadline: Instant) {
        let Some(drain) = self.retired.take() else { return };
        self.next_drain += 1;
        let (number, began) = (self.next_drain, Instant::now());
        let (inputs, meters) = (self.inputs.clone(), Arc::clone(self.publisher.meters()));
        let before = meters.drained(color);
        if let Some(over) = self.config.drain.ends_tunnels_over() {
            drain.end_tunnels(over);
        }
        let draining = drain.clone();
        let task = tokio::spawn(async move {
            let timed_out = tokio::time::timeout_at(deadline.into(), drain.drained()).await.is_err();
            if timed_out {
                drain.end();
                drain.drained().await;
            }
            let ended = meters.drained(color).since(before).into();
            let _ = inputs.send(Input::Drained(number, Drained { color, took: began.elapsed(), ended, timed_out }));
        });
        let draining = Draining { color, number, deadline, drain: draining, task };
        if let Some(before) = self.draining.replace(draining) {
            before.task.abort();
        }
    }

    pub(super) fn drained(&mut self, number: u64, drained: Drained) {
        if self.draining.as_ref().is_none_or(|draining| draining.number != number) {
            return;
        }
        self.draining = None;
        let Drained { color, took, ended, timed_out } = drained;
        self.tallies.drained(took);
        let took_ms = millis(took);
        let Left { requests, streams, tunnels } = ended;
        if timed_out {
            let ended = ended.total();
            tracing::warn!(%color, took_ms, ended, requests, streams, tunnels, "Drained; what was left at drain.timeout was ended.");
        } else {
            tracing::info!(%color, took_ms, tunnels, "Drained.");
        }
        self.last_drain = Some(drained.clone());
        let _ = self.news.send(News::Drained(drained.clone()));
        self.handle(Event::Drained(drained));
    }

    pub(super) fn reply(&mut self, id: CommandId, mut result: Result<Outcome, Refusal>) {
        let Some(Waiting { trigger, counts, origin, file_problem, answer, .. }) = self.waiting.remove(&id) else {
            return;
        };
        if let Ok(outcome) = &mut result {
            outcome.pending.iter_mut().for_each(|moving| self.fill_in(moving));
            outcome.file_problem = file_problem;
        }
        match &result {
            Ok(outcome) if counts => {
                self.tallies.switched(trigger, if outcome.changed { "done" } else { "unchanged" });
            }
            Ok(_) => {}
            Err(refusal) => {
                if counts {
                    self.tallies.switched(trigger, "refused");
                }
                let Origin { actor, source, reason, .. } = &origin;
                let reason = reason.as_deref().unwrap_or("");
                tracing::warn!(code = refusal.code(), %refusal, actor, source, reason, "A command was refused.");
            }
        }
        let moved = result.as_ref().is_ok_and(|outcome| outcome.changed);
        // The answer to a rollback waits for nothing that it can do without.
        if moved && trigger != "rollback" && *self.write_backs.borrow() > 0 {
            let mut write_backs = self.write_backs.subscribe();
            tokio::spawn(async move {
                let written = write_backs.wait_for(|under_way| *under_way == 0);
                let _ = tokio::time::timeout(WRITE_BACK_PATIENCE, written).await;
                let _ = answer.send(result);
            });
            return;
        }
        // Whoever asked may have hung up; that changes nothing.
        let _ = answer.send(result);
    }
}

/// It is in force before it is on disk.
fn goes_back(transition: &Transition) -> bool {
    matches!(transition.kind, Kind::Rollback | Kind::Abort)
}

/// For a log line: exact to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
