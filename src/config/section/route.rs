//! `[[route]]`: the upstream of a request by host and path.

use std::collections::HashSet;

use toml::Value;

use crate::config::file::{Section, Span, quoted};
use crate::config::path::normal;
use crate::config::render::table;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteConfig {
    pub host: HostPattern,
    pub path: String,
    pub upstream: String,
}

/// The hosts of a route: lower case, without port and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Any,
    Exact(String),
    /// `*.example.com`, kept as `example.com`: every name below it, not the name itself.
    Below(String),
}

/// The routes, each with the place of its upstream.
pub(super) fn read_all(root: &Section<'_>) -> Vec<(RouteConfig, Span)> {
    let mut routes = Vec::new();
    let mut seen = HashSet::new();
    for section in root.sections("route") {
        let host = match section.string("host") {
            None => Some(HostPattern::Any),
            Some(written) => section.host_pattern("host", written, true),
        };
        let path = match section.string("path") {
            None => Some("/".to_owned()),
            Some(written) => section.prefix("path", written),
        };
        let upstream = section.required("upstream", "upstream = \"default\"");
        section.refuse_unknown();
        let (Some(host), Some(path), Some((upstream, span))) = (host, path, upstream) else { continue };
        if !seen.insert((host.clone(), normal(&path).trim_end_matches('/').to_owned())) {
            let message = format!("there is another route for the same host and the path {}", quoted(&path));
            section.problem(section.span.clone(), message, "keep one of them");
        }
        routes.push((RouteConfig { host, path, upstream: upstream.to_owned() }, span));
    }
    routes
}

impl RouteConfig {
    pub(in crate::config) fn write(&self) -> Value {
        let mut section = vec![("path", self.path.clone().into()), ("upstream", self.upstream.clone().into())];
        match &self.host {
            HostPattern::Any => {}
            HostPattern::Exact(name) => section.push(("host", name.clone().into())),
            HostPattern::Below(name) => section.push(("host", format!("*.{name}").into())),
        }
        table(section)
    }
}
