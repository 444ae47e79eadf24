//! The rules that the source tree keeps, held by reading it.

use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate a module may name, and why not more.
const MAY_IMPORT: &[(&str, &[&str], &str)] = &[
    (
        "domain",
        &["domain"],
        "decisions are pure: no clock, no I/O, no async, so that the simulator drives the real code",
    ),
    ("config", &["config", "domain", "tls"], "a configuration is a value; it knows nothing of what is done with it"),
    ("tls", &["tls"], "certificates and handshakes; it is told paths and knows no configuration"),
    ("telemetry", &["telemetry", "config", "domain"], "it is told labels, it does not know routes"),
    ("ledger", &["ledger", "domain"], "the durable file knows decisions, and nothing of who makes them"),
    (
        "proxy",
        &["proxy", "wire", "tls", "config", "domain", "telemetry", "sys"],
        "the request path can't decide, and waits for nobody who does",
    ),
    ("wire", &["wire", "tls", "sys"], "HTTP is HTTP, whatever a proxy does with it"),
    (
        "server",
        &["server", "proxy", "wire", "tls", "config", "telemetry", "sys"],
        "the client's side serves; it can't decide",
    ),
    ("sys", &["sys"], "the operating system, for everybody"),
    (
        "control",
        &["control", "config", "domain", "proxy", "wire", "tls", "ledger", "telemetry", "notify", "sys"],
        "it is asked through its handle",
    ),
    (
        "notify",
        &["notify", "config", "domain", "tls"],
        "it is told what happened; it can't ask, and nobody waits for it",
    ),
    (
        "admin",
        &["admin", "control::handle", "config", "domain", "telemetry", "sys"],
        "it asks the controller, and touches nothing; `sys` knows the names of users",
    ),
    (
        "cli",
        &["cli", "admin", "app", "config", "domain", "control::handle", "ledger", "telemetry", "sys"],
        "a client like any other, the way to run, and a reader of ledgers that no proxy has open",
    ),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every product file: its path below `src`, and its text without its tests.
fn product() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let files = paths.into_iter().filter(|path| !path.ends_with("tests.rs"));
    files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("src can be read");
            let product = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            let name = path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
            (name, product)
        })
        .collect()
}

fn module_of(name: &str) -> &str {
    let first = name.split('/').next().unwrap_or(name);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// A line without what stands behind `//`.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line)
}

#[test]
fn modules_import_only_what_the_table_allows() {
    for (name, text) in product() {
        let Some((_, allowed, why)) = MAY_IMPORT.iter().find(|(module, _, _)| *module == module_of(&name)) else {
            continue;
        };
        for line in text.lines().map(code) {
            for used in line.split("crate::").skip(1) {
                let permitted = allowed.iter().any(|allowed| {
                    used.strip_prefix(allowed)
                        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                });
                assert!(permitted, "src/{name} imports crate::{used}\nbut {why}; allowed: {allowed:?}");
            }
        }
    }
}

#[test]
fn decisions_have_no_clock_no_task_and_no_chance() {
    let forbidden = [
        "Instant::now",
        "SystemTime::now",
        "async ",
        "tokio",
        "fastrand",
        "HashMap",
        "serde",
        "std::fs",
        "std::net",
        "std::thread",
    ];
    for (name, text) in product().into_iter().filter(|(name, _)| module_of(name) == "domain") {
        for line in text.lines().map(code) {
            for word in forbidden {
                assert!(
                    !line.contains(word),
                    "src/{name} says `{word}`: the domain gets time, results and choices handed in"
                );
            }
        }
    }
}

#[test]
fn only_the_controller_publishes() {
    for (name, text) in product().into_iter().filter(|(name, _)| !["control", "app"].contains(&module_of(name))) {
        for line in text.lines().map(code) {
            assert!(!line.contains(".publish("), "src/{name} publishes: only the controller may change what is live");
        }
    }
}

#[test]
fn every_file_opens_with_its_reason_and_has_one_subject() {
    for (name, text) in product() {
        assert!(text.starts_with("//!"), "src/{name} does not open with its reason (`//!`)");
        let lines = text.lines().count();
        assert!(lines <= 600, "src/{name} has {lines} lines: is there a second subject in it?");
    }
}

#[test]
fn the_tests_that_a_document_names_exist_and_every_answer_has_its_time() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/timings.md")).expect("the page is there");
    let named = text.split('`').filter_map(|word| word.strip_prefix("it::")).collect::<Vec<_>>();
    assert!(named.len() >= 19, "every row has its test: {named:?}");
    for row in text.lines().filter(|line| line.contains("`it::")) {
        assert!(row.contains(" ms"), "a row does not say how long its command takes: {row}");
    }
    for name in named {
        let (module, test) = name.rsplit_once("::").expect("a module and a test");
        let path = format!("tests/it/{}.rs", module.replace("::", "/"));
        let file = fs::read_to_string(root.join(path)).expect(name);
        assert!(file.contains(&format!("fn {test}(")), "there is no test {name}");
    }
}
