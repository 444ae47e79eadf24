//! A configuration as TOML again: every key with its value in force, without secrets.

use std::time::Duration;

use toml::{Table, Value};

use crate::config::{AccessLog, AdminAddress, ColorConfig, Config, HostPattern, LogFormat, Role, Streams};

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
        root.insert("active".into(), self.active.as_str().into());
        root.insert(
            "state".into(),
            table([("dir", self.state.dir.display().to_string().into()), ("write_back", self.state.write_back.into())]),
        );
        let listen = &self.listen;
        let admin = match &listen.admin {
            AdminAddress::Tcp(address) => address.to_string(),
            AdminAddress::Unix(path) => format!("unix:{}", path.display()),
        };
        let trusted: Vec<Value> = listen.trusted_proxies.iter().map(|net| net.to_string().into()).collect();
        root.insert(
            "listen".into(),
            table([
                ("http", listen.http.to_string().into()),
                ("admin", admin.into()),
                ("trusted_proxies", trusted.into()),
                ("max_connections", integer(listen.max_connections as u64)),
                ("idle_timeout", duration(listen.idle_timeout)),
                ("header_timeout", duration(listen.header_timeout)),
                ("max_header_bytes", size(listen.max_header_bytes as u64)),
                ("max_body", size(listen.max_body.unwrap_or(0))),
                ("workers", integer(listen.workers as u64)),
            ]),
        );
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
        root.insert("health".into(), table(section));
        root.insert(
            "gate".into(),
            table([
                ("quorum", format!("{}%", self.gate.quorum_percent).into()),
                ("passes", integer(self.gate.passes.into())),
                ("timeout", duration(self.gate.timeout)),
            ]),
        );
        let streams = match self.drain.streams {
            Streams::Keep => "keep",
            Streams::Close => "close",
        };
        root.insert("drain".into(), table([("timeout", duration(self.drain.timeout)), ("streams", streams.into())]));
        let upstreams = self.upstreams.iter().map(|(name, policy)| {
            let policy = table([
                ("connect_timeout", duration(policy.connect_timeout)),
                ("response_timeout", duration(policy.response_timeout)),
                ("idle_timeout", duration(policy.idle_timeout)),
                ("max_in_flight", integer(policy.max_in_flight.unwrap_or(0))),
            ]);
            (name.clone(), policy)
        });
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
        root.insert(
            "readiness".into(),
            table([
                ("path", self.readiness.path.clone().unwrap_or_default().into()),
                ("lame_duck", duration(self.readiness.lame_duck)),
            ]),
        );
        let format = match self.log.format {
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
        root
    }
}

fn color_table(config: &ColorConfig) -> Value {
    let pools = config.pools.iter().map(|(name, endpoints)| {
        let endpoints: Vec<Value> = endpoints.iter().map(|endpoint| endpoint.to_string().into()).collect();
        (name.clone(), Value::from(endpoints))
    });
    table([("release", config.release.as_str().into()), ("upstreams", Value::Table(pools.collect()))])
}

fn table(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
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
