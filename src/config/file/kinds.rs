//! Values with a meaning of their own that several sections share: paths, hosts, labels, networks, status codes, and
//! secrets in files.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};

use crate::config::error::UnusableFile;
use crate::config::file::{PEM_BEGINS, Section, Span, Written, quoted};
use crate::config::{self, HostPattern, Secret, path};

impl<'a> Section<'a> {
    pub(crate) fn request_path(&self, key: &str, written: Written<'_>) -> Option<String> {
        let path = written.0;
        if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(path.to_owned());
        }
        self.refuse(key, written, "which is not a path", "begin it with \"/\", without spaces");
        None
    }

    /// A path prefix for matching requests.
    pub(crate) fn prefix(&self, key: &str, written: Written<'_>) -> Option<String> {
        let path = self.request_path(key, written.clone())?;
        if path::is_ambiguous(&path) {
            let help = "requests are matched by their normal form (docs/routes.md): leave out `;`, `\\`, `.` and `..` segments, \
                        and encoded slashes";
            self.refuse(key, written, "which no request can match", help);
            return None;
        }
        Some(path)
    }

    /// The `Host` of the proxy's own requests.
    pub(crate) fn host(&self, key: &'static str) -> Option<String> {
        let written = self.string(key)?;
        let host = written.0;
        let valid = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        if !valid {
            self.refuse(key, written, "which is not a host", "write \"app.example.com\"");
        }
        valid.then(|| host.to_owned())
    }

    /// A host that requests are matched by; with `wildcards` also `*.example.com`.
    pub(crate) fn host_pattern(&self, key: &str, (host, span): Written<'_>, wildcards: bool) -> Option<HostPattern> {
        let below = host.strip_prefix("*.").filter(|_| wildcards);
        let (below, name) = below.map_or((false, host), |parent| (true, parent));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_name = !name.is_empty() && name.bytes().all(valid) && !name.split('.').any(str::is_empty);
        if !is_name && !address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok() && !below) {
            let or = if wildcards { " or \"*.example.com\"" } else { "" };
            let help = format!("write \"api.example.com\"{or}, without a port");
            self.refuse(key, (host, span), "which is not a host", help);
            return None;
        }
        Some(if below { HostPattern::Below(name) } else { HostPattern::Exact(name) })
    }

    /// A range of status codes, such as `"200"` or `"200-299"`.
    pub(crate) fn statuses(&self, key: &'static str, default: (u16, u16)) -> (u16, u16) {
        let Some(written) = self.string(key) else { return default };
        let (low, high) = written.0.split_once('-').unwrap_or((written.0, written.0));
        let status = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
        match (status(low), status(high)) {
            (Some(low), Some(high)) if low <= high => (low, high),
            _ => {
                self.refuse(key, written, "which is not a range of status codes", "write \"200\" or \"200-299\"");
                default
            }
        }
    }

    /// Checks a text that is shown to people. `subject` names it in the message.
    pub(crate) fn label(&self, subject: &str, (label, span): Written<'_>) {
        if label.is_empty() || label.chars().count() > 200 || label.chars().any(char::is_control) {
            let message = format!("{subject} is {}, which is not a label", quoted(label));
            self.problem(span, message, "write 1 to 200 printable characters");
        }
    }

    pub(crate) fn networks(&self, key: &'static str) -> Vec<IpNet> {
        let written = self.strings(key).unwrap_or_default();
        written.into_iter().filter_map(|written| self.network(written)).collect()
    }

    fn network(&self, (text, span): Written<'_>) -> Option<IpNet> {
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(canonical);
        if network.is_none() {
            let message = format!("{} is not a network", quoted(text));
            self.problem(span, message, "write it as \"10.0.0.0/8\" or \"10.1.2.3\"");
        }
        network
    }

    /// The path of a file. A value that is no path may be the content of the file, so messages don't show it.
    pub(crate) fn file(&self, key: &str, (text, span): Written<'_>) -> Option<(PathBuf, Span)> {
        let key = self.path(key);
        if text.is_empty() {
            self.problem(span, format!("`{key}` is empty"), "name a file");
            return None;
        }
        if text.contains(PEM_BEGINS) {
            let message = format!("`{key}` is what belongs into a file; it has to be the path of that file");
            self.problem(span, message, "put it into a file that only the proxy can read");
            return None;
        }
        Some((PathBuf::from(text), span))
    }

    /// The secret in a file.
    pub(crate) fn secret_in(&self, setting: &str, (path, span): Written<'_>) -> Option<Secret> {
        match config::read(Path::new(path)) {
            Ok(text) => self.not_empty(setting, &text, span, path, path),
            Err(reason) => {
                let message = format!("the secret in {} {reason}", quoted(path));
                let file = UnusableFile { setting: setting.to_owned(), path: path.to_owned(), reason };
                self.unusable(span, file, message, None);
                None
            }
        }
    }

    /// The secret in a variable of the environment.
    pub(crate) fn secret_of(&self, setting: &str, (name, span): Written<'_>) -> Option<Secret> {
        if let Ok(text) = std::env::var(name) {
            return self.not_empty(setting, &text, span, name, &format!("${name}"));
        }
        let message = format!("the environment has no variable {}", quoted(name));
        let reason = "the environment has no such variable".to_owned();
        let file = UnusableFile { setting: setting.to_owned(), path: format!("${name}"), reason };
        self.unusable(span, file, message, None);
        None
    }

    fn not_empty(&self, setting: &str, text: &str, span: Span, from: &str, path: &str) -> Option<Secret> {
        let text = text.trim();
        if text.is_empty() {
            let file =
                UnusableFile { setting: setting.to_owned(), path: path.to_owned(), reason: "is empty".to_owned() };
            self.unusable(span, file, format!("the secret in {} is empty", quoted(from)), None);
            return None;
        }
        Some(Secret(text.to_owned()))
    }
}

/// A field name of HTTP; the name of a cookie has the same grammar (RFC 6265, 4.1.1).
pub(crate) fn is_field_name(name: &str) -> bool {
    http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Tells whether a name could be in the DNS.
pub(crate) fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    name.len() <= 253 && name.split('.').all(label)
}

/// IPv4 in the form of IPv6 (`::ffff:10.0.0.0/104`) becomes IPv4: clients are compared in that form on every listener.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let short = mapped.prefix_len().checked_sub(96).zip(mapped.addr().to_ipv4_mapped());
    short.and_then(|(prefix, address)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}
