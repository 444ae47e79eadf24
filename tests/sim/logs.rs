//! The fields of log lines: each has one name, which docs/logs.md explains.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::architecture::sources;

const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The arguments before the message, up to the end of the macro.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0_u32, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            // The message.
            '"' if depth == 0 => break,
            // Behind the name, which is all that counts.
            '"' => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The names of the process log, each with the files that write it.
fn of_process_log() -> BTreeMap<String, BTreeSet<String>> {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("src can be read");
        for level in LEVELS {
            for inside in text.split(&format!("tracing::{level}!(")).skip(1) {
                let mut own = BTreeSet::new();
                for argument in arguments(inside) {
                    let name = argument.split('=').next().unwrap_or_default().trim().trim_start_matches(['%', '?']);
                    assert!(own.insert(name), "{}: {name} is twice in a line", path.display());
                    names.entry(name.to_owned()).or_default().insert(path.display().to_string());
                }
            }
        }
    }
    names
}

/// Rows of the table: name and log.
fn documented() -> BTreeMap<String, String> {
    let page = fs::read_to_string(root().join("docs/logs.md")).expect("a page");
    let (_, table) = page.split_once("| field | log | meaning |").expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(name, rest)| (name.to_owned(), rest.split(" | ").next().unwrap_or_default().to_owned())).collect()
}

#[test]
fn every_field_of_a_log_is_documented_and_no_other() {
    let documented = documented();
    let of = |log: &str| -> BTreeSet<&str> {
        documented
            .iter()
            .filter(|(_, found)| [log, "both"].contains(&found.as_str()))
            .map(|(name, _)| &**name)
            .collect()
    };
    let process = of_process_log();
    let mut written: BTreeSet<&str> = process.keys().map(String::as_str).collect();
    written.extend(["ts", "level", "message"]);
    let known = of("process");
    let unknown: Vec<_> = written.difference(&known).map(|name| (name, process.get(*name))).collect();
    assert!(unknown.is_empty(), "take a name of docs/logs.md, or add a row: {unknown:?}");
    let gone: Vec<_> = known.difference(&written).collect();
    assert!(gone.is_empty(), "docs/logs.md has fields that no line of the process log has: {gone:?}");

    // The access log refuses chosen fields with these names.
    let text = fs::read_to_string(root().join("src/config/section/log.rs")).expect("a file");
    let (_, taken) = text.split_once("const TAKEN").and_then(|(_, rest)| rest.split_once("= [")).expect("the list");
    let taken = taken.split_once("];").expect("the end").0;
    let taken: BTreeSet<&str> = taken.split('"').skip(1).step_by(2).collect();
    assert_eq!(taken, of("access"), "the fields of the access log, and those of docs/logs.md");
}
