//! How requests are held, and what they are told instead of being served.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::config::error::UnusableFile;
use crate::config::file::{Span, quoted};
use crate::config::validate::{DAY, File, HOUR, MS, SECOND};
use crate::config::{HoldConfig, MaintenanceConfig, Page};

/// A page is sent with every answer, and kept in memory.
const MAX_PAGE: usize = 1 << 20;

/// What a page may be, by its extension.
const CONTENT_TYPES: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("json", "application/json"),
];

impl File<'_> {
    pub(super) fn hold(&self) -> HoldConfig {
        let defaults = HoldConfig { max_requests: 1000, max_bytes: 16 << 20, timeout: 30 * SECOND, ready: true };
        let section = self.root.section("pause");
        // Asked for only where it is, so that it is not offered.
        let before = if self.root.has("hold") { self.root.section("hold") } else { None };
        if let (Some(_), Some(before)) = (&section, &before) {
            let message = "[hold] is the name of [pause] in earlier versions, and both are there";
            self.notes.problem(before.span.clone(), message, "keep [pause], and move what is missing there".to_owned());
        }
        let Some(section) = section.or(before) else { return defaults };
        let hold = HoldConfig {
            max_requests: usize::try_from(section.integer("max_requests", 1000, 1..=1_000_000))
                .unwrap_or(defaults.max_requests),
            max_bytes: usize::try_from(section.size("max_bytes", 16 << 20, 64 << 10..=64 << 30))
                .unwrap_or(defaults.max_bytes),
            timeout: section.duration("timeout", defaults.timeout, 100 * MS..=HOUR),
            ready: section.boolean("ready", defaults.ready),
        };
        section.refuse_unknown();
        hold
    }

    pub(super) fn maintenance(&self) -> MaintenanceConfig {
        let defaults = MaintenanceConfig { status: 503, retry_after: 30 * SECOND, page: None };
        let Some(section) = self.root.section("maintenance") else { return defaults };
        let maintenance = MaintenanceConfig {
            status: u16::try_from(section.integer("status", 503, 400..=599)).unwrap_or(defaults.status),
            retry_after: section.duration("retry_after", defaults.retry_after, Duration::ZERO..=DAY),
            page: section.string("page").and_then(|(path, span)| self.page(path, span)),
        };
        section.refuse_unknown();
        maintenance
    }

    fn page(&self, path: &str, span: Span) -> Option<Arc<Page>> {
        let extension = Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let known = CONTENT_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
        let Some((_, content_type)) = known else {
            let message = format!("`maintenance.page` is {}, and nothing tells what it is", quoted(path));
            self.notes.problem(span, message, "name it .html, .htm, .txt or .json".to_owned());
            return None;
        };
        match config::read(Path::new(path)) {
            Ok(text) if text.len() > MAX_PAGE => {
                let message = format!("the page {} is larger than 1 MiB, the most that is answered", quoted(path));
                self.notes.problem(span, message, None);
                None
            }
            Ok(text) => Some(Arc::new(Page { path: path.into(), content_type, text })),
            Err(reason) => {
                let message = format!("the page {} {reason}", quoted(path));
                let setting = "maintenance.page".to_owned();
                self.notes.unusable(span, UnusableFile { setting, path: path.to_owned(), reason }, message, None);
                None
            }
        }
    }
}
