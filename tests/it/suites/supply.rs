//! What the program depends on: deny.toml names the licenses, the sources, and what is banned.

use std::process::Command;

use crate::suites::clients::tool;

#[test]
fn dependencies_have_licenses_and_sources_that_are_allowed() {
    let mut deny = Command::new(tool("CUTOVER_TEST_CARGO_DENY"));
    deny.current_dir(env!("CARGO_MANIFEST_DIR")).args(["--locked", "check", "licenses", "bans", "sources"]);
    let output = deny.output().unwrap_or_else(|error| panic!("{error}; run tests/run, which installs cargo-deny"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
