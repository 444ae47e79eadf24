//! The text formats of Prometheus: the classic one (0.0.4) and OpenMetrics 1.0.

use std::fmt::{Display, Write};

use crate::telemetry::meter::Exemplar;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    #[must_use]
    pub(crate) fn accepted(accept: &str) -> Format {
        let open = quality(accept, "application/openmetrics-text");
        let plain = quality(accept, "text/plain");
        if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
    }

    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The highest quality that a list gives a media type (RFC 9110, 12.5.1); 0: it is not named.
fn quality(accept: &str, wanted: &str) -> f32 {
    let each = accept.split(',').filter_map(|member| {
        let mut parts = member.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(wanted))?;
        let given = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(given.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
    });
    each.fold(0.0, f32::max)
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
        self.line("", labels, None, value, None);
        self
    }

    /// `counts` are not cumulative; the last one is for `+Inf`.
    pub(crate) fn buckets(&mut self, labels: &Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) -> &mut Self {
        self.exemplified(labels, bounds, counts, sum, &[])
    }

    /// With a trace for each bucket that has one, where the format has a place for it.
    pub(crate) fn exemplified(
        &mut self,
        labels: &Labels<'_>,
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
        exemplars: &[Option<Exemplar>],
    ) -> &mut Self {
        let mut all = 0;
        let mut exemplars = exemplars.iter().copied();
        for (bound, count) in bounds.iter().zip(counts) {
            all += count;
            let bound = match self.page.format {
                // Numbers are canonical there: `1.0`.
                Format::OpenMetrics => format!("{bound:?}"),
                Format::Prometheus => bound.to_string(),
            };
            self.line("_bucket", labels, Some(&bound), all, exemplars.next().flatten());
        }
        all += counts.get(bounds.len()).copied().unwrap_or(0);
        self.line("_bucket", labels, Some("+Inf"), all, exemplars.next().flatten());
        self.line("_sum", labels, None, sum, None);
        self.line("_count", labels, None, all, None);
        self
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &Labels<'_>,
        bound: Option<&str>,
        value: impl Display,
        exemplar: Option<Exemplar>,
    ) {
        let exemplar = exemplar.filter(|_| self.page.format == Format::OpenMetrics);
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
        let _ = write!(text, " {value}");
        if let Some(Exemplar { trace, micros, at }) = exemplar {
            let (seconds, at) = (micros as f64 / 1e6, at as f64 / 1e3);
            let _ = write!(text, " # {{trace_id=\"{trace:032x}\"}} {seconds} {at:.3}");
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_the_scraper_prefers() {
        for open in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
            "Application/OpenMetrics-Text; version=1.0.0, */*;q=0.1",
            "text/plain;q=0.5, application/openmetrics-text;q=0.5",
        ] {
            assert_eq!(Format::accepted(open), Format::OpenMetrics, "{open}");
        }
        for plain in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.2,text/plain;q=0.9",
            "application/openmetrics-text-2",
        ] {
            assert_eq!(Format::accepted(plain), Format::Prometheus, "{plain}");
        }
    }
}
