//! The facts for one request, immutable: the serving color, routes, pools, limits.
//!
//! A snapshot is compiled from the configuration and the decision and published as a whole, so a request never sees
//! half of a switch. Unchanged parts are shared with the snapshot before: endpoints with health and connections, pools,
//! meters.

pub(crate) mod admission;
pub(crate) mod compiler;
mod door;
pub(crate) mod first_write;
mod ignored;
pub(crate) mod lease;
pub(crate) mod linger;
pub(crate) mod mark;
pub(crate) mod preview;
pub(crate) mod route;
pub(crate) mod split;
pub(crate) mod trust;
pub(crate) mod visitor;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::config::{HoldConfig, RetryConfig, TraceRules};
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::evidence::routes::RouteId;
use crate::evidence::trial::Counted;
use crate::proxy::error::ProxyError;
use crate::proxy::snapshot::admission::{Admission, Admissions};
use crate::proxy::snapshot::door::Door;
use crate::proxy::snapshot::ignored::Ignored;
use crate::proxy::snapshot::linger::Linger;
use crate::proxy::snapshot::preview::Preview;
use crate::proxy::snapshot::route::{Paths, RouteTable, UpstreamIndex};
use crate::proxy::snapshot::split::{Draw, Granted, Splitting};
use crate::wire::head::Head;

#[derive(Debug)]
pub struct Snapshot {
    pub active: Color,
    pub(crate) edge: Edge,
    routes: Arc<RouteTable<Target>>,
    /// Paths that are counted on their own, whatever the host and the upstream.
    counted: Option<Paths<RouteId>>,
    /// Requests that are no evidence; `None`: all are.
    ignored: Option<Box<Ignored>>,
    door: Door,
    /// The active color's. Empty unless the door is open: a request that is not admitted holds no color.
    admissions: Admissions,
    split: Option<Box<Splitting>>,
    pub(crate) preview: Option<Box<Preview>>,
    pub(crate) linger: Option<Box<Linger>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Target {
    upstream: UpstreamIndex,
    counted: Counted,
}

#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) idle_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) max_header_bytes: usize,
    pub(crate) max_body: Option<u64>,
    pub(crate) max_connections: usize,
    /// Per HTTP/2 connection.
    pub(crate) max_concurrent_streams: usize,
    pub(crate) max_connections_per_client: Option<usize>,
    pub(crate) trusted_proxies: Box<[IpNet]>,
    pub(crate) readiness_path: Option<Box<str>>,
    pub(crate) fail_without_endpoints: bool,
    pub(crate) proxy_protocol: Box<[IpNet]>,
    pub(crate) https_redirect: Option<u16>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) retry: RetryConfig,
    pub(crate) trace: TraceRules,
    pub(crate) via: bool,
}

impl Snapshot {
    /// Route, color and lease: the whole decision about one request, without a lock, an allocation or an await. The
    /// clone of the admission is the lease. `None`: requests are held, see [`Snapshot::held`]. `draw` is called only
    /// while both colors serve.
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
        // The bounds are checked anyway, so an open door costs nothing.
        let Some(admissions) = admissions.get(target.upstream) else { return self.turned_away() };
        let counted = match &self.counted {
            Some(paths) => paths.find(path).map_or(target.counted, Counted::Route),
            None => target.counted,
        };
        Ok(Some(Granted { admission: Arc::clone(&admissions[worker]), counted, user, visitor }))
    }

    /// Admits a request to the preview. Maintenance lets it in; a hold does not: a release that runs without overlap
    /// must not meet it.
    pub(crate) fn admit_to(
        &self,
        preview: &Preview,
        worker: usize,
        host: &str,
        path: &str,
    ) -> Result<Option<Granted>, ProxyError> {
        let upstream = self.routes.find(host, path).ok_or_else(ProxyError::no_route)?.upstream;
        // Empty while requests are held, so that a preview holds no color.
        let Some(admissions) = preview.admissions.get(upstream) else { return Ok(None) };
        let admission = Arc::clone(&admissions[worker]);
        Ok(Some(Granted { admission, counted: Counted::Not, user: None, visitor: None }))
    }

    pub(crate) fn is_evidence(&self, head: &Head, client: impl FnOnce() -> IpAddr) -> bool {
        self.ignored.as_ref().is_none_or(|ignored| !ignored.has(head, client))
    }

    #[cold]
    fn turned_away(&self) -> Result<Option<Granted>, ProxyError> {
        match &self.door {
            Door::Open | Door::Held { .. } => Ok(None),
            Door::Maintenance(notice) => Err(ProxyError::maintenance(notice)),
        }
    }

    /// The end of a hold at the latest, and its bounds.
    pub(crate) fn held(&self) -> Option<(Instant, HoldConfig)> {
        match &self.door {
            Door::Held { until, limits } => Some((*until, *limits)),
            Door::Open | Door::Maintenance(_) => None,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.held().is_none_or(|(_, limits)| limits.ready) && !(self.edge.fail_without_endpoints && self.has_nobody())
    }

    /// No endpoint of the serving color is up. By force, endpoints are asked all the same.
    fn has_nobody(&self) -> bool {
        let mut each = self.admissions.iter().filter_map(|workers| workers.first());
        let is_dead = |admission: &Arc<Admission>| {
            !admission.by_force && admission.pool.endpoints.iter().all(|endpoint| endpoint.health() == Health::Down)
        };
        matches!(self.door, Door::Open) && each.all(is_dead)
    }

    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn admit_for_bench(&self, worker: usize, host: &str, path: &str, draw: u64) -> Option<usize> {
        let granted = self.admit(worker, host, path, |splitting| splitting.by_chance()).ok()??;
        granted.admission.pool.pick(worker, draw, 1, &[])
    }
}
