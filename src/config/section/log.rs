//! `[log]`: the process log and the access log.

use std::path::PathBuf;

use toml::Value;

use crate::config::file::kinds::is_field_name;
use crate::config::file::{Section, quoted};
use crate::config::render::{share, table, texts, word};
use crate::domain::split::Weight;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    pub access: AccessLog,
    pub redact_query: bool,
    /// Names of request fields, in lower case.
    pub fields: Vec<String>,
    /// The share of successes that is written.
    pub sample: Weight,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            format: LogFormat::Auto,
            access: AccessLog::Stdout,
            redact_query: false,
            fields: Vec::new(),
            sample: Weight::ALL,
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Json,
    Text,
}

impl LogFormat {
    const NAMES: [(&str, LogFormat); 3] =
        [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)];
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    /// Appended to a file, which is opened again on `SIGHUP`.
    File(PathBuf),
}

impl LogConfig {
    pub(super) fn read(section: &Section<'_>) -> LogConfig {
        let defaults = LogConfig::default();
        LogConfig {
            format: section.choice("format", &LogFormat::NAMES, defaults.format),
            access: match section.string("access") {
                None => defaults.access,
                Some(("stdout", _)) => AccessLog::Stdout,
                Some(("off", _)) => AccessLog::Off,
                Some((path, _)) if path.contains('/') => AccessLog::File(path.into()),
                Some((other, span)) => {
                    let help = "it is \"stdout\", \"off\", or a path with a \"/\" in it";
                    section.problem(span, format!("`log.access` is {}", quoted(other)), help);
                    defaults.access
                }
            },
            redact_query: section.boolean("redact_query", defaults.redact_query),
            fields: fields(section),
            sample: section.weight("sample", defaults.sample, Weight::NONE..=Weight::ALL),
        }
    }

    pub(super) fn write(&self) -> Value {
        let access = match &self.access {
            AccessLog::Stdout => "stdout".to_owned(),
            AccessLog::Off => "off".to_owned(),
            AccessLog::File(path) => path.display().to_string(),
        };
        table([
            ("format", word(&LogFormat::NAMES, self.format)),
            ("access", access.into()),
            ("redact_query", self.redact_query.into()),
            ("fields", texts(&self.fields)),
            ("sample", share(self.sample)),
        ])
    }
}

const MOST_FIELDS: usize = 16;
const SECRETS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-cutover-color"];
/// Names that a line has already.
const TAKEN: [&str; 29] = [
    "ts",
    "request_id",
    "trace_id",
    "client",
    "peer",
    "method",
    "host",
    "path",
    "protocol",
    "status",
    "color",
    "release",
    "upstream",
    "endpoint",
    "generation",
    "preview",
    "shielded",
    "lingered",
    "duration_ms",
    "ttfb_ms",
    "upstream_ms",
    "bytes_in",
    "bytes_out",
    "retries",
    "grpc_status",
    "refused",
    "error",
    "blame",
    "truncated",
];

fn fields(section: &Section<'_>) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    let written = section.strings("fields").unwrap_or_default();
    if let Some((_, span)) = written.get(MOST_FIELDS) {
        let message = format!("`log.fields` has {} fields; it takes {MOST_FIELDS}", written.len());
        section.problem(span.clone(), message, "remove some of them");
    }
    for (text, span) in written {
        let name = text.to_ascii_lowercase();
        let fault = if !is_field_name(&name) {
            Some(("is not the name of a request field", "write a name such as \"user-agent\""))
        } else if SECRETS.contains(&&*name) {
            Some(("would put secrets into the log", "remove it"))
        } else if TAKEN.contains(&&*name.replace('-', "_")) {
            Some(("is a name that every line has already", "remove it"))
        } else if fields.contains(&name) {
            Some(("is in `log.fields` twice", "keep one of them"))
        } else {
            None
        };
        match fault {
            Some((fault, help)) => section.problem(span, format!("{} {fault}", quoted(text)), help),
            None => fields.push(name),
        }
    }
    fields
}
