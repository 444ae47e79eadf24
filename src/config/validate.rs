//! From what was written to what is meant, with every problem of the file at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;

use crate::config::error::{ConfigError, Diagnostic};
use crate::config::file::{Notes, Placed, Section, Span};
use crate::config::{
    AccessLog, AdminAddress, AdminConfig, ColorConfig, Config, DrainConfig, EndpointAddress, HealthConfig, HostPattern,
    ListenConfig, LogConfig, LogFormat, ReadinessConfig, Role, RouteConfig, Secret, StateConfig, Streams, TokenConfig,
    UpstreamConfig,
};
use crate::domain::color::{Color, PerColor};
use crate::domain::gate::GatePolicy;
use crate::domain::release::Release;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The upstream that is meant where none is named.
pub(super) const DEFAULT_UPSTREAM: &str = "default";

/// Reads a text. `path` is for messages only.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let (config, notes) = read(text);
    let diagnostics = notes.into_problems();
    match config {
        Some(config) if diagnostics.is_empty() => Ok(config),
        _ => Err(ConfigError { path: path.to_owned(), source: text.to_owned(), diagnostics }),
    }
}

/// The configuration as far as it could be read, and what there is to say about it.
pub(super) fn read(text: &str) -> (Option<Config>, Notes) {
    let notes = Notes::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            // The first line says it; the others draw the place, which is done here for all problems alike.
            let message = error.message().lines().next().unwrap_or("not valid TOML").to_owned();
            notes.problem(span, format!("not valid TOML: {message}"), None);
        }
        return (None, notes);
    }
    let config = File::new(&table, &notes).config();
    (config, notes)
}

struct File<'a> {
    root: Section<'a>,
    notes: &'a Notes,
}

impl<'a> File<'a> {
    fn new(table: &'a toml::Spanned<DeTable<'a>>, notes: &'a Notes) -> File<'a> {
        File { root: Section::root(table, notes), notes }
    }

    fn config(&self) -> Option<Config> {
        let active = self.active();
        let blue = self.color(Color::Blue);
        let green = self.color(Color::Green);
        let routes = self.routes();
        let state = self.state();
        let listen = self.listen();
        let admin = self.admin(listen.as_ref().map(|(listen, span)| (&listen.admin, span.clone())));
        let health = self.health();
        let gate = self.gate();
        let drain = self.drain();
        let readiness = self.readiness();
        let log = self.log();
        let upstreams = self.upstreams([&blue, &green], &routes);
        self.check_pools([(Color::Blue, &blue), (Color::Green, &green)], &routes);
        self.root.refuse_unknown();
        Some(Config {
            active: active?,
            state: state?,
            listen: listen?.0,
            admin,
            health,
            gate,
            drain,
            upstreams,
            routes: routes.into_iter().map(|(route, _)| route).collect(),
            colors: PerColor { blue: blue?.config, green: green?.config },
            readiness,
            log,
        })
    }

    fn active(&self) -> Option<Color> {
        let (text, span) = self.root.required("active", "active = \"blue\"")?;
        match text.parse() {
            Ok(color) => Some(color),
            Err(error) => {
                self.notes.problem(span, format!("`active`: {error}"), None);
                None
            }
        }
    }

    fn state(&self) -> Option<StateConfig> {
        let section = self.root.section("state");
        let section = section.as_ref();
        let dir = match section.and_then(|section| section.string("dir")) {
            Some(("", span)) => {
                self.notes.problem(span, "`state.dir` is empty", "name a directory".to_owned());
                None
            }
            Some((dir, _)) => Some(PathBuf::from(dir)),
            None => self.default_state_dir(),
        };
        let write_back = section.is_none_or(|section| section.boolean("write_back", true));
        if let Some(section) = section {
            section.refuse_unknown();
        }
        Some(StateConfig { dir: dir?, write_back })
    }

    fn default_state_dir(&self) -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = variable("STATE_DIRECTORY")
            .or_else(|| Some(variable("XDG_STATE_HOME")?.join("cutover")))
            .or_else(|| Some(variable("HOME")?.join(".local/state/cutover")));
        if dir.is_none() {
            let message = "no state directory is known: none of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME is set";
            self.notes.problem(0..0, message, "set `dir` under [state]".to_owned());
        }
        dir
    }

    fn listen(&self) -> Option<(ListenConfig, Span)> {
        let Some(section) = self.root.section("listen") else {
            if self.root.get("listen").is_none() {
                self.root.missing("[listen]", "[listen]\nhttp = \"0.0.0.0:8080\"\nadmin = \"127.0.0.1:9900\"");
            }
            return None;
        };
        let help = "write address and port, such as \"0.0.0.0:8080\"";
        section.required("http", "http = \"0.0.0.0:8080\"");
        let http =
            section.get("http").and_then(|_| section.parsed::<SocketAddr>("http", "an address with a port", help));
        let admin = section.required("admin", "admin = \"127.0.0.1:9900\"").and_then(|(text, span)| {
            let address = match text.strip_prefix("unix:") {
                Some(path) if !path.is_empty() => Some(AdminAddress::Unix(path.into())),
                Some(_) => None,
                None => text.parse().ok().map(AdminAddress::Tcp),
            };
            if address.is_none() {
                let help = "write \"127.0.0.1:9900\", or \"unix:/run/cutover/admin.sock\"".to_owned();
                let message =
                    format!("`listen.admin` is \"{text}\", which is neither an address with a port nor a unix socket");
                self.notes.problem(span.clone(), message, help);
            }
            Some((address?, span))
        });
        let trusted_proxies = section.strings("trusted_proxies").unwrap_or_default();
        let trusted_proxies = trusted_proxies.into_iter().filter_map(|(text, span)| self.network(text, span)).collect();
        let max_body = section.size("max_body", 0, 0..=u64::MAX);
        let workers = usize::try_from(section.integer("workers", 0, 0..=1024)).unwrap_or(0);
        let all_cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let listen = ListenConfig {
            trusted_proxies,
            max_connections: usize::try_from(section.integer("max_connections", 10_000, 1..=1_000_000))
                .unwrap_or(10_000),
            idle_timeout: section.duration("idle_timeout", 75 * SECOND, SECOND..=DAY),
            header_timeout: section.duration("header_timeout", 10 * SECOND, 100 * MS..=HOUR),
            max_header_bytes: usize::try_from(section.size("max_header_bytes", 64 << 10, 8 << 10..=1 << 20))
                .unwrap_or(64 << 10),
            max_body: (max_body > 0).then_some(max_body),
            workers: if workers == 0 { all_cores() } else { workers },
            http: SocketAddr::from(([0, 0, 0, 0], 0)),
            admin: AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        };
        section.refuse_unknown();
        let ((http, _), (admin, span)) = (http?, admin?);
        Some((ListenConfig { http, admin, ..listen }, span))
    }

    fn network(&self, text: &str, span: Span) -> Option<IpNet> {
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if network.is_none() {
            let message = format!("\"{text}\" is not a network");
            self.notes.problem(span, message, "write it as \"10.0.0.0/8\" or \"10.1.2.3\"".to_owned());
        }
        network
    }

    fn admin(&self, listens: Option<(&AdminAddress, Span)>) -> AdminConfig {
        let section = self.root.section("admin");
        let mut tokens = Vec::new();
        let mut names = BTreeSet::new();
        for token in section.iter().flat_map(|section| section.sections("tokens")) {
            let name = token.required("name", "name = \"deploy\"");
            if let Some((name, span)) = name.clone()
                && !names.insert(name)
            {
                self.notes.problem(
                    span,
                    format!("two tokens are named \"{name}\""),
                    "give each a name of its own".to_owned(),
                );
            }
            let role = token.required("role", "role = \"operator\"").and_then(|(role, span)| match role {
                "viewer" => Some(Role::Viewer),
                "operator" => Some(Role::Operator),
                _ => {
                    let message = format!("\"{role}\" is not a role");
                    self.notes.problem(span, message, "it is \"viewer\" or \"operator\"".to_owned());
                    None
                }
            });
            let secret = self.secret(&token);
            token.refuse_unknown();
            if let (Some((name, _)), Some(role), Some(secret)) = (name, role, secret) {
                tokens.push(TokenConfig { name: name.to_owned(), role, secret });
            }
        }
        let some_tokens = section.as_ref().is_some_and(|section| section.get("tokens").is_some());
        if let Some(section) = section {
            section.refuse_unknown();
        }
        if let Some((AdminAddress::Tcp(address), span)) = listens
            && !address.ip().is_loopback()
            && (!some_tokens || names.is_empty())
        {
            let message =
                format!("the admin address {address} can be reached from other machines, and no token is asked for");
            let help = "use a loopback address or \"unix:…\", or add `tokens` under [admin]".to_owned();
            self.notes.problem(span, message, help);
        }
        AdminConfig { tokens }
    }

    /// A secret from a file or a variable; never from the configuration itself.
    fn secret(&self, section: &Section<'_>) -> Option<Secret> {
        let (text, span, from) = match (section.string("file"), section.string("env")) {
            (Some((path, span)), None) => match std::fs::read_to_string(path) {
                Ok(text) => (text, span, path),
                Err(error) => {
                    self.notes.problem(span, format!("the secret in {path} can't be read: {error}"), None);
                    return None;
                }
            },
            (None, Some((name, span))) => match std::env::var(name) {
                Ok(text) => (text, span, name),
                Err(_) => {
                    self.notes.problem(span, format!("the environment has no variable {name}"), None);
                    return None;
                }
            },
            (Some(_), Some((_, span))) => {
                self.notes.problem(span, "the secret has both a `file` and an `env`", "keep one of them".to_owned());
                return None;
            }
            (None, None) => {
                section.missing("file", "file = \"/run/credentials/token\"` or `env = \"NAME\"");
                return None;
            }
        };
        let text = text.trim();
        if text.is_empty() {
            self.notes.problem(span, format!("the secret in {from} is empty"), None);
            return None;
        }
        Some(Secret(text.to_owned()))
    }

    fn health(&self) -> HealthConfig {
        let section = self.root.section("health");
        let defaults = HealthConfig {
            path: None,
            host: None,
            interval: 2 * SECOND,
            timeout: SECOND,
            rise: 2,
            fall: 3,
            expect: (200, 299),
        };
        let Some(section) = section else { return defaults };
        let health = HealthConfig {
            path: section.string("path").and_then(|(path, span)| self.request_path("health.path", path, span)),
            host: section.string("host").and_then(|(host, span)| {
                let valid = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
                if !valid {
                    self.notes.problem(span, format!("`health.host` is \"{host}\", which is not a host"), None);
                }
                valid.then(|| host.to_owned())
            }),
            interval: section.duration("interval", defaults.interval, 50 * MS..=HOUR),
            timeout: section.duration("timeout", defaults.timeout, 10 * MS..=HOUR),
            rise: u32::try_from(section.integer("rise", 2, 1..=100)).unwrap_or(2),
            fall: u32::try_from(section.integer("fall", 3, 1..=100)).unwrap_or(3),
            expect: section
                .string("expect")
                .and_then(|(text, span)| self.statuses(text, span))
                .unwrap_or(defaults.expect),
        };
        section.refuse_unknown();
        health
    }

    fn request_path(&self, key: &str, path: &str, span: Span) -> Option<String> {
        if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(path.to_owned());
        }
        let message = format!("`{key}` is \"{path}\", which is not a path");
        self.notes.problem(span, message, "begin it with \"/\", without spaces".to_owned());
        None
    }

    fn statuses(&self, text: &str, span: Span) -> Option<(u16, u16)> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
        match (status(low), status(high)) {
            (Some(low), Some(high)) if low <= high => Some((low, high)),
            _ => {
                let message = format!("`health.expect` is \"{text}\", which is not a range of status codes");
                self.notes.problem(span, message, "write \"200\" or \"200-299\"".to_owned());
                None
            }
        }
    }

    fn gate(&self) -> GatePolicy {
        let section = self.root.section("gate");
        let Some(section) = section else {
            return GatePolicy { quorum_percent: 100, passes: 1, timeout: 30 * SECOND };
        };
        let gate = GatePolicy {
            quorum_percent: section.percent("quorum", 100),
            passes: u32::try_from(section.integer("passes", 1, 1..=100)).unwrap_or(1),
            timeout: section.duration("timeout", 30 * SECOND, 100 * MS..=HOUR),
        };
        section.refuse_unknown();
        gate
    }

    fn drain(&self) -> DrainConfig {
        let Some(section) = self.root.section("drain") else {
            return DrainConfig { timeout: 30 * SECOND, streams: Streams::Keep };
        };
        let streams = match section.string("streams") {
            None | Some(("keep", _)) => Streams::Keep,
            Some(("close", _)) => Streams::Close,
            Some((other, span)) => {
                let message = format!("`drain.streams` is \"{other}\"");
                self.notes.problem(span, message, "it is \"keep\" or \"close\"".to_owned());
                Streams::Keep
            }
        };
        let drain = DrainConfig { timeout: section.duration("timeout", 30 * SECOND, Duration::ZERO..=DAY), streams };
        section.refuse_unknown();
        drain
    }

    fn upstreams(
        &self,
        colors: [&Option<Pools>; 2],
        routes: &[(RouteConfig, Span)],
    ) -> BTreeMap<String, UpstreamConfig> {
        let defaults = UpstreamConfig {
            connect_timeout: 2 * SECOND,
            response_timeout: 60 * SECOND,
            idle_timeout: 60 * SECOND,
            max_in_flight: None,
        };
        let mut upstreams = BTreeMap::new();
        for pools in colors.into_iter().flatten() {
            upstreams.extend(pools.config.pools.keys().map(|name| (name.clone(), defaults.clone())));
        }
        let Some(section) = self.root.section("upstream") else { return upstreams };
        for (name, span, value) in section.entries() {
            let Some(policy) = section.as_section(name, value) else { continue };
            let max_in_flight = policy.integer("max_in_flight", 0, 0..=10_000_000);
            let policy_read = UpstreamConfig {
                connect_timeout: policy.duration("connect_timeout", defaults.connect_timeout, 10 * MS..=HOUR),
                response_timeout: policy.duration("response_timeout", defaults.response_timeout, 10 * MS..=DAY),
                idle_timeout: policy.duration("idle_timeout", defaults.idle_timeout, 10 * MS..=DAY),
                max_in_flight: (max_in_flight > 0).then_some(max_in_flight),
            };
            policy.refuse_unknown();
            let used = upstreams.contains_key(name) || routes.iter().any(|(route, _)| route.upstream == name);
            if used {
                upstreams.insert(name.to_owned(), policy_read);
            } else if colors.iter().all(|color| color.is_some()) {
                let message = format!("no color has endpoints for the upstream \"{name}\"");
                let help =
                    format!("add `{name} = [\"…\"]` under [blue.upstreams] and [green.upstreams], or remove this");
                self.notes.problem(span, message, help);
            }
        }
        upstreams
    }

    fn routes(&self) -> Vec<(RouteConfig, Span)> {
        let mut routes: Vec<(RouteConfig, Span)> = Vec::new();
        for section in self.root.sections("route") {
            let host = match section.string("host") {
                None => Some(HostPattern::Any),
                Some((host, span)) => self.host_pattern(host, span),
            };
            let path = match section.string("path") {
                None => Some("/".to_owned()),
                Some((path, span)) => self.request_path("route.path", path, span),
            };
            let upstream = section.required("upstream", "upstream = \"default\"");
            section.refuse_unknown();
            let (Some(host), Some(path), Some((upstream, span))) = (host, path, upstream) else { continue };
            let place = section.span.clone();
            let segments =
                |path: &str| path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            let twin = routes.iter().any(|(other, _)| other.host == host && segments(&other.path) == segments(&path));
            if twin {
                let message = format!("there is another route for the same host and the path \"{path}\"");
                self.notes.problem(place, message, "keep one of them".to_owned());
            }
            routes.push((RouteConfig { host, path, upstream: upstream.to_owned() }, span));
        }
        routes
    }

    fn host_pattern(&self, host: &str, span: Span) -> Option<HostPattern> {
        let (below, name) = host.strip_prefix("*.").map_or((false, host), |parent| (true, parent));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_name = !name.is_empty() && name.bytes().all(valid) && !name.split('.').any(str::is_empty);
        if !is_name && !address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok() && !below) {
            let message = format!("`route.host` is \"{host}\", which is not a host");
            let help = "write \"api.example.com\" or \"*.example.com\", without a port".to_owned();
            self.notes.problem(span, message, help);
            return None;
        }
        Some(if below { HostPattern::Below(name) } else { HostPattern::Exact(name) })
    }

    fn color(&self, color: Color) -> Option<Pools> {
        let Some(section) = self.root.section(color.as_str()) else {
            if self.root.get(color.as_str()).is_none() {
                let example = format!("[{color}]\nrelease = \"1.0.0\"\nendpoints = [\"127.0.0.1:9001\"]");
                self.root.missing(&format!("[{color}]"), &example);
            }
            return None;
        };
        let release = section.required("release", "release = \"1.0.0\"");
        let valid = release.clone().is_none_or(|(label, span)| {
            let valid = !label.is_empty() && label.len() <= 200 && !label.chars().any(char::is_control);
            if !valid {
                let message = format!("`{color}.release` is not a label of 1 to 200 printable characters");
                self.notes.problem(span, message, None);
            }
            valid
        });
        let mut pools = BTreeMap::new();
        if let Some(value) = section.get("endpoints") {
            let pool = self.pool(&section, "endpoints", value);
            pools.insert(DEFAULT_UPSTREAM.to_owned(), pool);
        }
        if let Some(upstreams) = section.section("upstreams") {
            for (name, span, value) in upstreams.entries() {
                let pool = self.pool(&upstreams, name, value);
                if pools.insert(name.to_owned(), pool).is_some() {
                    let message = format!("`{color}.endpoints` are the endpoints of \"{DEFAULT_UPSTREAM}\" already");
                    self.notes.problem(span, message, "keep one of them".to_owned());
                }
            }
        } else if pools.is_empty() && section.get("endpoints").is_none() {
            section.missing("endpoints", "endpoints = [\"127.0.0.1:9001\"]");
        }
        let span = section.span.clone();
        section.refuse_unknown();
        let (label, _) = release.filter(|_| valid)?;
        Some(Pools { config: ColorConfig { release: Release::new(label), pools }, span })
    }

    fn pool(&self, section: &Section<'a>, key: &str, value: Placed<'a>) -> Vec<EndpointAddress> {
        let Some(texts) = section.as_strings(key, value) else { return Vec::new() };
        if texts.is_empty() {
            let message = format!("the pool `{key}` has no endpoint");
            self.notes.problem(value.span(), message, "name at least one, such as \"127.0.0.1:9001\"".to_owned());
        }
        let mut endpoints = Vec::new();
        for (text, span) in texts {
            let Some(endpoint) = self.endpoint(text, span.clone()) else { continue };
            if endpoints.contains(&endpoint) {
                self.notes.problem(
                    span,
                    format!("the endpoint {text} is in this pool twice"),
                    "keep one of them".to_owned(),
                );
            } else {
                endpoints.push(endpoint);
            }
        }
        endpoints
    }

    fn endpoint(&self, text: &str, span: Span) -> Option<EndpointAddress> {
        let endpoint = match text.strip_prefix("unix:") {
            Some(path) => (!path.is_empty()).then(|| EndpointAddress::Unix(path.into())),
            None => text.parse().ok().map(EndpointAddress::Ip).or_else(|| named(text)),
        };
        let usable = !matches!(&endpoint, Some(EndpointAddress::Ip(address)) if address.port() == 0);
        if endpoint.is_none() || !usable {
            let help = "write \"10.0.0.1:8080\", \"app.internal:8080\" or \"unix:/run/app.sock\"".to_owned();
            self.notes.problem(span, format!("\"{text}\" is not an endpoint"), help);
            return None;
        }
        endpoint
    }

    /// Both colors have the same upstreams, and every route has one: otherwise a switch would take a route away.
    fn check_pools(&self, colors: [(Color, &Option<Pools>); 2], routes: &[(RouteConfig, Span)]) {
        let [(_, Some(blue)), (_, Some(green))] = colors else { return };
        for (color, has, lacks) in [(Color::Green, blue, green), (Color::Blue, green, blue)] {
            for name in has.config.pools.keys().filter(|name| !lacks.config.pools.contains_key(*name)) {
                let message =
                    format!("{color} has no endpoints for the upstream \"{name}\", and {} has", color.other());
                let help = if name == DEFAULT_UPSTREAM {
                    format!("add `endpoints` under [{color}]")
                } else {
                    format!("add `{name} = [\"…\"]` under [{color}.upstreams]")
                };
                self.notes.problem(lacks.span.clone(), message, help);
            }
        }
        let known = |name: &str| blue.config.pools.contains_key(name) || green.config.pools.contains_key(name);
        for (route, span) in routes.iter().filter(|(route, _)| !known(&route.upstream)) {
            let message = format!("no color has endpoints for the upstream \"{}\"", route.upstream);
            let help = format!("add `{} = [\"…\"]` under [blue.upstreams] and [green.upstreams]", route.upstream);
            self.notes.problem(span.clone(), message, help);
        }
        if routes.is_empty() && !known(DEFAULT_UPSTREAM) {
            let message =
                "there is no route, and so everything goes to the upstream \"default\", which has no endpoints";
            self.notes.problem(
                blue.span.clone(),
                message,
                "add `endpoints` under both colors, or a [[route]]".to_owned(),
            );
        }
    }

    fn readiness(&self) -> ReadinessConfig {
        let default = "/.cutover/ready".to_owned();
        let Some(section) = self.root.section("readiness") else {
            return ReadinessConfig { path: Some(default), lame_duck: 5 * SECOND };
        };
        let path = match section.string("path") {
            None => Some(default),
            Some(("", _)) => None,
            Some((path, span)) => self.request_path("readiness.path", path, span),
        };
        let lame_duck = section.duration("lame_duck", 5 * SECOND, Duration::ZERO..=HOUR);
        section.refuse_unknown();
        ReadinessConfig { path, lame_duck }
    }

    fn log(&self) -> LogConfig {
        let defaults = LogConfig { format: LogFormat::Json, access: AccessLog::Stdout, redact_query: false };
        let Some(section) = self.root.section("log") else { return defaults };
        let format = match section.string("format") {
            None | Some(("json", _)) => LogFormat::Json,
            Some(("text", _)) => LogFormat::Text,
            Some((other, span)) => {
                self.notes.problem(
                    span,
                    format!("`log.format` is \"{other}\""),
                    "it is \"json\" or \"text\"".to_owned(),
                );
                LogFormat::Json
            }
        };
        let access = match section.string("access") {
            None | Some(("stdout", _)) => AccessLog::Stdout,
            Some(("off", _)) => AccessLog::Off,
            Some((path, _)) if path.contains('/') => AccessLog::File(path.into()),
            Some((other, span)) => {
                let help = "it is \"stdout\", \"off\", or a path with a \"/\" in it".to_owned();
                self.notes.problem(span, format!("`log.access` is \"{other}\""), help);
                AccessLog::Stdout
            }
        };
        let redact_query = section.boolean("redact_query", false);
        section.refuse_unknown();
        LogConfig { format, access, redact_query }
    }
}

struct Pools {
    config: ColorConfig,
    span: Span,
}

fn named(text: &str) -> Option<EndpointAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // All digits and dots is an address that went wrong, not a name.
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let name = host.strip_suffix('.').unwrap_or(host);
    (!numeric && name.len() <= 253 && name.split('.').all(label))
        .then(|| EndpointAddress::Name { host: host.to_owned(), port })
}

/// One problem at the place of a key, for what is found wrong only later.
pub(super) fn at_key(path: &Path, text: &str, section: &str, key: &str, message: String, help: String) -> ConfigError {
    let span = DeTable::parse(text).ok().and_then(|root| {
        let (_, inner) = root.get_ref().iter().find(|(name, _)| name.get_ref() == section)?;
        let table = inner.get_ref().as_table()?;
        table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.span())
    });
    let diagnostic = Diagnostic { span: span.unwrap_or(0..0), message, help: Some(help) };
    ConfigError { path: path.to_owned(), source: text.to_owned(), diagnostics: vec![diagnostic] }
}
