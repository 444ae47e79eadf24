//! Policy by upstream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::de::DeValue;

use crate::config::file::{Section, Span, quoted, shortened};
use crate::config::validate::routing::Pools;
use crate::config::validate::{DAY, File, HOUR, MS};
use crate::config::{Balance, Eject, EndpointAddress, RouteConfig, UpstreamConfig, UpstreamProtocol};

/// Where an upstream has no section, or its section says nothing of it.
const DEFAULTS: UpstreamConfig = UpstreamConfig {
    protocol: UpstreamProtocol::Http1,
    tls: None,
    balance: Balance::LeastRequests,
    connect_timeout: Duration::from_secs(2),
    response_timeout: Duration::from_secs(60),
    idle_timeout: Duration::from_secs(60),
    stream_idle_timeout: Duration::from_secs(3_600),
    max_in_flight: None,
    eject: Some(DEFAULT_EJECT),
    slow_start: Duration::ZERO,
    ping_timeout: Duration::from_secs(5),
    max_response_headers: 256,
    max_response_header_bytes: 256 << 10,
};
const DEFAULT_EJECT: Eject = Eject { consecutive: 5, base: Duration::from_secs(10) };

impl<'a> File<'a> {
    pub(super) fn upstreams(
        &self,
        colors: [&Option<Pools>; 2],
        routes: &[(RouteConfig, Span)],
    ) -> BTreeMap<String, UpstreamConfig> {
        let mut upstreams = BTreeMap::new();
        for pools in colors.into_iter().flatten() {
            upstreams.extend(pools.config.pools.keys().map(|name| (name.clone(), DEFAULTS)));
        }
        let Some(section) = self.root.section("upstream") else { return upstreams };
        let routed: BTreeSet<&str> = routes.iter().map(|(route, _)| route.upstream.as_str()).collect();
        for (name, span, value) in section.entries() {
            let Some(policy) = section.as_section(name, value) else { continue };
            let policy_read = self.policy(&policy);
            self.check_server_name(name, &policy, &policy_read, colors);
            if upstreams.contains_key(name) || routed.contains(name) {
                upstreams.insert(name.to_owned(), policy_read);
            } else if colors.iter().all(|color| color.is_some()) {
                let message = format!("no color has endpoints for the upstream {}", quoted(name));
                let help = format!(
                    "add `{} = [\"…\"]` under [blue.upstreams] and [green.upstreams], or remove this",
                    shortened(name)
                );
                self.notes.problem(span, message, help);
            }
        }
        upstreams
    }

    fn policy(&self, policy: &Section<'a>) -> UpstreamConfig {
        let protocols = [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
        let balances = [("least-requests", Balance::LeastRequests), ("round-robin", Balance::RoundRobin)];
        let max_in_flight = policy.integer("max_in_flight", 0, 0..=10_000_000);
        let fields = policy.integer("max_response_headers", DEFAULTS.max_response_headers as u64, 32..=10_000);
        let bytes = DEFAULTS.max_response_header_bytes as u64;
        let bytes = policy.size("max_response_header_bytes", bytes, 8 << 10..=1 << 20);
        let read = UpstreamConfig {
            protocol: policy.choice("protocol", &protocols),
            tls: self.upstream_tls(policy),
            balance: policy.choice("balance", &balances),
            connect_timeout: policy.duration("connect_timeout", DEFAULTS.connect_timeout, 10 * MS..=HOUR),
            response_timeout: policy.duration("response_timeout", DEFAULTS.response_timeout, 10 * MS..=DAY),
            idle_timeout: policy.duration("idle_timeout", DEFAULTS.idle_timeout, 10 * MS..=DAY),
            stream_idle_timeout: policy.duration(
                "stream_idle_timeout",
                DEFAULTS.stream_idle_timeout,
                10 * MS..=7 * DAY,
            ),
            max_in_flight: (max_in_flight > 0).then_some(max_in_flight),
            eject: self.eject(policy),
            slow_start: policy.duration("slow_start", DEFAULTS.slow_start, Duration::ZERO..=HOUR),
            ping_timeout: policy.duration("ping_timeout", DEFAULTS.ping_timeout, 100 * MS..=HOUR),
            max_response_headers: usize::try_from(fields).unwrap_or(DEFAULTS.max_response_headers),
            max_response_header_bytes: usize::try_from(bytes).unwrap_or(DEFAULTS.max_response_header_bytes),
        };
        policy.refuse_unknown();
        read
    }

    /// A table, or `false`.
    fn eject(&self, policy: &Section<'a>) -> Option<Eject> {
        let Some(value) = policy.get("eject") else { return DEFAULTS.eject };
        match value.get_ref() {
            DeValue::Boolean(false) => None,
            DeValue::Boolean(true) => {
                let message = format!("`{}` is true; it has to be a table or false", policy.path("eject"));
                let help = "write `eject = { consecutive = 5, for = \"10s\" }`, or remove this for the same";
                self.notes.problem(value.span(), message, help.to_owned());
                DEFAULTS.eject
            }
            DeValue::Table(_) => {
                let section = policy.as_section("eject", value)?;
                let consecutive = section.integer("consecutive", DEFAULT_EJECT.consecutive.into(), 1..=1000);
                let eject = Eject {
                    consecutive: u32::try_from(consecutive).unwrap_or(DEFAULT_EJECT.consecutive),
                    base: section.duration("for", DEFAULT_EJECT.base, 100 * MS..=HOUR),
                };
                section.refuse_unknown();
                Some(eject)
            }
            other => {
                policy.mistyped(value, &policy.path("eject"), "a table or false", other);
                DEFAULTS.eject
            }
        }
    }

    /// Neither a unix socket nor a service has a name that a certificate could be for: nobody vouches for what SRV
    /// records say.
    fn check_server_name(&self, name: &str, policy: &Section<'a>, read: &UpstreamConfig, colors: [&Option<Pools>; 2]) {
        let (Some(tls), Some(value)) = (&read.tls, policy.get("tls")) else { return };
        // One that is there and is no name was noted.
        if tls.server_name.is_some() || has_key(value.get_ref(), "server_name") {
            return;
        }
        let pools = colors.into_iter().flatten().filter_map(|color| color.config.pools.get(name));
        let socket = pools
            .flatten()
            .find(|endpoint| matches!(endpoint, EndpointAddress::Unix(_) | EndpointAddress::Service { .. }));
        if let Some(socket) = socket {
            let message = format!(
                "`{}` has no `server_name`, and the endpoint {} has no name to check its certificate for",
                policy.path("tls"),
                quoted(&socket.to_string())
            );
            self.notes.problem(value.span(), message, "add `server_name = \"app.internal\"`".to_owned());
        }
    }
}

fn has_key(value: &DeValue<'_>, key: &str) -> bool {
    value.as_table().is_some_and(|table| table.iter().any(|(name, _)| name.get_ref() == key))
}
