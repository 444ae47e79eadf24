//! Typed values of a table: strings, numbers, durations, sizes, shares. A value that does not fit is recorded, and the
//! default is used.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::{DeInteger, DeValue};

use crate::config::decimal::Decimal;
use crate::config::file::{Placed, Section, Span, Written, quoted, shortened};
use crate::domain::split::Weight;

const SHARE_HELP: &str = "write it with its sign, such as \"0.5%\"";

impl<'a> Section<'a> {
    pub(crate) fn string(&self, key: &'static str) -> Option<Written<'a>> {
        let value = self.get(key)?;
        self.as_string(key, value)
    }

    pub(crate) fn as_string(&self, key: &str, value: Placed<'a>) -> Option<Written<'a>> {
        match value.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), value.span())),
            other => {
                self.mistyped(value, &self.path(key), "a string", other);
                None
            }
        }
    }

    /// A string that has to be there.
    pub(crate) fn required(&self, key: &'static str, example: &str) -> Option<Written<'a>> {
        if self.get(key).is_none() {
            self.missing(key, example);
            return None;
        }
        self.string(key)
    }

    pub(crate) fn parse<T: FromStr>(&self, key: &str, written: Written<'_>, what: &str, help: &str) -> Option<T> {
        let parsed = written.0.parse().ok();
        if parsed.is_none() {
            self.refuse(key, written, &format!("which is not {what}"), help);
        }
        parsed
    }

    pub(crate) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        let Some((text, span)) = self.string(key) else { return default };
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            self.problem(span, format!("`{}` is {}", self.path(key), quoted(text)), one_of(words));
        }
        found.map_or(default, |(_, value)| *value)
    }

    pub(crate) fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(value) => *value,
            other => {
                self.mistyped(value, &self.path(key), "true or false", other);
                default
            }
        }
    }

    pub(crate) fn integer<T>(&self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<u64> + PartialOrd + fmt::Display,
    {
        let Some(value) = self.get(key) else { return default };
        let DeValue::Integer(integer) = value.get_ref() else {
            self.mistyped(value, &self.path(key), "an integer", value.get_ref());
            return default;
        };
        let number = whole(integer).and_then(|number| T::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            let number = shortened(&integer.to_string());
            self.out_of_range(key, value.span(), &number, range.start(), range.end(), "");
            default
        })
    }

    /// A duration such as `"30s"`.
    pub(crate) fn duration(&self, key: &'static str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        let help = "write a number and a unit, such as \"500ms\", \"30s\" or \"5m\"";
        let Some((text, span)) = self.unit_string(key, "a duration", help) else { return default };
        match humantime::parse_duration(text) {
            Ok(duration) if range.contains(&duration) => return duration,
            Ok(_) => {
                let [low, high] = [range.start(), range.end()].map(|limit| humantime::format_duration(*limit));
                self.out_of_range(key, span, &quoted(text), low, high, "");
            }
            Err(_) => self.refuse(key, (text, span), "which is not a duration", help),
        }
        default
    }

    /// A size such as `"64KiB"`, in bytes.
    pub(crate) fn size<T>(&self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: Copy + TryFrom<u64> + TryInto<u64> + PartialOrd,
    {
        let help = "write a number and a unit, such as \"64KiB\" or \"10MiB\"";
        let Some((text, span)) = self.unit_string(key, "a size", help) else { return default };
        // A bare number is ambiguous, except for zero.
        let unitless = text != "0" && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<ByteSize>() {
            Ok(ByteSize(bytes)) if !unitless => {
                if let Some(size) = T::try_from(bytes).ok().filter(|size| range.contains(size)) {
                    return size;
                }
                let limit = |limit: &T| ByteSize((*limit).try_into().unwrap_or(u64::MAX));
                self.out_of_range(key, span, &quoted(text), limit(range.start()), limit(range.end()), "");
            }
            Ok(_) | Err(_) => self.refuse(key, (text, span), "which is not a size", help),
        }
        default
    }

    /// A percentage such as `"100%"`, in whole percent.
    pub(crate) fn percent(&self, key: &'static str, default: u8, range: RangeInclusive<u8>) -> u8 {
        let help = "write it with its sign, such as \"100%\"";
        let Some(written) = self.unit_string(key, "a percentage", help) else { return default };
        let limits = (format!("{}%", range.start()), format!("{}%", range.end()), ", in whole percent");
        let whole = |share: Weight| {
            let percent = u8::try_from(share.basis_points() / 100).ok()?;
            (share.basis_points().is_multiple_of(100) && range.contains(&percent)).then_some(percent)
        };
        self.as_share(key, written, limits, help, whole).unwrap_or(default)
    }

    /// A share such as `"0.5%"`, to hundredths of a percent.
    pub(crate) fn weight(&self, key: &'static str, default: Weight, range: RangeInclusive<Weight>) -> Weight {
        let written = self.unit_string(key, "a percentage", SHARE_HELP);
        written.and_then(|written| self.as_weight(key, written, range)).unwrap_or(default)
    }

    pub(crate) fn as_weight(&self, key: &str, written: Written<'_>, range: RangeInclusive<Weight>) -> Option<Weight> {
        let limits = (range.start(), range.end(), ", to hundredths of a percent");
        self.as_share(key, written, limits, SHARE_HELP, |share| range.contains(&share).then_some(share))
    }

    fn as_share<T>(
        &self,
        key: &str,
        (text, span): Written<'_>,
        (low, high, precision): (impl fmt::Display, impl fmt::Display, &str),
        help: &str,
        within: impl FnOnce(Weight) -> Option<T>,
    ) -> Option<T> {
        if !text.ends_with('%') {
            self.refuse(key, (text, span), "which is not a percentage", help);
            return None;
        }
        let share = text.parse().ok().and_then(within);
        if share.is_none() {
            self.out_of_range(key, span, &quoted(text), low, high, precision);
        }
        share
    }

    /// A number with up to six decimals.
    pub(crate) fn decimal(&self, key: &'static str, default: Decimal, range: RangeInclusive<f64>) -> Decimal {
        let Some(value) = self.get(key) else { return default };
        let (number, found) = match value.get_ref() {
            DeValue::Float(float) => (float.as_str(), shortened(float.as_str())),
            DeValue::Integer(integer) => (integer.as_str(), shortened(&integer.to_string())),
            other => {
                self.mistyped(value, &self.path(key), "a number", other);
                return default;
            }
        };
        let number = number.replace('_', "").parse().ok().filter(|number| range.contains(number));
        number.and_then(Decimal::exactly).unwrap_or_else(|| {
            self.out_of_range(key, value.span(), &found, range.start(), range.end(), ", with six decimals at most");
            default
        })
    }

    fn out_of_range(
        &self,
        key: &str,
        span: Span,
        found: &str,
        low: impl fmt::Display,
        high: impl fmt::Display,
        precision: &str,
    ) {
        self.plain_problem(span, format!("`{}` is {found}; it goes from {low} to {high}{precision}", self.path(key)));
    }

    /// A string that carries a unit; a bare number gets a message of its own.
    fn unit_string(&self, key: &'static str, what: &str, help: &str) -> Option<Written<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), value.span())),
            DeValue::Integer(_) | DeValue::Float(_) => {
                let message = format!("`{}` is a number without a unit; {what} is a string", self.path(key));
                self.problem(value.span(), message, help);
                None
            }
            other => {
                self.mistyped(value, &self.path(key), &format!("{what} in a string"), other);
                None
            }
        }
    }

    /// A list of strings, each with its place.
    pub(crate) fn strings(&self, key: &'static str) -> Option<Vec<Written<'a>>> {
        let value = self.get(key)?;
        self.as_strings(key, value)
    }

    pub(crate) fn as_strings(&self, key: &str, value: Placed<'a>) -> Option<Vec<Written<'a>>> {
        match value.get_ref() {
            DeValue::Array(items) => Some(items.iter().filter_map(|item| self.as_string(key, item)).collect()),
            other => {
                self.mistyped(value, &self.path(key), "a list of strings", other);
                None
            }
        }
    }
}

/// The words of a choice as a help text.
pub(crate) fn one_of<T>(words: &[(&str, T)]) -> String {
    let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let (last, first) = known.split_last().expect("there are words");
    format!("it is {} or {last}", first.join(", "))
}

pub(crate) fn whole(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}
