//! Endpoints that answer as another release than their label: reported at begin and end, and shown meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::control::Controller;
use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::notify::event::Stated;
use crate::proxy::clock;
use crate::proxy::pool::stated::WrongRelease;
use crate::proxy::pool::{Endpoint, Pool};
use crate::telemetry::log_rate::LogRate;

/// Milliseconds of right responses without a wrong one that end it.
const QUIET: u64 = 2_000;

#[derive(Debug, Default)]
pub(super) struct StatedReleases {
    wrong: BTreeMap<u64, Wrong>,
}

#[derive(Debug)]
struct Wrong {
    endpoint: Arc<Endpoint>,
    stated: Stated,
    since: SystemTime,
}

impl StatedReleases {
    /// The release that an endpoint names instead of its label, and since when.
    pub(super) fn of(&self, endpoint: u64) -> Option<(String, SystemTime)> {
        self.wrong.get(&endpoint).map(|wrong| (wrong.stated.says.clone(), wrong.since))
    }
}

impl Controller {
    pub(super) fn wrong_release(&mut self, WrongRelease { endpoint, label, says }: WrongRelease) {
        let found = self.serving_endpoints().find(|(_, endpoint_of)| endpoint_of.id == endpoint);
        let Some((pool, endpoint)) = found.map(|(pool, endpoint)| (Arc::clone(pool), Arc::clone(endpoint))) else {
            return;
        };
        // The request may have been admitted under an earlier label.
        if self.config.colors[pool.color].release.as_str() == &*label && says != *label {
            self.note_wrong(&pool, &endpoint, says);
        }
    }

    /// Checks the last probes, and ends reports.
    pub(super) fn compare_stated_releases(&mut self) {
        if self.config.health.release_header.is_none() {
            return self.stated.wrong.clear();
        }
        let now = clock::millis(Instant::now());
        let mut found = Vec::new();
        for (pool, endpoint) in self.serving_endpoints() {
            let said = self.probers.observation(endpoint.id).and_then(|observation| observation.release);
            match said {
                Some(said) if said == self.config.colors[pool.color].release.as_str() => {
                    endpoint.stated.note_right(now)
                }
                Some(said) => {
                    endpoint.stated.note_wrong(now);
                    found.push((Arc::clone(pool), Arc::clone(endpoint), said));
                }
                None => {}
            }
        }
        for (pool, endpoint, said) in found {
            self.note_wrong(&pool, &endpoint, said);
        }
        let serving: HashMap<u64, Release> = self
            .serving_endpoints()
            .map(|(pool, endpoint)| (endpoint.id, self.config.colors[pool.color].release.clone()))
            .collect();
        let mut over = Vec::new();
        self.stated.wrong.retain(|id, wrong| {
            let Some(label) = serving.get(id) else {
                wrong.endpoint.stated.forget();
                return false;
            };
            let is_over =
                wrong.stated.says == label.as_str() || wrong.endpoint.stated.is_right_again(now.saturating_sub(QUIET));
            if is_over {
                wrong.endpoint.stated.forget();
                over.push(Stated { label: label.clone(), ..wrong.stated.clone() });
            }
            !is_over
        });
        for stated in over {
            self.report_stated(false, &stated);
        }
    }

    pub(super) fn wrong_releases(&self) -> Vec<(Color, Arc<str>, String, bool)> {
        if self.config.health.release_header.is_none() {
            return Vec::new();
        }
        let all = self.serving_endpoints();
        let is_wrong = |endpoint: &Endpoint| self.stated.wrong.contains_key(&endpoint.id);
        all.map(|(pool, endpoint)| {
            (pool.color, Arc::clone(&pool.upstream), endpoint.name.to_string(), is_wrong(endpoint))
        })
        .collect()
    }

    fn serving_endpoints(&self) -> impl Iterator<Item = (&Arc<Pool>, &Arc<Endpoint>)> {
        let serving = Color::ALL.into_iter().filter(|color| self.publisher.serves(*color));
        let pools = serving.flat_map(|color| &self.publisher.pools()[color]);
        pools.flat_map(|pool| pool.endpoints.iter().map(move |endpoint| (pool, endpoint)))
    }

    fn note_wrong(&mut self, pool: &Pool, endpoint: &Arc<Endpoint>, says: String) {
        if let Some(known) = self.stated.wrong.get_mut(&endpoint.id).filter(|known| known.stated.says == says) {
            known.endpoint = Arc::clone(endpoint);
            return;
        }
        let stated = Stated {
            color: pool.color,
            upstream: pool.upstream.to_string(),
            endpoint: endpoint.name.to_string(),
            label: self.config.colors[pool.color].release.clone(),
            says,
        };
        self.report_stated(true, &stated);
        let wrong = Wrong { endpoint: Arc::clone(endpoint), stated, since: SystemTime::now() };
        self.stated.wrong.insert(endpoint.id, wrong);
    }

    fn report_stated(&mut self, wrong: bool, stated: &Stated) {
        static TOLD: LogRate = LogRate::new(10, Duration::from_secs(10));
        let Stated { color, upstream, endpoint, label, says } = stated;
        TOLD.say(|suppressed| {
            if wrong {
                tracing::error!(%color, upstream, endpoint, release = %label, answers_as = says, suppressed, "Endpoint answers as another release");
            } else {
                tracing::info!(%color, upstream, endpoint, release = %label, suppressed, "Endpoint answers as its label again");
            }
        });
        self.notify_release(wrong, stated);
    }
}
