//! Everything that one request needs to know, immutable: which color is live, the routes, the pools, the limits.
//!
//! A snapshot is compiled from the configuration and the decision and published as a whole, so a request can never see
//! half of a switch. What did not change between two snapshots is shared by both: endpoints with their health and
//! connections, pools, meters.

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

use crate::config::{HoldConfig, RetryConfig};
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::evidence::metering::Counted;
use crate::evidence::routes::RouteId;
use crate::proxy::error::ProxyError;
use crate::proxy::snapshot::admission::{Admission, Admissions};
use crate::proxy::snapshot::door::Door;
use crate::proxy::snapshot::ignored::Ignored;
use crate::proxy::snapshot::linger::Linger;
use crate::proxy::snapshot::preview::Preview;
use crate::proxy::snapshot::route::{Paths, RouteTable, UpstreamIndex};
use crate::proxy::snapshot::split::{Draw, Granted, Splitting};
use crate::wire::head::Head;

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

    /// Whether a request is counted as evidence, as far as that does not depend on its route.
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
