//! `[trace]`: traces of requests, and the collector of their spans.

use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::config::file::Section;
use crate::config::receiver::ReceiverUrl;
use crate::config::render::{duration, path, share, table};
use crate::config::section::certificates::check_files;
use crate::config::units::{MINUTE, MS, SECOND};
use crate::domain::split::Weight;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceConfig {
    pub endpoint: Option<CollectorUrl>,
    /// The authorities of the collector's certificate, in PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    pub timeout: Duration,
    pub service: String,
    pub begin: bool,
    /// The sampled share of the traces that begin here.
    pub sample: Weight,
}

/// `http://HOST:PORT` or `https://…`, perhaps with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl {
    pub text: String,
    pub(crate) url: ReceiverUrl,
}

/// The part of the section that each request looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceRules {
    pub(crate) begin: bool,
    pub(crate) export: bool,
    pub(crate) sample: Weight,
}

impl Default for TraceConfig {
    fn default() -> TraceConfig {
        TraceConfig {
            endpoint: None,
            ca: None,
            timeout: 10 * SECOND,
            service: "cutover".to_owned(),
            begin: false,
            sample: Weight::ALL,
        }
    }
}

impl TraceConfig {
    pub(super) fn read(section: &Section<'_>) -> TraceConfig {
        let defaults = TraceConfig::default();
        let endpoint = section.string("endpoint").and_then(|written| {
            let url = CollectorUrl::parse(written.0);
            if url.is_none() {
                let help = "write \"http://127.0.0.1:4318\"; spans are posted to /v1/traces below it";
                section.refuse("endpoint", written, "which is not the address of a collector", help);
            }
            url
        });
        let ca = section.string("ca").and_then(|written| section.file("ca", written));
        check_files(section, "trace.ca", &[], ca.as_ref());
        let service = section.string("service").map(|written| {
            section.label("`trace.service`", written.clone());
            written.0.to_owned()
        });
        TraceConfig {
            begin: section.boolean("begin", endpoint.is_some()),
            endpoint,
            ca: ca.map(|(path, _)| path),
            timeout: section.duration("timeout", defaults.timeout, 100 * MS..=MINUTE),
            service: service.unwrap_or(defaults.service),
            sample: section.weight("sample", defaults.sample, Weight::NONE..=Weight::ALL),
        }
    }

    pub(super) fn refuse_idle(&self, section: &Section<'_>) {
        let defaults = TraceConfig::default();
        let off = self.endpoint.is_none();
        let why = "no spans are exported without `trace.endpoint`";
        let help = "add `endpoint = \"http://127.0.0.1:4318\"`, or remove this";
        section.idle("ca", off, why, help);
        section.idle("timeout", off && self.timeout != defaults.timeout, why, help);
        section.idle("service", off && self.service != defaults.service, why, help);
        let plain = self.endpoint.as_ref().is_some_and(|endpoint| !endpoint.url.tls);
        section.idle(
            "ca",
            plain,
            "`trace.endpoint` is without TLS",
            "write the endpoint with https://, or remove this",
        );
        let samples = self.sample != defaults.sample;
        section.idle("sample", !self.begin && samples, "no trace begins here", "add `begin = true`, or remove this");
    }

    pub(super) fn write(&self) -> Value {
        let endpoint = self.endpoint.as_ref().map(|endpoint| ("endpoint", endpoint.text.clone().into()));
        let ca = self.ca.as_deref().map(|ca| ("ca", path(ca)));
        let always = [
            ("timeout", duration(self.timeout)),
            ("service", self.service.clone().into()),
            ("begin", self.begin.into()),
            ("sample", share(self.sample)),
        ];
        table(always.into_iter().chain(endpoint).chain(ca))
    }

    pub(crate) fn rules(&self) -> TraceRules {
        TraceRules { begin: self.begin, export: self.endpoint.is_some(), sample: self.sample }
    }
}

impl CollectorUrl {
    fn parse(text: &str) -> Option<CollectorUrl> {
        let base = text.trim_end_matches('/');
        let mut url = ReceiverUrl::parse(base)?;
        if base.contains(['?', '#']) {
            return None;
        }
        url.path = format!("{}/v1/traces", url.path.trim_end_matches('/'));
        Some(CollectorUrl { text: base.to_owned(), url })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_to_the_path_of_the_standard_below_the_endpoint() {
        let path = |text: &str| CollectorUrl::parse(text).map(|endpoint| endpoint.url.path);
        assert_eq!(path("http://localhost:4318"), Some("/v1/traces".to_owned()));
        assert_eq!(path("http://localhost:4318/"), Some("/v1/traces".to_owned()));
        assert_eq!(path("https://collector.example.com/otlp"), Some("/otlp/v1/traces".to_owned()));
        for wrong in ["localhost:4318", "grpc://localhost:4317", "http://u:p@localhost", "http://localhost/?a=b", ""] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }
}
