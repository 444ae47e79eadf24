//! Where it listens, and whom it believes there.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;

use ipnet::{IpNet, Ipv4Net};
use toml::de::DeValue;

use crate::config::file::{Section, Span, quoted};
use crate::config::validate::{DAY, File, HOUR, MS, SECOND};
use crate::config::{AdminAddress, HttpsRedirect, ListenConfig};

/// The largest limit there is for a body: more would be no limit, and a number that overflowed is more.
const MAX_BODY: u64 = 1 << 60;
/// Less would be too little for a few large requests.
const LEAST_BUFFERED: u64 = 1 << 20;

/// `[listen]`, and where its addresses stand.
pub(super) struct Listen {
    pub(super) config: ListenConfig,
    /// `None`: it is no address, which is noted.
    pub(super) admin: Option<Span>,
    /// As written, also where it is no address.
    pub(super) https: Option<Span>,
    /// The same.
    pub(super) preview: Option<Span>,
}

impl File<'_> {
    pub(super) fn listen(&self) -> Option<Listen> {
        let Some(section) = self.root.section("listen") else {
            if self.root.get("listen").is_none() {
                let help = "add it, with `http = \"0.0.0.0:8080\"` and `admin = \"127.0.0.1:9900\"`".to_owned();
                self.notes.problem(0..0, "the file has no [listen]", help);
            }
            return None;
        };
        let help = "write address and port, such as \"0.0.0.0:8080\"";
        let address = |key, written| section.parse::<SocketAddr>(key, written, "an address with a port", help);
        let http = section.required("http", "http = \"0.0.0.0:8080\"").and_then(|written| address("http", written));
        let https = section.string("https").and_then(|written| address("https", written));
        let https_span = section.get("https").map(|value| value.span());
        let preview = section.string("preview").and_then(|written| address("preview", written));
        let preview_span = section.get("preview").map(|value| value.span());
        // The kernel would share connections out between the two.
        let apart = |first, other: Option<SocketAddr>, second, this: Option<SocketAddr>, span: &Option<Span>| {
            if let (Some(this), Some(span)) = (this.filter(|this| other == Some(*this) && this.port() != 0), span) {
                let message = format!("`listen.{first}` and `listen.{second}` are both {this}");
                self.notes.problem(span.clone(), message, "give each a port of its own".to_owned());
            }
        };
        apart("http", http, "https", https, &https_span);
        apart("http", http, "preview", preview, &preview_span);
        apart("https", https, "preview", preview, &preview_span);
        let admin = section.required("admin", "admin = \"127.0.0.1:9900\"").and_then(|(text, span)| {
            let address = match text.strip_prefix("unix:") {
                Some(path) if !path.is_empty() => Some(AdminAddress::Unix(path.into())),
                Some(_) => None,
                None => text.parse().ok().map(AdminAddress::Tcp),
            };
            if address.is_none() {
                let help = "write \"127.0.0.1:9900\", or \"unix:/run/cutover/admin.sock\"".to_owned();
                let text = quoted(text);
                let message =
                    format!("`listen.admin` is {text}, which is neither an address with a port nor a unix socket");
                self.notes.problem(span.clone(), message, help);
            }
            Some((address?, span))
        });
        let max_body = section.size("max_body", 0, 0..=MAX_BODY);
        let max_buffered = section.size("max_buffered", 0, 0..=MAX_BODY);
        if (1..LEAST_BUFFERED).contains(&max_buffered)
            && let Some(value) = section.get("max_buffered")
        {
            let message = "`listen.max_buffered` is too small: it begins at 1.0 MiB";
            let help = "write more, or \"0\" for a quarter of the memory".to_owned();
            self.notes.problem(value.span(), message, help);
        }
        let per_client = section.integer("max_connections_per_client", 0, 0..=1_000_000);
        let workers = usize::try_from(section.integer("workers", 0, 0..=1024)).unwrap_or(0);
        let all_cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (admin, admin_span) = admin.unzip();
        let (admin_mode, admin_group) = self.admin_socket(&section);
        let config = ListenConfig {
            // What is wrong with it is noted; the rest is still looked at.
            http: http.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            https,
            https_redirect: self.https_redirect(&section, https),
            preview,
            admin: admin.unwrap_or_else(|| AdminAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))),
            admin_mode,
            admin_group,
            proxy_protocol: self.networks(&section, "proxy_protocol"),
            trusted_proxies: self.networks(&section, "trusted_proxies"),
            max_connections: usize::try_from(section.integer("max_connections", 10_000, 1..=1_000_000))
                .unwrap_or(10_000),
            max_concurrent_streams: usize::try_from(section.integer("max_concurrent_streams", 100, 1..=256))
                .unwrap_or(100),
            max_connections_per_client: usize::try_from(per_client).ok().filter(|most| *most > 0),
            max_buffered: (max_buffered > 0).then_some(max_buffered),
            idle_timeout: section.duration("idle_timeout", 75 * SECOND, SECOND..=DAY),
            header_timeout: section.duration("header_timeout", 10 * SECOND, 100 * MS..=HOUR),
            max_header_bytes: usize::try_from(section.size("max_header_bytes", 64 << 10, 8 << 10..=1 << 20))
                .unwrap_or(64 << 10),
            max_body: (max_body > 0).then_some(max_body),
            workers: if workers == 0 { all_cores() } else { workers },
        };
        section.refuse_unknown();
        Some(Listen { config, admin: admin_span, https: https_span, preview: preview_span })
    }

    /// Who may open the unix socket of the admin API: its mode and its group.
    fn admin_socket(&self, section: &Section<'_>) -> (u32, Option<String>) {
        let group = section.string("admin_group");
        if let Some(("", span)) = &group {
            let help = "write the name or the number of a group, or leave it out".to_owned();
            self.notes.problem(span.clone(), "`listen.admin_group` is empty", help);
        }
        let default = if group.is_some() { 0o660 } else { 0o600 };
        let mode = section.string("admin_mode").map(|(text, span)| {
            let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
            let mode =
                u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777 && mode & 0o600 == 0o600);
            if mode.is_none() {
                let message = format!("`listen.admin_mode` is {}, which is no mode of a socket", quoted(text));
                let help = "write it in octal, with read and write for the owner: \"0600\" or \"0660\"".to_owned();
                self.notes.problem(span, message, help);
            }
            mode.unwrap_or(default)
        });
        let mode = mode.unwrap_or(default);
        (mode, group.map(|(group, _)| group.to_owned()))
    }

    /// `false`, `true` for the port of `https`, or a port.
    fn https_redirect(&self, section: &Section<'_>, https: Option<SocketAddr>) -> Option<HttpsRedirect> {
        let value = section.get("https_redirect")?;
        let port = match value.get_ref() {
            DeValue::Boolean(false) => return None,
            DeValue::Boolean(true) => https.map(|https| https.port()),
            DeValue::Integer(_) => {
                let port = u16::try_from(section.integer("https_redirect", 0, 1..=65535)).unwrap_or(0);
                // Not a port: noted.
                (port > 0).then_some(port)
            }
            other => {
                section.mistyped(value, &section.path("https_redirect"), "true, false or a port", other);
                return None;
            }
        };
        if section.get("https").is_none() {
            let help = "add `https = \"0.0.0.0:8443\"` under [listen], or remove this".to_owned();
            self.notes.problem(value.span(), "`listen.https_redirect` needs `listen.https`", help);
        } else if port == Some(0) {
            let message = "`listen.https_redirect` is true, and the port of `listen.https` is 0, which is any port";
            self.notes.problem(value.span(), message, "write the port that clients have to connect to".to_owned());
        }
        Some(HttpsRedirect { port: port? })
    }

    pub(super) fn networks(&self, section: &Section<'_>, key: &'static str) -> Vec<IpNet> {
        let written = section.strings(key).unwrap_or_default();
        written.into_iter().filter_map(|(text, span)| self.network(text, span)).collect()
    }

    fn network(&self, text: &str, span: Span) -> Option<IpNet> {
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(canonical);
        if network.is_none() {
            let message = format!("{} is not a network", quoted(text));
            self.notes.problem(span, message, "write it as \"10.0.0.0/8\" or \"10.1.2.3\"".to_owned());
        }
        network
    }
}

/// IPv4 in the form of IPv6 (`::ffff:10.0.0.0/104`) is IPv4: clients are compared in that form, whichever listener they
/// came to.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let short = mapped.prefix_len().checked_sub(96).zip(mapped.addr().to_ipv4_mapped());
    short.and_then(|(prefix, address)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}
