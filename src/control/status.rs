//! Status and metrics of the controller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::AccessLog;
use crate::control::handle::{ColorStatus, DrainingStatus, EndpointStatus, FileProblem, PreviewStatus, Status};
use crate::control::spans::SpanCounts;
use crate::control::{Controller, way_back};
use crate::domain::analysis::{BUCKETS, Report};
use crate::domain::color::{Color, PerColor};
use crate::domain::rollout::{Moving, Phase, View, Waits};
use crate::domain::schema::{Barrier, Current, Safety};
use crate::domain::verdict::Class;
use crate::evidence::routes::{Route, RouteId};
use crate::proxy::clock;
use crate::sys::buffered;
use crate::sys::descriptors::{self, Usage};
use crate::telemetry::exposition::Format;
use crate::telemetry::meter::InFlight;
use crate::telemetry::metrics::{self, Facts, SpanFacts, StoreFacts};
use crate::tls::server::CertificateFacts;

#[derive(Debug)]
pub(super) struct Addresses {
    http: SocketAddr,
    https: Option<SocketAddr>,
    preview: Option<SocketAddr>,
}

impl Addresses {
    pub(super) fn new(http: SocketAddr, https: Option<SocketAddr>, preview: Option<SocketAddr>) -> Addresses {
        Addresses { http, https, preview }
    }
}

impl Controller {
    pub(super) fn status(&self) -> Status {
        let mut view = self.rollout.view();
        view.moving.iter_mut().for_each(|moving| self.add_check_progress(moving));
        // A removed ledger holds no decision.
        view.durable &= self.records.ledger().condition().whole;
        let readings = self.publisher.meters().read();
        let colors = PerColor::from_fn(|color| {
            let of_color = readings.iter().filter(|(of, _, _)| *of == color);
            let requests = of_color.map(|(_, _, reading)| reading.requests()).sum();
            let (requests_per_second, errors_per_second) = self.numbers.rates(color);
            ColorStatus {
                needs: self.needs(color),
                release: self.config.colors[color].release.clone(),
                endpoints: self.endpoints(color),
                in_flight: self.in_flight(color),
                requests,
                requests_per_second,
                errors_per_second,
            }
        });
        let preview = self.config.preview.as_ref().map(|preview| PreviewStatus {
            color: view.decision.active.other(),
            header: preview.header.clone(),
            host: preview.host.clone(),
            address: self.addresses.preview.map(|address| address.to_string()),
        });
        let mut status = Status {
            headline: Vec::new(),
            file_orders: self.config.state.file_orders,
            file_disagrees: self.file_disagrees(&view),
            linger: self.lingering(),
            draining: self.draining(&view),
            last_drain: self.drains.last().cloned(),
            way_back: way_back::way_back(&view, |color| colors[color].endpoints.clone()),
            maintained: self.records.maintained().cloned().filter(|_| view.decision.maintenance),
            known_good_in: view.known_good_at.map(|at| at.saturating_duration_since(Instant::now())),
            view,
            analysis: self.analysis.report(),
            waiting: self.publisher.waiting(),
            colors,
            config_error: self.file.error().map(|error| error.render(false)),
            config_path: self.file.shown_path(),
            http_address: self.addresses.http.to_string(),
            https_address: self.addresses.https.map(|address| address.to_string()),
            preview,
            certificates: self.certificates_in_force(),
            certificate_errors: self.certificates.errors().iter().map(ToString::to_string).collect(),
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.started.elapsed(),
            access_log_dropped: self.access_log.dropped(),
            problems: self.problems(),
            names: self.names.status(),
            sinks: self.notices.status(),
        };
        status.headline = self.headline(&status);
        status
    }

    /// In this process and in those before an upgrade.
    pub(super) fn in_flight(&self, color: Color) -> InFlight {
        let mut all = self.publisher.meters().in_flight(color);
        all += self.predecessors.left(color);
        all
    }

    /// The drain of this process, or of one before an upgrade.
    fn draining(&self, view: &View) -> Option<DrainingStatus> {
        let elsewhere = |color| self.predecessors.draining(color, self.config.drain.timeout);
        let (color, ends_in) = match self.drains.current() {
            Some(draining) => {
                let ends_in = draining.deadline().saturating_duration_since(Instant::now());
                (draining.color(), ends_in.max(elsewhere(draining.color()).unwrap_or_default()))
            }
            None => {
                let color = view.decision.active.other();
                (color, elsewhere(color).filter(|_| !view.decision.serves(color))?)
            }
        };
        Some(DrainingStatus { color, left: self.in_flight(color), ends_in })
    }

    /// Adds the progress of gate checks, which the core does not know.
    pub(super) fn add_check_progress(&self, moving: &mut Moving) {
        if let Some(progress) = self.check_progress().filter(|_| matches!(moving.waits, Waits::Checks(_))) {
            moving.waits_for = Some(progress.to_string());
            moving.waits = Waits::Checks(Some(progress));
        }
    }

    /// The file names another color than the serving one, and its `active` is an order.
    fn file_disagrees(&self, view: &View) -> bool {
        self.config.state.file_orders && view.file.active != view.decision.active
    }

    /// Unusable files. One that is repaired without a restart disappears.
    fn problems(&self) -> Vec<FileProblem> {
        let mut problems = Vec::new();
        let mut add = |setting: &str, path: &std::path::Path, reason: String| {
            problems.push(FileProblem { setting: setting.to_owned(), path: path.display().to_string(), reason });
        };
        let ledger = self.records.ledger().condition();
        if let Some(trouble) = ledger.trouble {
            add("state.dir", &self.config.state.dir, trouble);
        } else if let Some((at, loss)) = ledger.last_loss {
            let at = humantime::format_rfc3339_seconds(at);
            add("state.dir", &self.config.state.dir, format!("{loss}; the ledger was written anew at {at}"));
        }
        for error in self.certificates.errors() {
            let named = self.config.unusable.iter().find(|file| error.path.to_string_lossy() == file.path);
            add(named.map_or("tls", |file| &file.setting), &error.path, error.reason.clone());
        }
        let of_tls = |path: &str| self.certificates.errors().iter().any(|error| error.path.to_string_lossy() == path);
        for file in self.config.unusable.iter().filter(|file| !of_tls(&file.path)) {
            add(&file.setting, file.path.as_ref(), file.reason.clone());
        }
        if let (AccessLog::File(path), Some(trouble)) = (self.access_log.target(), self.access_log.trouble()) {
            add("log.access", &path, trouble);
        }
        problems
    }

    fn certificates_in_force(&self) -> Vec<CertificateFacts> {
        self.publisher.trusted().servers().flat_map(|server| server.certificates()).collect()
    }

    fn endpoints(&self, color: Color) -> Vec<EndpointStatus> {
        let pools = &self.publisher.pools()[color];
        let now = clock::millis(Instant::now());
        let endpoints = pools.iter().flat_map(|pool| pool.endpoints.iter().map(move |endpoint| (pool, endpoint)));
        endpoints
            .filter_map(|(pool, endpoint)| {
                let observation = self.probers.observation(endpoint.id)?;
                Some(EndpointStatus {
                    upstream: pool.upstream.to_string(),
                    endpoint: endpoint.name.to_string(),
                    leaving: endpoint.is_leaving(),
                    health: endpoint.health(),
                    starting: observation.starting(self.config.health.rise),
                    detail: observation.detail,
                    since: observation.since,
                    ejected_for: endpoint
                        .ejected_until(now)
                        .map(|until| Duration::from_millis(until.saturating_sub(now))),
                    answers_as: self.stated.of(endpoint.id),
                })
            })
            .collect()
    }

    pub(super) fn metrics(&self, format: Format) -> String {
        let view = self.rollout.view();
        let ledger = self.records.ledger().condition();
        let pools = self.publisher.pools();
        let facts = Facts {
            active: view.decision.active,
            releases: PerColor::from_fn(|color| self.config.colors[color].release.to_string()),
            shares: self.publisher.shares(),
            generation: view.decision.generation.0,
            since: view.decision.since,
            rollback_possible: way_back::way_back(&view, |color| self.endpoints(color)).possible,
            rollback_safe: match view.safety {
                Safety::Yes => 1,
                Safety::No(_) => 0,
                Safety::Unknown(_) => -1,
            },
            stores: store_facts(&view),
            durable: view.durable && ledger.whole,
            ledger_rewritten: ledger.rewritten,
            ledger_writable: ledger.whole && ledger.trouble.is_none(),
            frozen: view.decision.freeze.is_some(),
            quarantined: view.decision.quarantine.len(),
            unusable_files: self.problems().len(),
            evidence: evidence(self.analysis.report().as_ref()),
            events: self.publisher.routes().told().totals(),
            events_ignored: self.publisher.routes().told().ignored(),
            phase: match view.phase {
                Phase::Steady => "steady",
                Phase::Canary { .. } => "canary",
                Phase::Baking { .. } => "baking",
                Phase::Gating { .. } => "gating",
                Phase::Holding { .. } => "holding",
                Phase::Committing { .. } => "committing",
            },
            // First: each is in the counts that are read after it.
            exemplars: self.publisher.meters().exemplars(),
            readings: self.publisher.meters().read(),
            previews: self.publisher.meters().read_previews(),
            draining: self.draining(&view).map(|draining| (draining.color, draining.left)),
            endpoints: pools
                .iter()
                .flat_map(|(_, pools)| pools)
                .flat_map(|pool| pool.endpoints.iter().map(move |endpoint| (pool, endpoint)))
                .map(|(pool, endpoint)| {
                    (pool.color, Arc::clone(&pool.upstream), endpoint.name.to_string(), endpoint.health())
                })
                .collect(),
            ejected: self.ejected(),
            routes: self.route_latencies(),
            wrong_releases: self.wrong_releases(),
            names: self.names.status().into_iter().map(|name| (name.name, name.failure.is_none())).collect(),
            certificates: self
                .certificates_in_force()
                .into_iter()
                .map(|known| (known.name, known.path, known.not_after))
                .collect(),
            certificates_valid: self.certificates.errors().is_empty(),
            waiting: self.publisher.waiting(),
            maintenance: view.decision.maintenance,
            lingering: self.lingering().map(|linger| linger.color),
            open_connections: self.publisher.open_connections(),
            refused: self.publisher.refused(),
            buffered: [buffered::held(), buffered::limit()],
            descriptors: {
                let Usage { most, clients, endpoints } = descriptors::usage();
                [most, clients, endpoints].map(|count| count as u64)
            },
            config_valid: self.file.error().is_none(),
            config_valid_at: self.file.valid_at(),
            file_disagrees: self.file_disagrees(&view),
            access_log_dropped: self.access_log.dropped(),
            spans: {
                let SpanCounts { exported, rejected, unreachable } = self.spans.counts();
                SpanFacts { exported, dropped: [self.publisher.spans().dropped(), rejected, unreachable] }
            },
            sinks: self
                .notices
                .status()
                .into_iter()
                .map(|(name, sink)| (name, [sink.pending as u64, sink.failures, sink.dropped]))
                .collect(),
        };
        metrics::render(format, &facts, self.numbers.tallies())
    }
}

impl Controller {
    fn ejected(&self) -> Vec<(Color, Arc<str>, u64)> {
        let now = clock::millis(Instant::now());
        let pools = self.publisher.pools().iter().flat_map(|(_, pools)| pools);
        pools
            .map(|pool| {
                let out = pool.endpoints.iter().filter(|endpoint| endpoint.ejected_until(now).is_some());
                (pool.color, Arc::clone(&pool.upstream), out.count() as u64)
            })
            .collect()
    }

    fn route_latencies(&self) -> Vec<(Color, Arc<str>, [u64; BUCKETS])> {
        let routes = self.publisher.routes();
        let of_route = |(id, route): (RouteId, &Route)| {
            let name = route.name();
            Color::ALL.map(|color| (color, Arc::clone(&name), routes.latency_counts(id, color)))
        };
        routes.iter().flat_map(of_route).collect()
    }
}

/// The strongest evidence of each kind on any route, as odds to one.
fn evidence(report: Option<&Report>) -> [f64; 6] {
    let Some(report) = report else { return [0.0; 6] };
    let strongest = |wanted: fn(Class) -> bool| {
        let all = report.routes.iter().flat_map(|row| &row.evidence);
        all.filter(|of| wanted(of.class)).map(|of| of.odds).fold(0.0, f64::max)
    };
    [
        strongest(|class| class == Class::Error),
        strongest(|class| matches!(class, Class::SlowP50 | Class::SlowP90 | Class::SlowP99)),
        strongest(|class| class == Class::ClientError),
        strongest(|class| class == Class::Abort),
        report.cpu,
        report.events.iter().map(|of| of.odds).fold(0.0, f64::max),
    ]
}

fn store_facts(view: &View) -> Vec<StoreFacts> {
    let serving = view.decision.lineage.steps.last();
    let facts = |(store, current): (&String, &Current)| {
        let label = serving.and_then(|step| step.labels.get(store)).filter(|label| label.barrier != Barrier::None);
        StoreFacts {
            store: store.clone(),
            version: current.version.map(|version| version.0),
            probe_failed: current.failure.is_some(),
            barrier_passed: serving.zip(label).map(|(step, label)| step.has_passed(label, Some(current))),
        }
    };
    view.stores.iter().map(facts).collect()
}
