//! The marks on a preview's answer: no shared cache may keep it, and, if configured, it names its color.

use crate::config::PreviewConfig;
use crate::domain::color::Color;
use crate::wire::head::Head;

pub(crate) struct Mark {
    color: Color,
    /// `preview.name_color`
    named: bool,
    header: Box<str>,
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mark({})", self.color)
    }
}

impl Mark {
    pub(super) fn new(config: &PreviewConfig, color: Color) -> Mark {
        Mark { color, named: config.name_color, header: config.header.as_str().into() }
    }

    pub(crate) fn write(&self, answer: &mut Head) {
        keep_private(answer);
        // A browser may cache it, but not for requests with another value.
        if !varies_by(answer, &self.header) {
            answer.push(b"vary", self.header.as_bytes());
        }
        if self.named {
            const COLOR: &str = "x-cutover-color";
            answer.remove_named(COLOR.as_bytes());
            answer.push(COLOR.as_bytes(), self.color.as_str().as_bytes());
        }
    }
}

pub(crate) fn keep_private(answer: &mut Head) {
    for name in names_for_shared_caches(answer) {
        answer.remove_named(name.as_bytes());
    }
    let private = private(answer);
    answer.remove_named(b"cache-control");
    answer.push(b"cache-control", private.as_bytes());
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Fields that overrule `Cache-Control` for those whom they address: RFC 9213 and its forerunners.
fn names_for_shared_caches(answer: &Head) -> Vec<String> {
    const OLDER: [&str; 3] = ["surrogate-control", "edge-control", "x-accel-expires"];
    let names = answer.fields().map(|(_, name, _)| text(name).to_ascii_lowercase());
    names.filter(|name| name.ends_with("-cache-control") || OLDER.contains(&name.as_str())).collect()
}

fn private(answer: &Head) -> String {
    let mut value = "private".to_owned();
    for directive in answer.all_named(b"cache-control").flat_map(|value| directives(text(value))) {
        let name = directive.split('=').next().unwrap_or_default().trim();
        // `private="field"` is about that field only.
        let replaced = ["public", "private", "s-maxage"].into_iter().any(|other| name.eq_ignore_ascii_case(other));
        if !replaced && !directive.is_empty() {
            value.push_str(", ");
            value.push_str(directive);
        }
    }
    value
}

fn directives(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(move |letter| {
        let plain = !escaped;
        escaped = quoted && plain && letter == '\\';
        quoted ^= plain && letter == '"';
        letter == ',' && !quoted
    });
    parts.map(str::trim)
}

fn varies_by(answer: &Head, header: &str) -> bool {
    let mut names = answer.all_named(b"vary").flat_map(|value| text(value).split(','));
    names.any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case(header))
}

#[cfg(test)]
mod tests;
