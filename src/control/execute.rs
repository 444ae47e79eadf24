//! Carries out effects, in order. Failures return as events.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use crate::control::probe::probe;
use crate::control::{Controller, Input, pieces, schema};
use crate::domain::color::Color;
use crate::domain::gate::{self, GateReport, Probed};
use crate::domain::rollout::{Effect, Event, Phase, RoundId};
use crate::domain::schema::Reading;
use crate::domain::split::Weight;
use crate::domain::transition::Decision;
use crate::proxy::precedence;
use crate::proxy::publisher::{Warmer, Warming};

impl Controller {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        let write_backs = effects.iter().filter(|effect| matches!(effect, Effect::WriteBack(_))).count();
        // Counted first: a reply waits for an edit that comes behind it.
        self.file.begin_write_backs(write_backs);
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
                Effect::WriteBack(color) => {
                    precedence::pause();
                    self.watch.write_back(color);
                }
                Effect::Reply(id, result) => self.reply(id, result),
            }
        }
    }

    /// Probes after the color's names were looked up, within `health.timeout`.
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
            // Queued behind the changed addresses.
            let _ = inputs.send(Input::LookedUp(round, color, schema));
        });
    }

    /// Probes all endpoints of a color at the same time, each within `health.timeout`, and the data stores.
    /// Connections to a color that does not serve are renewed after each probe, and made when the round has passed:
    /// while the decision is written.
    pub(super) fn probe_round(&self, round: RoundId, color: Color, schema: bool) {
        let health = self.config.health.clone();
        let label = self.config.colors[color].release.clone();
        let (serves, policy, warmer) = (self.publisher.serves(color), self.config.gate.clone(), self.warmer(color));
        let goes_back = self.rollout.is_going_back();
        let mut probes = Vec::new();
        for pool in &self.publisher.pools()[color] {
            for endpoint in pool.endpoints.iter().filter(|endpoint| !endpoint.is_leaving()) {
                let (health, endpoint, pool) = (health.clone(), Arc::clone(endpoint), Arc::clone(pool));
                let label = label.clone();
                probes.push(async move {
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
                let results = pieces::begin(probes, goes_back).await.join_all().await;
                let endpoints = results.iter().map(|(_, probed)| probed.clone()).collect();
                let report = GateReport { color, rounds: 1, endpoints, checks: Vec::new() };
                let warming = warmer.filter(|_| gate::passes(&policy, &report)).map(|warmer| {
                    let passed = results.iter().filter(|(_, probed)| probed.passed);
                    warmer.warm(&passed.map(|(id, _)| *id).collect())
                });
                (results, warming)
            };
            let ((results, warming), readings) = tokio::join!(probed, readings);
            let _ = inputs.send(Input::Probed(round, color, readings, results, warming));
        });
    }

    pub(super) fn probed(
        &mut self,
        round: RoundId,
        color: Color,
        readings: Vec<Reading>,
        results: Vec<(u64, Probed)>,
        warming: Option<Warming>,
    ) {
        self.warming = warming;
        if !readings.is_empty() {
            self.handle(Event::SchemaRead(readings));
        }
        let passed: HashSet<u64> = results.iter().filter(|(_, probed)| probed.passed).map(|(id, _)| *id).collect();
        for endpoint in self.publisher.pools()[color].iter().flat_map(|pool| &pool.endpoints) {
            if passed.contains(&endpoint.id) {
                self.probers.passed_gate(endpoint);
            }
        }
        self.drop_leaving();
        if results.iter().all(|(_, probed)| probed.passed) {
            self.analysis.note_reached(color);
        }
        // Older fitness must not roll back the release that this round lets through.
        self.report_fitness();
        self.handle(Event::Probed(round, results.into_iter().map(|(_, probed)| probed).collect()));
    }

    /// `None` in a dry run: nothing moves.
    pub(super) fn warmer(&self, color: Color) -> Option<Warmer> {
        self.rollout.coming_share().map(|share| self.publisher.warmer(color, share))
    }

    /// Closes idle connections to a color that does not serve and is not about to: its application can stop at once,
    /// and the next gate makes its own.
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
        self.end_tick_early();
        let before = self.publisher.shares();
        self.prepare_lingering(decision);
        self.predecessors.close_idle();
        let retired = self.publisher.publish(&self.config, decision);
        self.drains.retire(retired);
        // Names may have changed since the last publish.
        self.probers.reconcile(self.publisher.pools().iter().flat_map(|(_, pools)| pools));
        for color in Color::ALL.into_iter().filter(|color| self.publisher.serves(*color)) {
            self.staging.withdraw(color);
        }
        self.drains.call_off(|color| self.publisher.serves(color));
        for color in Color::ALL {
            if before[color] == Weight::NONE && self.publisher.serves(color) {
                self.notices.takes_over(color, &self.publisher.meters().read());
            }
        }
    }
}
