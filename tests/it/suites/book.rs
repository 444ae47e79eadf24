//! The documents as a book: mdbook builds it, every document is in it, and every link leads to something.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::suites::clients::tool;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files below a directory with this extension.
fn below(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            below(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// The values of an attribute in a page.
fn values<'a>(text: &'a str, attribute: &str) -> Vec<&'a str> {
    text.split(&format!(" {attribute}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_book_has_every_document_and_no_broken_link() {
    let dir = tempfile::tempdir().expect("a directory");
    let tools = tool("CUTOVER_TEST_MDBOOK").parent().expect("a directory").display().to_string();
    let mut build = Command::new(Path::new(ROOT).join("docs/book/build"));
    build.arg(dir.path()).env("PATH", format!("{tools}:{}", std::env::var("PATH").expect("a path")));
    let output = build.output().unwrap_or_else(|error| panic!("{error}; run tests/run, which installs mdbook"));
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");

    let html = dir.path().join("html");
    let mut documents = Vec::new();
    below(&Path::new(ROOT).join("docs"), "md", &mut documents);
    for document in documents.iter().filter(|path| !path.ends_with("SUMMARY.md")) {
        let page = html.join(document.strip_prefix(ROOT).expect("below the root")).with_extension("html");
        let page = if page.ends_with("README.html") { page.with_file_name("index.html") } else { page };
        assert!(page.exists(), "{} is not in docs/book/SUMMARY.md", document.display());
    }

    let mut pages = Vec::new();
    below(&html, "html", &mut pages);
    let texts: BTreeMap<_, _> =
        pages.into_iter().map(|page| (page.clone(), std::fs::read_to_string(page).expect("a page"))).collect();
    let mut broken = Vec::new();
    for (page, text) in texts.iter().filter(|(page, _)| !page.ends_with("404.html")) {
        for link in [values(text, "href"), values(text, "src")].concat() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains(':') {
                continue;
            }
            let target = if file.is_empty() { page.clone() } else { plain(&page.with_file_name(file)) };
            let target = if target.is_dir() { target.join("index.html") } else { target };
            let known = texts.get(&target).is_some_and(|text| values(text, "id").contains(&anchor));
            if !target.exists() || (!anchor.is_empty() && !known) {
                broken.push(format!("{}: {link}", page.strip_prefix(&html).expect("below it").display()));
            }
        }
    }
    broken.sort();
    broken.dedup();
    assert!(broken.is_empty(), "{broken:#?}");
}
