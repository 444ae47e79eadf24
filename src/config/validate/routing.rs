//! Where traffic may go: the pools of both colors and the routes, and whether they fit together.

use std::collections::{BTreeMap, HashSet};

use crate::config::file::{Placed, Section, Span, quoted, shortened};
use crate::config::path::normal;
use crate::config::validate::File;
use crate::config::{ColorConfig, EndpointAddress, HostPattern, RouteConfig};
use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;
use crate::domain::schema::Labels;

/// The upstream that is meant where none is named.
const DEFAULT_UPSTREAM: &str = "default";

impl<'a> File<'a> {
    pub(super) fn routes(&self) -> Vec<(RouteConfig, Span)> {
        let mut routes = Vec::new();
        let mut seen = HashSet::new();
        for section in self.root.sections("route") {
            let host = match section.string("host") {
                None => Some(HostPattern::Any),
                Some((host, span)) => self.host_pattern("route.host", host, span, true),
            };
            let path = match section.string("path") {
                None => Some("/".to_owned()),
                Some((path, span)) => self.prefix("route.path", path, span),
            };
            let upstream = section.required("upstream", "upstream = \"default\"");
            section.refuse_unknown();
            let (Some(host), Some(path), Some((upstream, span))) = (host, path, upstream) else { continue };
            let place = section.span.clone();
            if !seen.insert((host.clone(), normal(&path).trim_end_matches('/').to_owned())) {
                let message = format!("there is another route for the same host and the path {}", quoted(&path));
                self.notes.problem(place, message, "keep one of them".to_owned());
            }
            routes.push((RouteConfig { host, path, upstream: upstream.to_owned() }, span));
        }
        routes
    }

    /// A name, or with `wildcards` also every name below one.
    pub(super) fn host_pattern(&self, key: &str, host: &str, span: Span, wildcards: bool) -> Option<HostPattern> {
        let below = host.strip_prefix("*.").filter(|_| wildcards);
        let (below, name) = below.map_or((false, host), |parent| (true, parent));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_name = !name.is_empty() && name.bytes().all(valid) && !name.split('.').any(str::is_empty);
        if !is_name && !address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok() && !below) {
            let message = format!("`{key}` is {}, which is not a host", quoted(host));
            let or = if wildcards { " or \"*.example.com\"" } else { "" };
            self.notes.problem(span, message, format!("write \"api.example.com\"{or}, without a port"));
            return None;
        }
        Some(if below { HostPattern::Below(name) } else { HostPattern::Exact(name) })
    }

    /// The color that is not `active` may have nothing yet.
    pub(super) fn color(&self, color: Color, active: Option<Color>) -> Option<Pools> {
        let may_be_empty = active == Some(color.other());
        let Some(section) = self.root.section(color.as_str()) else {
            if self.root.get(color.as_str()).is_none() {
                if may_be_empty {
                    return Some(Pools::empty(0..0));
                }
                let help = "add it, with `release = \"1.0.0\"` and `endpoints = [\"127.0.0.1:9001\"]`".to_owned();
                self.notes.problem(0..0, format!("the file has no [{color}]"), help);
            }
            return None;
        };
        let says = ["release", "endpoints", "upstreams", "schema"].map(|key| section.get(key).is_some());
        if may_be_empty && says == [false; 4] {
            section.refuse_unknown();
            return Some(Pools::empty(section.span.clone()));
        }
        let release = section.required("release", "release = \"1.0.0\"");
        if let Some((label, span)) = release.clone() {
            self.label(&format!("`{color}.release`"), label, span);
        }
        let mut pools = BTreeMap::new();
        if let Some(value) = section.get("endpoints") {
            let pool = self.pool(&section, "endpoints", value);
            pools.insert(DEFAULT_UPSTREAM.to_owned(), pool);
        }
        if let Some(upstreams) = section.section("upstreams") {
            for (name, span, value) in upstreams.entries() {
                self.label("the name of an upstream", name, span.clone());
                let pool = self.pool(&upstreams, name, value);
                if pools.insert(name.to_owned(), pool).is_some() {
                    let message = format!("`{color}.endpoints` are the endpoints of \"{DEFAULT_UPSTREAM}\" already");
                    self.notes.problem(span, message, "keep one of them".to_owned());
                }
            }
        }
        // An `upstreams` that is no table was noted.
        let readable = section.get("upstreams").is_none_or(|value| value.get_ref().is_table());
        if pools.is_empty() && readable {
            section.missing("endpoints", "endpoints = [\"127.0.0.1:9001\"]");
        }
        let (schema, probes) = self.schema(&section);
        let span = section.span.clone();
        section.refuse_unknown();
        // Without a label, which is noted, the pools are still looked at.
        let label = release.map_or("", |(label, _)| label);
        Some(Pools { config: ColorConfig { release: Release::new(label), pools, schema, probes }, span })
    }

    fn pool(&self, section: &Section<'a>, key: &str, value: Placed<'a>) -> Vec<EndpointAddress> {
        let Some(texts) = section.as_strings(key, value) else { return Vec::new() };
        if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            let message = format!("`{}` has no endpoint", section.path(key));
            self.notes.problem(value.span(), message, "name at least one, such as \"127.0.0.1:9001\"".to_owned());
        }
        let mut endpoints = Vec::new();
        let mut seen = HashSet::new();
        for (text, span) in texts {
            let Some(endpoint) = self.endpoint(text, span.clone()) else { continue };
            if seen.insert(endpoint.clone()) {
                endpoints.push(endpoint);
            } else {
                let message = format!("the endpoint {} is in this pool twice", quoted(text));
                self.notes.problem(span, message, "keep one of them".to_owned());
            }
        }
        endpoints
    }

    fn endpoint(&self, text: &str, span: Span) -> Option<EndpointAddress> {
        let endpoint = match text.strip_prefix("unix:") {
            Some(path) => (!path.is_empty()).then(|| EndpointAddress::Unix(path.into())),
            None if text.starts_with("srv+") => return self.srv(text, span),
            None => text.parse().ok().map(EndpointAddress::Ip).or_else(|| named(text)),
        };
        let usable = !matches!(&endpoint, Some(EndpointAddress::Ip(address)) if address.port() == 0);
        if endpoint.is_none() || !usable {
            let help = "write \"10.0.0.1:8080\", \"app.internal:8080\", \"srv+_http._tcp.app.internal\" or \"unix:/run/app.sock\""
                    .to_owned();
            self.notes.problem(span, format!("{} is not an endpoint", quoted(text)), help);
            return None;
        }
        endpoint
    }

    /// The name of SRV records: `_SERVICE._PROTOCOL.NAME` (RFC 2782).
    fn srv(&self, text: &str, span: Span) -> Option<EndpointAddress> {
        let name = text.strip_prefix("srv+").unwrap_or(text);
        let mut labels = name.splitn(3, '.');
        let mut underscored = || labels.next().is_some_and(|label| label.len() > 1 && label.starts_with('_'));
        let of_service = underscored() && underscored() && labels.next().is_some_and(|domain| !domain.is_empty());
        if !of_service || !is_name(name) {
            let help = "write \"srv+_http._tcp.app.internal\", without a port: the records have it".to_owned();
            self.notes.problem(span, format!("{} does not name SRV records", quoted(text)), help);
            return None;
        }
        Some(EndpointAddress::Service { name: name.to_owned() })
    }

    /// Both colors have the same upstreams, and every route has one: otherwise a switch would take a route away.
    pub(super) fn check_pools(&self, colors: [(Color, &Option<Pools>); 2], routes: &[(RouteConfig, Span)]) {
        let [(_, Some(blue)), (_, Some(green))] = colors else { return };
        for (color, has, lacks) in [(Color::Green, blue, green), (Color::Blue, green, blue)] {
            // That a color has none at all was noted.
            let some = !lacks.config.pools.is_empty();
            for name in has.config.pools.keys().filter(|name| some && !lacks.config.pools.contains_key(*name)) {
                let other = color.other();
                let message = format!("{color} has no endpoints for the upstream {}, and {other} has", quoted(name));
                let help = if name == DEFAULT_UPSTREAM {
                    format!("add `endpoints` under [{color}]")
                } else {
                    format!("add `{} = [\"…\"]` under [{color}.upstreams]", shortened(name))
                };
                self.notes.problem(lacks.span.clone(), message, help);
            }
        }
        let known = |name: &str| blue.config.pools.contains_key(name) || green.config.pools.contains_key(name);
        for (route, span) in routes.iter().filter(|(route, _)| !known(&route.upstream)) {
            let message = format!("no color has endpoints for the upstream {}", quoted(&route.upstream));
            let help =
                format!("add `{} = [\"…\"]` under [blue.upstreams] and [green.upstreams]", shortened(&route.upstream));
            self.notes.problem(span.clone(), message, help);
        }
        let no_route =
            self.root.get("route").is_none_or(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()));
        let some = !blue.config.pools.is_empty() || !green.config.pools.is_empty();
        if some && no_route && !known(DEFAULT_UPSTREAM) {
            let message =
                "there is no route, and so everything goes to the upstream \"default\", which has no endpoints";
            self.notes.problem(
                blue.span.clone(),
                message,
                "add `endpoints` under both colors, or a [[route]]".to_owned(),
            );
        }
    }
}

/// A color, and where it stands.
pub(super) struct Pools {
    pub(super) config: ColorConfig,
    span: Span,
}

impl Pools {
    /// Nothing is deployed there.
    fn empty(span: Span) -> Pools {
        let config = ColorConfig {
            release: Release::new(""),
            pools: BTreeMap::new(),
            schema: Labels::new(),
            probes: BTreeMap::new(),
        };
        Pools { config, span }
    }
}

/// Both colors; one that has nothing has a pool without endpoints where the other one has one with some.
pub(super) fn both(blue: Pools, green: Pools) -> PerColor<ColorConfig> {
    let mut colors = PerColor { blue: blue.config, green: green.config };
    for color in Color::ALL {
        if colors[color].is_empty() {
            colors[color].pools = colors[color.other()].pools.keys().map(|name| (name.clone(), Vec::new())).collect();
        }
    }
    colors
}

fn named(text: &str) -> Option<EndpointAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    // All digits and dots is an address that went wrong, not a name.
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (!numeric && is_name(host)).then(|| EndpointAddress::Name { host: host.to_owned(), port })
}

/// Whether it could be in the DNS.
pub(super) fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    name.len() <= 253 && name.split('.').all(label)
}
