//! From the text of a file to a valid configuration, or to every problem of the file at once.

use std::collections::BTreeSet;
use std::path::Path;

use toml::de::DeTable;

use crate::config::error::{ConfigError, Tolerated};
use crate::config::file::{Notes, Section, Span, quoted};
use crate::config::{Config, section};

/// Reads a text; `path` is for messages.
pub(super) fn parse(path: &Path, text: &str, tolerated: Tolerated<'_>) -> Result<Config, ConfigError> {
    let (config, notes) = read(text);
    let (unusable, errors) = tolerated.part(notes.take_unusable());
    if let Some(config) = config
        && notes.has_none()
        && errors.is_empty()
    {
        return Ok(Config { unusable, ..config });
    }
    let source = notes.shown(text);
    let mut diagnostics = notes.into_problems();
    diagnostics.extend(errors);
    diagnostics.sort_by_key(|problem| (problem.span.start, problem.span.end));
    Err(ConfigError { path: path.to_owned(), source, diagnostics })
}

/// The configuration as far as it is readable, and its problems.
pub(super) fn read(text: &str) -> (Option<Config>, Notes) {
    let notes = Notes::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        note_syntax(text, &errors, &notes);
        return (None, notes);
    }
    let config = section::read(&Section::root(&table, &notes), &notes);
    (config, notes)
}

/// Records errors of syntax, without those that follow from another one.
fn note_syntax(text: &str, errors: &[toml::de::Error], notes: &Notes) {
    let never_closed = |error: &&toml::de::Error| error.message().starts_with("unclosed");
    let all_follow = errors.iter().any(|error| never_closed(&error));
    let told = errors.iter().enumerate().filter(|(index, error)| *index == 0 || !all_follow || never_closed(error));
    let mut lines = BTreeSet::new();
    for (_, error) in told {
        let span = error.span().unwrap_or(0..0);
        if !lines.insert(text.get(..span.start).map_or(0, |before| before.matches('\n').count())) {
            continue;
        }
        // Further lines draw the place, which `error` does for all problems alike.
        let message = error.message().lines().next().unwrap_or("not valid TOML");
        if message == "duplicate key" {
            let key = text.get(span.clone()).unwrap_or_default();
            notes.problem(span, format!("the key {} is there twice", quoted(key)), "keep one of them".to_owned());
        } else {
            notes.problem(span, format!("not valid TOML: {message}"), None);
        }
    }
}

/// The place of a key for a problem found later; that of its section if the key is missing.
pub(super) fn span_of(text: &str, section: &str, key: &str) -> Span {
    let span = DeTable::parse(text).ok().and_then(|root| {
        let (_, inner) = root.get_ref().iter().find(|(name, _)| name.get_ref() == section)?;
        let value = inner.get_ref().as_table()?.iter().find(|(name, _)| name.get_ref() == key);
        Some(value.map_or(inner.span(), |(_, value)| value.span()))
    });
    span.unwrap_or(0..0)
}
