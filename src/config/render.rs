//! A configuration as TOML again: every key with its value in force, without secrets.

mod canary;
mod gate;

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};

use crate::config::receiver::Source;
use crate::config::{
    AccessLog, AdminAddress, Balance, ClientAuth, ColorConfig, Config, EventFilter, Family, HostPattern, ListenConfig,
    LogFormat, NotifyConfig, NotifyKind, PreviewConfig, ResolverConfig, Role, SchemaProbe, ServiceConfig, Streams,
    TlsConfig, UpstreamConfig, UpstreamProtocol, UpstreamTls,
};
use crate::tls::TlsVersion;

impl Config {
    /// The whole configuration, every key written out. Secrets are left out: where a token came from is the file's.
    #[must_use]
    pub fn render(&self) -> String {
        self.table().to_string()
    }

    /// What differs between two configurations, one line a key.
    #[must_use]
    pub fn differences(&self, next: &Config) -> Vec<String> {
        let mut lines = Vec::new();
        compare("", &Value::Table(self.table()), &Value::Table(next.table()), &mut lines);
        if self.admin != next.admin && lines.iter().all(|line| !line.starts_with("admin.")) {
            lines.push("admin.tokens: a secret".to_owned());
        }
        if self.preview != next.preview && lines.iter().all(|line| !line.starts_with("preview")) {
            lines.push("preview.secret_file: a secret".to_owned());
        }
        lines
    }

    /// What differs from the rendered configuration of another process, one line a key. Secrets are in neither.
    pub fn changes_from(&self, rendered: &str) -> Result<Vec<String>, toml::de::Error> {
        let before: Table = toml::from_str(rendered)?;
        let mut lines = Vec::new();
        compare("", &Value::Table(before), &Value::Table(self.table()), &mut lines);
        Ok(lines)
    }

    fn table(&self) -> Table {
        let mut root = Table::new();
        if self.state.names_active {
            root.insert("active".into(), self.active.as_str().into());
        }
        root.insert(
            "state".into(),
            table([
                ("dir", self.state.dir.display().to_string().into()),
                ("write_back", self.state.write_back.into()),
                ("file_orders", self.state.file_orders.into()),
                ("order_window", duration(self.state.order_window)),
            ]),
        );
        root.insert("listen".into(), listen_table(&self.listen));
        root.extend(self.tls.as_ref().map(|tls| ("tls".to_owned(), tls_table(tls))));
        let tokens = self.admin.tokens.iter().map(|token| {
            let role = match token.role {
                Role::Viewer => "viewer",
                Role::Operator => "operator",
            };
            table([("name", token.name.clone().into()), ("role", role.into())])
        });
        root.insert("admin".into(), table([("tokens", tokens.collect::<Vec<_>>().into())]));
        let health = &self.health;
        let mut section = vec![
            ("interval", duration(health.interval)),
            ("timeout", duration(health.timeout)),
            ("rise", integer(health.rise.into())),
            ("fall", integer(health.fall.into())),
            ("expect", format!("{}-{}", health.expect.0, health.expect.1).into()),
        ];
        section.extend(health.path.clone().map(|path| ("path", path.into())));
        section.extend(health.host.clone().map(|host| ("host", host.into())));
        section.extend(health.release_header.clone().map(|name| ("release_header", name.into())));
        root.insert("health".into(), table(section));
        root.insert("gate".into(), gate::gate(&self.gate, &self.gate_checks));
        root.insert("linger".into(), gate::linger(&self.linger));
        let streams = match self.drain.streams {
            Streams::Keep => "keep",
            Streams::Close => "close",
            Streams::Spread => "spread",
        };
        root.insert(
            "drain".into(),
            table([
                ("timeout", duration(self.drain.timeout)),
                ("streams", streams.into()),
                ("spread", duration(self.drain.spread)),
            ]),
        );
        root.insert("canary".into(), canary::canary(&self.canary));
        root.insert("analysis".into(), canary::analysis(&self.analysis));
        root.insert("bake".into(), canary::bake(&self.bake));
        let hold = self.hold;
        root.insert(
            "pause".into(),
            table([
                ("max_requests", integer(hold.max_requests as u64)),
                ("max_bytes", size(hold.max_bytes as u64)),
                ("timeout", duration(hold.timeout)),
                ("ready", hold.ready.into()),
            ]),
        );
        let maintenance = &self.maintenance;
        let mut section =
            vec![("status", integer(maintenance.status.into())), ("retry_after", duration(maintenance.retry_after))];
        section.extend(maintenance.page.as_ref().map(|page| ("page", path(&page.path))));
        root.insert("maintenance".into(), table(section));
        root.insert("headers".into(), table([("via", self.headers.via.into())]));
        let budget = format!("{}%", self.retry.budget_percent);
        root.insert(
            "retry".into(),
            table([("attempts", integer(self.retry.attempts.into())), ("budget", budget.into())]),
        );
        root.insert("resolver".into(), resolver_table(&self.resolver));
        let upstreams = self.upstreams.iter().map(|(name, policy)| (name.clone(), upstream_table(policy)));
        root.insert("upstream".into(), Value::Table(upstreams.collect()));
        let routes = self.routes.iter().map(|route| {
            let mut section = vec![("path", route.path.clone().into()), ("upstream", route.upstream.clone().into())];
            match &route.host {
                HostPattern::Any => {}
                HostPattern::Exact(name) => section.push(("host", name.clone().into())),
                HostPattern::Below(name) => section.push(("host", format!("*.{name}").into())),
            }
            table(section)
        });
        root.insert("route".into(), routes.collect::<Vec<_>>().into());
        for (color, config) in self.colors.iter() {
            root.insert(color.to_string(), color_table(config));
        }
        root.extend(self.preview.as_ref().map(|preview| ("preview".to_owned(), preview_table(preview))));
        root.insert(
            "readiness".into(),
            table([
                ("path", self.readiness.path.clone().unwrap_or_default().into()),
                ("lame_duck", duration(self.readiness.lame_duck)),
                ("fail_without_endpoints", self.readiness.fail_without_endpoints.into()),
            ]),
        );
        let format = match self.log.format {
            LogFormat::Auto => "auto",
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        };
        let access = match &self.log.access {
            AccessLog::Stdout => "stdout".to_owned(),
            AccessLog::Off => "off".to_owned(),
            AccessLog::File(path) => path.display().to_string(),
        };
        root.insert(
            "log".into(),
            table([
                ("format", format.into()),
                ("access", access.into()),
                ("redact_query", self.log.redact_query.into()),
            ]),
        );
        root.insert("service".into(), service_table(&self.service));
        root.insert("notify".into(), self.notify.iter().map(notify_table).collect::<Vec<_>>().into());
        root
    }
}

fn listen_table(listen: &ListenConfig) -> Value {
    let admin = match &listen.admin {
        AdminAddress::Tcp(address) => address.to_string(),
        AdminAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let mut section = vec![
        ("http", listen.http.to_string().into()),
        ("https_redirect", listen.https_redirect.map_or(Value::Boolean(false), |to| integer(to.port.into()))),
        ("admin", admin.into()),
        ("admin_mode", format!("{:04o}", listen.admin_mode).into()),
        ("proxy_protocol", networks(&listen.proxy_protocol)),
        ("trusted_proxies", networks(&listen.trusted_proxies)),
        ("max_connections", integer(listen.max_connections as u64)),
        ("max_concurrent_streams", integer(listen.max_concurrent_streams as u64)),
        ("max_connections_per_client", integer(listen.max_connections_per_client.unwrap_or(0) as u64)),
        ("max_buffered", size(listen.max_buffered.unwrap_or(0))),
        ("idle_timeout", duration(listen.idle_timeout)),
        ("header_timeout", duration(listen.header_timeout)),
        ("max_header_bytes", size(listen.max_header_bytes as u64)),
        ("max_body", size(listen.max_body.unwrap_or(0))),
        ("workers", integer(listen.workers as u64)),
    ];
    section.extend(listen.https.map(|https| ("https", https.to_string().into())));
    section.extend(listen.preview.map(|preview| ("preview", preview.to_string().into())));
    section.extend(listen.admin_group.as_ref().map(|group| ("admin_group", group.clone().into())));
    table(section)
}

fn resolver_table(resolver: &ResolverConfig) -> Value {
    let family = match resolver.family {
        Family::Auto => "auto",
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
        Family::All => "all",
    };
    let servers = resolver.servers.iter().map(|server| server.to_string().into());
    table([
        ("servers", servers.collect::<Vec<Value>>().into()),
        ("family", family.into()),
        ("min_ttl", duration(resolver.min_ttl)),
        ("max_ttl", duration(resolver.max_ttl)),
        ("timeout", duration(resolver.timeout)),
    ])
}

fn networks(networks: &[IpNet]) -> Value {
    networks.iter().map(|net| net.to_string().into()).collect::<Vec<Value>>().into()
}

fn preview_table(preview: &PreviewConfig) -> Value {
    let mut section = vec![
        ("header", preview.header.clone().into()),
        ("allow", networks(&preview.allow)),
        ("name_color", preview.name_color.into()),
    ];
    section.extend(preview.secret.as_ref().map(|secret| ("secret_file", path(&secret.file))));
    section.extend(preview.host.clone().map(|host| ("host", host.into())));
    table(section)
}

fn tls_table(tls: &TlsConfig) -> Value {
    let min_version = match tls.min_version {
        TlsVersion::V12 => "1.2",
        TlsVersion::V13 => "1.3",
    };
    let certificates = tls.certificates.iter().map(|files| {
        let mut entry = vec![("cert", path(&files.cert)), ("key", path(&files.key))];
        entry.extend(files.ocsp.as_deref().map(|ocsp| ("ocsp", path(ocsp))));
        table(entry)
    });
    let mut section = vec![
        ("min_version", min_version.into()),
        ("certificates", certificates.collect::<Vec<_>>().into()),
        ("handshake_timeout", duration(tls.handshake_timeout)),
    ];
    if let Some(client_ca) = &tls.client_ca {
        let client_auth = match tls.client_auth {
            ClientAuth::Require => "require",
            ClientAuth::Request => "request",
        };
        section.extend([("client_ca", path(client_ca)), ("client_auth", client_auth.into())]);
    }
    table(section)
}

fn upstream_table(policy: &UpstreamConfig) -> Value {
    let protocol = match policy.protocol {
        UpstreamProtocol::Http1 => "http1",
        UpstreamProtocol::Http2 => "http2",
    };
    let balance = match policy.balance {
        Balance::LeastRequests => "least-requests",
        Balance::RoundRobin => "round-robin",
    };
    let eject = policy.eject.map_or(Value::Boolean(false), |eject| {
        table([("consecutive", integer(eject.consecutive.into())), ("for", duration(eject.base))])
    });
    let mut section = vec![
        ("protocol", protocol.into()),
        ("balance", balance.into()),
        ("connect_timeout", duration(policy.connect_timeout)),
        ("response_timeout", duration(policy.response_timeout)),
        ("idle_timeout", duration(policy.idle_timeout)),
        ("stream_idle_timeout", duration(policy.stream_idle_timeout)),
        ("max_in_flight", integer(policy.max_in_flight.unwrap_or(0))),
        ("eject", eject),
        ("slow_start", duration(policy.slow_start)),
        ("ping_timeout", duration(policy.ping_timeout)),
        ("max_response_headers", integer(policy.max_response_headers as u64)),
        ("max_response_header_bytes", size(policy.max_response_header_bytes as u64)),
    ];
    section.extend(policy.tls.as_ref().map(|tls| ("tls", upstream_tls_table(tls))));
    table(section)
}

fn upstream_tls_table(tls: &UpstreamTls) -> Value {
    let files = [("ca", &tls.ca), ("client_cert", &tls.client_cert), ("client_key", &tls.client_key)];
    let files = files.into_iter().filter_map(|(key, file)| Some((key, path(file.as_deref()?))));
    table(files.chain(tls.server_name.clone().map(|name| ("server_name", name.into()))))
}

fn color_table(config: &ColorConfig) -> Value {
    if config.is_empty() {
        return table([]);
    }
    let pools = config.pools.iter().map(|(name, endpoints)| {
        let endpoints: Vec<Value> = endpoints.iter().map(|endpoint| endpoint.to_string().into()).collect();
        (name.clone(), Value::from(endpoints))
    });
    let mut section = vec![("release", config.release.as_str().into()), ("upstreams", Value::Table(pools.collect()))];
    if !config.schema.is_empty() {
        let stores = config.schema.iter().map(|(store, label)| {
            let mut entry = vec![("needs", label.needs.to_string().into()), ("barrier", label.barrier.as_str().into())];
            entry.extend(label.migrates_to.map(|version| ("migrates_to", integer(version.0))));
            let probe = config.probes.get(store);
            let table_of =
                |probe: &SchemaProbe| table([("url", probe.url.clone().into()), ("json", probe.json.clone().into())]);
            entry.extend(probe.map(|probe| ("probe", table_of(probe))));
            (store.clone(), table(entry))
        });
        section.push(("schema", Value::Table(stores.collect())));
    }
    table(section)
}

fn service_table(service: &ServiceConfig) -> Value {
    let links = service.links.iter().map(|(label, url)| (label.clone(), Value::from(url.clone())));
    let mut section = vec![("instance", service.instance.clone().into()), ("links", Value::Table(links.collect()))];
    section.extend(service.name.clone().map(|name| ("name", name.into())));
    section.extend(service.environment.clone().map(|environment| ("environment", environment.into())));
    table(section)
}

fn notify_table(sink: &NotifyConfig) -> Value {
    let events = sink.events.iter().map(|filter| match filter {
        EventFilter::One(event) => event.as_str().into(),
        EventFilter::Group(group) => format!("{group}.*").into(),
    });
    let mut section = vec![
        ("name", sink.name.clone().into()),
        ("events", events.collect::<Vec<Value>>().into()),
        ("min_severity", sink.min_severity.as_str().into()),
        ("timeout", duration(sink.timeout)),
        ("retry", sink.retry.iter().copied().map(duration).collect::<Vec<_>>().into()),
    ];
    section.push(match &sink.url {
        Source::File(file) => ("url_file", path(file)),
        Source::Env(name) => ("url_env", name.clone().into()),
    });
    match &sink.kind {
        NotifyKind::Slack => section.push(("kind", "slack".into())),
        NotifyKind::Webhook { secrets } => {
            let (mut files, mut envs): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
            for secret in secrets {
                match secret {
                    Source::File(file) => files.push(path(file)),
                    Source::Env(name) => envs.push(name.clone().into()),
                }
            }
            section.push(("kind", "webhook".into()));
            section.extend((!files.is_empty()).then(|| ("secret_files", files.into())));
            section.extend((!envs.is_empty()).then(|| ("secret_envs", envs.into())));
        }
    }
    table(section)
}

fn table(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

fn duration(duration: Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

fn size(size: u64) -> Value {
    // Exact where it is a whole number of the unit.
    let text = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| size > 0 && size.is_multiple_of(1 << shift))
        .map_or_else(|| format!("{size}B"), |(shift, unit)| format!("{}{unit}", size >> shift));
    text.into()
}

fn integer(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    let (Value::Table(old), Value::Table(new)) = (before, after) else {
        if before != after {
            lines.push(format!("{path}: {before} -> {after}"));
        }
        return;
    };
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in old {
        match new.get(key) {
            Some(next) => compare(&below(key), value, next, lines),
            None => lines.push(format!("{}: {value} -> gone", below(key))),
        }
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        lines.push(format!("{}: new, {value}", below(key)));
    }
}
