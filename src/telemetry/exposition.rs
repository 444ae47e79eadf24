//! The text formats of Prometheus: the classic one (0.0.4) and OpenMetrics 1.0.

use std::fmt::{Display, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    #[must_use]
    pub(crate) fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Prometheus }
    }

    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Page {
    format: Format,
    text: String,
}

impl Page {
    #[must_use]
    pub(crate) fn new(format: Format) -> Page {
        Page { format, text: String::with_capacity(16 * 1024) }
    }

    /// `name` ends in `_total`.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    pub(crate) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    pub(crate) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // OpenMetrics names the family without the suffix of its samples.
        let family = match self.format {
            Format::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            Format::OpenMetrics | Format::Prometheus => name,
        };
        let _ = write!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}\n");
        Family { page: self, name }
    }

    #[must_use]
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[derive(Debug)]
pub(crate) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

pub(crate) type Labels<'a> = [(&'static str, &'a str)];

impl Family<'_> {
    pub(crate) fn sample(&mut self, labels: &Labels<'_>, value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// `counts` are not cumulative; the last one is for `+Inf`.
    pub(crate) fn buckets(&mut self, labels: &Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) -> &mut Self {
        let mut all = 0;
        for (bound, count) in bounds.iter().zip(counts) {
            all += count;
            self.line("_bucket", labels, Some(&bound.to_string()), all);
        }
        all += counts.get(bounds.len()).copied().unwrap_or(0);
        self.line("_bucket", labels, Some("+Inf"), all);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, all);
        self
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, bound: Option<&str>, value: impl Display) {
        let text = &mut self.page.text;
        text.push_str(self.name);
        text.push_str(suffix);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in all {
            text.push(separator);
            text.push_str(name);
            text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
            separator = ',';
        }
        if separator == ',' {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
    }
}
