//! `[maintenance]`: the answer to every request while maintenance is on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Value;

use crate::config;
use crate::config::error::UnusableFile;
use crate::config::file::{Section, quoted};
use crate::config::render::{duration, integer, path, table};
use crate::config::units::{DAY, SECOND};

/// The largest page: it stays in memory.
const MAX_PAGE: usize = 1 << 20;

const CONTENT_TYPES: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("json", "application/json"),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceConfig {
    pub status: u16,
    pub retry_after: Duration,
    /// The body of the answer; `None`: one sentence.
    pub page: Option<Arc<Page>>,
}

/// A file with its content at the time the configuration was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    pub path: PathBuf,
    pub content_type: &'static str,
    pub text: String,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Page({}, {} bytes)", self.path.display(), self.text.len())
    }
}

impl Default for MaintenanceConfig {
    fn default() -> MaintenanceConfig {
        MaintenanceConfig { status: 503, retry_after: 30 * SECOND, page: None }
    }
}

impl MaintenanceConfig {
    pub(super) fn read(section: &Section<'_>) -> MaintenanceConfig {
        let defaults = MaintenanceConfig::default();
        MaintenanceConfig {
            status: section.integer("status", defaults.status, 400..=599),
            retry_after: section.duration("retry_after", defaults.retry_after, Duration::ZERO..=DAY),
            page: read_page(section),
        }
    }

    pub(super) fn write(&self) -> Value {
        let mut section = vec![("status", integer(self.status)), ("retry_after", duration(self.retry_after))];
        section.extend(self.page.as_ref().map(|page| ("page", path(&page.path))));
        table(section)
    }
}

fn read_page(section: &Section<'_>) -> Option<Arc<Page>> {
    let (path, span) = section.string("page")?;
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = CONTENT_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
    let Some((_, content_type)) = known else {
        let message = format!("`maintenance.page` is {}, and nothing tells what it is", quoted(path));
        section.problem(span, message, "name it .html, .htm, .txt or .json");
        return None;
    };
    match config::read(Path::new(path)) {
        Ok(text) if text.len() > MAX_PAGE => {
            let message = format!("the page {} is larger than 1 MiB, the most that is answered", quoted(path));
            section.plain_problem(span, message);
            None
        }
        Ok(text) => Some(Arc::new(Page { path: path.into(), content_type, text })),
        Err(reason) => {
            let message = format!("the page {} {reason}", quoted(path));
            let setting = "maintenance.page".to_owned();
            section.unusable(span, UnusableFile { setting, path: path.to_owned(), reason }, message, None);
            None
        }
    }
}
