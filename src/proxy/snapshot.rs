//! Everything that one request needs to know, immutable: which color is live, the routes, the pools, the limits.
//!
//! A snapshot is compiled from the configuration and the decision and published as a whole, so a request can never see
//! half of a switch. What did not change between two snapshots is shared by both: endpoints with their health and
//! connections, pools, meters.

mod counted;
mod door;
mod evidence;
pub(crate) mod first_write;
mod ignored;
pub(crate) mod lease;
pub(crate) mod linger;
mod pools;
pub(crate) mod preview;
pub(crate) mod route;
pub(crate) mod split;
pub(crate) mod trust;
pub(crate) mod visitor;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::mpsc;

use crate::config::{
    Config, EndpointAddress, HoldConfig, HostPattern, RetryConfig, RouteConfig, Sticky, UpstreamConfig,
    UpstreamProtocol,
};
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{DeploymentId, Mode};
use crate::domain::health::Health;
use crate::domain::release::Release;
use crate::domain::schema::Barrier;
use crate::domain::split::{Split, Weight};
use crate::domain::transition::Decision;
use crate::evidence::metering::Counted;
use crate::evidence::routes::{AppEvent, RouteId, Routes};
use crate::proxy::error::ProxyError;
use crate::proxy::notice::Notice;
use crate::proxy::pool::name::Resolution;
use crate::proxy::pool::stated::{Stated, WrongRelease};
use crate::proxy::pool::{Pool, Rules};
use crate::proxy::snapshot::door::Door;
use crate::proxy::snapshot::first_write::{FirstWrite, FirstWriteSeen};
use crate::proxy::snapshot::ignored::Ignored;
use crate::proxy::snapshot::lease::{Epoch, Lease};
use crate::proxy::snapshot::linger::Linger;
use crate::proxy::snapshot::preview::{Mark, Preview};
use crate::proxy::snapshot::route::{Paths, RouteTable, UpstreamIndex};
use crate::proxy::snapshot::split::{Draw, Granted, Splitting};
use crate::proxy::snapshot::trust::Trust;
use crate::telemetry::meter::{Meter, Meters, Purpose};

/// One published state of the world.
#[derive(Debug)]
pub struct Snapshot {
    /// The color that serves.
    pub active: Color,
    pub(crate) edge: Edge,
    routes: RouteTable<Target>,
    /// Of paths that are counted on their own, whatever the host and the upstream.
    counted: Option<Paths<RouteId>>,
    /// Requests that are no evidence; `None`: all are.
    ignored: Option<Box<Ignored>>,
    door: Door,
    /// Of the live color. Empty unless the door is open: who is not admitted holds nothing of a color.
    admissions: Admissions,
    /// The other color gets requests, too. `None` as well while the door is not open.
    split: Option<Box<Splitting>>,
    /// The other color, for those who may look at it.
    pub(crate) preview: Option<Box<Preview>>,
    /// Files of the other color's release are asked for.
    pub(crate) linger: Option<Box<Linger>>,
}

/// Where a route leads to.
#[derive(Clone, Copy, Debug, Default)]
struct Target {
    upstream: UpstreamIndex,
    counted: Counted,
}

/// By upstream, then by worker: one color's side of each upstream.
pub(crate) type Admissions = Box<[Box<[Arc<Admission>]>]>;

/// The limits and rules at the client's side.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) idle_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) max_header_bytes: usize,
    pub(crate) max_body: Option<u64>,
    pub(crate) max_connections: usize,
    /// Of one HTTP/2 connection of a client, at the same time.
    pub(crate) max_concurrent_streams: usize,
    pub(crate) max_connections_per_client: Option<usize>,
    pub(crate) trusted_proxies: Box<[IpNet]>,
    pub(crate) readiness_path: Option<Box<str>>,
    pub(crate) fail_without_endpoints: bool,
    pub(crate) proxy_protocol: Box<[IpNet]>,
    pub(crate) https_redirect: Option<u16>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) retry: RetryConfig,
    /// Requests and responses get a `Via` field.
    pub(crate) via: bool,
}

/// What a worker needs to serve a request on one color of one upstream. A request keeps it to its last byte, and with
/// it the lease.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) lease: Lease,
    pub(crate) pool: Arc<Pool>,
    pub(crate) policy: Policy,
    /// Of the upstream, where workers keep something by upstream.
    pub(crate) number: usize,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) generation: u64,
    pub(crate) release: Arc<str>,
    /// Endpoints are asked also while no check of any passes: somebody knows better.
    pub(crate) by_force: bool,
    /// Where the release can be taken back only until its first write.
    pub(crate) first_write: Option<Arc<FirstWrite>>,
    /// Where answers say which release they are of.
    pub(crate) stated: Option<Arc<Stated>>,
    /// What its answers may tell; `None`: nothing is listened to.
    pub(crate) events: Option<Arc<[Arc<AppEvent>]>>,
    /// The color does not serve; what answers have to say then.
    pub(crate) preview: Option<Arc<Mark>>,
    /// What fails here may be asked again of the other color, and at most so much of it.
    pub(crate) shield: Option<Weight>,
    /// What is not here may be asked of the other color.
    pub(crate) lingers: bool,
}

/// The timeouts of one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) stream_idle_timeout: Duration,
}

/// `max_in_flight` of one upstream, over all workers. Exact, and so shared between cores; only where it is configured.
#[derive(Debug)]
pub(crate) struct Limit {
    max: AtomicU64,
    taken: AtomicU64,
}

/// A place under a [`Limit`].
#[derive(Debug)]
pub(crate) struct Place(Arc<Limit>);

impl Limit {
    pub(crate) fn new(max: u64) -> Limit {
        Limit { max: AtomicU64::new(max), taken: AtomicU64::new(0) }
    }

    /// Takes a place, if there is one.
    pub(crate) fn take(self: &Arc<Limit>) -> Option<Place> {
        let max = self.max.load(Ordering::Relaxed);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < max).then_some(taken + 1))
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Snapshot {
    /// Route, color, and a hold on both: the whole decision about one request, without a lock, an allocation or an
    /// await. The clone of the admission is the request's lease. `None`: it has to wait, see [`Snapshot::held`]. Nobody
    /// draws where only one color serves.
    pub(crate) fn admit(
        &self,
        worker: usize,
        host: &str,
        path: &str,
        draw: impl FnOnce(&Splitting) -> Draw,
    ) -> Result<Option<Granted>, ProxyError> {
        let target = self.routes.find(host, path).ok_or_else(ProxyError::no_route)?;
        let (mut admissions, mut user, mut visitor) = (&self.admissions, None, None);
        if let Some(splitting) = &self.split {
            let draw = draw(splitting);
            user = draw.user;
            visitor = splitting.new_visitor(draw);
            if splitting.color(draw) != self.active {
                admissions = &splitting.other;
            }
        }
        // The bounds have to be checked anyway, so the door costs nothing where it is open.
        let Some(admissions) = admissions.get(target.upstream) else { return self.turned_away() };
        let counted = match &self.counted {
            Some(paths) => paths.find(path).map_or(target.counted, Counted::Route),
            None => target.counted,
        };
        Ok(Some(Granted { admission: Arc::clone(&admissions[worker]), counted, user, visitor }))
    }

    /// The way in of a request that may look at the color that does not serve. In maintenance it may, but it waits with
    /// all the others: what runs without overlap must not find it there.
    pub(crate) fn admit_to(
        &self,
        preview: &Preview,
        worker: usize,
        host: &str,
        path: &str,
    ) -> Result<Option<Granted>, ProxyError> {
        let upstream = self.routes.find(host, path).ok_or_else(ProxyError::no_route)?.upstream;
        // While requests are held it has none, so that it holds nothing of a color.
        let Some(admissions) = preview.admissions.get(upstream) else { return Ok(None) };
        let admission = Arc::clone(&admissions[worker]);
        Ok(Some(Granted { admission, counted: Counted::Not, user: None, visitor: None }))
    }

    #[cold]
    fn turned_away(&self) -> Result<Option<Granted>, ProxyError> {
        match &self.door {
            Door::Open | Door::Held { .. } => Ok(None),
            Door::Maintenance(notice) => Err(ProxyError::maintenance(notice)),
        }
    }

    /// Requests wait: until when at most, and within which bounds.
    pub(crate) fn held(&self) -> Option<(Instant, HoldConfig)> {
        match &self.door {
            Door::Held { until, limits } => Some((*until, *limits)),
            Door::Open | Door::Maintenance(_) => None,
        }
    }

    /// What the readiness path says, as far as requests are served.
    pub(crate) fn is_ready(&self) -> bool {
        self.held().is_none_or(|(_, limits)| limits.ready) && !(self.edge.fail_without_endpoints && self.has_nobody())
    }

    /// No endpoint of the color that serves is up. What serves by force is asked all the same.
    fn has_nobody(&self) -> bool {
        let mut each = self.admissions.iter().filter_map(|workers| workers.first());
        let is_dead = |admission: &Arc<Admission>| {
            !admission.by_force && admission.pool.endpoints.iter().all(|endpoint| endpoint.health() == Health::Down)
        };
        matches!(self.door, Door::Open) && each.all(is_dead)
    }

    /// [`Snapshot::admit`] and the choice of an endpoint, for the bench; the index of the endpoint in its pool.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn admit_for_bench(&self, worker: usize, host: &str, path: &str, draw: u64) -> Option<usize> {
        let granted = self.admit(worker, host, path, |splitting| splitting.by_chance()).ok()??;
        granted.admission.pool.pick(worker, draw, 1, &[])
    }
}

/// The epochs of one color.
#[derive(Debug, Default)]
struct Epochs {
    /// What begins now belongs to this one.
    open: Option<Arc<Epoch>>,
    /// What began before the color was retired; over, or not drained yet.
    closed: Vec<Arc<Epoch>>,
}

/// Makes snapshots, and remembers what the next one can reuse.
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
    /// Until when requests are held, if they are.
    held: Option<Instant>,
    trust: Trust,
    /// Each upstream's place in what workers keep by upstream. Previews take nothing from the others.
    numbers: BTreeMap<(Purpose, Arc<str>), usize>,
    /// Of each release that serves, where somebody waits for it.
    first_write: PerColor<Option<Arc<FirstWrite>>>,
    routes: Arc<Routes>,
    /// What keeps users on a color, as it was when this deployment began: no reload moves them.
    sticky: Option<(DeploymentId, Sticky)>,
    /// Which color that does not serve is asked for its files, and whether files linger at all.
    lingering: Option<Color>,
    lingers: bool,
    /// What answers may tell.
    events: Option<Arc<[Arc<AppEvent>]>>,
    /// Nothing was compiled yet: a deployment that is there goes on from a process before this one.
    is_new: bool,
    wrong_releases: mpsc::UnboundedSender<WrongRelease>,
    first_writes: mpsc::UnboundedSender<FirstWriteSeen>,
    first_writes_seen: Option<mpsc::UnboundedReceiver<FirstWriteSeen>>,
}

impl Compiler {
    /// Answers that name another release than the label are told to `wrong_releases`.
    pub(crate) fn new(
        workers: usize,
        routes: Arc<Routes>,
        wrong_releases: mpsc::UnboundedSender<WrongRelease>,
    ) -> Compiler {
        let (first_writes, seen) = mpsc::unbounded_channel();
        Compiler {
            workers,
            meters: Arc::new(Meters::new(workers)),
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

    /// Where first writes are told; for the first who asks.
    pub(crate) fn first_writes(&mut self) -> Option<mpsc::UnboundedReceiver<FirstWriteSeen>> {
        self.first_writes_seen.take()
    }

    /// What waits for the first write of a release that serves, if its labels say so. One that goes on serving keeps
    /// it.
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

    /// What the next snapshots are to trust.
    pub(crate) fn set_trust(&mut self, trust: Trust) {
        self.trust = trust;
    }

    /// Until when the next snapshots are to hold requests.
    pub(crate) fn hold(&mut self, until: Option<Instant>) {
        self.held = until;
    }

    pub(crate) fn pools(&self) -> &PerColor<Vec<Arc<Pool>>> {
        &self.pools
    }

    /// Everything that is under way on a color, also what began before it served; what begins from now on is not in it.
    pub(crate) fn retire(&mut self, color: Color) -> Vec<Arc<Epoch>> {
        let Epochs { open, closed } = &mut self.epochs[color];
        closed.extend(open.take());
        // A color that served before it was drained has something left of that time.
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

    /// Compiles the configuration and the decision.
    pub(crate) fn compile(&mut self, config: &Config, decision: &Decision) -> Snapshot {
        let names: Vec<Arc<str>> = config.upstreams.keys().map(|name| name.as_str().into()).collect();
        self.names = self.names_of(config);
        let pools = PerColor::from_fn(|color| {
            let pool = |(name, policy): (&Arc<str>, &UpstreamConfig)| {
                let addresses = config.colors[color].pools.get(&**name)?;
                let rules = Rules {
                    balance: policy.balance,
                    eject: policy.eject,
                    slow_start: policy.slow_start,
                    http2: policy.protocol == UpstreamProtocol::Http2,
                    tls: self.trust.upstream(name),
                    ping_timeout: policy.ping_timeout,
                    max_response_headers: policy.max_response_headers,
                    max_response_header_bytes: policy.max_response_header_bytes,
                };
                Some(self.pool(color, name, addresses, rules))
            };
            names.iter().zip(config.upstreams.values()).filter_map(pool).collect()
        });
        let before = std::mem::replace(&mut self.pools, pools);
        self.retire_endpoints(&before);
        self.keep_former(&before);
        self.renew_endpoints(config, decision);
        self.limits = self.limits_of(config);

        for name in &names {
            for purpose in [Purpose::Ordinary, Purpose::Preview] {
                let next = self.numbers.len();
                self.numbers.entry((purpose, Arc::clone(name))).or_insert(next);
            }
        }
        let active = decision.active;
        let door = self.door(config, decision);
        self.lingers = self.lingers(config, decision, &door);
        self.events = self.events_of(config);
        self.first_write = PerColor::from_fn(|color| {
            let release = decision.release_on(color).filter(|_| decision.serves(color))?;
            self.first_write_of(config, color, release)
        });
        let mut serve = |color: Color| {
            let release = decision.release_on(color).unwrap_or(&config.colors[color].release).as_str().into();
            self.admissions(config, decision, &Serving { color, release, mark: None })
        };
        let (admissions, other) = match door {
            Door::Open => (serve(active), decision.split().map(|split| (split, serve(active.other())))),
            Door::Held { .. } | Door::Maintenance(_) => (Box::default(), None),
        };
        let sticky = self.sticky_of(config, decision);
        let split = other.map(|(split, other)| Box::new(Splitting { split, sticky, other }));
        let preview = config.preview.as_ref().map(|preview| {
            let color = active.other();
            let release = config.colors[color].release.as_str().into();
            let shown = Serving { color, release, mark: Some(Preview::mark(preview, color)) };
            let admissions = match door {
                Door::Open | Door::Maintenance(_) => self.admissions(config, decision, &shown),
                Door::Held { .. } => Box::default(),
            };
            Box::new(Preview::new(preview, active, admissions))
        });
        let linger = self.lingering(config, decision);
        let counts = config.canary.mode != Mode::Off || config.bake.mode != Mode::Off;
        let counted = (counts && !config.canary.routes.is_empty()).then(|| self.counted(config));
        let (routes, edge) = (self.table(config, counts), edge(config));
        let ignored = if counts { Ignored::new(&config.analysis.ignore) } else { None };
        Snapshot { active, edge, routes, counted, ignored, door, admissions, split, preview, linger }
    }

    /// Where requests go, and what they are counted under. Numbers are given to the paths of `canary.routes` first.
    fn table(&self, config: &Config, counts: bool) -> RouteTable<Target> {
        let index_of = |name: &str| {
            let found = self.pools[Color::Blue].iter().position(|pool| &*pool.upstream == name);
            found.expect("a valid configuration has a pool for every route, in both colors")
        };
        let counted = |route: &RouteConfig| {
            let path = route.path.trim_end_matches('/');
            match &route.host {
                _ if !counts => Counted::Not,
                _ if path.is_empty() => Counted::Segment,
                HostPattern::Any => Counted::Route(self.routes.configured(path)),
                HostPattern::Exact(name) => Counted::Route(self.routes.configured(&format!("{name}{path}"))),
                HostPattern::Below(name) => Counted::Route(self.routes.configured(&format!("*.{name}{path}"))),
            }
        };
        // Without routes everything goes to `default`, wherever that stands in the list.
        let default = [RouteConfig { host: HostPattern::Any, path: "/".to_owned(), upstream: "default".to_owned() }];
        let routes = if config.routes.is_empty() { &default[..] } else { &config.routes };
        RouteTable::new(routes, |route| Target { upstream: index_of(&route.upstream), counted: counted(route) })
    }

    /// Maintenance answers at once, also those that wait.
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

    /// How requests get in to one color. Both colors have the same upstreams, in the same order.
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
            // The other color's series exist from the start, too.
            self.meters.of(purpose, color.other(), &pool.upstream);
            let admission = |meter: &Arc<Meter>| {
                Arc::new(Admission {
                    lease: epoch.lease(),
                    pool: Arc::clone(pool),
                    policy: Policy {
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
                    // Of the color that somebody moved to, and not of one that is watched beside it.
                    by_force: decision.by_force && purpose == Purpose::Ordinary && *color == decision.active,
                    // What a tester writes is no write of the release that serves.
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

    /// The limits, with the places that are taken now; a changed maximum holds at once.
    fn limits_of(&self, config: &Config) -> BTreeMap<(Purpose, Arc<str>), Arc<Limit>> {
        let mut limits = BTreeMap::new();
        for (name, max) in config.upstreams.iter().filter_map(|(name, policy)| Some((name, policy.max_in_flight?))) {
            for purpose in [Purpose::Ordinary, Purpose::Preview] {
                let key = (purpose, name.as_str().into());
                let limit = self.limits.get(&key).map_or_else(|| Arc::new(Limit::new(max)), Arc::clone);
                limit.max.store(max, Ordering::Relaxed);
                limits.insert(key, limit);
            }
        }
        limits
    }
}

/// The color that requests get in to.
struct Serving {
    color: Color,
    release: Arc<str>,
    /// For a preview.
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
        via: config.headers.via,
    }
}

#[cfg(test)]
mod tests;
