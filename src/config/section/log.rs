//! `[log]`: the process log and the access log.

use std::path::PathBuf;

use toml::Value;

use crate::config::file::{Section, quoted};
use crate::config::render::{table, word};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    pub access: AccessLog,
    pub redact_query: bool,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig { format: LogFormat::Auto, access: AccessLog::Stdout, redact_query: false }
    }
}

/// The form of log lines.
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

/// The destination of the access log.
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
        ])
    }
}
