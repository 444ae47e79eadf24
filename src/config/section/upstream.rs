//! `[upstream.NAME]`: connections to the endpoints of one upstream.

mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::Value;
use toml::de::DeValue;

use crate::config::file::{Section, Span, quoted, shortened};
use crate::config::render::{duration, integer, size, table, word};
use crate::config::section::color::Pools;
use crate::config::units::{DAY, HOUR, MINUTE, MS, SECOND};
use crate::config::{EndpointAddress, RouteConfig};

pub(crate) use tls::UpstreamTls;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    pub protocol: UpstreamProtocol,
    /// `None`: plain.
    pub tls: Option<UpstreamTls>,
    pub balance: Balance,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub idle_timeout: Duration,
    pub stream_idle_timeout: Duration,
    /// The most requests in flight; `None`: no limit.
    pub max_in_flight: Option<u64>,
    /// `None`: endpoints are never ejected.
    pub eject: Option<Eject>,
    pub slow_start: Duration,
    pub ping_timeout: Duration,
    pub max_response_headers: usize,
    pub max_response_header_bytes: usize,
}

impl Default for UpstreamConfig {
    fn default() -> UpstreamConfig {
        UpstreamConfig {
            protocol: UpstreamProtocol::Http1,
            tls: None,
            balance: Balance::LeastRequests,
            connect_timeout: 2 * SECOND,
            response_timeout: MINUTE,
            idle_timeout: MINUTE,
            stream_idle_timeout: HOUR,
            max_in_flight: None,
            eject: Some(Eject::default()),
            slow_start: Duration::ZERO,
            ping_timeout: 5 * SECOND,
            max_response_headers: 256,
            max_response_header_bytes: 256 << 10,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    Http1,
    /// HTTP/2; without TLS by prior knowledge.
    Http2,
}

impl UpstreamProtocol {
    const NAMES: [(&str, UpstreamProtocol); 2] =
        [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Two endpoints at random; the one with fewer requests in flight.
    LeastRequests,
    RoundRobin,
}

impl Balance {
    const NAMES: [(&str, Balance); 2] =
        [("least-requests", Balance::LeastRequests), ("round-robin", Balance::RoundRobin)];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    pub consecutive: u32,
    pub base: Duration,
}

impl Default for Eject {
    fn default() -> Eject {
        Eject { consecutive: 5, base: 10 * SECOND }
    }
}

/// Policies by upstream: an entry for every upstream that a color has endpoints for or that a route names.
pub(super) fn read_all(
    root: &Section<'_>,
    colors: [&Option<Pools>; 2],
    routes: &[(RouteConfig, Span)],
) -> BTreeMap<String, UpstreamConfig> {
    let mut upstreams = BTreeMap::new();
    for pools in colors.into_iter().flatten() {
        upstreams.extend(pools.config.pools.keys().map(|name| (name.clone(), UpstreamConfig::default())));
    }
    let Some(section) = root.section("upstream") else { return upstreams };
    let routed: BTreeSet<&str> = routes.iter().map(|(route, _)| route.upstream.as_str()).collect();
    for (name, span, value) in section.entries() {
        let Some(policy) = section.as_section(name, value) else { continue };
        let read = UpstreamConfig::read(&policy);
        check_server_name(name, &policy, &read, colors);
        if upstreams.contains_key(name) || routed.contains(name) {
            upstreams.insert(name.to_owned(), read);
        } else if colors.iter().all(|color| color.is_some()) {
            let message = format!("no color has endpoints for the upstream {}", quoted(name));
            let help = format!(
                "add `{} = [\"…\"]` under [blue.upstreams] and [green.upstreams], or remove this",
                shortened(name)
            );
            section.problem(span, message, help);
        }
    }
    upstreams
}

pub(super) fn refuse_idle(upstreams: &BTreeMap<String, UpstreamConfig>, section: &Section<'_>) {
    for (name, _, value) in section.entries() {
        let (Some(upstream), Some(policy)) = (upstreams.get(name), section.as_section(name, value)) else { continue };
        let changed = upstream.ping_timeout != UpstreamConfig::default().ping_timeout;
        let idle = upstream.protocol == UpstreamProtocol::Http1 && changed;
        policy.idle("ping_timeout", idle, "PING is of HTTP/2", "add `protocol = \"http2\"`, or remove this");
    }
}

impl UpstreamConfig {
    fn read(policy: &Section<'_>) -> UpstreamConfig {
        let defaults = UpstreamConfig::default();
        let max_in_flight = policy.integer("max_in_flight", 0, 0..=10_000_000);
        let stream_idle = defaults.stream_idle_timeout;
        let head_bytes = defaults.max_response_header_bytes;
        let read = UpstreamConfig {
            protocol: policy.choice("protocol", &UpstreamProtocol::NAMES, defaults.protocol),
            tls: policy.optional("tls", UpstreamTls::read),
            balance: policy.choice("balance", &Balance::NAMES, defaults.balance),
            connect_timeout: policy.duration("connect_timeout", defaults.connect_timeout, 10 * MS..=HOUR),
            response_timeout: policy.duration("response_timeout", defaults.response_timeout, 10 * MS..=DAY),
            idle_timeout: policy.duration("idle_timeout", defaults.idle_timeout, 10 * MS..=DAY),
            stream_idle_timeout: policy.duration("stream_idle_timeout", stream_idle, 10 * MS..=7 * DAY),
            max_in_flight: (max_in_flight > 0).then_some(max_in_flight),
            eject: read_eject(policy),
            slow_start: policy.duration("slow_start", defaults.slow_start, Duration::ZERO..=HOUR),
            ping_timeout: policy.duration("ping_timeout", defaults.ping_timeout, 100 * MS..=HOUR),
            max_response_headers: policy.integer("max_response_headers", defaults.max_response_headers, 32..=10_000),
            max_response_header_bytes: policy.size("max_response_header_bytes", head_bytes, 8 << 10..=1 << 20),
        };
        policy.refuse_unknown();
        read
    }

    pub(super) fn write(&self) -> Value {
        let eject = self.eject.map_or(Value::Boolean(false), |eject| {
            table([("consecutive", integer(eject.consecutive)), ("for", duration(eject.base))])
        });
        let mut section = vec![
            ("protocol", word(&UpstreamProtocol::NAMES, self.protocol)),
            ("balance", word(&Balance::NAMES, self.balance)),
            ("connect_timeout", duration(self.connect_timeout)),
            ("response_timeout", duration(self.response_timeout)),
            ("idle_timeout", duration(self.idle_timeout)),
            ("stream_idle_timeout", duration(self.stream_idle_timeout)),
            ("max_in_flight", integer(self.max_in_flight.unwrap_or(0))),
            ("eject", eject),
            ("slow_start", duration(self.slow_start)),
            ("ping_timeout", duration(self.ping_timeout)),
            ("max_response_headers", integer(self.max_response_headers)),
            ("max_response_header_bytes", size(self.max_response_header_bytes)),
        ];
        section.extend(self.tls.as_ref().map(|tls| ("tls", tls.write())));
        table(section)
    }
}

/// A table, or `false`.
fn read_eject(policy: &Section<'_>) -> Option<Eject> {
    let defaults = Eject::default();
    let Some(value) = policy.get("eject") else { return Some(defaults) };
    match value.get_ref() {
        DeValue::Boolean(false) => None,
        DeValue::Boolean(true) => {
            let message = format!("`{}` is true; it has to be a table or false", policy.path("eject"));
            let help = "write `eject = { consecutive = 5, for = \"10s\" }`, or remove this for the same";
            policy.problem(value.span(), message, help);
            Some(defaults)
        }
        DeValue::Table(_) => policy.optional("eject", |section| Eject {
            consecutive: section.integer("consecutive", defaults.consecutive, 1..=1000),
            base: section.duration("for", defaults.base, 100 * MS..=HOUR),
        }),
        other => {
            policy.mistyped(value, &policy.path("eject"), "a table or false", other);
            Some(defaults)
        }
    }
}

/// A certificate can't name a unix socket or a service, and nobody vouches for the names in SRV records.
fn check_server_name(name: &str, policy: &Section<'_>, read: &UpstreamConfig, colors: [&Option<Pools>; 2]) {
    let (Some(tls), Some(value)) = (&read.tls, policy.get("tls")) else { return };
    // An invalid name was recorded.
    if tls.server_name.is_some() || value.get_ref().as_table().is_some_and(|table| table.contains_key("server_name")) {
        return;
    }
    let pools = colors.into_iter().flatten().filter_map(|color| color.config.pools.get(name));
    let nameless =
        pools.flatten().find(|endpoint| matches!(endpoint, EndpointAddress::Unix(_) | EndpointAddress::Service { .. }));
    if let Some(endpoint) = nameless {
        let message = format!(
            "`{}` has no `server_name`, and the endpoint {} has no name to check its certificate for",
            policy.path("tls"),
            quoted(&endpoint.to_string())
        );
        policy.problem(value.span(), message, "add `server_name = \"app.internal\"`");
    }
}
