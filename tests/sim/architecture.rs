//! The rules that the source tree keeps, held by reading it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate a module may name, and why not more.
const MAY_IMPORT: &[(&str, &[&str], &str)] = &[
    (
        "domain",
        &["domain"],
        "decisions are pure: no clock, no I/O, no async, so that the simulator drives the real code",
    ),
    (
        "config",
        &["config", "domain", "tls", "sys"],
        "a configuration is a value; it knows nothing of what is done with it",
    ),
    ("tls", &["tls"], "certificates and handshakes; it is told paths and knows no configuration"),
    ("telemetry", &["telemetry", "config", "domain"], "it is told labels, it does not know routes"),
    ("evidence", &["evidence", "domain", "telemetry"], "it is told what happened, and judges nothing"),
    ("ledger", &["ledger", "domain"], "the durable file knows decisions, and nothing of who makes them"),
    (
        "proxy",
        &["proxy", "wire", "tls", "config", "domain", "evidence", "telemetry", "sys"],
        "the request path can't decide, and waits for nobody who does",
    ),
    ("wire", &["wire", "tls", "sys"], "HTTP is HTTP, whatever a proxy does with it"),
    (
        "server",
        &["server", "proxy", "wire", "tls", "config", "telemetry", "sys"],
        "the client's side serves; it can't decide",
    ),
    ("http_client", &["http_client"], "a request is a request, whoever sends it"),
    ("sys", &["sys"], "the operating system, for everybody"),
    (
        "control",
        &[
            "control",
            "config",
            "domain",
            "evidence",
            "proxy",
            "wire",
            "tls",
            "ledger",
            "telemetry",
            "notify",
            "sys",
            "http_client",
        ],
        "it is asked through its handle",
    ),
    (
        "notify",
        &["notify", "config", "domain", "tls", "http_client"],
        "it is told what happened; it can't ask, and nobody waits for it",
    ),
    (
        "admin",
        &["admin", "control::handle", "config", "domain", "telemetry", "tls", "sys"],
        "it asks the controller, and touches nothing; `sys` knows the names of users",
    ),
    (
        "cli",
        &[
            "cli",
            "admin",
            "app",
            "config",
            "domain",
            "control::handle",
            "ledger",
            "telemetry",
            "tls",
            "sys",
            "http_client",
        ],
        "a client like any other, the way to run, and a reader of ledgers that no proxy has open",
    ),
];

/// Every Rust file below a directory.
pub(crate) fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
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
            let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
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

/// Reads a path that may end with a group, as in `a::{b, c::d}`. Returns the text behind it.
fn read_path<'t>(mut text: &'t str, mut path: String, found: &mut Vec<String>) -> &'t str {
    loop {
        if let Some(group) = text.strip_prefix('{') {
            text = group;
            loop {
                text = read_path(text.trim_start(), path.clone(), found);
                text = &text[text.find([',', '}']).unwrap_or(text.len())..];
                match text.strip_prefix(',') {
                    Some(rest) if !rest.trim_start().starts_with('}') => text = rest,
                    Some(rest) => return rest.trim_start().trim_start_matches('}'),
                    None => return text.strip_prefix('}').unwrap_or(text),
                }
            }
        }
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        path = format!("{path}/{}", &text[..end]);
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(rest) => text = rest,
            None => break,
        }
    }
    found.push(path);
    text
}

/// The files that each file names in its imports and paths, without `.rs`.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let product: Vec<_> = product().into_iter().filter(|(name, _)| !name.contains("/tests/")).collect();
    let names: BTreeSet<&str> = product.iter().filter_map(|(name, _)| name.strip_suffix(".rs")).collect();
    let imported = |(name, text): &(String, String)| {
        let name = name.strip_suffix(".rs").unwrap_or(name);
        let text: String = text.lines().map(|line| format!("{}\n", code(line))).collect();
        let mut paths = Vec::new();
        for used in text.split("crate::").skip(1) {
            read_path(used, String::new(), &mut paths);
        }
        let parent = name.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("/{parent}"));
        for used in text.split("super::").skip(1) {
            read_path(used, parent.clone(), &mut paths);
        }
        let file = |path: &String| {
            let mut path = path.trim_start_matches('/');
            while !names.contains(path) {
                path = path.rsplit_once('/')?.0;
            }
            Some(path.to_owned()).filter(|path| path != name)
        };
        (name.to_owned(), paths.iter().filter_map(file).collect())
    };
    product.iter().map(imported).collect()
}

/// What remains of a graph when everything is taken away that is on no circle.
fn circles(mut graph: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let used: BTreeSet<String> = graph.values().flatten().cloned().collect();
        let before = graph.len();
        graph.retain(|name, uses| !uses.is_empty() && used.contains(name));
        let left: BTreeSet<String> = graph.keys().cloned().collect();
        graph.values_mut().for_each(|uses| uses.retain(|used| left.contains(used)));
        if graph.len() == before {
            return graph;
        }
    }
}

#[test]
fn nothing_in_a_folder_imports_in_a_circle() {
    let imports = imports();
    let folders: BTreeSet<&str> =
        imports.keys().flat_map(|name| name.match_indices('/').map(|(end, _)| &name[..=end])).chain([""]).collect();
    for folder in folders {
        // A file and the folder of its parts are one entry.
        let entry = |name: &str| {
            let rest = name.strip_prefix(folder)?;
            Some(rest.split('/').next().unwrap_or(rest).to_owned())
        };
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, uses) in &imports {
            if let Some(from) = entry(name) {
                let uses = uses.iter().filter_map(|used| entry(used)).filter(|used| *used != from);
                graph.entry(from.clone()).or_default().extend(uses);
            }
        }
        let circles = circles(graph);
        assert!(circles.is_empty(), "in src/{folder} these import each other: {circles:?}");
    }
}

#[test]
fn predicates_do_not_act() {
    for (name, text) in product() {
        for (number, line) in text.lines().map(code).enumerate() {
            let named = line.split("fn ").nth(1).unwrap_or_default();
            let predicate = ["is_", "has_", "was_"].iter().any(|prefix| named.starts_with(prefix));
            assert!(
                !(predicate && named.contains("(&mut self")),
                "src/{name}:{} is named like a question, and changes what it asks: {named}",
                number + 1
            );
        }
    }
}

/// The crates that are linked.
fn dependencies() -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the manifest can be read");
    let section = manifest.split("[dependencies]").nth(1).and_then(|rest| {
        rest.split(
            "
[",
        )
        .next()
    });
    let names = section.into_iter().flat_map(str::lines).filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    names.map(|name| name.trim().replace('-', "_")).collect()
}

#[test]
fn decisions_need_the_standard_library_only() {
    let crates = dependencies();
    assert!(crates.iter().any(|name| name == "tokio"), "{crates:?}");
    for (name, text) in product().into_iter().filter(|(name, _)| module_of(name) == "domain") {
        for line in text.lines().map(code) {
            let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            let paths = words.filter_map(|word| word.split_once("::")).map(|(first, _)| first);
            for first in paths {
                assert!(!crates.iter().any(|name| name == first), "src/{name} uses the crate {first}: {line}");
            }
        }
    }
}

/// Files and modules that read a clock, and why. Everything else is told the time.
const CLOCKS: &[(&str, &str)] = &[
    ("admin", "answers say when they were made"),
    ("app/upgrade", "a new process has a time limit"),
    ("app/parting", "a drain ends at a time"),
    ("cli", "a person waits"),
    ("control", "it tells the time to the decisions"),
    ("notify", "retries and schedules"),
    ("server", "a worker reads the clock once for each poll of a connection"),
    ("config/watch", "a file settles"),
    ("ledger", "lines and files have dates"),
    ("telemetry", "lines have dates, and rates have a second"),
    ("tls/files", "certificates expire"),
    ("tls/writers", "certificates expire"),
    ("proxy/clock", "the milliseconds of the data plane"),
    ("proxy/deadlines", "the sweeper sleeps until a deadline"),
    ("proxy/worker", "the time of a poll, and the Date field"),
    ("proxy/drain", "the end of a drain"),
    ("proxy/precedence", "control has precedence for a time"),
    ("proxy/publisher", "a move waits for connections up to a time"),
    ("proxy/commands", "how long a warm connection is kept"),
    ("evidence/routes", "minutes begin"),
    ("proxy/pool", "evidence about an endpoint has an age"),
    ("proxy/request/exchange", "an endpoint that failed is connected to anew"),
    ("proxy/snapshot/first_write", "the first write of a release has a date"),
    ("proxy/snapshot/visitor", "an answer without a Date"),
    ("proxy/snapshot/compiler/evidence", "connections are no older than a decision"),
    ("proxy/upstream/connections", "a connection has an age"),
    ("wire/http2/ending", "a large head excuses for seconds"),
    ("internals/fuzzing", "there is no connection to ask"),
];

/// Files that start threads.
const THREADS: &[&str] = &[
    "app",
    "config/watch",
    "ledger",
    "ledger/answers",
    "ledger/ticks",
    "server/plane",
    "sys/turns",
    "telemetry/access_log",
    "telemetry/process_log",
];

#[test]
fn clocks_are_read_and_threads_are_started_where_it_is_listed() {
    for (name, text) in product().into_iter().filter(|(name, _)| !name.contains("/tests/")) {
        let file = name.strip_suffix(".rs").unwrap_or(&name);
        let reads = CLOCKS
            .iter()
            .any(|(place, _)| file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        for line in text.lines().map(code) {
            let clock = line.contains("Instant::now") || line.contains("SystemTime::now");
            assert!(!clock || reads, "src/{name} reads a clock: hand the time in, or list it");
            let thread = line.contains("thread::Builder") || line.contains("thread::spawn");
            assert!(!thread || THREADS.contains(&file), "src/{name} starts a thread, and is not listed");
        }
    }
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
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//")) {
            let table = line.contains("| ") || line.contains("http");
            assert!(
                table || line.chars().count() <= 120,
                "src/{name}:{}: a comment of more than 120 columns",
                number + 1
            );
        }
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
