//! docs/deploy.md: its scripts are run, its units and YAML are read by those who read such files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::application::Application;
use crate::cli::{bare, document, done, failed};
use crate::deploy::Stage;
use crate::proxy::Proxy;
use crate::soon;
use crate::suites::clients::tool;

const PAGE: &str = include_str!("../../../docs/deploy.md");

/// The block of the page with this name behind its language.
fn block(name: &str) -> &'static str {
    let mut parts = PAGE.split("```");
    let block = parts
        .find(|part| part.lines().next().and_then(|first| first.split_once(' ')).is_some_and(|(_, it)| it == name));
    let block = block.unwrap_or_else(|| panic!("the page has no block {name}"));
    block.split_once('\n').expect("a first line").1
}

/// A directory with commands that the scripts find first. Each notes how it was called.
fn commands(dir: &Path, names: &[&str]) -> String {
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    for name in names {
        let path = bin.join(name);
        let text = format!("#!/bin/sh\necho {name} \"$@\" >> {}\n", dir.join("called").display());
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let cutover = Path::new(env!("CARGO_BIN_EXE_cutover")).parent().expect("a directory");
    format!("{}:{}:{}", bin.display(), cutover.display(), std::env::var("PATH").unwrap_or_default())
}

fn called(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("called")).unwrap_or_default()
}

/// Runs a script of the page against a proxy.
async fn run(shell: &str, script: &str, args: &[&str], path: &str, proxy: &Proxy, env: &[(&str, &str)]) -> Output {
    let file = proxy.dir.path().join("script");
    std::fs::write(&file, script).expect("a file");
    let mut command = Command::new(shell);
    command.arg(&file).args(args).env("PATH", path).env("CUTOVER_CONFIG", proxy.file()).envs(env.iter().copied());
    command.stdin(Stdio::null()).kill_on_drop(true).current_dir(proxy.dir.path());
    soon("the script ends", command.output()).await.expect("it runs")
}

#[tokio::test]
async fn the_script_for_two_colors_deploys_on_each_in_turn() {
    let stage = Stage::build().await;
    let dir = stage.proxy.dir.path();
    let path = commands(dir, &["systemctl"]);
    let script = block("deploy.sh")
        .replace("9001", &stage.blue.address.port().to_string())
        .replace("9002", &stage.green.address.port().to_string())
        .replace("/etc/app", &dir.display().to_string());
    let lines = script.lines().filter(|line| !line.starts_with('#')).count();
    assert!(lines <= 10, "{lines} lines");
    for (release, color) in [("2.15.0", "green"), ("2.16.0", "blue"), ("2.17.0", "green")] {
        let text = done(&run("sh", &script, &[release], &path, &stage.proxy, &[]).await);
        assert!(text.contains(&format!("all traffic goes to {color} ({release})")), "{text}");
        assert_eq!(stage.proxy.color().await, color);
        let written = std::fs::read_to_string(dir.join(format!("{color}.env"))).expect("it was written");
        assert!(written.starts_with(&format!("RELEASE={release}\nPORT=")), "{written}");
        assert!(called(dir).ends_with(&format!("systemctl restart app@{color}\n")), "{}", called(dir));
    }
    stage.blue.set_healthy(false);
    let text = stage.proxy.text().replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"300ms\"");
    stage.proxy.replace_file(&text);
    let (_, said) = failed(&run("sh", &script, &["2.18.0"], &path, &stage.proxy, &[]).await, 3);
    assert!(said.contains("unhealthy"), "{said}");
    assert_eq!(stage.proxy.color().await, "green");
}

#[tokio::test]
async fn the_script_for_sockets_stops_what_no_color_has_any_more() {
    let stage = Stage::build().await;
    let dir = stage.proxy.dir.path();
    let path = commands(dir, &["systemctl"]);
    let script = block("release.sh").replace("/run/app", &dir.display().to_string());
    for (release, application) in [("3.0", &stage.next), ("4.0", &stage.green), ("5.0", &stage.blue)] {
        application.also_at(&dir.join(format!("{release}.sock")));
    }
    for (release, color, old) in [("3.0", "next", "2.0"), ("4.0", "green", "1.0")] {
        let output = run("sh", &script, &[release], &path, &stage.proxy, &[]).await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(document(&output)["release"], release);
        assert_eq!(stage.proxy.color().await, color);
        let expected = format!("systemctl start app@{release}\nsystemctl stop app@{old}\n");
        assert!(called(dir).ends_with(&expected), "{}", called(dir));
    }
    // What a failed deploy replaced goes, too, and the next one replaces nothing that served.
    stage.blue.set_healthy(false);
    let text = stage.proxy.text().replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"300ms\"");
    stage.proxy.replace_file(&text);
    let output = run("sh", &script, &["5.0"], &path, &stage.proxy, &[]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(document(&output)["problem"]["code"], "unhealthy");
    assert!(called(dir).ends_with("systemctl start app@5.0\nsystemctl stop app@3.0\n"), "{}", called(dir));
    assert_eq!(stage.proxy.color().await, "green");
}

#[tokio::test]
async fn the_script_that_edits_the_file_does_the_same() {
    let stage = Stage::build().await;
    let path = commands(stage.proxy.dir.path(), &[]);
    let script = block("edit.sh").replace("/etc/cutover/cutover.toml", &stage.proxy.file().display().to_string());
    let address = stage.next.address.to_string();
    done(&run("sh", &script, &["3.0", &address], &path, &stage.proxy, &[]).await);
    assert_eq!(stage.proxy.color().await, "next");
    let status = stage.proxy.status().await;
    assert_eq!((&status["active"], &status["release"]), (&json!("green"), &json!("3.0")), "{status}");
    let address = stage.green.address.to_string();
    done(&run("sh", &script, &["4.0", &address], &path, &stage.proxy, &[]).await);
    assert_eq!(stage.proxy.color().await, "green");
    assert_eq!(stage.proxy.status().await["active"], "blue");
    let (_, said) = failed(&run("sh", &script, &["5.0", "nonsense"], &path, &stage.proxy, &[]).await, 2);
    assert!(said.contains("nonsense"), "{said}");
    assert_eq!(stage.proxy.color().await, "green");
}

/// What a reader of YAML makes of it.
async fn yaml(text: &str) -> Value {
    let mut python = Command::new(tool("CUTOVER_TEST_PYTHON"));
    python.args(["-c", "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"]);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = python.spawn().expect("python runs");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).await.expect("it reads");
    let output = soon("it ends", child.wait_with_output()).await.expect("it ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn the_playbook_runs_a_command_whose_answer_says_whether_it_changed_anything() {
    let stage = Stage::build().await;
    let play = &yaml(block("deploy.yaml")).await[0];
    let release = play["vars"]["release"].as_str().expect("a label").to_owned();
    let dir = stage.proxy.dir.path().display().to_string();
    stage.next.also_at(&stage.proxy.dir.path().join(format!("{release}.sock")));
    let task = &play["tasks"][1];
    assert!(task["changed_when"].as_str().is_some_and(|when| when.contains(".changed")), "{task}");
    let argv: Vec<String> = task["ansible.builtin.command"]["argv"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|word| word.as_str().expect("a word").replace("{{ release }}", &release).replace("/run/app", &dir))
        .collect();
    assert_eq!(argv[0], "cutover");
    let arguments: Vec<_> = argv[1..].iter().map(String::as_str).collect();
    for changed in [true, false] {
        let output = stage.proxy.cli(&arguments).await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(document(&output)["changed"], changed);
    }
    assert_eq!(stage.proxy.color().await, "next");
}

#[tokio::test]
async fn the_workflow_deploys_the_tag() {
    let stage = Stage::build().await;
    let workflow = yaml(block("deploy.yml")).await;
    let step = &workflow["jobs"]["deploy"]["steps"][0];
    let dir = stage.proxy.dir.path();
    let path = commands(dir, &["ssh"]);
    let host = step["env"]["HOST"].as_str().expect("a host");
    let env = [("HOST", host), ("KEY", "secret"), ("KNOWN_HOSTS", "host key"), ("GITHUB_REF_NAME", "v2.15.0")];
    let script = format!("set -e\n{}", step["run"].as_str().expect("a script"));
    done(&run("sh", &script, &[], &path, &stage.proxy, &env).await);
    let expected = format!("deploy@{host} /usr/local/bin/deploy.sh 2.15.0\n");
    assert!(called(dir).ends_with(&expected), "{}", called(dir));
    let key = std::fs::metadata(dir.join("key")).expect("it was written");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn the_compose_file_has_the_services_that_the_endpoints_name() {
    let compose = yaml(block("compose.yaml")).await;
    let services = compose["services"].as_object().expect("services");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cutover.toml");
    std::fs::write(&file, block("cutover/cutover.toml")).expect("a file");
    done(&bare(&["check", "--config", &file.display().to_string()]).await);
    let table: toml::Table = toml::from_str(block("cutover/cutover.toml")).expect("TOML");
    let endpoint = table["blue"]["endpoints"][0].as_str().expect("an endpoint");
    let host = endpoint.split(':').next().expect("a host");
    assert!(services.contains_key(host) && services.contains_key("app-green"), "{services:?}");
    assert!(PAGE.contains("--endpoint app-green:3000"));
    for volume in services["cutover"]["volumes"].as_array().expect("volumes") {
        let from = volume.as_str().and_then(|volume| volume.split(':').next()).expect("a volume");
        assert!(from.starts_with("./") || compose["volumes"].get(from).is_some(), "{volume}");
    }
}

#[tokio::test]
async fn the_unit_is_one_that_systemd_takes() {
    let unit = block("app@.service");
    let mut sections = Vec::new();
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(section) => sections.push(section),
            None => assert!(
                !sections.is_empty() && line.split_once('=').is_some_and(|(key, _)| !key.contains(' ')),
                "{line}"
            ),
        }
    }
    assert_eq!(sections, ["Unit", "Service", "Install"]);
    let Ok(version) = std::process::Command::new("systemd-analyze").arg("--version").output() else { return };
    assert!(version.status.success(), "{version:?}");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("app@blue.service");
    std::fs::write(&file, unit.replace("/opt/app/bin/app", "/bin/true")).expect("a file");
    let verified = std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
    let verified = verified.expect("it runs");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("app@blue.service"), "{said}");
}

/// A line for each phase, however wide the terminal was.
fn phases(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The transcript at the top of the page is what the command prints.
#[tokio::test]
async fn the_page_shows_what_the_command_prints() {
    let stage = Stage::build_with(|setup| {
        "[bake]\nduration = \"15m\"\n".clone_into(&mut setup.more);
        setup.blue = setup.blue.replace("1.0", "2.13.0");
        setup.green = setup.green.replace("2.0", "2.14.0");
    })
    .await;
    let application: &Application = &stage.next;
    let address = application.address.to_string();
    let printed = done(
        &stage.proxy.cli(&["deploy", "--release", "2.15.0", "--endpoint", &address, "--reason", "ticket 42"]).await,
    );
    let shown = PAGE.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a transcript");
    let (shown, said) = (phases(shown.split_once('\n').expect("the command").1), phases(&printed));
    assert_eq!(said.len(), shown.len(), "{printed}");
    for (printed, shown) in said.iter().zip(shown) {
        let shown = shown.replace("127.0.0.1:9003", &address);
        // Up to the first figure of the moment.
        let same = shown
            .split(", generation")
            .next()
            .and_then(|it| it.split(" after ").next())
            .and_then(|it| it.split("at 20").next());
        assert!(same.is_some_and(|same| printed.starts_with(same)), "{printed}\n{shown}");
    }
}
