//! The gate, its checks and lingering files as TOML again.

use toml::{Table, Value};

use crate::config::render::{duration, integer, path, table};
use crate::config::{CheckBody, GateCheck, LingerConfig, Scalar};
use crate::domain::gate::GatePolicy;

pub(super) fn gate(gate: &GatePolicy, checks: &[GateCheck]) -> Value {
    let mut section = vec![
        ("quorum", format!("{}%", gate.quorum_percent).into()),
        ("passes", integer(gate.passes.into())),
        ("timeout", duration(gate.timeout)),
    ];
    if !checks.is_empty() {
        section.push(("check", checks.iter().map(check).collect::<Vec<_>>().into()));
    }
    table(section)
}

fn check(check: &GateCheck) -> Value {
    let mut section = vec![
        ("name", check.name.clone().into()),
        ("upstream", check.upstream.clone().into()),
        ("method", check.method.clone().into()),
        ("path", check.path.clone().into()),
        ("expect", format!("{}-{}", check.expect.0, check.expect.1).into()),
        ("timeout", duration(check.timeout)),
        ("times", integer(check.times.into())),
        ("on_rollback", check.on_rollback.into()),
    ];
    section.extend(check.host.clone().map(|host| ("host", host.into())));
    section.extend(named("headers", check.headers.iter().map(|(name, value)| (name, value.clone().into()))));
    section.extend(named("header_files", check.header_files.iter().map(|(name, kept)| (name, path(&kept.file)))));
    section.extend(check.body.as_ref().map(|body| match body {
        CheckBody::Text(text) => ("body", text.clone().into()),
        CheckBody::File(kept) => ("body_file", path(&kept.file)),
    }));
    let expected = check.expect_headers.iter().map(|(name, value)| (name, value.clone().into()));
    section.extend(named("expect_headers", expected));
    section.extend(check.expect_body.clone().map(|text| ("expect_body", text.into())));
    let expected = check.expect_json.iter().map(|(pointer, value)| {
        let value = match value {
            Scalar::Text(text) => text.clone().into(),
            Scalar::Whole(number) => Value::Integer(*number),
            Scalar::Boolean(value) => (*value).into(),
        };
        (pointer, value)
    });
    section.extend(named("expect_json", expected));
    table(section)
}

/// A table whose keys the user chose; none where it would be empty.
fn named<'a>(key: &'static str, entries: impl Iterator<Item = (&'a String, Value)>) -> Option<(&'static str, Value)> {
    let entries: Table = entries.map(|(name, value)| (name.clone(), value)).collect();
    (!entries.is_empty()).then_some((key, Value::Table(entries)))
}

pub(super) fn linger(linger: &LingerConfig) -> Value {
    let paths: Vec<Value> = linger.paths.iter().map(|path| path.clone().into()).collect();
    table([
        ("paths", paths.into()),
        ("for", duration(linger.lasts)),
        ("budget", format!("{}%", linger.budget_percent).into()),
    ])
}
