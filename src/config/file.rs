//! The file as it was written: sections and values, each with its place.
//!
//! serde stops at the first thing that is wrong. Whoever edits this file under stress wants to know all of them, so
//! values are taken out one by one; what does not fit is noted with its place, and reading goes on with the default.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::Decimal;
use crate::config::error::{Diagnostic, UnusableFile};
use crate::domain::split::Weight;

/// So many characters of a value are repeated in a message.
const QUOTED: usize = 80;

/// How a certificate or a key in PEM begins. Somebody may put the text where a path belongs, and a key is a secret.
pub(super) const PEM_BEGINS: &str = "-----BEGIN ";
const PEM_ENDS: &str = "-----END ";

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// What is wrong so far, and which keys the program asked for.
#[derive(Debug, Default)]
pub(super) struct Notes {
    problems: RefCell<Vec<Diagnostic>>,
    files: RefCell<Vec<(Diagnostic, UnusableFile)>>,
    asked: RefCell<BTreeSet<String>>,
    hidden: RefCell<Vec<Span>>,
}

impl Notes {
    /// The text for showing: without what may be a secret in the wrong place, and with every line where it was.
    pub(super) fn shown(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for span in self.hidden.borrow().iter().cloned().chain(pem_blocks(text)) {
            let Some(hidden) = shown.get(span.clone()) else { continue };
            let stars: String = hidden.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
            shown.replace_range(span.clone(), &stars);
        }
        shown
    }

    /// Leaves a place out of what is drawn: there may be a secret.
    pub(super) fn hide(&self, span: Span) {
        self.hidden.borrow_mut().push(span);
    }

    pub(super) fn problem(&self, span: Span, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.problems.borrow_mut().push(Diagnostic { span, message: message.into(), help: help.into() });
    }

    /// Whether nothing is wrong so far.
    pub(super) fn has_none(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// A file that can't be used. Whether that is an error depends on who asks.
    pub(super) fn unusable(&self, span: Span, file: UnusableFile, message: String, help: impl Into<Option<String>>) {
        self.files.borrow_mut().push((Diagnostic { span, message, help: help.into() }, file));
    }

    /// The files that can't be used, taken out.
    pub(super) fn take_unusable(&self) -> Vec<(Diagnostic, UnusableFile)> {
        self.files.take()
    }

    /// All problems, in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Diagnostic> {
        let files = self.files.into_inner().into_iter().map(|(problem, _)| problem);
        let mut problems: Vec<_> = self.problems.into_inner().into_iter().chain(files).collect();
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems
    }

    /// Every key that was asked for, as `section.key`.
    #[cfg(test)]
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}

/// A table of the file.
pub(super) struct Section<'a> {
    /// How messages call it: `[listen]`, or empty for the file itself.
    name: String,
    table: &'a DeTable<'a>,
    pub(super) span: Span,
    notes: &'a Notes,
    known: RefCell<BTreeSet<&'static str>>,
}

/// Where certificates and keys in PEM stand in a text; one that does not end goes to the end of it.
fn pem_blocks(text: &str) -> Vec<Span> {
    let mut blocks = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(PEM_BEGINS).map(|at| from + at) {
        from = text[start..].find(PEM_ENDS).map_or(text.len(), |length| start + length);
        blocks.push(start..from);
    }
    blocks
}

/// A value for a message: in quotes, on one line, and not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", shortened(text))
}

/// `0.25` as 25; `None` if it is no such number.
fn hundredths(number: &str) -> Option<u16> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let part: u16 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<u16>().ok()?.checked_mul(100)?.checked_add(part)
}

pub(super) fn shortened(text: &str) -> String {
    let short: String = text.split(PEM_BEGINS).next().unwrap_or_default().chars().take(QUOTED).collect();
    format!("{}{}", short.escape_debug(), if short.len() < text.len() { "…" } else { "" })
}

/// A value with its place.
pub(super) type Placed<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>, notes: &'a Notes) -> Section<'a> {
        Section { name: String::new(), table: table.get_ref(), span: 0..0, notes, known: RefCell::default() }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Placed<'a>> {
        self.known.borrow_mut().insert(key);
        let path = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.notes.asked.borrow_mut().insert(path);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// All keys with their values, for tables whose keys are names that the user chose.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Span, Placed<'a>)> {
        self.table.iter().map(|(name, value)| (name.get_ref().as_ref(), name.span(), value))
    }

    /// A table below this one.
    /// Whether a key is there; it does not count as asked for.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        self.as_section(key, value)
    }

    /// A value as a table, under this name.
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

    /// Problems are drawn with their line. Around secrets, a value that does not belong there may be one.
    fn hide(&self, value: Placed<'_>) {
        if ["admin", "gate.check", "notify", "preview"].into_iter().any(|kept| self.name.starts_with(kept)) {
            self.notes.hide(value.span());
        }
    }

    pub(super) fn mistyped(&self, value: Placed<'_>, key: &str, wanted: &str, found: &DeValue<'_>) {
        self.hide(value);
        let found = match found {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.notes.problem(value.span(), format!("`{key}` is {found}; it has to be {wanted}"), None);
    }

    /// How messages call a key of it.
    pub(super) fn path(&self, key: &str) -> String {
        let key = shortened(key);
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    /// A string with its place.
    pub(super) fn string(&self, key: &'static str) -> Option<(&'a str, Span)> {
        let value = self.get(key)?;
        self.as_string(key, value)
    }

    pub(super) fn as_string(&self, key: &str, value: Placed<'a>) -> Option<(&'a str, Span)> {
        match value.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), value.span())),
            other => {
                self.mistyped(value, &self.path(key), "a string", other);
                None
            }
        }
    }

    /// A string that has to be there.
    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<(&'a str, Span)> {
        if self.get(key).is_none() {
            self.missing(key, example);
            return None;
        }
        self.string(key)
    }

    pub(super) fn missing(&self, key: &str, example: &str) {
        let whole = if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name) };
        self.notes.problem(self.span.clone(), format!("{whole} has no `{key}`"), format!("add `{example}`"));
    }

    /// A string, read as something else.
    pub(super) fn parse<T: FromStr>(&self, key: &str, (text, span): (&str, Span), what: &str, help: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let message = format!("`{}` is {}, which is not {what}", self.path(key), quoted(text));
            self.notes.problem(span, message, help.to_owned());
        }
        parsed
    }

    /// One of a few words; the first of them is the default.
    pub(super) fn choice<T: Copy, const N: usize>(&self, key: &'static str, words: &[(&str, T); N]) -> T {
        let default = words[0].1;
        let Some((text, span)) = self.string(key) else { return default };
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let message = format!("`{}` is {}", self.path(key), quoted(text));
            let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let (last, first) = known.split_last().expect("there are words");
            self.notes.problem(span, message, format!("it is {} or {last}", first.join(", ")));
        }
        found.map_or(default, |(_, value)| *value)
    }

    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(value) => *value,
            other => {
                self.mistyped(value, &self.path(key), "true or false", other);
                default
            }
        }
    }

    pub(super) fn integer(&self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.get(key) else { return default };
        let DeValue::Integer(integer) = value.get_ref() else {
            self.mistyped(value, &self.path(key), "an integer", value.get_ref());
            return default;
        };
        let parsed = u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix());
        match parsed {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = range.into_inner();
                let number = shortened(&integer.to_string());
                let message = format!("`{}` is {number}; it goes from {low} to {high}", self.path(key));
                self.notes.problem(value.span(), message, None);
                default
            }
        }
    }

    /// A duration such as `"30s"`, within a range.
    pub(super) fn duration(&self, key: &'static str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        let help = "write a number and a unit, such as \"500ms\", \"30s\" or \"5m\"";
        let Some(text) = self.unit_string(key, "a duration", help) else { return default };
        let (text, span) = text;
        match humantime::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => duration,
            Ok(_) => {
                let (low, high) = range.into_inner();
                let (low, high) = (humantime::format_duration(low), humantime::format_duration(high));
                let message = format!("`{}` is {}; it goes from {low} to {high}", self.path(key), quoted(text));
                self.notes.problem(span, message, None);
                default
            }
            Err(_) => {
                let message = format!("`{}` is {}, which is not a duration", self.path(key), quoted(text));
                self.notes.problem(span, message, help.to_owned());
                default
            }
        }
    }

    /// A size such as `"64KiB"`, within a range, in bytes.
    pub(super) fn size(&self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let help = "write a number and a unit, such as \"64KiB\" or \"10MiB\"";
        let Some((text, span)) = self.unit_string(key, "a size", help) else { return default };
        // Nothing needs no unit; of any other number nobody knows what was meant.
        let unitless = text != "0" && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<ByteSize>().map_err(drop).and_then(|size| if unitless { Err(()) } else { Ok(size) }) {
            Ok(ByteSize(size)) if range.contains(&size) => size,
            Ok(_) => {
                let (low, high) = range.into_inner();
                let (low, high) = (ByteSize(low), ByteSize(high));
                let message = format!("`{}` is {}; it goes from {low} to {high}", self.path(key), quoted(text));
                self.notes.problem(span, message, None);
                default
            }
            Err(_) => {
                let message = format!("`{}` is {}, which is not a size", self.path(key), quoted(text));
                self.notes.problem(span, message, help.to_owned());
                default
            }
        }
    }

    /// A percentage such as `"100%"`, within a range.
    pub(super) fn percent(&self, key: &'static str, default: u8, range: RangeInclusive<u8>) -> u8 {
        let help = "write it with its sign, such as \"100%\"";
        let Some((text, span)) = self.unit_string(key, "a percentage", help) else { return default };
        match text.strip_suffix('%').map(|number| number.trim().parse::<u8>()) {
            Some(Ok(percent)) if range.contains(&percent) => percent,
            Some(_) => {
                let ((low, high), key) = (range.into_inner(), self.path(key));
                let message = format!("`{key}` is {}; it goes from {low}% to {high}%, in whole percent", quoted(text));
                self.notes.problem(span, message, None);
                default
            }
            None => {
                let message = format!("`{}` is {}, which is not a percentage", self.path(key), quoted(text));
                self.notes.problem(span, message, help.to_owned());
                default
            }
        }
    }

    /// A share such as `"0.5%"`, to hundredths of a percent, within a range.
    pub(super) fn weight(&self, key: &'static str, default: Weight, range: RangeInclusive<Weight>) -> Weight {
        let text = self.unit_string(key, "a percentage", "write it with its sign, such as \"0.5%\"");
        text.and_then(|text| self.as_weight(key, text, range)).unwrap_or(default)
    }

    pub(super) fn as_weight(
        &self,
        key: &str,
        (text, span): (&str, Span),
        range: RangeInclusive<Weight>,
    ) -> Option<Weight> {
        let key = self.path(key);
        let Some(number) = text.strip_suffix('%').map(str::trim) else {
            let message = format!("`{key}` is {}, which is not a percentage", quoted(text));
            self.notes.problem(span, message, "write it with its sign, such as \"0.5%\"".to_owned());
            return None;
        };
        let read = hundredths(number).and_then(Weight::new).filter(|weight| range.contains(weight));
        if read.is_none() {
            let (low, high) = range.into_inner();
            let message =
                format!("`{key}` is {}; it goes from {low} to {high}, to hundredths of a percent", quoted(text));
            self.notes.problem(span, message, None);
        }
        read
    }

    /// A number, with up to six decimals, within a range.
    pub(super) fn decimal(&self, key: &'static str, default: Decimal, range: RangeInclusive<f64>) -> Decimal {
        let Some(value) = self.get(key) else { return default };
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().replace('_', "").parse::<f64>().ok(),
            DeValue::Integer(integer) => integer.as_str().replace('_', "").parse::<f64>().ok(),
            other => {
                self.mistyped(value, &self.path(key), "a number", other);
                return default;
            }
        };
        let exact = |number: &f64| ((number * 1e6).round() / 1e6 - number).abs() < 1e-9;
        match number.filter(|number| range.contains(number) && exact(number)) {
            Some(number) => Decimal::from_millionths((number * 1e6).round() as u64),
            None => {
                let (low, high) = range.into_inner();
                let found = match value.get_ref() {
                    DeValue::Float(float) => shortened(float.as_str()),
                    DeValue::Integer(integer) => shortened(&integer.to_string()),
                    _ => String::new(),
                };
                let message =
                    format!("`{}` is {found}; it goes from {low} to {high}, with six decimals at most", self.path(key));
                self.notes.problem(value.span(), message, None);
                default
            }
        }
    }

    /// A string that carries a unit; a bare number gets told so.
    fn unit_string(&self, key: &'static str, what: &str, help: &str) -> Option<(&'a str, Span)> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), value.span())),
            DeValue::Integer(_) | DeValue::Float(_) => {
                let message = format!("`{}` is a number without a unit; {what} is a string", self.path(key));
                self.notes.problem(value.span(), message, help.to_owned());
                None
            }
            other => {
                self.mistyped(value, &self.path(key), &format!("{what} in a string"), other);
                None
            }
        }
    }

    /// A list of strings, each with its place.
    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<(&'a str, Span)>> {
        let value = self.get(key)?;
        self.as_strings(key, value)
    }

    pub(super) fn as_strings(&self, key: &str, value: Placed<'a>) -> Option<Vec<(&'a str, Span)>> {
        match value.get_ref() {
            DeValue::Array(items) => Some(items.iter().filter_map(|item| self.as_string(key, item)).collect()),
            other => {
                self.mistyped(value, &self.path(key), "a list of strings", other);
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

    /// Notes every key that nobody asked for.
    pub(super) fn refuse_unknown(&self) {
        let known = self.known.borrow();
        for (name, span, value) in self.entries().filter(|(name, _, _)| !known.contains(name)) {
            self.hide(value);
            let whole = if self.name.is_empty() { "the file".to_owned() } else { format!("[{}]", self.name) };
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
            self.notes.problem(span, format!("{whole} has no key `{}`", shortened(name)), help);
        }
    }
}
