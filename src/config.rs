//! The valid configuration: what the program needs, as it was meant.
//!
//! Typed twice: `file` holds what the user wrote, with the place of every value; `validate` turns it into this, and
//! reports every problem of a file at once (`error`). `watch` keeps an eye on the file and owns every write to it.

mod aside;
mod canary;
mod drain;
mod endpoint;
pub(crate) mod error;
mod evidence;
mod expiry;
mod file;
mod gate_check;
mod health;
mod linger;
pub(crate) mod path;
pub(crate) mod receiver;
mod render;
mod resolver;
pub(crate) mod stage;
mod validate;
pub(crate) mod watch;

pub(crate) use aside::{HoldConfig, MaintenanceConfig, PreviewConfig};
pub(crate) use canary::{AnalysisConfig, BakeConfig, CanaryConfig, CpuConfig, Decimal, Sticky, VisitorCookie, Warmup};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use rustix::fs::{Mode, OFlags};

pub(crate) use crate::config::drain::{DrainConfig, Streams};
pub(crate) use crate::config::endpoint::EndpointAddress;
use crate::config::error::{ConfigError, Diagnostic, Tolerated, UnusableFile};
pub(crate) use crate::config::evidence::{EventConfig, IgnoreConfig};
pub(crate) use crate::config::gate_check::{CheckBody, GateCheck, KeptValue, Scalar};
pub(crate) use crate::config::health::HealthConfig;
pub(crate) use crate::config::linger::LingerConfig;
use crate::config::receiver::Source;
pub(crate) use crate::config::resolver::{Family, ResolverConfig};
use crate::domain::color::{Color, PerColor};
use crate::domain::gate::GatePolicy;
use crate::domain::notice::{Event, Severity};
use crate::domain::release::Release;
use crate::domain::schema::Labels;
use crate::tls::{CertificateFiles, TlsVersion};

/// A larger file is not a configuration.
const MAX_BYTES: u64 = 4 << 20;

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The color the file names. An order, not a state: see `domain::rollout`.
    pub active: Color,
    /// `[state]`
    pub state: StateConfig,
    /// `[listen]`
    pub listen: ListenConfig,
    /// `[tls]`; there exactly where `listen.https` is.
    pub tls: Option<TlsConfig>,
    /// `[admin]`
    pub admin: AdminConfig,
    /// `[health]`
    pub health: HealthConfig,
    /// `[gate]`
    pub gate: GatePolicy,
    /// `[[gate.check]]`, as written.
    pub gate_checks: Vec<GateCheck>,
    /// `[linger]`
    pub linger: LingerConfig,
    /// `[drain]`
    pub drain: DrainConfig,
    /// `[canary]`
    pub canary: CanaryConfig,
    /// `[analysis]`
    pub analysis: AnalysisConfig,
    /// `[bake]`
    pub bake: BakeConfig,
    /// `[hold]`
    pub hold: HoldConfig,
    /// `[maintenance]`
    pub maintenance: MaintenanceConfig,
    /// `[headers]`
    pub headers: HeadersConfig,
    /// `[retry]`
    pub retry: RetryConfig,
    /// `[resolver]`
    pub resolver: ResolverConfig,
    /// `[upstream.NAME]`: policy by upstream; every upstream that a color or a route names has an entry.
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// `[[route]]`, as written; empty: everything goes to `default`.
    pub routes: Vec<RouteConfig>,
    /// `[blue]` and `[green]`
    pub colors: PerColor<ColorConfig>,
    /// `[preview]`; there where somebody may look at the color that does not serve.
    pub preview: Option<PreviewConfig>,
    /// `[readiness]`
    pub readiness: ReadinessConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[service]`
    pub service: ServiceConfig,
    /// `[[notify]]`: whom to tell.
    pub notify: Vec<NotifyConfig>,
    /// Files that it names and that could not be used when it was read, where that was tolerated.
    pub unusable: Vec<UnusableFile>,
}

impl Config {
    /// Reads a file; also its text.
    pub fn load(path: &Path) -> Result<(Config, String), ConfigError> {
        let text = read(path).map_err(|reason| ConfigError::unreadable(path, &reason))?;
        Ok((Config::parse(path, &text)?, text))
    }

    /// Reads a file for a start, which serves without the files that can't be used, as far as that is safe.
    pub fn load_for_start(path: &Path) -> Result<(Config, String), ConfigError> {
        let text = read(path).map_err(|reason| ConfigError::unreadable(path, &reason))?;
        Ok((Config::parse_with(path, &text, Tolerated::All)?, text))
    }

    /// Reads a text; `path` is for messages only.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        Config::parse_with(path, text, Tolerated::None)
    }

    /// The same where some files may be unusable.
    pub fn parse_with(path: &Path, text: &str, tolerated: Tolerated<'_>) -> Result<Config, ConfigError> {
        validate::parse(path, text, tolerated)
    }

    /// Refuses what can't change while the process runs, by name and place: all of it at once.
    pub fn check_fixed(&self, next: &Config, path: &Path, text: &str) -> Result<(), ConfigError> {
        let fixed: [(bool, &str, &str); 9] = [
            (self.listen.http != next.listen.http, "listen", "http"),
            (self.listen.https != next.listen.https, "listen", "https"),
            (self.listen.preview != next.listen.preview, "listen", "preview"),
            (self.listen.admin != next.listen.admin, "listen", "admin"),
            (self.listen.admin_mode != next.listen.admin_mode, "listen", "admin_mode"),
            (self.listen.admin_group != next.listen.admin_group, "listen", "admin_group"),
            (self.listen.workers != next.listen.workers, "listen", "workers"),
            (self.state.dir != next.state.dir, "state", "dir"),
            (self.log.format != next.log.format, "log", "format"),
        ];
        let changed = fixed.into_iter().filter(|(changed, _, _)| *changed);
        let mut diagnostics: Vec<Diagnostic> = changed
            .map(|(_, section, key)| Diagnostic {
                span: validate::span_of(text, section, key),
                message: format!("`{section}.{key}` can't change while the proxy runs"),
                help: Some("put it back, or restart the proxy".to_owned()),
            })
            .collect();
        if diagnostics.is_empty() {
            return Ok(());
        }
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        Err(ConfigError { path: path.to_owned(), source: text.to_owned(), diagnostics })
    }
}

/// The text of a configuration file or of a secret, or why there is none.
fn read(path: &Path) -> Result<String, String> {
    let not_text = |at: usize| format!("is not UTF-8 from byte {at} on");
    String::from_utf8(read_bytes(path)?).map_err(|error| not_text(error.utf8_error().valid_up_to()))
}

/// The content of a file, or why there is none.
fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let reason = |error: std::io::Error| format!("can't be read: {error}");
    // Opening a pipe would else wait for a process that writes into it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = std::fs::File::from(opened.map_err(|errno| reason(errno.into()))?);
    if !file.metadata().map_err(reason)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 4 MiB, the most that is read".to_owned());
    }
    Ok(bytes)
}

/// `[state]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// Where the ledger lives.
    pub dir: PathBuf,
    /// Keep `active` in the file equal to what is live.
    pub write_back: bool,
    /// An edit of `active` in the file is an order to switch.
    pub file_orders: bool,
    /// The file names the `active` color; only with `file_orders` it has to.
    pub names_active: bool,
    /// For how long after a rollback the file does not order back what the rollback left.
    pub order_window: Duration,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Traffic.
    pub http: SocketAddr,
    /// Traffic with TLS; `None`: off.
    pub https: Option<SocketAddr>,
    /// Requests on `http` are sent on to `https`; `None`: off.
    pub https_redirect: Option<HttpsRedirect>,
    /// Where everything is for the color that does not serve; `None`: nowhere.
    pub preview: Option<SocketAddr>,
    /// The admin API.
    pub admin: AdminAddress,
    /// The permissions of its unix socket.
    pub admin_mode: u32,
    /// The group of its unix socket, by name or number; `None`: that of the process.
    pub admin_group: Option<String>,
    /// Peers whose connections, but for those to `admin`, have to begin with a PROXY protocol header.
    pub proxy_protocol: Vec<IpNet>,
    /// Peers whose forwarding headers are kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Open client connections at most.
    pub max_connections: usize,
    /// Requests under way on one HTTP/2 connection.
    pub max_concurrent_streams: usize,
    /// Connections of one client address at most; `None`: no limit.
    pub max_connections_per_client: Option<usize>,
    /// Bytes that are held for messages on their way, at most; `None`: a quarter of the memory.
    pub max_buffered: Option<u64>,
    /// A connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// A request head has to be complete within this.
    pub header_timeout: Duration,
    /// A request head is no larger than this.
    pub max_header_bytes: usize,
    /// A request body is no larger than this; `None`: no limit.
    pub max_body: Option<u64>,
    /// Data-plane threads; never 0 here.
    pub workers: usize,
}

/// `listen.https_redirect`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpsRedirect {
    /// The port that clients are sent to; never 0.
    pub port: u16,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Nothing older is spoken.
    pub min_version: TlsVersion,
    /// Never empty; no certificate is there twice.
    pub certificates: Vec<CertificateFiles>,
    /// Who signs the certificates of clients, in PEM; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// What a client without a certificate gets; matters with `client_ca` only.
    pub client_auth: ClientAuth,
    /// A handshake has to be complete within this.
    pub handshake_timeout: Duration,
}

/// `tls.client_auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No handshake without a certificate.
    Require,
    /// A client without a certificate is served too.
    Request,
}

/// Where the admin API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// On TCP.
    Tcp(SocketAddr),
    /// On a unix socket.
    Unix(PathBuf),
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Who may do what. Empty: whoever can reach the (local) address.
    pub tokens: Vec<TokenConfig>,
}

/// One entry of `admin.tokens`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Shown as the actor.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The token itself, read from its file or variable; `None`: it can't be read, so nobody has it.
    pub secret: Option<Secret>,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// May look.
    Viewer,
    /// May also switch, roll back and reload.
    Operator,
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A file that is answered as it was when the configuration was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    /// Where it is.
    pub path: PathBuf,
    /// By the extension.
    pub content_type: &'static str,
    /// Its text.
    pub text: String,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({}, {} bytes)", self.path.display(), self.text.len())
    }
}

/// `[headers]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadersConfig {
    /// Requests and responses get a `Via` field.
    pub via: bool,
}

/// `[retry]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Further attempts after the first, at most.
    pub attempts: u32,
    /// Retries are at most this share of the requests, 0 to 100.
    pub budget_percent: u8,
}

/// `[upstream.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// What is spoken with its endpoints.
    pub protocol: UpstreamProtocol,
    /// `None`: plain.
    pub tls: Option<UpstreamTls>,
    /// Which endpoint gets a request.
    pub balance: Balance,
    /// To the established connection.
    pub connect_timeout: Duration,
    /// From the sent request to the response head.
    pub response_timeout: Duration,
    /// Between two body frames, and for an unused pooled connection.
    pub idle_timeout: Duration,
    /// Without a byte in either direction of a stream: server-sent events, gRPC, an upgraded connection.
    pub stream_idle_timeout: Duration,
    /// Requests in flight at most; `None`: no limit.
    pub max_in_flight: Option<u64>,
    /// When an endpoint is left out for a while; `None`: never.
    pub eject: Option<Eject>,
    /// An endpoint that came up gets its full share only after this; zero: at once.
    pub slow_start: Duration,
    /// An HTTP/2 connection that was silent for so long is asked by PING, and has so long to answer.
    pub ping_timeout: Duration,
    /// Fields of an answer at most.
    pub max_response_headers: usize,
    /// Bytes of an answer's head at most.
    pub max_response_header_bytes: usize,
}

/// `upstream.NAME.protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// `upstream.NAME.tls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Who signs the certificates of the endpoints, in PEM; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The name that is asked for and has to be in the certificate; `None`: the endpoint's own, which is no socket.
    pub server_name: Option<String>,
    /// The certificate to show, in PEM; there exactly where `client_key` is.
    pub client_cert: Option<PathBuf>,
    /// Its key, in PEM.
    pub client_key: Option<PathBuf>,
}

/// `upstream.NAME.balance`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Of two endpoints by chance, the one with fewer requests in flight.
    LeastRequests,
    /// One after the other.
    RoundRobin,
}

/// `upstream.NAME.eject`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// After so many failed requests in a row.
    pub consecutive: u32,
    /// For so long, the first time.
    pub base: Duration,
}

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Which hosts.
    pub host: HostPattern,
    /// Path prefix; always begins with `/`.
    pub path: String,
    /// Where to.
    pub upstream: String,
}

/// Which hosts a route is for. Names are lower case, without port and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// This one.
    Exact(String),
    /// `*.example.com`, kept as `example.com`: every name below it, not the name itself.
    Below(String),
}

/// `[blue]` or `[green]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColorConfig {
    /// What is deployed there; nothing yet where that is none.
    pub release: Release,
    /// Its endpoints by upstream, none of them empty unless nothing is deployed; both colors have the same upstreams.
    pub pools: BTreeMap<String, Vec<EndpointAddress>>,
    /// What the release says of data stores.
    pub schema: Labels,
    /// Who tells what the stores are at, by store.
    pub probes: BTreeMap<String, SchemaProbe>,
}

/// `probe` in `[COLOR.schema]`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaProbe {
    /// What is asked, without TLS.
    pub url: String,
    /// Where in the answer the version stands: a JSON pointer.
    pub json: String,
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => address.fmt(f),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `preview.secret_file`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewSecret {
    /// Where it is kept.
    pub file: PathBuf,
    /// The content; `None`: it can't be read, so nobody has it.
    pub secret: Option<Secret>,
}

/// `[readiness]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessConfig {
    /// Answered by the proxy itself on the traffic listener; `None`: off.
    pub path: Option<String>,
    /// On shutdown: not ready for so long, still serving.
    pub lame_duck: Duration,
    /// Not ready while no endpoint of the color that serves is up.
    pub fail_without_endpoints: bool,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// Where the access log goes.
    pub access: AccessLog,
    /// Leave out what follows `?`.
    pub redact_query: bool,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For eyes.
    Text,
}

/// `log.access`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// To standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// Appended to a file; opened again on `SIGHUP`.
    File(PathBuf),
}

/// `[service]`: how it is called where people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The service.
    pub name: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// This proxy.
    pub instance: String,
    /// Pages to read, by label; `{from}`, `{to}`, `{color}`, `{event}` and `{event_id}` are filled in.
    pub links: BTreeMap<String, String>,
}

/// One `[[notify]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Names it in the status, and its file in the state directory.
    pub name: String,
    /// What it understands.
    pub kind: NotifyKind,
    /// Where its address stands.
    pub url: Source,
    /// What it is told; empty: everything.
    pub events: Vec<EventFilter>,
    /// Nothing less important.
    pub min_severity: Severity,
    /// One attempt takes no longer.
    pub timeout: Duration,
    /// From try to try; the last one again and again. Never empty.
    pub retry: Vec<Duration>,
}

/// `notify.kind`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyKind {
    /// A Slack incoming webhook.
    Slack,
    /// JSON, signed by Standard Webhooks.
    Webhook {
        /// All of them sign; never empty.
        secrets: Vec<Source>,
    },
}

/// One of `notify.events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// This one.
    One(Event),
    /// `deployment.*`, kept as `deployment`.
    Group(String),
}

impl NotifyConfig {
    /// Whether it is told of this.
    #[must_use]
    pub fn wants(&self, event: Event, severity: Severity) -> bool {
        let named = |filter: &EventFilter| match filter {
            EventFilter::One(one) => *one == event,
            EventFilter::Group(group) => event.as_str().split('.').next() == Some(group),
        };
        severity >= self.min_severity && (self.events.is_empty() || self.events.iter().any(named))
    }
}

#[cfg(test)]
mod tests;
