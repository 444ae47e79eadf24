//! From configured addresses to pools: a name has an endpoint for each of its addresses.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::config::{Config, EndpointAddress};
use crate::domain::color::{Color, PerColor};
use crate::domain::health::Health;
use crate::proxy::pool::name::Resolution;
use crate::proxy::pool::{Endpoint, Pool, Rules, Target};
use crate::proxy::snapshot::compiler::Compiler;

impl Compiler {
    pub(crate) fn names(&self) -> &BTreeMap<EndpointAddress, Arc<Resolution>> {
        &self.names
    }

    /// An unchanged pool is reused; a changed one keeps the endpoints that stay.
    pub(super) fn pool(
        &self,
        color: Color,
        upstream: &Arc<str>,
        addresses: &[EndpointAddress],
        rules: Rules,
    ) -> Arc<Pool> {
        let known = position(&self.pools[color], upstream).map(|index| &self.pools[color][index]);
        let usable = known.filter(|pool| pool.rules().connects_like(&rules));
        let mut before: BTreeMap<&EndpointAddress, Vec<&Arc<Endpoint>>> = BTreeMap::new();
        for endpoint in usable.iter().flat_map(|pool| &pool.endpoints) {
            before.entry(&endpoint.address).or_default().push(endpoint);
        }
        let endpoints = addresses.iter().flat_map(|address| {
            let before = before.get(address).map(Vec::as_slice).unwrap_or_default();
            endpoints_of(address, before, &self.names, self.workers)
        });
        let endpoints: Box<[_]> = endpoints.collect();
        if let Some(pool) = known
            && *pool.rules() == rules
            && pool.endpoints.len() == endpoints.len()
            && pool.endpoints.iter().zip(&endpoints).all(|(one, other)| Arc::ptr_eq(one, other))
        {
            return Arc::clone(pool);
        }
        Arc::new(Pool::new(Arc::clone(upstream), color, endpoints, rules, self.workers))
    }

    pub(super) fn names_of(&self, config: &Config) -> BTreeMap<EndpointAddress, Arc<Resolution>> {
        let addresses = config.colors.iter().flat_map(|(_, of)| of.pools.values().flatten());
        let named = addresses.filter(|address| address.is_name());
        named.map(|address| (address.clone(), self.names.get(address).cloned().unwrap_or_default())).collect()
    }

    /// Endpoints that left all pools keep no connections.
    pub(super) fn retire_endpoints(&self, before: &PerColor<Vec<Arc<Pool>>>) {
        let all = |pools: &PerColor<Vec<Arc<Pool>>>| -> Vec<Arc<Endpoint>> {
            let pools = pools.iter().flat_map(|(_, pools)| pools);
            pools.flat_map(|pool| pool.endpoints.iter().cloned()).collect()
        };
        let present: HashSet<u64> = all(&self.pools).iter().map(|endpoint| endpoint.id).collect();
        for endpoint in all(before) {
            if !present.contains(&endpoint.id) {
                endpoint.stop_keeping();
            }
        }
    }

    pub(super) fn keep_former(&mut self, before: &PerColor<Vec<Arc<Pool>>>) {
        let Compiler { former, pools, .. } = self;
        former.extend(before.iter().flat_map(|(_, pools)| pools.iter().cloned()));
        let is_present = |pool: &Arc<Pool>| {
            let pools = &pools[pool.color];
            position(pools, &pool.upstream).is_some_and(|index| Arc::ptr_eq(&pools[index], pool))
        };
        former.retain(|pool| Arc::strong_count(pool) > 1 && !is_present(pool));
    }
}

/// The place of an upstream among pools, which are in the order of its name.
pub(in crate::proxy) fn position(pools: &[Arc<Pool>], upstream: &str) -> Option<usize> {
    pools.binary_search_by(|pool| (*pool.upstream).cmp(upstream)).ok()
}

/// The endpoints of one configured address, reusing those of `before`.
///
/// An endpoint whose address the name no longer has is kept while it is up and no present address is. So a deployment
/// that replaces all addresses at once leaves no moment without an endpoint.
fn endpoints_of(
    address: &EndpointAddress,
    before: &[&Arc<Endpoint>],
    names: &BTreeMap<EndpointAddress, Arc<Resolution>>,
    workers: usize,
) -> Vec<Arc<Endpoint>> {
    let Some(name) = names.get(address) else {
        return vec![
            before.first().map_or_else(|| Arc::new(Endpoint::new(address.clone(), workers)), |known| Arc::clone(known)),
        ];
    };
    let addresses = name.known().addresses;
    let joins = before.iter().any(|endpoint| matches!(endpoint.target, Target::Tcp(_)));
    let find =
        |target: &Target| before.iter().find(|endpoint| endpoint.target == *target).map(|known| Arc::clone(known));
    let new = |at| Arc::new(Endpoint::of_name(address.clone(), name, at, joins, workers));
    if addresses.is_empty() {
        return vec![find(&Target::Unresolved(Arc::clone(name))).unwrap_or_else(|| new(None))];
    }
    let mut endpoints: Vec<_> =
        addresses.iter().map(|at| find(&Target::Tcp(*at)).unwrap_or_else(|| new(Some(*at)))).collect();
    for endpoint in &endpoints {
        endpoint.set_leaving(false);
    }
    if endpoints.iter().all(|endpoint| endpoint.health() != Health::Up) {
        let is_gone = |endpoint: &&&Arc<Endpoint>| match endpoint.target {
            Target::Tcp(at) => !addresses.contains(&at) && endpoint.health() == Health::Up,
            Target::Unix | Target::Unresolved(_) => false,
        };
        for endpoint in before.iter().filter(is_gone) {
            endpoint.set_leaving(true);
            endpoints.push(Arc::clone(endpoint));
        }
    }
    endpoints
}
