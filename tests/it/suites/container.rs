//! The image: its recipe is linted, and it is built and run without a daemon.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::suites::clients::tool;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run, which installs it"))
}

fn done(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_recipe_of_the_image_has_no_lint() {
    done(Command::new(tool("CUTOVER_TEST_HADOLINT")).arg(Path::new(ROOT).join("config/container/Containerfile")));
}

/// Only root can build here: others would need ranges of users of their own.
#[test]
fn the_image_has_the_binary_a_user_of_its_own_and_a_health_check() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().display();
    let global = format!("--root {at}/root --runroot {at}/run --storage-driver vfs");
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command.args(global.split(' ')).args(arguments).env("TMPDIR", dir.path());
        command
    };
    let mut build = Command::new(Path::new(ROOT).join("config/container/build"));
    build.arg(env!("CARGO_BIN_EXE_cutover")).env("TMPDIR", dir.path());
    build.env("CUTOVER_IMAGE_DIR", dir.path().join("image"));
    build.env("CUTOVER_BUILDER", format!("buildah {global} bud --isolation chroot --format docker"));
    done(&mut build);

    let told = done(&mut buildah(&["inspect", "--type", "image", "localhost/cutover"]));
    let config = &serde_json::from_str::<Value>(&told).expect("JSON")["Docker"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Volumes"], json!({ "/etc/cutover": {}, "/var/lib/cutover": {} }));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/bin/cutover", "healthcheck"]));
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&json!(["/usr/bin/cutover"]), &json!(["run"])));

    let container = done(&mut buildah(&["from", "localhost/cutover"]));
    let check = ["run", "--isolation", "chroot", &container, "--", "/usr/bin/cutover", "check"];
    let said = done(&mut buildah(&check));
    assert!(said.contains("/etc/cutover/cutover.toml is valid"), "{said}");
    done(&mut buildah(&["rm", "--all"]));
}
