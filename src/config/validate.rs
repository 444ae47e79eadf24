//! From what was written to what is meant, with every problem of the file at once.

mod admin;
mod canary;
mod drain;
mod evidence;
mod gate_check;
mod hold;
mod linger;
mod listen;
mod notify;
mod preview;
mod resolver;
mod routing;
mod schema;
mod tls;
mod upstream;
mod without_effect;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::config::error::{ConfigError, Tolerated};
use crate::config::file::{Notes, Section, Span, quoted};
use crate::config::path;
use crate::config::{
    AccessLog, Config, HeadersConfig, HealthConfig, LogConfig, LogFormat, ReadinessConfig, RetryConfig, StateConfig,
};
use crate::domain::color::Color;
use crate::domain::gate::GatePolicy;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The default of `state.order_window`, and the most that it may be.
const ORDER_WINDOW: Duration = HOUR;
const LONGEST_ORDER_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads a text. `path` is for messages only.
pub(super) fn parse(path: &Path, text: &str, tolerated: Tolerated<'_>) -> Result<Config, ConfigError> {
    let (config, notes) = read(text);
    let source = notes.shown(text);
    let (unusable, errors) = tolerated.part(notes.take_unusable());
    let mut diagnostics = notes.into_problems();
    diagnostics.extend(errors);
    diagnostics.sort_by_key(|problem| (problem.span.start, problem.span.end));
    match config {
        Some(config) if diagnostics.is_empty() => Ok(Config { unusable, ..config }),
        _ => Err(ConfigError { path: path.to_owned(), source, diagnostics }),
    }
}

/// The configuration as far as it could be read, and what there is to say about it.
pub(super) fn read(text: &str) -> (Option<Config>, Notes) {
    let notes = Notes::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        note_syntax(text, &errors, &notes);
        return (None, notes);
    }
    let config = File::new(&table, &notes).config();
    (config, notes)
}

/// What is no TOML. One mistake makes what follows look wrong too, so not everything is repeated.
fn note_syntax(text: &str, errors: &[toml::de::Error], notes: &Notes) {
    let never_closed = |error: &&toml::de::Error| error.message().starts_with("unclosed");
    let all_follow = errors.iter().any(|error| never_closed(&error));
    let told = errors.iter().enumerate().filter(|(index, error)| *index == 0 || !all_follow || never_closed(error));
    let mut lines = BTreeSet::new();
    for (_, error) in told {
        let span = error.span().unwrap_or(0..0);
        if !lines.insert(text.get(..span.start).map_or(0, |before| before.matches('\n').count())) {
            continue;
        }
        // The first line says it; the others draw the place, which is done here for all problems alike.
        let message = error.message().lines().next().unwrap_or("not valid TOML");
        if message == "duplicate key" {
            let key = text.get(span.clone()).unwrap_or_default();
            notes.problem(span, format!("the key {} is there twice", quoted(key)), "keep one of them".to_owned());
        } else {
            notes.problem(span, format!("not valid TOML: {message}"), None);
        }
    }
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
        let state = self.state();
        let active = self.active(state.as_ref());
        let blue = self.color(Color::Blue, active);
        let green = self.color(Color::Green, active);
        let routes = self.routes();
        let listen = self.listen();
        let tls = self.tls(listen.as_ref());
        let admin = self.admin(listen.as_ref());
        let health = self.health();
        let (gate, gate_checks) = self.gate();
        let linger = self.linger();
        let drain = self.drain();
        let canary = self.canary();
        let analysis = self.analysis();
        let bake = self.bake();
        let hold = self.hold();
        let maintenance = self.maintenance();
        let headers = self.headers();
        let retry = self.retry();
        let resolver = self.resolver();
        let preview = self.preview(listen.as_ref());
        let readiness = self.readiness();
        let log = self.log();
        let service = self.service();
        let notify = self.notify();
        let upstreams = self.upstreams([&blue, &green], &routes);
        self.check_pools([(Color::Blue, &blue), (Color::Green, &green)], &routes);
        self.check_check_upstreams(&gate_checks, [&blue, &green]);
        self.root.refuse_unknown();
        let config = Config {
            active: active?,
            state: state?,
            listen: listen?.config,
            tls,
            admin,
            health,
            gate,
            gate_checks: gate_checks.into_iter().map(|(check, _)| check).collect(),
            linger,
            drain,
            canary,
            analysis,
            bake,
            hold,
            maintenance,
            headers,
            retry,
            resolver,
            upstreams,
            routes: routes.into_iter().map(|(route, _)| route).collect(),
            colors: routing::both(blue?, green?),
            preview,
            readiness,
            log,
            service,
            notify,
            unusable: Vec::new(),
        };
        if self.notes.has_none() {
            self.refuse_without_effect(&config);
        }
        Some(config)
    }

    fn active(&self, state: Option<&StateConfig>) -> Option<Color> {
        if state.is_some_and(|state| !state.file_orders && !state.names_active) {
            return Some(Color::Blue);
        }
        let (text, span) = self.root.required("active", "active = \"blue\"")?;
        match text.parse() {
            Ok(color) => Some(color),
            Err(_) => {
                let message = format!("`active` is {}, which is not a color", quoted(text));
                self.notes.problem(span, message, "it is \"blue\" or \"green\"".to_owned());
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
        let names_active = self.root.has("active");
        let file_orders = section.is_none_or(|section| section.boolean("file_orders", true));
        // A file that orders nothing is most likely written by something else, again and again.
        let write_back = section.is_none_or(|section| section.boolean("write_back", file_orders)) && names_active;
        let order_window = section.map_or(ORDER_WINDOW, |section| {
            section.duration("order_window", ORDER_WINDOW, Duration::ZERO..=LONGEST_ORDER_WINDOW)
        });
        if let Some(section) = section {
            section.refuse_unknown();
        }
        Some(StateConfig { dir: dir?, write_back, file_orders, names_active, order_window })
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
            release_header: None,
        };
        let Some(section) = section else { return defaults };
        let health = HealthConfig {
            path: section.string("path").and_then(|(path, span)| self.request_path("health.path", path, span)),
            host: section.string("host").and_then(|(host, span)| {
                let valid = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
                if !valid {
                    let message = format!("`health.host` is {}, which is not a host", quoted(host));
                    self.notes.problem(span, message, "write \"app.example.com\"".to_owned());
                }
                valid.then(|| host.to_owned())
            }),
            interval: section.duration("interval", defaults.interval, 50 * MS..=HOUR),
            timeout: section.duration("timeout", defaults.timeout, 10 * MS..=HOUR),
            rise: u32::try_from(section.integer("rise", 2, 1..=100)).unwrap_or(2),
            fall: u32::try_from(section.integer("fall", 3, 1..=100)).unwrap_or(3),
            expect: section
                .string("expect")
                .and_then(|(text, span)| self.statuses("health.expect", text, span))
                .unwrap_or(defaults.expect),
            release_header: section.string("release_header").and_then(|(name, span)| {
                let valid = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
                if !valid {
                    let message = format!("`health.release_header` is {}, which is no name of a field", quoted(name));
                    self.notes.problem(span, message, "write \"x-release\"".to_owned());
                } else if section.string("path").is_none() {
                    let message = "`health.release_header` is read from the answer to `health.path`, which is not set";
                    self.notes.problem(span, message.to_owned(), "set `health.path` too".to_owned());
                }
                valid.then(|| name.to_ascii_lowercase())
            }),
        };
        section.refuse_unknown();
        health
    }

    fn request_path(&self, key: &str, path: &str, span: Span) -> Option<String> {
        if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(path.to_owned());
        }
        let message = format!("`{key}` is {}, which is not a path", quoted(path));
        self.notes.problem(span, message, "begin it with \"/\", without spaces".to_owned());
        None
    }

    /// A path that routes are found by.
    fn prefix(&self, key: &str, path: &str, span: Span) -> Option<String> {
        let path = self.request_path(key, path, span.clone())?;
        if path::is_ambiguous(&path) {
            let message = format!("`{key}` is {}, which no request can match", quoted(&path));
            let help = "requests are matched by their normal form (docs/routes.md): leave out `;`, `\\`, `.` and `..` segments, \
                        and encoded slashes";
            self.notes.problem(span, message, help.to_owned());
            return None;
        }
        Some(path)
    }

    fn statuses(&self, key: &str, text: &str, span: Span) -> Option<(u16, u16)> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
        match (status(low), status(high)) {
            (Some(low), Some(high)) if low <= high => Some((low, high)),
            _ => {
                let message = format!("`{key}` is {}, which is not a range of status codes", quoted(text));
                self.notes.problem(span, message, "write \"200\" or \"200-299\"".to_owned());
                None
            }
        }
    }

    fn gate(&self) -> (GatePolicy, Vec<gate_check::Placed>) {
        let section = self.root.section("gate");
        let Some(section) = section else {
            return (GatePolicy { quorum_percent: 100, passes: 1, timeout: 30 * SECOND }, Vec::new());
        };
        let gate = GatePolicy {
            quorum_percent: section.percent("quorum", 100, 1..=100),
            passes: u32::try_from(section.integer("passes", 1, 1..=100)).unwrap_or(1),
            timeout: section.duration("timeout", 30 * SECOND, 100 * MS..=HOUR),
        };
        let checks = self.gate_checks(&section);
        section.refuse_unknown();
        (gate, checks)
    }

    fn headers(&self) -> HeadersConfig {
        let Some(section) = self.root.section("headers") else { return HeadersConfig { via: true } };
        let headers = HeadersConfig { via: section.boolean("via", true) };
        section.refuse_unknown();
        headers
    }

    fn retry(&self) -> RetryConfig {
        let defaults = RetryConfig { attempts: 2, budget_percent: 10 };
        let Some(section) = self.root.section("retry") else { return defaults };
        let retry = RetryConfig {
            attempts: u32::try_from(section.integer("attempts", 2, 0..=10)).unwrap_or(defaults.attempts),
            budget_percent: section.percent("budget", defaults.budget_percent, 0..=100),
        };
        section.refuse_unknown();
        retry
    }

    fn label(&self, what: &str, label: &str, span: Span) {
        if label.is_empty() || label.chars().count() > 200 || label.chars().any(char::is_control) {
            let message = format!("{what} is {}, which is not a label", quoted(label));
            self.notes.problem(span, message, "write 1 to 200 printable characters".to_owned());
        }
    }

    fn readiness(&self) -> ReadinessConfig {
        let default = "/.cutover/ready".to_owned();
        let Some(section) = self.root.section("readiness") else {
            let lame_duck = 5 * SECOND;
            return ReadinessConfig { path: Some(default), lame_duck, fail_without_endpoints: false };
        };
        let path = match section.string("path") {
            None => Some(default),
            Some(("", _)) => None,
            Some((path, span)) => self.request_path("readiness.path", path, span),
        };
        let lame_duck = section.duration("lame_duck", 5 * SECOND, Duration::ZERO..=HOUR);
        let fail_without_endpoints = section.boolean("fail_without_endpoints", false);
        section.refuse_unknown();
        ReadinessConfig { path, lame_duck, fail_without_endpoints }
    }

    fn log(&self) -> LogConfig {
        let defaults = LogConfig { format: LogFormat::Auto, access: AccessLog::Stdout, redact_query: false };
        let Some(section) = self.root.section("log") else { return defaults };
        let format = section
            .choice("format", &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]);
        let access = match section.string("access") {
            None | Some(("stdout", _)) => AccessLog::Stdout,
            Some(("off", _)) => AccessLog::Off,
            Some((path, _)) if path.contains('/') => AccessLog::File(path.into()),
            Some((other, span)) => {
                let help = "it is \"stdout\", \"off\", or a path with a \"/\" in it".to_owned();
                self.notes.problem(span, format!("`log.access` is {}", quoted(other)), help);
                AccessLog::Stdout
            }
        };
        let redact_query = section.boolean("redact_query", false);
        section.refuse_unknown();
        LogConfig { format, access, redact_query }
    }
}

/// The place of a key, for what is found wrong only later; that of its section if the key is not there.
pub(super) fn span_of(text: &str, section: &str, key: &str) -> Span {
    let span = DeTable::parse(text).ok().and_then(|root| {
        let (_, inner) = root.get_ref().iter().find(|(name, _)| name.get_ref() == section)?;
        let value = inner.get_ref().as_table()?.iter().find(|(name, _)| name.get_ref() == key);
        Some(value.map_or(inner.span(), |(_, value)| value.span()))
    });
    span.unwrap_or(0..0)
}
