//! `[COLOR.schema]`: the release's needs and effects on data stores, and the probes of their versions.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::config::file::{Section, Written};
use crate::config::render::{integer, table};
use crate::domain::schema::{Barrier, Label, Labels, Range, RangeError, Version};

/// The largest version that every reader of JSON and TOML keeps exact.
const MAX_VERSION: u64 = i64::MAX as u64;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaProbe {
    pub url: String,
    pub json: String,
}

pub(super) fn read(color: &Section<'_>) -> (Labels, BTreeMap<String, SchemaProbe>) {
    let (mut labels, mut probes) = (Labels::new(), BTreeMap::new());
    let Some(section) = color.section("schema") else { return (labels, probes) };
    for (store, span, value) in section.entries() {
        section.label("the name of a store", (store, span));
        let Some(entry) = section.as_section(store, value) else { continue };
        let label = read_label(&entry);
        let probe = entry.optional("probe", read_probe).flatten();
        entry.refuse_unknown();
        labels.extend(label.map(|label| (store.to_owned(), label)));
        probes.extend(probe.map(|probe| (store.to_owned(), probe)));
    }
    (labels, probes)
}

pub(super) fn write(labels: &Labels, probes: &BTreeMap<String, SchemaProbe>) -> Value {
    let stores = labels.iter().map(|(store, label)| {
        let mut entry = vec![("needs", label.needs.to_string().into()), ("barrier", label.barrier.as_str().into())];
        entry.extend(label.migrates_to.map(|version| ("migrates_to", integer(version.0))));
        let probe = probes.get(store);
        let write =
            |probe: &SchemaProbe| table([("url", probe.url.clone().into()), ("json", probe.json.clone().into())]);
        entry.extend(probe.map(|probe| ("probe", write(probe))));
        (store.clone(), table(entry))
    });
    Value::Table(stores.collect::<Table>())
}

fn read_label(entry: &Section<'_>) -> Option<Label> {
    let needs = entry.required("needs", "needs = \">=41, <=43\"");
    let needs = needs.and_then(|(text, span)| match text.parse() {
        Ok(range) => Some(range),
        Err(RangeError { reason, repair }) => {
            entry.refuse("needs", (text, span), &format!("which {reason}"), repair);
            None
        }
    });
    let usual = needs.map_or(0, |needs: Range| needs.lowest().0);
    let migrates_to = entry.get("migrates_to").map(|value| {
        let version = entry.integer("migrates_to", usual, 0..=MAX_VERSION);
        (Version(version), value.span())
    });
    let barrier = entry.choice("barrier", &Barrier::NAMES, Barrier::NAMES[0].1);
    let needs = needs?;
    if let Some((version, span)) = migrates_to.clone().filter(|(version, _)| !needs.contains(*version)) {
        let message = format!(
            "`{}` is {version}, and the release itself needs {needs}: it could not run on what it makes",
            entry.path("migrates_to")
        );
        entry.problem(span, message, format!("let `needs` contain {version}"));
    }
    Some(Label { needs, migrates_to: migrates_to.map(|(version, _)| version), barrier })
}

fn read_probe(probe: &Section<'_>) -> Option<SchemaProbe> {
    let url = probe.required("url", "url = \"http://127.0.0.1:9001/_schema\"");
    let json = match probe.string("json") {
        None => Some(String::new()),
        Some(written) => read_pointer(probe, written),
    };
    let (text, span) = url?;
    let json = json?;
    let parsed = text.parse::<http::Uri>().ok().filter(|uri| {
        let plain = uri.scheme_str() == Some("http") && !text.contains(['@', '#']);
        plain && uri.host().is_some_and(|host| !host.is_empty())
    });
    let Some(uri) = parsed else {
        let help = "write \"http://127.0.0.1:9001/_schema\"; it is asked without TLS";
        probe.refuse("url", (text, span), "which is not the address of a probe", help);
        return None;
    };
    Some(SchemaProbe { url: uri.to_string(), json })
}

/// A JSON pointer, RFC 6901: empty, or parts behind slashes, where `~` is followed by 0 or 1.
fn read_pointer(probe: &Section<'_>, written: Written<'_>) -> Option<String> {
    let text = written.0;
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if (text.is_empty() || text.starts_with('/')) && escaped {
        return Some(text.to_owned());
    }
    let help = "write \"/orders\" or \"/stores/0/version\"; \"\" is the whole answer";
    probe.refuse("json", written, "which is not a JSON pointer", help);
    None
}
