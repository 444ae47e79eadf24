//! The image: its recipe is linted, and it is built and run without a daemon.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::suites::clients::tool;

const CONFIG: &str = r#"
active = "blue"
[listen]
http = "127.0.0.1:0"
admin = "unix:/run/cutover/admin.sock"
[readiness]
lame_duck = "0s"
[blue]
release = "1.0"
endpoints = ["127.0.0.1:1"]
"#;
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

    // The engine's health check, before and while the proxy runs.
    let etc = dir.path().join("etc");
    let everybody: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::create_dir(&etc).expect("a directory");
    for path in [dir.path(), &etc] {
        std::fs::set_permissions(path, everybody.clone()).expect("a mode");
    }
    std::fs::write(etc.join("cutover.toml"), CONFIG).expect("a file");
    let volume = format!("{}:/etc/cutover", etc.display());
    let run = ["run", "--isolation", "chroot", "--volume", &volume, &container, "--", "/usr/bin/cutover"];
    let check = || output(buildah(&run).arg("healthcheck"));
    let before = check();
    let said = String::from_utf8_lossy(&before.stderr).into_owned();
    assert!(before.status.code() == Some(1) && said.contains("can't be reached"), "{said}");
    let mut proxy = buildah(&run).arg("run").stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it runs");
    let ready = loop {
        let now = check();
        if now.status.success() {
            break String::from_utf8_lossy(&now.stdout).into_owned();
        }
        assert!(proxy.try_wait().expect("it was started").is_none(), "it serves");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(ready.contains("ready: unix:/run/cutover/admin.sock"), "{ready}");
    let status = done(buildah(&run).args(["status", "--json"]));
    let pid = serde_json::from_str::<Value>(&status).expect("JSON")["pid"].as_i64().expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    proxy.wait().expect("it ends");
    done(&mut buildah(&["rm", "--all"]));
}
