//! The documents keep their shape, and name only what exists.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a directory with this extension, relative to the root.
fn below(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(dir)).expect("a directory") {
        let path = entry.expect("an entry").path();
        let relative = path.strip_prefix(root()).expect("below the root").to_owned();
        if path.is_dir() {
            found.extend(below(&relative.to_string_lossy(), extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(relative);
        }
    }
    found
}

/// README, ARCHITECTURE, CONTRIBUTING and all of `docs`: path and text.
fn documents() -> Vec<(PathBuf, String)> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(PathBuf::from);
    let paths = top.into_iter().chain(below("docs", "md"));
    paths.map(|path| (path.clone(), fs::read_to_string(root().join(&path)).expect("a document"))).collect()
}

/// Code spans of a text, without its code blocks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2))
}

#[test]
fn readme_and_architecture_stay_short() {
    for (path, words) in [("README.md", 1200), ("ARCHITECTURE.md", 1500)] {
        let text = fs::read_to_string(root().join(path)).expect("a document");
        let found = text.split_whitespace().count();
        assert!(found <= words, "{path} has {found} words, {words} at most: move detail into docs");
    }
}

#[test]
fn lines_and_transcripts_fit() {
    for (path, text) in documents() {
        let mut block = None;
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            if let Some(kind) = line.strip_prefix("```") {
                block = if block.is_some() { None } else { Some(kind) };
                continue;
            }
            let width = line.chars().count();
            match block {
                Some("console") => assert!(width <= 80, "{place}: a terminal of 80 columns does not show this line"),
                Some(_) => {}
                // Links and paths have no place to break.
                None if line.starts_with('|') || !line.trim_start().contains(' ') => {}
                None => assert!(width <= 100, "{place}: longer than 100 columns"),
            }
        }
        assert_eq!(block, None, "{}: a code block does not end", path.display());
    }
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in documents() {
        let dir = path.parent().expect("a parent");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                assert!(root().join(dir).join(file).exists(), "{}: no file {target}", path.display());
            }
        }
    }
}

#[test]
fn each_hop_of_a_journey_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("a document");
    let hops: Vec<_> = spans(&text).filter_map(|span| span.split_once(".rs:")).collect();
    assert!(hops.len() >= 30, "five journeys: {hops:?}");
    for (file, function) in hops {
        let file = format!("src/{file}.rs");
        let source = fs::read_to_string(root().join(&file)).unwrap_or_else(|_| panic!("no file {file}"));
        let found = ["(", "<"].iter().any(|next| source.contains(&format!("fn {function}{next}")));
        assert!(found, "{file} has no function {function}");
    }
}

#[test]
fn each_test_that_architecture_names_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("a document");
    let modules = |dir: &str| -> Vec<String> {
        below(dir, "rs").iter().map(|path| path.with_extension("").to_string_lossy().replace('/', "::")).collect()
    };
    let (tests, sources) = (modules("tests"), modules("src"));
    let has = |found: &[String], name: &str| found.iter().any(|found| found.ends_with(&format!("::{name}")));
    for name in spans(&text).filter(|span| span.contains("::")) {
        let known = match name.split_once("::") {
            Some(("it" | "sim", test)) => has(&tests, test),
            // A module of tests is a file, or stands in the file that it tests.
            _ => has(&sources, name) || name.strip_suffix("::tests").is_some_and(|file| has(&sources, file)),
        };
        assert!(known, "there is no {name}");
    }
}

#[test]
fn each_path_that_architecture_and_decisions_name_exists() {
    for (document, text) in documents() {
        if !document.starts_with("docs/decisions") && !document.ends_with("ARCHITECTURE.md") {
            continue;
        }
        for path in spans(&text).filter(|span| span.contains('/') && !span.contains([' ', ':', '<', '(', '*'])) {
            let known = ["", "src/"].iter().any(|dir| {
                let path = root().join(format!("{dir}{path}"));
                path.exists() || path.with_extension("rs").exists()
            });
            assert!(known, "{}: there is no {path}", document.display());
        }
    }
}
