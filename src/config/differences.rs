//! The differences between two configurations, for the process log and `cutover check`.

use std::collections::HashSet;
use std::hash::Hash;

use toml::{Table, Value};

use crate::config::{Config, RouteConfig, section};

/// Changes of longer lists are told by entry,
const SHORT: usize = 8;
/// and no more of them than this.
const SHOWN: usize = 16;

impl Config {
    /// The differences between two configurations, one line per key.
    #[must_use]
    pub fn differences(&self, next: &Config) -> Vec<String> {
        let mut lines = Vec::new();
        let (old, new) = (&*self.routes, &*next.routes);
        // Written as a whole, thousands of routes take longer than all the rest of a reload.
        let (short_old, short_new) = if is_short(old, new) { (old, new) } else { (&[][..], &[][..]) };
        let [before, after] = [section::write(self, short_old), section::write(next, short_new)];
        compare("", &Value::Table(before), &Value::Table(after), &mut lines);
        if !is_short(old, new) {
            compare_lists("route", old, new, |route| RouteConfig::write(route).to_string(), &mut lines);
        }
        if self.admin != next.admin && lines.iter().all(|line| !line.starts_with("admin.")) {
            lines.push("admin.tokens: a secret".to_owned());
        }
        if self.preview != next.preview && lines.iter().all(|line| !line.starts_with("preview")) {
            lines.push("preview.secret_file: a secret".to_owned());
        }
        lines
    }

    /// The differences from the rendered configuration of another process, one line per key. Neither has secrets.
    pub fn changes_from(&self, rendered: &str) -> Result<Vec<String>, toml::de::Error> {
        let before: Table = toml::from_str(rendered)?;
        let mut lines = Vec::new();
        compare("", &Value::Table(before), &Value::Table(self.table()), &mut lines);
        Ok(lines)
    }
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    if let (Value::Array(old), Value::Array(new)) = (before, after)
        && !is_short(old, new)
    {
        let [old, new] = [old, new].map(|list| list.iter().map(Value::to_string).collect::<Vec<_>>());
        return compare_lists(path, &old, &new, String::clone, lines);
    }
    let (Value::Table(old), Value::Table(new)) = (before, after) else {
        if before != after {
            lines.push(format!("{path}: {before} -> {after}"));
        }
        return;
    };
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, value) in old {
        match new.get(key) {
            Some(next) => compare(&below(key), value, next, lines),
            None => lines.push(format!("{}: {value} -> gone", below(key))),
        }
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        lines.push(format!("{}: new, {value}", below(key)));
    }
}

fn is_short<T>(old: &[T], new: &[T]) -> bool {
    old.len().max(new.len()) <= SHORT
}

fn compare_lists<T: Eq + Hash>(path: &str, old: &[T], new: &[T], show: impl Fn(&T) -> String, lines: &mut Vec<String>) {
    let same = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[same..], &new[same..]);
    let same = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[..old.len() - same], &new[..new.len() - same]);
    let [before, after] = [old, new].map(|list| list.iter().collect::<HashSet<_>>());
    let gone: Vec<&T> = old.iter().filter(|entry| !after.contains(entry)).collect();
    let added: Vec<&T> = new.iter().filter(|entry| !before.contains(entry)).collect();
    if gone.is_empty() && added.is_empty() && old != new {
        lines.push(format!("{path}: another order"));
    }
    let all = gone.len() + added.len();
    let gone = gone.into_iter().map(|entry| format!("{path}: {} -> gone", show(entry)));
    let added = added.into_iter().map(|entry| format!("{path}: new, {}", show(entry)));
    lines.extend(gone.chain(added).take(SHOWN));
    if all > SHOWN {
        lines.push(format!("{path}: {} more changes", all - SHOWN));
    }
}
