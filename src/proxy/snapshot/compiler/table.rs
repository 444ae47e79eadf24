//! The table of routes, which a switch takes over as it is: it costs as much as the rest of a large snapshot.

use std::sync::Arc;

use crate::config::{Config, HostPattern, RouteConfig};
use crate::domain::color::Color;
use crate::evidence::routes::Routes;
use crate::evidence::trial::Counted;
use crate::proxy::snapshot::Target;
use crate::proxy::snapshot::compiler::Compiler;
use crate::proxy::snapshot::compiler::pools::position;
use crate::proxy::snapshot::route::RouteTable;

/// A table, and all that it was made from.
#[derive(Debug)]
pub(super) struct Made {
    routes: Arc<[RouteConfig]>,
    upstreams: Vec<Arc<str>>,
    counts: bool,
    table: Arc<RouteTable<Target>>,
}

impl Compiler {
    /// The paths of `canary.routes` get their numbers first.
    pub(super) fn table(&mut self, config: &Config, counts: bool) -> Arc<RouteTable<Target>> {
        // The same in both colors.
        let upstreams = || self.pools[Color::Blue].iter().map(|pool| &pool.upstream);
        if let Some(made) = &self.made
            && made.counts == counts
            && (Arc::ptr_eq(&made.routes, &config.routes) || made.routes == config.routes)
            && made.upstreams.iter().eq(upstreams())
        {
            return Arc::clone(&made.table);
        }
        let index_of = |name: &str| {
            let found = position(&self.pools[Color::Blue], name);
            found.expect("a valid configuration has a pool for every route, in both colors")
        };
        let counted = |route: &RouteConfig| if counts { counted(route, &self.routes) } else { Counted::Not };
        // Without routes everything goes to `default`, wherever it stands in the list.
        let default = [RouteConfig { host: HostPattern::Any, path: "/".to_owned(), upstream: "default".to_owned() }];
        let routes = if config.routes.is_empty() { &default[..] } else { &config.routes };
        let target = |route: &RouteConfig| Target { upstream: index_of(&route.upstream), counted: counted(route) };
        let table = Arc::new(RouteTable::new(routes, target));
        let (routes, upstreams) = (Arc::clone(&config.routes), upstreams().cloned().collect());
        self.made = Some(Made { routes, upstreams, counts, table: Arc::clone(&table) });
        table
    }
}

fn counted(route: &RouteConfig, routes: &Routes) -> Counted {
    let path = route.path.trim_end_matches('/');
    match &route.host {
        _ if path.is_empty() => Counted::Segment,
        HostPattern::Any => Counted::Route(routes.configured(path)),
        HostPattern::Exact(name) => Counted::Route(routes.configured(&format!("{name}{path}"))),
        HostPattern::Below(name) => Counted::Route(routes.configured(&format!("*.{name}{path}"))),
    }
}
