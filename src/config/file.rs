//! The file as written: tables and values, each with its place.
//!
//! serde stops at the first problem. Here values are read one by one: a problem is recorded with its place, and reading
//! continues with the default, so that one run reports all of them.

pub(super) mod kinds;
pub(super) mod values;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::{Diagnostic, UnusableFile};

/// Characters of a value that a message repeats.
const QUOTED: usize = 80;

/// The first characters of a certificate or key in PEM. A key pasted where its path belongs must not be shown.
pub(super) const PEM_BEGINS: &str = "-----BEGIN ";
const PEM_ENDS: &str = "-----END ";

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// A string of the file with its place.
pub(super) type Written<'a> = (&'a str, Span);

/// Any value of the file with its place.
pub(super) type Placed<'a> = &'a Spanned<DeValue<'a>>;

/// The problems found so far, and the keys that were read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    problems: RefCell<Vec<Diagnostic>>,
    files: RefCell<Vec<(Diagnostic, UnusableFile)>>,
    #[cfg(test)]
    asked: RefCell<BTreeSet<String>>,
    hidden: RefCell<Vec<Span>>,
}

impl Notes {
    /// The text for messages: possible secrets are starred out, and every line keeps its place.
    pub(super) fn shown(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for span in self.hidden.borrow().iter().cloned().chain(pem_blocks(text)) {
            let Some(hidden) = shown.get(span.clone()) else { continue };
            let stars: String = hidden.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
            shown.replace_range(span.clone(), &stars);
        }
        shown
    }

    pub(super) fn problem(&self, span: Span, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.problems.borrow_mut().push(Diagnostic { span, message: message.into(), help: help.into() });
    }

    pub(super) fn has_none(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Takes the unusable files out: the caller decides whether they are errors.
    pub(super) fn take_unusable(&self) -> Vec<(Diagnostic, UnusableFile)> {
        self.files.take()
    }

    /// All problems in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Diagnostic> {
        let files = self.files.into_inner().into_iter().map(|(problem, _)| problem);
        let mut problems: Vec<_> = self.problems.into_inner().into_iter().chain(files).collect();
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems
    }

    /// Every key that was read, as `section.key`.
    #[cfg(test)]
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}
pub(super) struct Section<'a> {
    /// The name in messages: `listen`, or empty for the file itself.
    name: String,
    table: &'a DeTable<'a>,
    pub(super) span: Span,
    notes: &'a Notes,
    known: RefCell<BTreeSet<&'static str>>,
}

/// The PEM blocks of a text; an unclosed one extends to the end.
fn pem_blocks(text: &str) -> Vec<Span> {
    let mut blocks = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(PEM_BEGINS).map(|at| from + at) {
        from = text[start..].find(PEM_ENDS).map_or(text.len(), |length| start + length);
        blocks.push(start..from);
    }
    blocks
}

/// A value for a message: in quotes, on one line, shortened.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

pub(super) fn shortened(text: &str) -> String {
    let short: String = text.split(PEM_BEGINS).next().unwrap_or_default().chars().take(QUOTED).collect();
    format!("{}{}", short.escape_debug(), if short.len() < text.len() { "…" } else { "" })
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>, notes: &'a Notes) -> Section<'a> {
        Section { name: String::new(), table: table.get_ref(), span: 0..0, notes, known: RefCell::default() }
    }

    pub(super) fn problem(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.notes.problem(span, message, help.into());
    }

    /// Records a problem whose message already says the repair.
    pub(super) fn plain_problem(&self, span: Span, message: impl Into<String>) {
        self.notes.problem(span, message, None);
    }

    /// Records a string as a problem: "`key` is "text", {fault}".
    pub(super) fn refuse(&self, key: &str, (text, span): Written<'_>, fault: &str, help: impl Into<String>) {
        self.problem(span, format!("`{}` is {}, {fault}", self.path(key), quoted(text)), help);
    }

    /// Records a file that can't be used. Whether that is an error depends on the caller of the reader.
    pub(super) fn unusable(&self, span: Span, file: UnusableFile, message: String, help: impl Into<Option<String>>) {
        self.notes.files.borrow_mut().push((Diagnostic { span, message, help: help.into() }, file));
    }

    /// Keeps a place out of messages, since it may hold a secret.
    pub(super) fn hide(&self, span: Span) {
        self.notes.hidden.borrow_mut().push(span);
    }

    /// Messages quote the line of a problem. In these sections a misplaced value may be a secret.
    fn hide_near_secrets(&self, value: Placed<'_>) {
        if ["admin", "gate.check", "notify", "preview"].into_iter().any(|kept| self.name.starts_with(kept)) {
            self.hide(value.span());
        }
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Placed<'a>> {
        self.known.borrow_mut().insert(key);
        #[cfg(test)]
        self.notes.asked.borrow_mut().insert(self.path(key));
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Tells whether a key is there, without counting it as read.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// All keys with their values, for tables whose keys are names that the user chose.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Span, Placed<'a>)> {
        self.table.iter().map(|(name, value)| (name.get_ref().as_ref(), name.span(), value))
    }

    /// A table read as a whole: the default where it is missing, and unknown keys are refused.
    pub(super) fn read<T: Default>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> T {
        self.optional(key, read).unwrap_or_default()
    }

    /// The same for a table that has no default.
    pub(super) fn optional<T>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> Option<T> {
        let section = self.section(key)?;
        let value = read(&section);
        section.refuse_unknown();
        Some(value)
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        self.as_section(key, value)
    }

    pub(super) fn as_section(&self, name: &str, value: Placed<'a>) -> Option<Section<'a>> {
        let path = self.path(name);
        match value.get_ref() {
            DeValue::Table(table) => {
                Some(Section { name: path, table, span: value.span(), notes: self.notes, known: RefCell::default() })
            }
            other => {
                self.mistyped(value, &path, "a table", other);
                None
            }
        }
    }

    /// A list of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| self.as_section(key, item)).collect(),
            other => {
                self.mistyped(value, &self.path(key), "a list of tables", other);
                Vec::new()
            }
        }
    }

    pub(super) fn mistyped(&self, value: Placed<'_>, key: &str, wanted: &str, found: &DeValue<'_>) {
        self.hide_near_secrets(value);
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.plain_problem(value.span(), format!("`{key}` is {found}; it has to be {wanted}"));
    }

    /// The name of a key in messages: `section.key`.
    pub(super) fn path(&self, key: &str) -> String {
        let key = shortened(key);
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    fn whole(&self) -> String {
        if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name) }
    }

    pub(super) fn missing(&self, key: &str, example: &str) {
        self.problem(self.span.clone(), format!("{} has no `{key}`", self.whole()), format!("add `{example}`"));
    }

    /// Refuses a key that has no effect beside the others: its author believes in it. The caller leaves out keys that
    /// have their default.
    pub(super) fn idle(&self, key: &'static str, idle: bool, why: &str, help: &str) {
        if idle && let Some(value) = self.get(key) {
            self.problem(value.span(), format!("`{}` has no effect: {why}", self.path(key)), help);
        }
    }

    /// The same, unless `switch` turns the feature off in so many words.
    pub(super) fn idle_unless(&self, key: &'static str, switch: &str, idle: bool, why: &str, help: &str) {
        self.idle(key, idle && !self.has(switch), why, help);
    }

    /// Records every key that no reader asked for.
    pub(super) fn refuse_unknown(&self) {
        let known = self.known.borrow();
        for (name, span, value) in self.entries().filter(|(name, _, _)| !known.contains(name)) {
            self.hide_near_secrets(value);
            let limit = |known: &str| (known.len() / 3).max(1);
            let closest = known
                .iter()
                .filter(|known| known.len().abs_diff(name.len()) <= limit(known))
                .map(|known| (strsim::damerau_levenshtein(known, name), *known))
                .min()
                .filter(|(distance, known)| *distance <= limit(known));
            let help = match closest {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("it knows {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")),
            };
            self.problem(span, format!("{} has no key `{}`", self.whole(), shortened(name)), help);
        }
    }
}
