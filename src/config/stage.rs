//! The text of the file with a release in the section of one color, and everything else unchanged.

use std::collections::BTreeMap;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use crate::domain::color::Color;

/// The content of `[blue]` or `[green]` after staging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub release: String,
    /// The endpoints of the upstream `default`, if any.
    pub endpoints: Vec<String>,
    /// The endpoints of further upstreams.
    pub upstreams: BTreeMap<String, Vec<String>>,
    /// The release's labels for data stores; `None`: not given.
    pub schema: Option<BTreeMap<String, StoreLabel>>,
}

impl Section {
    /// Every endpoint with its upstream.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (&str, &String)> {
        let default = self.endpoints.iter().map(|endpoint| ("default", endpoint));
        let others = self.upstreams.iter();
        default.chain(others.flat_map(|(upstream, all)| all.iter().map(move |endpoint| (upstream.as_str(), endpoint))))
    }
}

/// One table of `[COLOR.schema]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreLabel {
    pub needs: String,
    pub migrates_to: Option<u64>,
    pub barrier: Option<String>,
    /// `url` and `json`.
    pub probe: Option<(String, Option<String>)>,
}

/// The reason why a section can't be written into this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// The file has labels of another release for these data stores, and none were given for this one.
    SchemaUnsaid(Vec<String>),
    /// An edit would change more than the section.
    Form(String),
}

/// The text with this section for a color. Equal values keep their form.
pub(crate) fn staged(text: &str, color: Color, section: &Section) -> Result<String, Unwritable> {
    let form = |why: &str| Unwritable::Form(why.to_owned());
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| Unwritable::Form(error.message().to_owned()))?;
    let lines = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let written = |document: &DocumentMut| document.to_string().replace('\n', lines);
    // A last line without a line end gets one.
    if written(&document).trim_end_matches(['\r', '\n']) != text.trim_end_matches(['\r', '\n']) {
        return Err(form("its lines end in different ways, so an edit would change all of them; give them one ending"));
    }
    if document.get(color.as_str()).is_none() {
        let mut table = Table::new();
        // Comments behind the last section stay in place.
        let last = document.trailing().as_str().unwrap_or_default().trim_end().to_owned();
        table.decor_mut().set_prefix(if last.is_empty() { "\n".to_owned() } else { format!("{last}\n\n") });
        document.set_trailing("");
        document.insert(color.as_str(), Item::Table(table));
    }
    let root = document.as_table_mut();
    let of_color = root.get_mut(color.as_str()).and_then(Item::as_table_like_mut);
    let of_color = of_color.ok_or_else(|| form("the section of the color is no table"))?;
    let before = of_color.get("release").and_then(Item::as_str).map(str::to_owned);
    set_text(of_color, "release", &section.release);
    set_list(of_color, "endpoints", &section.endpoints);
    set_upstreams(of_color, &section.upstreams);
    match &section.schema {
        Some(labels) => set_schema(of_color, labels),
        None if before.as_ref() != Some(&section.release) => {
            let labels = of_color.get("schema").and_then(Item::as_table_like);
            let stores: Vec<String> =
                labels.into_iter().flat_map(|labels| labels.iter()).map(|(name, _)| name.to_owned()).collect();
            if !stores.is_empty() {
                return Err(Unwritable::SchemaUnsaid(stores));
            }
        }
        None => {}
    }
    Ok(written(&document))
}

/// Replaces or adds a value; the surrounding space and comments stay.
fn set(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => drop(table.insert(key, Item::Value(value))),
    }
}

fn set_text(table: &mut dyn TableLike, key: &str, text: &str) {
    if table.get(key).and_then(Item::as_str) != Some(text) {
        set(table, key, text.into());
    }
}

/// A list on several lines stays on several lines.
fn set_list(table: &mut dyn TableLike, key: &str, texts: &[String]) {
    if texts.is_empty() {
        table.remove(key);
        return;
    }
    let old = table.get(key).and_then(Item::as_array);
    let same = old.is_some_and(|old| {
        old.len() == texts.len() && old.iter().zip(texts).all(|(old, text)| old.as_str() == Some(text.as_str()))
    });
    if same {
        return;
    }
    let indent = old.and_then(indent_of);
    let mut list: Array = texts.iter().map(String::as_str).collect();
    if let Some(indent) = indent {
        for value in list.iter_mut() {
            value.decor_mut().set_prefix(indent.clone());
        }
        list.set_trailing_comma(true);
        list.set_trailing("\n");
    }
    set(table, key, Value::Array(list));
}

/// The line end and the indent before the first value of a list on several lines.
fn indent_of(list: &Array) -> Option<String> {
    let prefix = list.get(0)?.decor().prefix()?.as_str()?;
    prefix.rfind('\n').map(|at| prefix[at..].to_owned())
}

fn set_upstreams(of_color: &mut dyn TableLike, wanted: &BTreeMap<String, Vec<String>>) {
    if wanted.is_empty() {
        of_color.remove("upstreams");
        return;
    }
    let table = of_color.entry("upstreams").or_insert_with(|| Item::Table(Table::new()));
    let Some(table) = table.as_table_like_mut() else { return };
    let gone: Vec<String> =
        table.iter().map(|(name, _)| name.to_owned()).filter(|name| !wanted.contains_key(name)).collect();
    for name in gone {
        table.remove(&name);
    }
    for (name, endpoints) in wanted {
        set_list(table, name, endpoints);
    }
}

fn set_schema(of_color: &mut dyn TableLike, wanted: &BTreeMap<String, StoreLabel>) {
    if wanted.is_empty() {
        of_color.remove("schema");
        return;
    }
    let table = of_color.entry("schema").or_insert_with(|| Item::Table(Table::new()));
    let Some(table) = table.as_table_like_mut() else { return };
    let gone: Vec<String> =
        table.iter().map(|(name, _)| name.to_owned()).filter(|name| !wanted.contains_key(name)).collect();
    for name in gone {
        table.remove(&name);
    }
    for (name, label) in wanted {
        if table.get(name).and_then(Item::as_table_like).is_none() {
            table.insert(name, Item::Value(Value::InlineTable(toml_edit::InlineTable::new())));
        }
        if let Some(entry) = table.get_mut(name).and_then(Item::as_table_like_mut) {
            set_label(entry, label);
        }
    }
}

fn set_label(entry: &mut dyn TableLike, label: &StoreLabel) {
    set_text(entry, "needs", &label.needs);
    match label.migrates_to.and_then(|version| i64::try_from(version).ok()) {
        Some(version) if entry.get("migrates_to").and_then(Item::as_integer) == Some(version) => {}
        Some(version) => set(entry, "migrates_to", version.into()),
        None => drop(entry.remove("migrates_to")),
    }
    match &label.barrier {
        Some(barrier) => set_text(entry, "barrier", barrier),
        None => drop(entry.remove("barrier")),
    }
    let Some((url, json)) = &label.probe else {
        entry.remove("probe");
        return;
    };
    if entry.get("probe").and_then(Item::as_table_like).is_none() {
        entry.insert("probe", Item::Value(Value::InlineTable(toml_edit::InlineTable::new())));
    }
    let Some(probe) = entry.get_mut("probe").and_then(Item::as_table_like_mut) else { return };
    set_text(probe, "url", url);
    match json {
        Some(json) => set_text(probe, "json", json),
        None => drop(probe.remove("json")),
    }
}

#[cfg(test)]
mod tests;
