//! `[preview]`: access to the idle color.

use std::path::PathBuf;

use ipnet::IpNet;
use toml::Value;

use crate::config::file::kinds::is_field_name;
use crate::config::file::{Placed, Section, quoted};
use crate::config::render::{path, table, texts};
use crate::config::section::listen::Listen;
use crate::config::{HostPattern, Secret};

const HEADER: &str = "x-cutover-color";

/// Fields with a meaning of their own; as preview header they would be taken from every request.
const TAKEN: [&str; 17] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
];
/// Prefixes of such fields.
const TAKEN_BELOW: [&str; 4] = ["proxy-", "sec-", "x-client-cert-", "x-forwarded-"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewConfig {
    /// The request field that names a color; in lower case.
    pub header: String,
    pub secret: Option<PreviewSecret>,
    pub allow: Vec<IpNet>,
    /// The host whose requests all go to the idle color; in lower case, without a port.
    pub host: Option<String>,
    pub name_color: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewSecret {
    pub file: PathBuf,
    /// `None`: the file can't be read, so no client has the secret.
    pub secret: Option<Secret>,
}

impl Default for PreviewConfig {
    fn default() -> PreviewConfig {
        PreviewConfig { header: HEADER.to_owned(), secret: None, allow: Vec::new(), host: None, name_color: false }
    }
}

impl PreviewConfig {
    /// Set where the file has `[preview]` or `listen.preview`.
    pub(super) fn read(root: &Section<'_>, listen: Option<&Listen>) -> Option<PreviewConfig> {
        let section = root.section("preview");
        let port = listen.and_then(|listen| listen.preview.as_ref().map(|span| (span, listen.config.preview)));
        // An unreadable secret is recorded as such.
        let somebody = section.as_ref().is_some_and(|section| {
            section.get("secret_file").is_some() || section.get("allow").is_some_and(|allow| !is_empty_list(allow))
        });
        let help = "add `secret_file` or `allow` under [preview]";
        if let Some((span, Some(address))) = port
            && !address.ip().is_loopback()
            && !somebody
        {
            let message = format!("the preview address {address} is for other machines, and none of them may preview");
            root.problem(span.clone(), message, format!("use a loopback address, or {help}"));
        }
        let defaults = PreviewConfig::default();
        let Some(section) = section else { return port.map(|_| defaults) };
        let host = section.string("host").and_then(|(host, span)| {
            if !somebody {
                let message = "`preview.host` is for nobody: strangers may not preview, and nobody else is named";
                section.problem(span.clone(), message, help);
            }
            match section.host_pattern("host", (host, span), false)? {
                HostPattern::Exact(name) => Some(name),
                HostPattern::Any | HostPattern::Below(_) => None,
            }
        });
        if !somebody && port.is_none() && section.get("host").is_none() {
            let help = format!("{help}, or `preview = \"127.0.0.1:8081\"` under [listen]");
            section.problem(section.span.clone(), "[preview] is for nobody: nobody is named who may", help);
        }
        let preview = PreviewConfig {
            header: read_header(&section).unwrap_or(defaults.header),
            secret: section.string("secret_file").map(|(path, span)| {
                let secret = section.secret_in("preview.secret_file", (path, span.clone()));
                if secret.iter().flat_map(|secret| secret.0.bytes()).any(|byte| byte.is_ascii_control()) {
                    let message = format!("the secret in {} is no value of a field", quoted(path));
                    section.problem(span, message, "keep it on one line, without control characters");
                }
                PreviewSecret { file: path.into(), secret }
            }),
            allow: section.networks("allow"),
            host,
            name_color: section.boolean("name_color", defaults.name_color),
        };
        section.refuse_unknown();
        Some(preview)
    }

    pub(super) fn write(&self) -> Value {
        let mut section = vec![
            ("header", self.header.clone().into()),
            ("allow", texts(&self.allow)),
            ("name_color", self.name_color.into()),
        ];
        section.extend(self.secret.as_ref().map(|secret| ("secret_file", path(&secret.file))));
        section.extend(self.host.clone().map(|host| ("host", host.into())));
        table(section)
    }
}

fn read_header(section: &Section<'_>) -> Option<String> {
    let written = section.string("header")?;
    let lower = written.0.to_ascii_lowercase();
    let fault = if !is_field_name(&lower) {
        "which is no name of a field"
    } else if TAKEN.contains(&lower.as_str()) || TAKEN_BELOW.iter().any(|begins| lower.starts_with(begins)) {
        "which means something already"
    } else {
        return Some(lower);
    };
    section.refuse("header", written, fault, "write \"x-cutover-color\"");
    None
}

fn is_empty_list(value: Placed<'_>) -> bool {
    value.get_ref().as_array().is_some_and(|items| items.is_empty())
}
