//! `[listen]`: the listeners, and the limits for clients.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;
use toml::de::DeValue;

use crate::config::file::{Section, Span};
use crate::config::render::{duration, integer, size, table, texts};
use crate::config::units::{DAY, HOUR, MS, SECOND};

/// The largest limit for a body. Larger numbers may have overflowed.
const MAX_BODY: u64 = 1 << 60;
/// The least memory for messages: a few large requests fit.
const LEAST_BUFFERED: u64 = 1 << 20;

/// The mode of the admin API's socket without and with a group.
const OWNER_ONLY: u32 = 0o600;
const OWNER_AND_GROUP: u32 = 0o660;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    pub http: SocketAddr,
    /// Traffic with TLS; `None`: off.
    pub https: Option<SocketAddr>,
    /// A redirect of every request on `http`; `None`: off.
    pub https_redirect: Option<HttpsRedirect>,
    /// Traffic for the idle color; `None`: off.
    pub preview: Option<SocketAddr>,
    pub admin: AdminAddress,
    pub admin_mode: u32,
    /// The group of that socket, by name or number; `None`: that of the process.
    pub admin_group: Option<String>,
    pub proxy_protocol: Vec<IpNet>,
    pub trusted_proxies: Vec<IpNet>,
    pub max_connections: usize,
    pub max_concurrent_streams: usize,
    /// The most connections of one client address; `None`: no limit.
    pub max_connections_per_client: Option<usize>,
    /// The most memory for messages in flight, in bytes; `None`: a quarter of the memory.
    pub max_buffered: Option<u64>,
    pub idle_timeout: Duration,
    pub header_timeout: Duration,
    pub max_header_bytes: usize,
    /// The largest request body; `None`: no limit.
    pub max_body: Option<u64>,
    /// Data-plane threads; never 0.
    pub workers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpsRedirect {
    /// The port in the redirect; never 0.
    pub port: u16,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => address.fmt(f),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Port 0 stands for the two addresses that every file has to name.
impl Default for ListenConfig {
    fn default() -> ListenConfig {
        ListenConfig {
            http: SocketAddr::from(([0, 0, 0, 0], 0)),
            https: None,
            https_redirect: None,
            preview: None,
            admin: AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            admin_mode: OWNER_ONLY,
            admin_group: None,
            proxy_protocol: Vec::new(),
            trusted_proxies: Vec::new(),
            max_connections: 10_000,
            max_concurrent_streams: 100,
            max_connections_per_client: None,
            max_buffered: None,
            idle_timeout: 75 * SECOND,
            header_timeout: 10 * SECOND,
            max_header_bytes: 64 << 10,
            max_body: None,
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

/// `[listen]`, and the places of addresses that other sections are checked against.
pub(super) struct Listen {
    pub(super) config: ListenConfig,
    /// `None`: the address is invalid, which is recorded.
    pub(super) admin: Option<Span>,
    /// Set even where the address is invalid.
    pub(super) https: Option<Span>,
    /// Set even where the address is invalid.
    pub(super) preview: Option<Span>,
}

impl Listen {
    pub(super) fn read(root: &Section<'_>) -> Option<Listen> {
        if !root.has("listen") {
            let help = "add it, with `http = \"0.0.0.0:8080\"` and `admin = \"127.0.0.1:9900\"`";
            root.problem(0..0, "the file has no [listen]", help);
        }
        root.optional("listen", Listen::read_section)
    }

    fn read_section(section: &Section<'_>) -> Listen {
        let help = "write address and port, such as \"0.0.0.0:8080\"";
        let address = |key, written| section.parse::<SocketAddr>(key, written, "an address with a port", help);
        let http = section.required("http", "http = \"0.0.0.0:8080\"").and_then(|written| address("http", written));
        let https = section.string("https").and_then(|written| address("https", written));
        let https_span = section.get("https").map(|value| value.span());
        let preview = section.string("preview").and_then(|written| address("preview", written));
        let preview_span = section.get("preview").map(|value| value.span());
        // The kernel would distribute connections among listeners of one address.
        let apart = |first, other: Option<SocketAddr>, second, this: Option<SocketAddr>, span: &Option<Span>| {
            if let (Some(this), Some(span)) = (this.filter(|this| other == Some(*this) && this.port() != 0), span) {
                let message = format!("`listen.{first}` and `listen.{second}` are both {this}");
                section.problem(span.clone(), message, "give each a port of its own");
            }
        };
        apart("http", http, "https", https, &https_span);
        apart("http", http, "preview", preview, &preview_span);
        apart("https", https, "preview", preview, &preview_span);
        let (admin, admin_span) = read_admin(section).unzip();
        let (admin_mode, admin_group) = read_admin_socket(section);
        let defaults = ListenConfig::default();
        let config = ListenConfig {
            // A problem with an address is recorded; the rest is still read.
            http: http.unwrap_or(defaults.http),
            https,
            https_redirect: read_redirect(section, https),
            preview,
            admin: admin.unwrap_or(defaults.admin),
            admin_mode,
            admin_group,
            proxy_protocol: section.networks("proxy_protocol"),
            trusted_proxies: section.networks("trusted_proxies"),
            max_connections: section.integer("max_connections", defaults.max_connections, 1..=1_000_000),
            max_concurrent_streams: section.integer("max_concurrent_streams", defaults.max_concurrent_streams, 1..=256),
            max_connections_per_client: unless_zero(section.integer("max_connections_per_client", 0, 0..=1_000_000)),
            max_buffered: read_max_buffered(section),
            idle_timeout: section.duration("idle_timeout", defaults.idle_timeout, SECOND..=DAY),
            header_timeout: section.duration("header_timeout", defaults.header_timeout, 100 * MS..=HOUR),
            max_header_bytes: section.size("max_header_bytes", defaults.max_header_bytes, 8 << 10..=1 << 20),
            max_body: unless_zero(section.size("max_body", 0, 0..=MAX_BODY)),
            workers: unless_zero(section.integer("workers", 0, 0..=1024)).unwrap_or(defaults.workers),
        };
        Listen { config, admin: admin_span, https: https_span, preview: preview_span }
    }
}

impl ListenConfig {
    pub(super) fn refuse_idle(&self, section: &Section<'_>) {
        let tcp = matches!(self.admin, AdminAddress::Tcp(_));
        let why = "it is for a unix socket, and `listen.admin` is an address with a port";
        let help = "write `admin = \"unix:/run/cutover/admin.sock\"`, or remove this";
        section.idle("admin_mode", tcp && self.admin_mode != OWNER_ONLY, why, help);
        section.idle("admin_group", tcp, why, help);
    }

    pub(super) fn write(&self) -> Value {
        let redirect = self.https_redirect.map_or(Value::Boolean(false), |to| integer(to.port));
        let mut section = vec![
            ("http", self.http.to_string().into()),
            ("https_redirect", redirect),
            ("admin", self.admin.to_string().into()),
            ("admin_mode", format!("{:04o}", self.admin_mode).into()),
            ("proxy_protocol", texts(&self.proxy_protocol)),
            ("trusted_proxies", texts(&self.trusted_proxies)),
            ("max_connections", integer(self.max_connections)),
            ("max_concurrent_streams", integer(self.max_concurrent_streams)),
            ("max_connections_per_client", integer(self.max_connections_per_client.unwrap_or(0))),
            ("max_buffered", size(self.max_buffered.unwrap_or(0))),
            ("idle_timeout", duration(self.idle_timeout)),
            ("header_timeout", duration(self.header_timeout)),
            ("max_header_bytes", size(self.max_header_bytes)),
            ("max_body", size(self.max_body.unwrap_or(0))),
            ("workers", integer(self.workers)),
        ];
        section.extend(self.https.map(|https| ("https", https.to_string().into())));
        section.extend(self.preview.map(|preview| ("preview", preview.to_string().into())));
        section.extend(self.admin_group.as_ref().map(|group| ("admin_group", group.clone().into())));
        table(section)
    }
}

/// In the file, 0 is "no limit" or "choose".
fn unless_zero<T: Default + PartialEq>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}

fn read_admin(section: &Section<'_>) -> Option<(AdminAddress, Span)> {
    let (text, span) = section.required("admin", "admin = \"127.0.0.1:9900\"")?;
    let address = match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Some(AdminAddress::Unix(path.into())),
        Some(_) => None,
        None => text.parse().ok().map(AdminAddress::Tcp),
    };
    if address.is_none() {
        let help = "write \"127.0.0.1:9900\", or \"unix:/run/cutover/admin.sock\"";
        let fault = "which is neither an address with a port nor a unix socket";
        section.refuse("admin", (text, span.clone()), fault, help);
    }
    Some((address?, span))
}

/// The mode and the group of the admin API's unix socket.
fn read_admin_socket(section: &Section<'_>) -> (u32, Option<String>) {
    let group = section.string("admin_group");
    if let Some(("", span)) = &group {
        let help = "write the name or the number of a group, or leave it out";
        section.problem(span.clone(), "`listen.admin_group` is empty", help);
    }
    let default = if group.is_some() { OWNER_AND_GROUP } else { OWNER_ONLY };
    let mode = section.string("admin_mode").and_then(|(text, span)| {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777 && mode & 0o600 == 0o600);
        if mode.is_none() {
            let help = "write it in octal, with read and write for the owner: \"0600\" or \"0660\"";
            section.refuse("admin_mode", (text, span), "which is no mode of a socket", help);
        }
        mode
    });
    (mode.unwrap_or(default), group.map(|(group, _)| group.to_owned()))
}

fn read_max_buffered(section: &Section<'_>) -> Option<u64> {
    let bytes = section.size("max_buffered", 0, 0..=MAX_BODY);
    if (1..LEAST_BUFFERED).contains(&bytes)
        && let Some(value) = section.get("max_buffered")
    {
        let message = "`listen.max_buffered` is too small: it begins at 1.0 MiB";
        section.problem(value.span(), message, "write more, or \"0\" for a quarter of the memory");
    }
    unless_zero(bytes)
}

/// `false`, `true` for the port of `https`, or a port.
fn read_redirect(section: &Section<'_>, https: Option<SocketAddr>) -> Option<HttpsRedirect> {
    let value = section.get("https_redirect")?;
    let port = match value.get_ref() {
        DeValue::Boolean(false) => return None,
        DeValue::Boolean(true) => https.map(|https| https.port()),
        // An invalid port is recorded.
        DeValue::Integer(_) => unless_zero(section.integer("https_redirect", 0, 1..=65535)),
        other => {
            section.mistyped(value, &section.path("https_redirect"), "true, false or a port", other);
            return None;
        }
    };
    if section.get("https").is_none() {
        let help = "add `https = \"0.0.0.0:8443\"` under [listen], or remove this";
        section.problem(value.span(), "`listen.https_redirect` needs `listen.https`", help);
    } else if port == Some(0) {
        let message = "`listen.https_redirect` is true, and the port of `listen.https` is 0, which is any port";
        section.problem(value.span(), message, "write the port that clients have to connect to");
    }
    Some(HttpsRedirect { port: port? })
}
