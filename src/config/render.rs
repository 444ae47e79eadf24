//! A configuration as TOML again: every key with its value in force, without secrets.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use toml::Value;

use crate::config::Config;
use crate::config::decimal::Decimal;
use crate::domain::split::Weight;

impl Config {
    /// The whole configuration with every key. The source of a token is left out like the token.
    #[must_use]
    pub fn render(&self) -> String {
        self.table().to_string()
    }
}

pub(super) fn table(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The word of a choice, from the same table that its reader uses.
pub(super) fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> Value {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| *word).into()
}

pub(super) fn texts<T: fmt::Display>(values: &[T]) -> Value {
    values.iter().map(|value| value.to_string().into()).collect::<Vec<Value>>().into()
}

pub(super) fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

pub(super) fn duration(duration: Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

pub(super) fn size(size: impl TryInto<u64>) -> Value {
    let size = size.try_into().unwrap_or(u64::MAX);
    // The largest unit that keeps the size exact.
    let text = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| size > 0 && size.is_multiple_of(1 << shift))
        .map_or_else(|| format!("{size}B"), |(shift, unit)| format!("{}{unit}", size >> shift));
    text.into()
}

pub(super) fn integer(number: impl TryInto<i64>) -> Value {
    number.try_into().unwrap_or(i64::MAX).into()
}

pub(super) fn percent(percent: u8) -> Value {
    format!("{percent}%").into()
}

pub(super) fn share(weight: Weight) -> Value {
    format!("{}%", f64::from(weight.basis_points()) / 100.0).into()
}

pub(super) fn decimal(number: Decimal) -> Value {
    number.get().into()
}

pub(super) fn statuses((low, high): (u16, u16)) -> Value {
    format!("{low}-{high}").into()
}
