//! A page of a bundler, open in a browser over the switch. `tests/run` installs both.

use std::path::Path;

use serde_json::{Value, json};

use super::{ON, setup};
use crate::soon;
use crate::staged::{Says, Staged};
use crate::suites::clients::{Talk, node};

/// Builds a release, and serves its files.
async fn built(dir: &Path, release: &str) -> Staged {
    let mut build = node("lazy_page.js");
    build.arg("build").arg(dir).arg(release);
    let built = soon("a build", build.output()).await.expect("node runs");
    assert!(built.status.success(), "{}; tests/run installs vite", String::from_utf8_lossy(&built.stderr));
    let staged = Staged::start(&[]).await;
    let page = std::fs::read(dir.join(release).join("index.html")).expect("a page");
    staged.says("/", Says::new(200, page).with("content-type", "text/html"));
    for entry in std::fs::read_dir(dir.join(release).join("assets")).expect("files") {
        let path = entry.expect("a file").path();
        let kind = if path.extension().is_some_and(|end| end == "css") { "text/css" } else { "text/javascript" };
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let says = Says::new(200, std::fs::read(&path).expect("a file")).with("content-type", kind);
        staged.says(&format!("/assets/{name}"), says);
    }
    staged
}

/// What came of a page that was open over the switch.
async fn over_a_switch(blue: &Staged, green: &Staged, linger: &str) -> Value {
    let proxy = setup(blue, green, linger).start().await;
    let mut browser = node("lazy_page.js");
    browser.arg("open").arg(format!("http://{}/", proxy.http));
    let mut browser = Talk::start(browser);
    browser.expect("open").await;
    proxy.switch("green").await;
    browser.go_on().await;
    serde_json::from_str(&browser.says().await).expect("JSON; what went wrong is on standard error")
}

#[tokio::test]
async fn a_page_that_is_open_over_the_switch_loads_its_later_part() {
    let dir = tempfile::tempdir().expect("a directory");
    let (blue, green) = (built(dir.path(), "blue").await, built(dir.path(), "green").await);
    let count = |told: &Value, key: &str| told[key].as_array().map(Vec::len);

    let broken = over_a_switch(&blue, &green, "").await;
    println!("without [linger]: {broken}");
    assert!(broken["title"].as_str().is_some_and(|title| title.starts_with("failed: ")), "{broken}");
    assert!(count(&broken, "failed") > Some(0), "{broken}");

    let works = over_a_switch(&blue, &green, ON).await;
    println!("with [linger]: {works}");
    assert_eq!((&works["first"], &works["title"]), (&json!("first of blue"), &json!("later of blue")), "{works}");
    assert_eq!(works["style"].as_str().map(|style| style.trim_matches('"')), Some("blue"), "{works}");
    assert_eq!((count(&works, "failed"), count(&works, "lingered")), (Some(0), Some(2)), "{works}");
}
