//! `[blue]` and `[green]`: the release and the endpoints of each color.

mod endpoint;
mod schema;

use std::collections::{BTreeMap, HashSet};

use toml::{Table, Value};

use crate::config::RouteConfig;
use crate::config::file::{Placed, Section, Span, quoted, shortened};
use crate::config::render::{table, texts};
use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;
use crate::domain::schema::Labels;

pub(crate) use endpoint::EndpointAddress;
pub(crate) use schema::SchemaProbe;

/// The upstream that needs no name.
const DEFAULT_UPSTREAM: &str = "default";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColorConfig {
    /// The label of what is deployed there; the empty label where nothing is.
    pub release: Release,
    /// Endpoints by upstream: the same upstreams for both colors. Pools are empty only where nothing is deployed.
    pub pools: BTreeMap<String, Vec<EndpointAddress>>,
    pub schema: Labels,
    pub probes: BTreeMap<String, SchemaProbe>,
}

impl ColorConfig {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.release.is_none()
    }

    pub(super) fn write(&self) -> Value {
        if self.is_empty() {
            return table([]);
        }
        let pools: Table = self.pools.iter().map(|(name, endpoints)| (name.clone(), texts(endpoints))).collect();
        let mut section = vec![("release", self.release.as_str().into()), ("upstreams", Value::Table(pools))];
        if !self.schema.is_empty() {
            section.push(("schema", schema::write(&self.schema, &self.probes)));
        }
        table(section)
    }
}

/// A color with its place in the file.
pub(super) struct Pools {
    pub(super) config: ColorConfig,
    span: Span,
}

impl Pools {
    /// A color without a release.
    fn empty(span: Span) -> Pools {
        let config = ColorConfig {
            release: Release::new(""),
            pools: BTreeMap::new(),
            schema: Labels::new(),
            probes: BTreeMap::new(),
        };
        Pools { config, span }
    }

    /// The color that is not `active` may be empty.
    pub(super) fn read(root: &Section<'_>, color: Color, active: Option<Color>) -> Option<Pools> {
        let may_be_empty = active == Some(color.other());
        if root.get(color.as_str()).is_none() {
            if may_be_empty {
                return Some(Pools::empty(0..0));
            }
            let help = "add it, with `release = \"1.0.0\"` and `endpoints = [\"127.0.0.1:9001\"]`";
            root.problem(0..0, format!("the file has no [{color}]"), help);
        }
        let section = root.section(color.as_str())?;
        let says = ["release", "endpoints", "upstreams", "schema"].map(|key| section.get(key).is_some());
        if may_be_empty && says == [false; 4] {
            section.refuse_unknown();
            return Some(Pools::empty(section.span.clone()));
        }
        let release = section.required("release", "release = \"1.0.0\"");
        if let Some(written) = release.clone() {
            section.label(&format!("`{color}.release`"), written);
        }
        let pools = read_pools(&section, color);
        let (schema, probes) = schema::read(&section);
        let span = section.span.clone();
        section.refuse_unknown();
        // A missing label is recorded; the pools are still checked.
        let label = release.map_or("", |(label, _)| label);
        Some(Pools { config: ColorConfig { release: Release::new(label), pools, schema, probes }, span })
    }
}

fn read_pools(section: &Section<'_>, color: Color) -> BTreeMap<String, Vec<EndpointAddress>> {
    let mut pools = BTreeMap::new();
    if let Some(value) = section.get("endpoints") {
        pools.insert(DEFAULT_UPSTREAM.to_owned(), read_pool(section, "endpoints", value));
    }
    if let Some(upstreams) = section.section("upstreams") {
        for (name, span, value) in upstreams.entries() {
            upstreams.label("the name of an upstream", (name, span.clone()));
            let pool = read_pool(&upstreams, name, value);
            if pools.insert(name.to_owned(), pool).is_some() {
                let message = format!("`{color}.endpoints` are the endpoints of \"{DEFAULT_UPSTREAM}\" already");
                section.problem(span, message, "keep one of them");
            }
        }
    }
    // An `upstreams` that is no table was recorded.
    let readable = section.get("upstreams").is_none_or(|value| value.get_ref().is_table());
    if pools.is_empty() && readable {
        section.missing("endpoints", "endpoints = [\"127.0.0.1:9001\"]");
    }
    pools
}

fn read_pool<'a>(section: &Section<'a>, key: &str, value: Placed<'a>) -> Vec<EndpointAddress> {
    let Some(texts) = section.as_strings(key, value) else { return Vec::new() };
    if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
        let message = format!("`{}` has no endpoint", section.path(key));
        section.problem(value.span(), message, "name at least one, such as \"127.0.0.1:9001\"");
    }
    let mut endpoints = Vec::new();
    let mut seen = HashSet::new();
    for (text, span) in texts {
        let Some(endpoint) = EndpointAddress::read(section, (text, span.clone())) else { continue };
        if seen.insert(endpoint.clone()) {
            endpoints.push(endpoint);
        } else {
            section.problem(span, format!("the endpoint {} is in this pool twice", quoted(text)), "keep one of them");
        }
    }
    endpoints
}

/// Both colors have the same upstreams, and every route has one: otherwise a switch would remove a route.
pub(super) fn check_pools(root: &Section<'_>, colors: [(Color, &Option<Pools>); 2], routes: &[(RouteConfig, Span)]) {
    let [(_, Some(blue)), (_, Some(green))] = colors else { return };
    for (color, has, lacks) in [(Color::Green, blue, green), (Color::Blue, green, blue)] {
        // A color without any pool was recorded.
        let some = !lacks.config.pools.is_empty();
        for name in has.config.pools.keys().filter(|name| some && !lacks.config.pools.contains_key(*name)) {
            let other = color.other();
            let message = format!("{color} has no endpoints for the upstream {}, and {other} has", quoted(name));
            let help = if name == DEFAULT_UPSTREAM {
                format!("add `endpoints` under [{color}]")
            } else {
                format!("add `{} = [\"…\"]` under [{color}.upstreams]", shortened(name))
            };
            root.problem(lacks.span.clone(), message, help);
        }
    }
    let known = |name: &str| blue.config.pools.contains_key(name) || green.config.pools.contains_key(name);
    for (route, span) in routes.iter().filter(|(route, _)| !known(&route.upstream)) {
        let message = format!("no color has endpoints for the upstream {}", quoted(&route.upstream));
        let help =
            format!("add `{} = [\"…\"]` under [blue.upstreams] and [green.upstreams]", shortened(&route.upstream));
        root.problem(span.clone(), message, help);
    }
    let no_route = root.get("route").is_none_or(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()));
    let some = !blue.config.pools.is_empty() || !green.config.pools.is_empty();
    if some && no_route && !known(DEFAULT_UPSTREAM) {
        let message = "there is no route, and so everything goes to the upstream \"default\", which has no endpoints";
        root.problem(blue.span.clone(), message, "add `endpoints` under both colors, or a [[route]]");
    }
}

/// Both colors; one without a release gets empty pools for the other's upstreams.
pub(super) fn both(blue: Pools, green: Pools) -> PerColor<ColorConfig> {
    let mut colors = PerColor { blue: blue.config, green: green.config };
    for color in Color::ALL {
        if colors[color].is_empty() {
            colors[color].pools = colors[color.other()].pools.keys().map(|name| (name.clone(), Vec::new())).collect();
        }
    }
    colors
}
