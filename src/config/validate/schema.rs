//! What releases say of data stores, and the probes that tell what those are at.

use std::collections::BTreeMap;

use crate::config::SchemaProbe;
use crate::config::file::{Section, Span, quoted};
use crate::config::validate::File;
use crate::domain::schema::{Barrier, Label, Labels, Range, RangeError, Version};

/// No larger number is exact in every reader of JSON and TOML.
const MAX_VERSION: u64 = i64::MAX as u64;

impl<'a> File<'a> {
    /// `[COLOR.schema]`
    pub(super) fn schema(&self, color: &Section<'a>) -> (Labels, BTreeMap<String, SchemaProbe>) {
        let (mut labels, mut probes) = (Labels::new(), BTreeMap::new());
        let Some(section) = color.section("schema") else { return (labels, probes) };
        for (store, span, value) in section.entries() {
            self.label("the name of a store", store, span);
            let Some(entry) = section.as_section(store, value) else { continue };
            let label = self.schema_label(&entry);
            let probe = entry.section("probe").and_then(|probe| self.schema_probe(&probe));
            entry.refuse_unknown();
            labels.extend(label.map(|label| (store.to_owned(), label)));
            probes.extend(probe.map(|probe| (store.to_owned(), probe)));
        }
        (labels, probes)
    }

    fn schema_label(&self, entry: &Section<'a>) -> Option<Label> {
        let needs = entry.required("needs", "needs = \">=41, <=43\"");
        let needs = needs.and_then(|(text, span)| match text.parse() {
            Ok(range) => Some(range),
            Err(RangeError { reason, repair }) => {
                let message = format!("`{}` is {}, which {reason}", entry.path("needs"), quoted(text));
                self.notes.problem(span, message, repair);
                None
            }
        });
        let usual = needs.map_or(0, |needs: Range| needs.lowest().0);
        let migrates_to = entry.get("migrates_to").map(|value| {
            let version = entry.integer("migrates_to", usual, 0..=MAX_VERSION);
            (Version(version), value.span())
        });
        let barrier = entry.choice("barrier", &Barrier::NAMES);
        let needs = needs?;
        if let Some((version, span)) = migrates_to.clone().filter(|(version, _)| !needs.contains(*version)) {
            let message = format!(
                "`{}` is {version}, and the release itself needs {needs}: it could not run on what it makes",
                entry.path("migrates_to")
            );
            self.notes.problem(span, message, format!("let `needs` contain {version}"));
        }
        Some(Label { needs, migrates_to: migrates_to.map(|(version, _)| version), barrier })
    }

    fn schema_probe(&self, probe: &Section<'a>) -> Option<SchemaProbe> {
        let url = probe.required("url", "url = \"http://127.0.0.1:9001/_schema\"");
        let pointer = probe.string("json");
        probe.refuse_unknown();
        let json = match pointer {
            None => String::new(),
            Some((text, span)) => self.pointer(probe, text, span)?,
        };
        let (text, span) = url?;
        let parsed = text.parse::<http::Uri>().ok().filter(|uri| {
            let plain = uri.scheme_str() == Some("http") && !text.contains(['@', '#']);
            plain && uri.host().is_some_and(|host| !host.is_empty())
        });
        let Some(uri) = parsed else {
            let message = format!("`{}` is {}, which is not the address of a probe", probe.path("url"), quoted(text));
            self.notes.problem(
                span,
                message,
                "write \"http://127.0.0.1:9001/_schema\"; it is asked without TLS".to_owned(),
            );
            return None;
        };
        Some(SchemaProbe { url: uri.to_string(), json })
    }

    /// A JSON pointer, RFC 6901: empty, or parts behind slashes, where `~` is followed by 0 or 1.
    fn pointer(&self, probe: &Section<'a>, text: &str, span: Span) -> Option<String> {
        let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if (text.is_empty() || text.starts_with('/')) && escaped {
            return Some(text.to_owned());
        }
        let message = format!("`{}` is {}, which is not a JSON pointer", probe.path("json"), quoted(text));
        self.notes.problem(
            span,
            message,
            "write \"/orders\" or \"/stores/0/version\"; \"\" is the whole answer".to_owned(),
        );
        None
    }
}
