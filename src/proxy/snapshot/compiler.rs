//! From a configuration and a decision to a snapshot that shares unchanged parts with the one before.

mod counted;
mod evidence;
mod linger;
pub(in crate::proxy) mod pools;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::{Config, EndpointAddress, Sticky, UpstreamConfig, UpstreamProtocol};
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{DeploymentId, Mode};
use crate::domain::release::Release;
use crate::domain::schema::Barrier;
use crate::domain::split::Split;
use crate::domain::transition::Decision;
use crate::evidence::routes::{AppEvent, Routes};
use crate::proxy::notice::Notice;
use crate::proxy::pool::name::Resolution;
use crate::proxy::pool::stated::{Stated, WrongRelease};
use crate::proxy::pool::{Pool, Rules};
use crate::proxy::snapshot::admission::{Admission, Admissions, Limit, Timeouts};
use crate::proxy::snapshot::door::Door;
use crate::proxy::snapshot::first_write::{FirstWrite, FirstWriteSeen};
use crate::proxy::snapshot::ignored::Ignored;
use crate::proxy::snapshot::lease::Epoch;
use crate::proxy::snapshot::mark::Mark;
use crate::proxy::snapshot::preview::Preview;
use crate::proxy::snapshot::split::Splitting;
use crate::proxy::snapshot::trust::Trust;
use crate::proxy::snapshot::{Edge, Snapshot};
use crate::telemetry::meter::{Meter, Meters, Purpose};

#[derive(Debug, Default)]
struct Epochs {
    open: Option<Arc<Epoch>>,
    closed: Vec<Arc<Epoch>>,
}

#[derive(Debug)]
pub(crate) struct Compiler {
    workers: usize,
    meters: Arc<Meters>,
    pools: PerColor<Vec<Arc<Pool>>>,
    /// Pools of earlier snapshots, kept while requests hold them: the last request would free them on its worker.
    former: Vec<Arc<Pool>>,
    names: BTreeMap<EndpointAddress, Arc<Resolution>>,
    before: PerColor<evidence::Before>,
    limits: BTreeMap<(Purpose, Arc<str>), Arc<Limit>>,
    epochs: PerColor<Epochs>,
    next_epoch: u64,
    /// The end of a hold, while requests are held.
    held: Option<Instant>,
    trust: Trust,
    /// The index of each upstream in tables of workers. Previews have their own.
    numbers: BTreeMap<(Purpose, Arc<str>), usize>,
    first_write: PerColor<Option<Arc<FirstWrite>>>,
    routes: Arc<Routes>,
    made: Option<table::Made>,
    /// As configured when this deployment began: no reload moves a user.
    sticky: Option<(DeploymentId, Sticky)>,
    /// The idle color that is asked for old files, and whether any are asked for.
    lingering: Option<Color>,
    lingers: bool,
    events: Option<Arc<[Arc<AppEvent>]>>,
    /// Nothing was compiled yet, so a present deployment began in a process before this one.
    is_new: bool,
    wrong_releases: mpsc::UnboundedSender<WrongRelease>,
    first_writes: mpsc::UnboundedSender<FirstWriteSeen>,
    first_writes_seen: Option<mpsc::UnboundedReceiver<FirstWriteSeen>>,
}

impl Compiler {
    /// `wrong_releases` is told of answers that name another release than the label.
    pub(crate) fn new(
        meters: Arc<Meters>,
        routes: Arc<Routes>,
        wrong_releases: mpsc::UnboundedSender<WrongRelease>,
    ) -> Compiler {
        let (first_writes, seen) = mpsc::unbounded_channel();
        Compiler {
            workers: meters.workers(),
            meters,
            pools: PerColor::default(),
            former: Vec::new(),
            names: BTreeMap::new(),
            before: PerColor::default(),
            limits: BTreeMap::new(),
            epochs: PerColor::default(),
            next_epoch: 1,
            held: None,
            trust: Trust::default(),
            numbers: BTreeMap::new(),
            first_write: PerColor::default(),
            routes,
            made: None,
            sticky: None,
            lingering: None,
            lingers: false,
            events: None,
            is_new: true,
            wrong_releases,
            first_writes,
            first_writes_seen: Some(seen),
        }
    }

    pub(crate) fn first_writes(&mut self) -> Option<mpsc::UnboundedReceiver<FirstWriteSeen>> {
        self.first_writes_seen.take()
    }

    /// `None` unless the labels of the serving release say so. A release that serves on keeps its object.
    fn first_write_of(&self, config: &Config, color: Color, release: &Release) -> Option<Arc<FirstWrite>> {
        let deployed = &config.colors[color];
        let is_barrier = deployed.schema.values().any(|label| label.barrier == Barrier::FirstWrite);
        if !is_barrier || deployed.release != *release {
            return None;
        }
        let release = release.as_str();
        let known = self.first_write[color].as_ref().filter(|known| &*known.release == release);
        Some(known.cloned().unwrap_or_else(|| Arc::new(FirstWrite::new(release.into(), self.first_writes.clone()))))
    }

    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(crate) fn set_trust(&mut self, trust: Trust) {
        self.trust = trust;
    }

    pub(crate) fn hold(&mut self, until: Option<Instant>) {
        self.held = until;
    }

    pub(crate) fn pools(&self) -> &PerColor<Vec<Arc<Pool>>> {
        &self.pools
    }

    /// Closes the open epoch of a color, and returns all of its epochs that still have leases.
    pub(crate) fn retire(&mut self, color: Color) -> Vec<Arc<Epoch>> {
        let Epochs { open, closed } = &mut self.epochs[color];
        closed.extend(open.take());
        closed.retain(|epoch| !epoch.is_over());
        closed.clone()
    }

    fn open(&mut self, color: Color) -> Arc<Epoch> {
        let open = self.epochs[color].open.get_or_insert_with(|| {
            self.next_epoch += 1;
            Epoch::new(self.next_epoch)
        });
        Arc::clone(open)
    }

    /// Brings the parts that outlive a snapshot up to date, and then makes the admissions of each color from them. An
    /// admission has a lease, so a color without requests gets none.
    pub(crate) fn compile(&mut self, config: &Config, decision: &Decision) -> Snapshot {
        let door = self.door(config, decision);
        self.renew_pools(config, decision);
        self.limits = self.limits_of(config);
        self.number_upstreams(config);
        self.lingers = self.lingers(config, decision, &door);
        self.events = self.events_of(config);
        self.first_write = PerColor::from_fn(|color| {
            let release = decision.release_on(color).filter(|_| decision.serves(color))?;
            self.first_write_of(config, color, release)
        });

        let sticky = self.sticky_of(config, decision);
        let (admissions, split) = self.traffic(config, decision, &door, sticky);
        let preview = self.preview(config, decision, &door);
        let linger = self.lingering(config, decision);

        let counts = config.canary.mode != Mode::Off || config.bake.mode != Mode::Off;
        let counted = (counts && !config.canary.routes.is_empty()).then(|| self.counted(config));
        let routes = self.table(config, counts);
        let ignored = if counts { Ignored::new(&config.analysis.ignore) } else { None };
        let (active, edge) = (decision.active, edge(config));
        Snapshot { active, edge, routes, counted, ignored, door, admissions, split, preview, linger }
    }

    /// Unchanged pools and endpoints stay the same objects.
    fn renew_pools(&mut self, config: &Config, decision: &Decision) {
        self.names = self.names_of(config);
        let pools = PerColor::from_fn(|color| {
            let pool = |(name, policy): (&String, &UpstreamConfig)| {
                let addresses = config.colors[color].pools.get(name)?;
                Some(self.pool(color, &name.as_str().into(), addresses, self.rules(name, policy)))
            };
            config.upstreams.iter().filter_map(pool).collect()
        });
        let before = std::mem::replace(&mut self.pools, pools);
        self.retire_endpoints(&before);
        self.keep_former(&before);
        self.renew_endpoints(config, decision);
    }

    fn rules(&self, upstream: &str, policy: &UpstreamConfig) -> Rules {
        Rules {
            balance: policy.balance,
            eject: policy.eject,
            slow_start: policy.slow_start,
            http2: policy.protocol == UpstreamProtocol::Http2,
            tls: self.trust.upstream(upstream),
            ping_timeout: policy.ping_timeout,
            max_response_headers: policy.max_response_headers,
            max_response_header_bytes: policy.max_response_header_bytes,
        }
    }

    fn number_upstreams(&mut self, config: &Config) {
        for name in config.upstreams.keys() {
            for purpose in [Purpose::Ordinary, Purpose::Preview] {
                let next = self.numbers.len();
                self.numbers.entry((purpose, name.as_str().into())).or_insert(next);
            }
        }
    }

    /// The admissions of the active color, and those of the other color while both serve.
    fn traffic(
        &mut self,
        config: &Config,
        decision: &Decision,
        door: &Door,
        sticky: Sticky,
    ) -> (Admissions, Option<Box<Splitting>>) {
        if !matches!(door, Door::Open) {
            return (Box::default(), None);
        }
        let mut serve = |color: Color| {
            let release = decision.release_on(color).unwrap_or(&config.colors[color].release).as_str().into();
            self.admissions(config, decision, &Serving { color, release, mark: None })
        };
        let admissions = serve(decision.active);
        let other = decision.split().map(|split| (split, serve(decision.active.other())));
        (admissions, other.map(|(split, other)| Box::new(Splitting { split, sticky, other })))
    }

    fn preview(&mut self, config: &Config, decision: &Decision, door: &Door) -> Option<Box<Preview>> {
        let preview = config.preview.as_ref()?;
        let color = decision.active.other();
        let release = config.colors[color].release.as_str().into();
        let shown = Serving { color, release, mark: Some(Arc::new(Mark::new(preview, color))) };
        let admissions = match door {
            Door::Open | Door::Maintenance(_) => self.admissions(config, decision, &shown),
            Door::Held { .. } => Box::default(),
        };
        Some(Box::new(Preview::new(preview, decision.active, admissions)))
    }

    /// Maintenance goes before a hold, and answers held requests as well.
    fn door(&self, config: &Config, decision: &Decision) -> Door {
        let maintenance = &config.maintenance;
        match self.held {
            _ if decision.maintenance => Door::Maintenance(Arc::new(Notice {
                status: maintenance.status,
                retry_after: maintenance.retry_after,
                page: maintenance.page.clone(),
            })),
            Some(until) => Door::Held { until, limits: config.hold },
            None => Door::Open,
        }
    }

    /// Both colors have the same upstreams, in the same order.
    fn admissions(&mut self, config: &Config, decision: &Decision, serving: &Serving) -> Admissions {
        let Serving { color, release, mark } = serving;
        let purpose = if mark.is_some() { Purpose::Preview } else { Purpose::Ordinary };
        let epoch = self.open(*color);
        let is_watched = decision.split().is_some_and(|Split { candidate, .. }| candidate == *color);
        let shield = (is_watched && config.canary.shield).then_some(config.canary.shield_budget);
        let header = config.health.release_header.as_deref().filter(|_| purpose == Purpose::Ordinary);
        let stated =
            header.map(|header| Arc::new(Stated::new(header, Arc::clone(release), self.wrong_releases.clone())));
        let upstreams = self.pools[*color].iter().map(|pool| {
            let policy = &config.upstreams[&*pool.upstream];
            let key = (purpose, Arc::clone(&pool.upstream));
            let meters = self.meters.of(purpose, *color, &pool.upstream);
            // The other color's series exist from the start as well.
            self.meters.of(purpose, color.other(), &pool.upstream);
            let admission = |meter: &Arc<Meter>| {
                Arc::new(Admission {
                    lease: epoch.lease(),
                    pool: Arc::clone(pool),
                    timeouts: Timeouts {
                        connect_timeout: policy.connect_timeout,
                        response_timeout: policy.response_timeout,
                        idle_timeout: policy.idle_timeout,
                        stream_idle_timeout: policy.stream_idle_timeout,
                    },
                    number: self.numbers[&key],
                    limit: self.limits.get(&key).cloned(),
                    meter: Arc::clone(meter),
                    generation: decision.generation.0,
                    release: Arc::clone(release),
                    // For the color of the forced move, not for a canary beside it.
                    by_force: decision.by_force && purpose == Purpose::Ordinary && *color == decision.active,
                    // A tester's write is no write of the serving release.
                    first_write: self.first_write[*color].clone().filter(|_| purpose == Purpose::Ordinary),
                    stated: stated.clone(),
                    events: self.events.clone().filter(|_| purpose == Purpose::Ordinary),
                    preview: mark.clone(),
                    shield: shield.filter(|_| purpose == Purpose::Ordinary),
                    lingers: self.lingers && purpose == Purpose::Ordinary,
                })
            };
            meters.iter().map(admission).collect()
        });
        upstreams.collect()
    }

    /// Taken places stay taken; a changed maximum holds at once.
    fn limits_of(&self, config: &Config) -> BTreeMap<(Purpose, Arc<str>), Arc<Limit>> {
        let mut limits = BTreeMap::new();
        for (name, max) in config.upstreams.iter().filter_map(|(name, policy)| Some((name, policy.max_in_flight?))) {
            for purpose in [Purpose::Ordinary, Purpose::Preview] {
                let key = (purpose, name.as_str().into());
                let limit = self.limits.get(&key).map_or_else(|| Arc::new(Limit::new(max)), Arc::clone);
                limit.set_max(max);
                limits.insert(key, limit);
            }
        }
        limits
    }
}

struct Serving {
    color: Color,
    release: Arc<str>,
    mark: Option<Arc<Mark>>,
}

fn edge(config: &Config) -> Edge {
    let listen = &config.listen;
    Edge {
        idle_timeout: listen.idle_timeout,
        header_timeout: listen.header_timeout,
        max_header_bytes: listen.max_header_bytes,
        max_body: listen.max_body,
        max_connections: listen.max_connections,
        max_concurrent_streams: listen.max_concurrent_streams,
        max_connections_per_client: listen.max_connections_per_client,
        trusted_proxies: listen.trusted_proxies.clone().into(),
        readiness_path: config.readiness.path.as_deref().map(Into::into),
        fail_without_endpoints: config.readiness.fail_without_endpoints,
        proxy_protocol: listen.proxy_protocol.clone().into(),
        https_redirect: listen.https_redirect.map(|redirect| redirect.port),
        handshake_timeout: config.tls.as_ref().map_or(Duration::ZERO, |tls| tls.handshake_timeout),
        retry: config.retry,
        trace: config.trace.rules(),
        via: config.headers.via,
    }
}

#[cfg(test)]
mod tests;
