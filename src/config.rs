//! The valid configuration. `file` reads values with their places, `section` has every section with its settings,
//! `validate` reports every problem of a file at once (`error`), and `watch` follows the file and owns every write to
//! it.

mod decimal;
mod differences;
pub(crate) mod error;
mod file;
pub(crate) mod path;
pub(crate) mod receiver;
mod render;
mod section;
pub(crate) mod stage;
mod units;
mod validate;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};
use toml::Table;

use crate::config::error::{ConfigError, Diagnostic, Tolerated, UnusableFile};
pub use crate::config::section::*;
use crate::domain::color::{Color, PerColor};
use crate::domain::gate::GatePolicy;
use crate::tls;

const MAX_BYTES: u64 = 4 << 20;

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The color in the file: an order, not the state (see `domain::rollout`).
    pub active: Color,
    pub state: StateConfig,
    pub listen: ListenConfig,
    /// Set exactly where `listen.https` is.
    pub tls: Option<TlsConfig>,
    pub admin: AdminConfig,
    pub health: HealthConfig,
    pub gate: GatePolicy,
    /// In the order of the file.
    pub gate_checks: Vec<GateCheck>,
    pub linger: LingerConfig,
    pub drain: DrainConfig,
    pub canary: CanaryConfig,
    pub analysis: AnalysisConfig,
    pub bake: BakeConfig,
    /// `[pause]`
    pub hold: HoldConfig,
    pub maintenance: MaintenanceConfig,
    pub headers: HeadersConfig,
    pub retry: RetryConfig,
    pub resolver: ResolverConfig,
    /// An entry for every upstream that a color has endpoints for or that a route names.
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// In the order of the file; empty: every request goes to `default`.
    pub routes: Arc<[RouteConfig]>,
    pub colors: PerColor<ColorConfig>,
    /// `None`: nobody may preview.
    pub preview: Option<PreviewConfig>,
    pub readiness: ReadinessConfig,
    pub log: LogConfig,
    pub metrics: MetricsConfig,
    pub trace: TraceConfig,
    pub service: ServiceConfig,
    pub notify: Vec<NotifyConfig>,
    /// Files in the configuration that were unusable when it was read, and were tolerated.
    pub unusable: Vec<UnusableFile>,
}

impl Config {
    /// Reads a file; returns its text as well.
    pub fn load(path: &Path) -> Result<(Config, String), ConfigError> {
        let text = read(path).map_err(|reason| ConfigError::unreadable(path, &reason))?;
        Ok((Config::parse(path, &text)?, text))
    }

    /// Reads a file for a start, which tolerates unusable files as far as that is safe.
    pub fn load_for_start(path: &Path, tolerated: Tolerated<'_>) -> Result<(Config, String), ConfigError> {
        let text = read(path).map_err(|reason| ConfigError::unreadable(path, &reason))?;
        Ok((Config::parse_with(path, &text, tolerated)?, text))
    }

    /// Reads a text; `path` is for messages only.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        Config::parse_with(path, text, Tolerated::None)
    }

    pub fn parse_with(path: &Path, text: &str, tolerated: Tolerated<'_>) -> Result<Config, ConfigError> {
        validate::parse(path, text, tolerated)
    }

    /// Refuses every changed key that can't change while the process runs.
    pub fn check_fixed(&self, next: &Config, path: &Path, text: &str) -> Result<(), ConfigError> {
        let fixed: [(bool, &str, &str); 10] = [
            (self.listen.http != next.listen.http, "listen", "http"),
            (self.listen.https != next.listen.https, "listen", "https"),
            (self.listen.preview != next.listen.preview, "listen", "preview"),
            (self.listen.admin != next.listen.admin, "listen", "admin"),
            (self.listen.admin_mode != next.listen.admin_mode, "listen", "admin_mode"),
            (self.listen.admin_group != next.listen.admin_group, "listen", "admin_group"),
            (self.listen.workers != next.listen.workers, "listen", "workers"),
            (self.state.dir != next.state.dir, "state", "dir"),
            (self.log.format != next.log.format, "log", "format"),
            (self.metrics.buckets != next.metrics.buckets, "metrics", "buckets"),
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

    /// Expired certificates and staples, one sentence each.
    #[must_use]
    pub fn expired(&self, now: SystemTime) -> Vec<String> {
        let all = self.tls.iter().flat_map(|tls| &tls.certificates);
        let all = all.chain(self.admin.tls.iter().map(|tls| &tls.certificate));
        all.flat_map(|files| tls::expired(files, now)).map(|error| error.to_string()).collect()
    }

    fn table(&self) -> Table {
        section::write(self, &self.routes)
    }
}

/// The text of a configuration file or of a secret. The error is the end of a sentence about the file.
fn read(path: &Path) -> Result<String, String> {
    let not_text = |at: usize| format!("is not UTF-8 from byte {at} on");
    String::from_utf8(read_bytes(path)?).map_err(|error| not_text(error.utf8_error().valid_up_to()))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let reason = |error: std::io::Error| format!("can't be read: {error}");
    // Without `NONBLOCK`, opening a pipe waits for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = std::fs::File::from(opened.map_err(|errno| reason(errno.into()))?);
    let metadata = file.metadata().map_err(reason)?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(MAX_BYTES) as usize);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 4 MiB, the most that is read".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
