//! Who may look at the color that does not serve, and by which ways.

use crate::config::file::{Section, quoted};
use crate::config::validate::File;
use crate::config::validate::listen::Listen;
use crate::config::{HostPattern, PreviewConfig, PreviewSecret};

const HEADER: &str = "x-cutover-color";

/// Fields that mean something already, and would be taken from every request; and how such names begin.
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
const TAKEN_BELOW: [&str; 4] = ["proxy-", "sec-", "x-client-cert-", "x-forwarded-"];

impl File<'_> {
    /// `[preview]`; it is there, too, where only `listen.preview` is.
    pub(super) fn preview(&self, listen: Option<&Listen>) -> Option<PreviewConfig> {
        let section = self.root.section("preview");
        let port = listen.and_then(|listen| listen.preview.as_ref().map(|span| (span, listen.config.preview)));
        // Who may is noted as something else if it can't be read.
        let somebody = section.as_ref().is_some_and(|section| {
            section.get("secret_file").is_some() || section.get("allow").is_some_and(|allow| !is_empty_list(allow))
        });
        let help = "add `secret_file` or `allow` under [preview]";
        if let Some((span, Some(address))) = port
            && !address.ip().is_loopback()
            && !somebody
        {
            let message = format!("the preview address {address} is for other machines, and none of them may preview");
            self.notes.problem(span.clone(), message, format!("use a loopback address, or {help}"));
        }
        let Some(section) = section else {
            let header = HEADER.to_owned();
            let alone = PreviewConfig { header, secret: None, allow: Vec::new(), host: None, name_color: false };
            return port.map(|_| alone);
        };
        let host = section.string("host").and_then(|(host, span)| {
            if !somebody {
                let message = "`preview.host` is for nobody: strangers may not preview, and nobody else is named";
                self.notes.problem(span.clone(), message, help.to_owned());
            }
            match self.host_pattern("preview.host", host, span, false)? {
                HostPattern::Exact(name) => Some(name),
                HostPattern::Any | HostPattern::Below(_) => None,
            }
        });
        if !somebody && port.is_none() && section.get("host").is_none() {
            let help = format!("{help}, or `preview = \"127.0.0.1:8081\"` under [listen]");
            self.notes.problem(section.span.clone(), "[preview] is for nobody: nobody is named who may", help);
        }
        let preview = PreviewConfig {
            header: self.preview_header(&section).unwrap_or_else(|| HEADER.to_owned()),
            secret: section.string("secret_file").map(|(path, span)| {
                let secret = self.secret_in("preview.secret_file", path, span.clone());
                if secret.iter().flat_map(|secret| secret.0.bytes()).any(|byte| byte.is_ascii_control()) {
                    let message = format!("the secret in {} is no value of a field", quoted(path));
                    self.notes.problem(span, message, "keep it on one line, without control characters".to_owned());
                }
                PreviewSecret { file: path.into(), secret }
            }),
            allow: self.networks(&section, "allow"),
            host,
            name_color: section.boolean("name_color", false),
        };
        section.refuse_unknown();
        Some(preview)
    }

    fn preview_header(&self, section: &Section<'_>) -> Option<String> {
        let (name, span) = section.string("header")?;
        let lower = name.to_ascii_lowercase();
        let help = "write \"x-cutover-color\"".to_owned();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let message = format!("`preview.header` is {}, which is no name of a field", quoted(name));
            self.notes.problem(span, message, help);
            return None;
        }
        if TAKEN.contains(&lower.as_str()) || TAKEN_BELOW.iter().any(|begins| lower.starts_with(begins)) {
            let message = format!("`preview.header` is {}, which means something already", quoted(name));
            self.notes.problem(span, message, help);
            return None;
        }
        Some(lower)
    }
}

fn is_empty_list(value: crate::config::file::Placed<'_>) -> bool {
    value.get_ref().as_array().is_some_and(|items| items.is_empty())
}
